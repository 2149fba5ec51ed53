"""`labels.csv`: stem,class. It gives all frames of a video one class, and replaces a label file for each video.

Where classes overlap, a video has a row for each of its classes; one with none of them has a row without a class.

Shapes: K classes.
"""

from pathlib import Path

import numpy as np

from pipeline.annotations.formats.base import VideoClasses, VideoTable
from pipeline.annotations.formats.parsing import class_indices, exclude_each_other, raise_problems
from pipeline.annotations.formats.rows import parse_rows
from pipeline.annotations.label_space import ABSENT, PRESENT, LabelSpace
from pipeline.annotations.layouts import VIDEO_LABELS, VIDEO_LABELS_HEADER
from pipeline.annotations.problems import Problem
from pipeline.files import canonical

_Rows = list[tuple[int, str, str]]  # (line, stem, class name)


def read_video_labels(path: Path, label_space: LabelSpace) -> VideoClasses:
    """Read a labels.csv.

    Args:
        path: The file.
        label_space: The classes that it may name.

    Returns:
        For each stem, in the form `canonical`, the index of its class and the number of its line. Where classes
        overlap, int8 [K] instead of the index, and the number of its first line.

    Raises:
        AnnotationError: Every problem of the file: it cannot be read, the header is wrong, a row has no stem, a class
            is unknown, a stem has two rows; where classes overlap: a stem has two rows with the same class, with two
            classes of one group, or one with a class beside one without.
    """
    path = Path(path)
    problems: list[Problem] = []
    rows = parse_rows(path, VIDEO_LABELS_HEADER, problems)
    without_stem = [line for line, (stem, _) in rows if not stem]
    problems += [Problem(path, line, "names no video: expected a stem and its class") for line in without_stem]
    read = _read_exclusive if label_space.is_exclusive else _read_overlapping
    of_videos = read(path, [(line, stem, name) for line, (stem, name) in rows if stem], label_space, problems)
    raise_problems(problems)
    return of_videos


def _read_exclusive(path: Path, rows: _Rows, label_space: LabelSpace, problems: list[Problem]) -> VideoClasses:
    lines: dict[str, int] = {}
    for line, stem, _ in rows:
        if (other := lines.setdefault(canonical(stem), line)) != line:
            problems.append(Problem(path, line, f"{stem!r} is already on line {other}: a video has one class"))
    indices = class_indices(path, [(line, name) for line, _, name in rows], label_space, problems)
    return {canonical(stem): (index, line) for (line, stem, _), index in zip(rows, indices, strict=True)}


def _read_overlapping(path: Path, rows: _Rows, label_space: LabelSpace, problems: list[Problem]) -> VideoClasses:
    videos: dict[str, _Rows] = {}
    for line, stem, name in rows:
        videos.setdefault(canonical(stem), []).append((line, stem, name))
    class_indices(path, [(line, name) for line, _, name in rows if name], label_space, problems)
    return {
        stem: (_classes_of_video(path, of_video, label_space, problems), of_video[0][0])
        for stem, of_video in videos.items()
    }


def _classes_of_video(path: Path, rows: _Rows, label_space: LabelSpace, problems: list[Problem]) -> np.ndarray:
    """Return the classes of the rows of a video, int8 [K]; a row without a class is that of a video with none."""
    assert label_space.groups is not None
    labels = np.full(label_space.num_classes, ABSENT, dtype=np.int8)
    of_group: dict[str, tuple[int, int]] = {}  # the class of each group, and its line
    for line, stem, name in rows:
        index = label_space.index(name) if name else None
        if not name and len(rows) > 1:
            cause = "a row without a class is that of a video with none of them"
            problems.append(Problem(path, line, f"gives {stem!r} no class, and other rows give it one: {cause}"))
        if index is None:
            continue
        group = label_space.groups[index]
        other, other_line = of_group.setdefault(group, (index, line))
        if other != index:
            message = f"{stem!r} is already {label_space.classes[other]!r} on line {other_line}"
            problems.append(Problem(path, line, f"{message}: {exclude_each_other(label_space, index)}"))
        elif other_line != line:
            problems.append(Problem(path, line, f"{stem!r} is already {name!r} on line {other_line}: delete one row"))
        labels[index] = PRESENT
    return labels


def _class_names(path: Path) -> set[str]:
    problems: list[Problem] = []
    names = {name for _, (_, name) in parse_rows(path, VIDEO_LABELS_HEADER, problems)}
    raise_problems(problems)
    return names


FORMAT = VideoTable(VIDEO_LABELS, read_video_labels, _class_names)
