"""Label files: what people write by hand, in labels/ of a data set, and what `framescribe label` writes.

Layouts, all UTF-8; T frames, numbered from 0, segments half-open [start, stop). `formats` has a file for each:

    <stem>.txt           one class name a line, one line a frame; an EMPTY line is an unlabelled frame
    <stem>.csv           start,stop,class; frames in no row are unlabelled; rows in any order
    labels.csv           stem,class; one class for all frames of a video, instead of a file for each one
    <stem>.frames.csv    frame,time_seconds,label,probability                       one row a frame
    <name>.live.csv      the same, row by row while the video is made; frames that were dropped have none
    <stem>.segments.csv  start,stop,start_seconds,stop_seconds,label,probability    every labelled frame is in a row

A reader gathers every problem of a file and raises them as one AnnotationError.
"""

from pathlib import Path
from typing import NoReturn

import numpy as np

from pipeline.annotations.formats import registry
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError, Problem


def find_annotation(folder: Path, stem: str) -> Path | None:
    """The label file of the video `stem` in `folder`, or None. Raises AnnotationError if there are several."""
    paths = [Path(folder) / f"{stem}{layout.suffix}" for layout in registry.data_set_formats()]
    found = [path for path in paths if path.is_file()]
    if len(found) > 1:
        others = " and ".join(path.name for path in found[1:])
        both = "both" if len(found) == 2 else "all"
        raise AnnotationError([Problem(found[0], None, f"and {others} {both} label {stem!r}: keep one of them")])
    return found[0] if found else None


def read_annotation(path: Path, label_space: LabelSpace, *, num_frames: int | None) -> np.ndarray:
    """Read a label file of a data set, such as `<stem>.txt` or `<stem>.csv`.

    Args:
        path: The file.
        label_space: The classes that it may name.
        num_frames: T, the frames of the video; None takes it from the file (of a .csv, the last stop).

    Returns:
        Labels int64 [T] of `label_space`.

    Raises:
        AnnotationError: Every problem of the file: one that cannot be read, wrong header, not integers, a negative,
            empty or overlapping segment, one beyond the video, an unknown class, more or fewer lines than frames.
    """
    layout = registry.data_set_format_of(Path(path))
    if layout is None:
        _refuse(Path(path))
    return layout.read(Path(path), label_space, num_frames=num_frames)


def read_predicted(path: Path, label_space: LabelSpace, *, num_frames: int | None = None) -> np.ndarray:
    """Read labels int64 [T] from what `framescribe label` wrote, or from a label file of a data set.

    Raises AnnotationError as `read_annotation` does, and where the frames of a .frames.csv are not 0, 1, 2, ...
    """
    layout = registry.format_of(Path(path))
    if layout is None:
        _refuse(Path(path))
    return layout.read(Path(path), label_space, num_frames=num_frames)


def class_names_in(path: Path) -> set[str]:
    """The class names that a file of any of the layouts uses, for labels that come without a class list."""
    layout = registry.video_table_of(Path(path)) or registry.format_of(Path(path))
    if layout is None:
        _refuse(Path(path))
    return layout.class_names(Path(path)) - {""}


def _refuse(path: Path) -> NoReturn:
    *others, last = [layout.suffix for layout in reversed(registry.data_set_formats())]
    expected = f"{', '.join(others)} or {last}"
    raise AnnotationError([Problem(path, None, f"is no label file: expected {expected}")])
