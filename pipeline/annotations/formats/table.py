"""`<stem>.csv`, `<stem>.tsv` and `<stem>.xlsx`: a table, whose header says what it has.

It has segments (`segment_table`), the class of each frame (`frame_table`), a column for each class (`one_hot`), or what
`framescribe label` writes, under another name.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.formats import (
    frame_table,
    one_hot,
    predicted_frames,
    predicted_segments,
    predicted_sets,
    segment_table,
)
from pipeline.annotations.formats.base import AnnotationFormat, ClassNames, ReadLabels, VideoFrames
from pipeline.annotations.formats.columns import find_segment_columns
from pipeline.annotations.formats.delimited import iterate_rows
from pipeline.annotations.formats.workbook import sheet_notes
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import OVERLAPPING_FRAMES_START, PREDICTED_FRAMES_HEADER, PREDICTED_SEGMENTS_HEADER
from pipeline.annotations.problems import Problem
from pipeline.annotations.workbook import WORKBOOK


class Content(NamedTuple):
    """What a table has: a function for each thing that is asked of it.

    Attributes:
        read: See `ReadLabels`.
        class_names: See `AnnotationFormat`.
        has_length: Whether it gives the number of frames of the video.
    """

    read: ReadLabels
    class_names: ClassNames
    has_length: bool


_SEGMENTS = Content(segment_table.FORMAT.read, segment_table.FORMAT.class_names, has_length=False)
_OF_FRAMES = Content(frame_table.read, frame_table.class_names, has_length=True)
_ONE_HOT = Content(one_hot.read, one_hot.class_names, has_length=True)


def predicted_format(path: Path) -> AnnotationFormat | None:
    """Return which of the layouts that `framescribe label` writes a table has, by its header; None for another one.

    Raises:
        AnnotationError: The file cannot be read, or is in another encoding.
    """
    header = tuple(next((row for _, row in iterate_rows(path, []) if any(row)), []))
    if header == PREDICTED_SEGMENTS_HEADER:
        return predicted_segments.FORMAT
    is_of_frames = header == PREDICTED_FRAMES_HEADER or header[: predicted_sets.FIRST_CLASS] == OVERLAPPING_FRAMES_START
    return predicted_frames.FORMAT if is_of_frames else None


def _content(path: Path, label_space: LabelSpace | None) -> Content:
    header = next((row for _, row in iterate_rows(path, []) if any(row)), [])
    predicted = predicted_format(path)
    if predicted is predicted_frames.FORMAT:
        return Content(predicted.read, predicted.class_names, has_length=True)
    if find_segment_columns(header) is not None:
        return _SEGMENTS
    if one_hot.is_one_hot(path, label_space):
        return _ONE_HOT
    return _OF_FRAMES if frame_table.is_frame_table(path) else _SEGMENTS


def _read(path: Path, label_space: LabelSpace, *, video: VideoFrames, notes: list[Problem]) -> np.ndarray:
    labels = _content(path, label_space).read(path, label_space, video=video, notes=notes)
    if path.suffix == WORKBOOK:
        notes += sheet_notes(path)
    return labels


def _class_names(path: Path) -> set[str]:
    return _content(path, None).class_names(path)


def _has_length(path: Path, label_space: LabelSpace) -> bool:
    return _content(path, label_space).has_length


def has_segments(path: Path, label_space: LabelSpace) -> bool:
    """Return whether a table has segments.

    Raises:
        AnnotationError: The file cannot be read, or is in another encoding.
    """
    return _content(path, label_space) is _SEGMENTS


def has_a_column_for_each_class(path: Path) -> bool | None:
    """Return whether a table has a column for each class; None where it does not show whether classes overlap.

    Raises:
        AnnotationError: The file cannot be read, or is in another encoding.
    """
    if predicted_format(path) is predicted_frames.FORMAT:
        return predicted_sets.has_sets(path)
    return True if _content(path, None) is _ONE_HOT else None


FORMATS = tuple(
    AnnotationFormat(suffix, _read, _class_names, has_length=_has_length) for suffix in (".csv", ".tsv", WORKBOOK)
)
