"""`labels.csv`: stem,class. It gives all frames of a video one class, and replaces a label file for each video."""

from pathlib import Path

from pipeline.annotations.formats.base import VideoClasses, VideoTable
from pipeline.annotations.formats.parsing import class_indices, parse_rows, raise_problems
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import VIDEO_LABELS, VIDEO_LABELS_HEADER
from pipeline.annotations.problems import Problem
from pipeline.files import canonical


def read_video_labels(path: Path, label_space: LabelSpace) -> VideoClasses:
    """Read a labels.csv.

    Args:
        path: The file.
        label_space: The classes that it may name.

    Returns:
        For each stem, in the form `canonical`, the index of its class and the number of its line.

    Raises:
        AnnotationError: Every problem of the file: it cannot be read, the header is wrong, a row has no stem, a stem
            has two rows, a class is unknown.
    """
    path = Path(path)
    problems: list[Problem] = []
    rows = parse_rows(path, VIDEO_LABELS_HEADER, problems)
    lines: dict[str, int] = {}
    for line, (stem, _) in rows:
        if not stem:
            problems.append(Problem(path, line, "names no video: expected a stem and its class"))
        elif (other := lines.setdefault(canonical(stem), line)) != line:
            problems.append(Problem(path, line, f"{stem!r} is already on line {other}: a video has one class"))
    indices = class_indices(path, [(line, name) for line, (_, name) in rows], label_space, problems)
    raise_problems(problems)
    return {canonical(stem): (index, line) for (line, (stem, _)), index in zip(rows, indices, strict=True)}


def _class_names(path: Path) -> set[str]:
    problems: list[Problem] = []
    names = {name for _, (_, name) in parse_rows(path, VIDEO_LABELS_HEADER, problems)}
    raise_problems(problems)
    return names


FORMAT = VideoTable(VIDEO_LABELS, read_video_labels, _class_names)
