"""The files of a video that `framescribe label` writes together: `<stem>.frames.csv` and `<stem>.segments.csv`."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from pipeline.annotations.formats.delimited import iterate_rows
from pipeline.annotations.formats.predicted_sets import has_sets
from pipeline.annotations.label_space import SEPARATOR
from pipeline.annotations.layouts import FRAMES, SEGMENTS
from pipeline.annotations.problems import AnnotationError
from pipeline.files import is_elsewhere

_LABEL_OF_FRAME, _LABEL_OF_SEGMENT = 2, 4  # the indices of columns


def is_pair(paths: Sequence[Path]) -> bool:
    """Return whether label files of one video are these two, and both are there."""
    return (
        len(paths) == 2
        and paths[0].name.endswith(FRAMES)
        and paths[1].name.endswith(SEGMENTS)
        and not any(map(is_elsewhere, paths))
    )


def agree(frames: Path, segments: Path) -> bool:
    """Return whether both files have the same labels, so that either may be read; False where one cannot be read."""
    try:
        rows = [row for _, row in iterate_rows(segments, []) if any(row)][1:]
        stated = {(row[0], row[1], row[_LABEL_OF_SEGMENT]) for row in rows}
        labels = [row[_LABEL_OF_FRAME] for _, row in iterate_rows(frames, []) if any(row)][1:]
        return stated == _runs(labels, are_sets=has_sets(frames))
    except (AnnotationError, IndexError):
        return False


def _runs(labels: Sequence[str], *, are_sets: bool) -> set[tuple[str, str, str]]:
    """Return start, stop and name of the segments of each class, as they are written."""
    of_frames = [label.split(SEPARATOR) if are_sets else [label] for label in labels]
    runs = set()
    for name in {name for names in of_frames for name in names} - {""}:
        start = 0
        for is_there, run in groupby(name in names for names in of_frames):
            stop = start + sum(1 for _ in run)
            if is_there:
                runs.add((str(start), str(stop), name))
            start = stop
    return runs
