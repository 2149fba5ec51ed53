"""Tables of segments: each row has the start, the stop and the class of one.

Where classes exclude each other, no two rows overlap, and a frame in no row is unlabelled. Where classes overlap, rows
of different groups may overlap, and a frame in no row of a class does not have the class.

Shapes: T frames, K classes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.formats.base import AnnotationFormat, HasLength, VideoFrames
from pipeline.annotations.formats.columns import SegmentColumns, find_segment_columns, ignored_note
from pipeline.annotations.formats.delimited import iterate_rows
from pipeline.annotations.formats.parsing import (
    ASK_WHETHER_INDEPENDENT,
    class_indices,
    exclude_each_other,
    frame_number,
    is_otherwise_counted,
    one_of_each_kind,
    raise_problems,
)
from pipeline.annotations.formats.rows import is_header_missing, other_header, rows_with_header, whole_rows
from pipeline.annotations.formats.seconds import TimedSegment, to_frames
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import PREDICTED_SEGMENTS_HEADER
from pipeline.annotations.problems import Problem
from pipeline.annotations.segments import Segment, frames_from_segments, presence_from_segments
from pipeline.files import canonical

MAX_FRAMES = 100_000_000  # 38 days at 30 frames per second: a larger number is a mistake and would fill the memory

NamedSegments = list[tuple[int, int, int, str]]  # (line, start, stop, class name)


def segment_format(
    suffix: str, header: Sequence[str], *, has_length: HasLength, is_of_people: bool = True
) -> AnnotationFormat:
    """Make a layout that is a table of segments.

    Args:
        suffix: The end of the file name, after the stem.
        header: The header that a message proposes; columns that are alike (`columns`) are read too, in any order.
        has_length: See `AnnotationFormat`.
        is_of_people: See `AnnotationFormat`.

    Returns:
        The layout.
    """

    def read(path: Path, label_space: LabelSpace, *, video: VideoFrames, notes: list[Problem]) -> np.ndarray:
        return read_with_rows(path, header, label_space, video=video, notes=notes)[0]

    def class_names(path: Path) -> set[str]:
        problems: list[Problem] = []
        names = {row.name for row in _parse_rows(path, header, problems, [])[1]}
        raise_problems(problems)
        return names

    return AnnotationFormat(suffix, read, class_names, is_of_people=is_of_people, has_length=has_length)


def _named_segments(
    path: Path, header: Sequence[str], video: VideoFrames, problems: list[Problem], notes: list[Problem]
) -> NamedSegments:
    """Parse a table of segments, in frames or in seconds; see `_parse_rows` and `to_frames`."""
    columns, rows = _parse_rows(path, header, problems, notes)
    of_rows: list[Problem] = []
    if columns.in_seconds:
        segments = to_frames(path, rows, video, of_rows, notes)
    else:
        spans = ((row, parse_span(path, row.line, row.start, row.stop, of_rows)) for row in rows)
        segments = [(row.line, *span, row.name) for row, span in spans if span is not None]
    problems += one_of_each_kind(of_rows)
    return segments


def read_with_rows(
    path: Path, header: Sequence[str], label_space: LabelSpace, *, video: VideoFrames, notes: list[Problem]
) -> tuple[np.ndarray, list[Segment]]:
    """Read a table of segments, as `ReadLabels` does, and its rows, of which two that touch may have one class.

    Args:
        path: The file.
        header: See `segment_format`.
        label_space: The classes.
        video: See `ReadLabels`.
        notes: See `ReadLabels`.

    Returns:
        Labels of `label_space`, and the segments.

    Raises:
        AnnotationError: Every problem of the file.
    """
    problems: list[Problem] = []
    named = _named_segments(path, header, video, problems, notes)
    found = _label_segments(path, named, label_space, num_frames=video.num_frames, problems=problems)
    raise_problems(problems)
    return found


def is_in_seconds(path: Path) -> bool:
    """Return whether a file is a table of segments with times in seconds, of which only the video gives the frames.

    Raises:
        AnnotationError: The file cannot be read, or is in another encoding.
    """
    header = next((row for _, row in iterate_rows(path, []) if any(row)), [])
    columns = find_segment_columns(header)
    return columns is not None and columns.in_seconds


def _parse_rows(
    path: Path, header: Sequence[str], problems: list[Problem], notes: list[Problem]
) -> tuple[SegmentColumns, list[TimedSegment]]:
    """Parse a table of segments.

    Args:
        path: The file.
        header: The header that a message proposes.
        problems: The rows that lack a column are appended to it, or that there is another header.
        notes: The columns that are passed over are appended to it.

    Returns:
        The columns, and the segments in their order in the file, with the texts of start and stop.

    Raises:
        AnnotationError: The file cannot be read, or is in another encoding.
    """
    columns = expected = find_segment_columns(header)
    assert expected is not None
    rows = rows_with_header(path, header, problems)
    if not rows:
        return expected, []
    line, first = rows[0]
    columns = find_segment_columns(first)
    if columns is not None:
        rows = rows[1:]
        if tuple(first) != PREDICTED_SEGMENTS_HEADER:
            notes += ignored_note(path, line, columns.ignored)
    elif is_header_missing(path, line, first, header, problems):
        first, columns = [*header], expected
    else:
        problems.append(other_header(path, line, first, header))
        return expected, []
    of_rows: list[Problem] = []
    needed = columns.last + 1
    rows = whole_rows(path, rows, first, of_rows, num_needed=needed)
    problems += one_of_each_kind(of_rows)
    parsed = [TimedSegment(line, row[columns.start], row[columns.stop], row[columns.name]) for line, row in rows]
    return columns, parsed


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
        problems.append(Problem(path, line, f"start {start} is negative: the first frame is 0", fault="negative start"))
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
) -> tuple[np.ndarray, list[Segment]]:
    """Convert parsed segments to labels.

    Args:
        path: The file.
        segments: The segments, in any order.
        label_space: The classes.
        num_frames: T, the number of frames of the video; None for the last stop.
        problems: Segments that do not fit the classes, the video or each other are appended to it.

    Returns:
        Labels of `label_space`, and the segments in the order of their starts; empty where there are problems.
    """
    if num_frames is None:
        num_frames = max((stop for _, _, stop, _ in segments), default=0)
    of_rows = [
        beyond_the_end(path, line, f"segment [{start}, {stop}) {name}", stop, num_frames)
        for line, start, stop, name in segments
        if stop > num_frames
    ]
    segments = sorted(segments, key=lambda segment: segment[1:3])
    _report_overlaps(path, segments, label_space, of_rows)
    problems += one_of_each_kind(of_rows)
    indices = class_indices(path, [(line, name) for line, _, _, name in segments], label_space, problems)
    if problems:
        return label_space.unlabelled(0), []
    spans = zip(segments, indices, strict=True)
    found = [Segment(start, stop, index) for (_, start, stop, _), index in spans]
    if label_space.is_exclusive:
        return frames_from_segments(found, num_frames), found
    return presence_from_segments(found, num_frames, label_space), found


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
            is_same = canonical(name) == canonical(other[3])
            fault = "segments of a class overlap" if is_same else "segments overlap"
            problems.append(Problem(path, line, message + cause, fault))
        furthest[group] = max(segment, other, key=lambda of_group: of_group[2])


def _cause_of_overlap(name: str, other: str, index: int | None, label_space: LabelSpace) -> str:
    is_same = canonical(name) == canonical(other)
    if label_space.is_exclusive:
        return "a frame has one class" if is_same else ASK_WHETHER_INDEPENDENT
    if is_same or index is None:
        return "a frame has a class once, make one row of the two"
    return exclude_each_other(label_space, index)
