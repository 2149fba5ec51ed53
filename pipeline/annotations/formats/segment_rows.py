"""Tables of segments: each row has the start, the stop and the class of one.

Where classes exclude each other, no two rows overlap, and a frame in no row is unlabelled. Where classes overlap, rows
of different groups may overlap, and a frame in no row of a class does not have the class.

Shapes: T frames, K classes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.formats.base import AnnotationFormat, HasLength
from pipeline.annotations.formats.parsing import (
    ASK_WHETHER_INDEPENDENT,
    class_indices,
    exclude_each_other,
    frame_number,
    is_otherwise_counted,
    parse_rows,
    raise_problems,
)
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import Problem
from pipeline.annotations.segments import Segment, frames_from_segments, presence_from_segments
from pipeline.files import canonical

MAX_FRAMES = 100_000_000  # 38 days at 30 frames per second: a larger number is a mistake and would fill the memory

NamedSegments = list[tuple[int, int, int, str]]  # (line, start, stop, class name)


def segment_format(
    suffix: str, header: Sequence[str], *, class_column: int, has_length: HasLength, is_of_data_set: bool = True
) -> AnnotationFormat:
    """Make a layout that is a table of segments, whose first two columns are start and stop.

    Args:
        suffix: The end of the file name, after the stem.
        header: The names of the columns.
        class_column: The index of the column with the class names.
        has_length: See `AnnotationFormat`.
        is_of_data_set: See `AnnotationFormat`.

    Returns:
        The layout.
    """

    def read(path: Path, label_space: LabelSpace, *, num_frames: int | None) -> np.ndarray:
        problems: list[Problem] = []
        segments = _parse_segments(path, header, problems, class_column=class_column)
        labels = _label_segments(path, segments, label_space, num_frames=num_frames, problems=problems)
        raise_problems(problems)
        return labels

    def class_names(path: Path) -> set[str]:
        problems: list[Problem] = []
        names = {name for *_, name in _parse_segments(path, header, problems, class_column=class_column)}
        raise_problems(problems)
        return names

    return AnnotationFormat(suffix, read, class_names, is_of_data_set=is_of_data_set, has_length=has_length)


def _parse_segments(path: Path, header: Sequence[str], problems: list[Problem], *, class_column: int) -> NamedSegments:
    """Parse a table of segments, whose first two columns are start and stop.

    Args:
        path: The file.
        header: The expected header.
        problems: The rows that do not make a segment are appended to it.
        class_column: The index of the column with the class names.

    Returns:
        The segments in their order in the file.

    Raises:
        AnnotationError: The file cannot be read, or is not UTF-8.
    """
    segments: NamedSegments = []
    for line, row in parse_rows(path, header, problems):
        span = parse_span(path, line, row[0], row[1], problems)
        if span is not None:
            segments.append((line, *span, row[class_column]))
    return segments


def parse_span(
    path: Path, line: int, start_text: str, stop_text: str, problems: list[Problem]
) -> tuple[int, int] | None:
    """Parse the start and the stop of a row.

    Args:
        path: The file.
        line: The line of the row.
        start_text: The field with the first frame.
        stop_text: The field with the frame after the last one.
        problems: What is wrong with the numbers is appended to it.

    Returns:
        The start and the stop; None where they do not make a segment.
    """
    start = frame_number(path, line, "start", start_text, problems)
    stop = frame_number(path, line, "stop", stop_text, problems)
    if start is None or stop is None:
        return None
    if start < 0:
        problems.append(Problem(path, line, f"start {start} is negative: the first frame is 0"))
    elif start >= stop:
        cause = "is empty: stop is the frame after the last one" if start == stop else "ends before it starts"
        problems.append(Problem(path, line, f"segment [{start}, {stop}) {cause}"))
    elif stop > MAX_FRAMES:
        problems.append(Problem(path, line, f"stop {stop} is more frames than any video has: are these timestamps?"))
    else:
        return start, stop
    return None


def _label_segments(
    path: Path, segments: NamedSegments, label_space: LabelSpace, *, num_frames: int | None, problems: list[Problem]
) -> np.ndarray:
    """Convert parsed segments to labels.

    Args:
        path: The file.
        segments: The segments, in any order.
        label_space: The classes.
        num_frames: T, the number of frames of the video; None for the last stop.
        problems: Segments that do not fit the classes, the video or each other are appended to it.

    Returns:
        Labels of `label_space`; empty where there are problems.
    """
    if num_frames is None:
        num_frames = max((stop for _, _, stop, _ in segments), default=0)
    for line, start, stop, name in segments:
        if stop > num_frames:
            problems.append(beyond_the_end(path, line, f"segment [{start}, {stop}) {name}", stop, num_frames))
    segments = sorted(segments, key=lambda segment: segment[1:3])
    _report_overlaps(path, segments, label_space, problems)
    indices = class_indices(path, [(line, name) for line, _, _, name in segments], label_space, problems)
    if problems:
        return label_space.unlabelled(0)
    spans = zip(segments, indices, strict=True)
    found = [Segment(start, stop, index) for (_, start, stop, _), index in spans]
    if label_space.is_exclusive:
        return frames_from_segments(found, num_frames)
    return presence_from_segments(found, num_frames, label_space)


def beyond_the_end(path: Path, line: int, what: str, stop: int, num_frames: int) -> Problem:
    """Describe that `what`, which ends at the frame `stop`, goes beyond the end of its video."""
    cause = "it was labelled at another frame rate, in another video, or counting from 1"
    if is_otherwise_counted(stop, num_frames):
        cause = "another decoder counted otherwise, or it was labelled counting from 1"
    message = f"{what} goes beyond the {num_frames} frames of the video: {cause}"
    return Problem(path, line, message, fault="segment beyond the end")


def _report_overlaps(path: Path, segments: NamedSegments, label_space: LabelSpace, problems: list[Problem]) -> None:
    """Report the segments that overlap another one of the same group; exclusive classes are one group.

    `segments` are in the order of their starts and stops. A segment of an unknown class is in no group of classes that
    overlap.
    """
    furthest: dict[str, tuple[int, int, int, str]] = {}  # of the segments so far in each group
    for segment in segments:
        line, start, stop, name = segment
        index = label_space.index(name)
        if label_space.groups is None:
            group = ""
        elif index is None:
            continue
        else:
            group = label_space.groups[index]
        other = furthest.setdefault(group, segment)
        if other is not segment and start < other[2]:
            which = f"[{other[1]}, {other[2]}) {other[3]} of line {other[0]}"
            message = f"segment [{start}, {stop}) {name} overlaps {which}: "
            cause = _cause_of_overlap(name, other[3], index, label_space)
            problems.append(Problem(path, line, message + cause, fault="segments overlap"))
        furthest[group] = max(segment, other, key=lambda of_group: of_group[2])


def _cause_of_overlap(name: str, other: str, index: int | None, label_space: LabelSpace) -> str:
    is_same = canonical(name) == canonical(other)
    if label_space.is_exclusive:
        return "a frame has one class" if is_same else ASK_WHETHER_INDEPENDENT
    if is_same or index is None:
        return "a frame has a class once, make one row of the two"
    return exclude_each_other(label_space, index)
