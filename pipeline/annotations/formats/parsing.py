"""Parsing that the layouts of label files share: tables, numbers of frames, names of classes, segments.

A reader collects all problems of a file and raises them as one AnnotationError. Most functions therefore take a list,
`problems`, to which they append.

Shapes: T frames.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.formats.base import AnnotationFormat
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import MAX_OF_KIND, AnnotationError, Problem, did_you_mean, read_lines
from pipeline.annotations.segments import Segment, frames_from_segments

MAX_OTHERWISE_COUNTED = 2  # frames by which decoders differ over the same video
MAX_FRAMES = 100_000_000  # 38 days at 30 frames per second: a larger number is a mistake and would fill the memory

NamedFrames = list[tuple[int, str]]  # (line, class name) of each frame
NamedSegments = list[tuple[int, int, int, str]]  # (line, start, stop, class name)


def raise_problems(problems: list[Problem]) -> None:
    """Raise an AnnotationError with the problems in the order of their lines, if there are any."""
    if problems:
        raise AnnotationError(sorted(problems, key=lambda problem: problem.line or 0))


def parse_rows(path: Path, header: Sequence[str], problems: list[Problem]) -> list[tuple[int, list[str]]]:
    """Parse a CSV file; empty lines are skipped.

    Args:
        path: The file.
        header: The expected header.
        problems: Faults of the file are appended to it.

    Returns:
        The line number and the fields of each row below the header that has as many fields as the header.

    Raises:
        AnnotationError: The file cannot be read, or is not UTF-8.
    """
    reader = csv.reader(read_lines(path), strict=True)
    try:
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader if any(row)]
    except csv.Error as error:
        problems.append(Problem(path, reader.line_num, f"is not CSV: {error}, perhaps a double quote is left open"))
        return []
    expected = ",".join(header)
    if not rows:
        problems.append(Problem(path, None, f"is empty: expected the header {expected!r}"))
        return []
    first_line, first = rows[0]
    if tuple(first) == tuple(header):
        rows = rows[1:]
    elif first[0].isdigit() and len(first) == len(header):
        problems.append(Problem(path, first_line, f"the header is missing: expected {expected!r} before the first row"))
    else:
        got = f"got the header {','.join(first)!r}, expected {expected!r}"
        problems.append(Problem(path, first_line, got + _header_cause(first, header)))
        return []
    for line, row in rows:
        if len(row) != len(header):
            cause = " (put a class name that holds a comma in double quotes)" if len(row) > len(header) else ""
            problems.append(
                Problem(path, line, f"got {len(row)} columns, expected the {len(header)} of {expected}{cause}")
            )
    return [(line, row) for line, row in rows if len(row) == len(header)]


def _header_cause(first: Sequence[str], header: Sequence[str]) -> str:
    """Return the likely cause of another first row than `header`, with a colon before it; "" where it is not known."""
    columns = re.split("[;\t]", first[0]) if len(first) == 1 else first
    if len(columns) == 2 and len(header) == 3:
        return ": a class for each frame belongs into a .txt, the class alone on each line"
    return ": separate the columns by commas" if len(columns) > len(first) else ""


def frame_number(path: Path, line: int, name: str, text: str, problems: list[Problem]) -> int | None:
    """Parse a number of frames.

    Args:
        path: The file.
        line: The line of the row.
        name: The name of the column.
        text: The field.
        problems: It gets one problem more where the field is not a whole number.

    Returns:
        The number; None where the field is not a whole number. 30.0 is 30: pandas writes columns with gaps so.
    """
    if len(text) < 19 and (whole := re.fullmatch(r"([+-]?[0-9]+)(\.0*)?", text)):
        return int(whole[1])
    cause = ": count frames, not seconds" if re.fullmatch(r"[+-]?[0-9]*[.:][0-9.:]*", text) else ""
    problems.append(Problem(path, line, f"{name} {text!r} is not a frame number{cause}"))
    return None


def segment_format(
    suffix: str, header: Sequence[str], *, class_column: int, is_of_data_set: bool = True, has_length: bool = True
) -> AnnotationFormat:
    """Make a layout that is a table of segments, whose first two columns are start and stop.

    Args:
        suffix: The end of the file name, after the stem.
        header: The names of the columns.
        class_column: The index of the column with the class names.
        is_of_data_set: See `AnnotationFormat`.
        has_length: See `AnnotationFormat`.

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
        start, stop = (frame_number(path, line, name, row[i], problems) for i, name in enumerate(("start", "stop")))
        if start is None or stop is None:
            continue
        if start < 0:
            problems.append(Problem(path, line, f"start {start} is negative: the first frame is 0"))
        elif start >= stop:
            cause = "is empty: stop is the frame after the last one" if start == stop else "ends before it starts"
            problems.append(Problem(path, line, f"segment [{start}, {stop}) {cause}"))
        elif stop > MAX_FRAMES:
            problems.append(
                Problem(path, line, f"stop {stop} is more frames than any video has: are these timestamps?")
            )
        else:
            segments.append((line, start, stop, row[class_column]))
    return segments


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
        Labels int64 [T]; empty where there are problems.
    """
    if num_frames is None:
        num_frames = max((stop for _, _, stop, _ in segments), default=0)
    for line, start, stop, name in segments:
        if stop > num_frames:
            message = f"segment [{start}, {stop}) {name} goes beyond the {num_frames} frames of the video"
            cause = "it was labelled at another frame rate, in another video, or counting from 1"
            if _is_otherwise_counted(stop, num_frames):
                cause = "another decoder counted otherwise, or it was labelled counting from 1"
            problems.append(Problem(path, line, f"{message}: {cause}", fault="segment beyond the end"))
    segments = sorted(segments, key=lambda segment: segment[1:3])
    furthest = None
    for segment in segments:
        line, start, stop, name = segment
        if furthest is not None and start < furthest[2]:
            other_line, other_start, other_stop, other_name = furthest
            other = f"[{other_start}, {other_stop}) {other_name} of line {other_line}"
            message = f"segment [{start}, {stop}) {name} overlaps {other}: a frame has one class"
            problems.append(Problem(path, line, message, fault="segments overlap"))
        furthest = segment if furthest is None or stop > furthest[2] else furthest
    indices = class_indices(path, [(line, name) for line, _, _, name in segments], label_space, problems)
    if problems:
        return np.zeros(0, dtype=np.int64)
    spans = zip(segments, indices, strict=True)
    return frames_from_segments([Segment(start, stop, index) for (_, start, stop, _), index in spans], num_frames)


def label_frames(
    path: Path, frames: NamedFrames, label_space: LabelSpace, *, num_frames: int | None, problems: list[Problem]
) -> np.ndarray:
    """Convert one class name per frame to labels.

    Args:
        path: The file.
        frames: The line and the class name of each frame; "" for an unlabelled frame.
        label_space: The classes.
        num_frames: The number of frames of the video; None accepts any number of names.
        problems: Names that do not fit the classes or the video are appended to it.

    Returns:
        Labels int64, one for each of `frames`.
    """
    if not frames and not problems:
        problems.append(Problem(path, None, "is empty: expected the label of each frame of the video"))
    elif num_frames is not None and len(frames) != num_frames and not problems:
        if len(frames) > num_frames and not any(name for _, name in frames[num_frames:]):
            cause = "an empty line is an unlabelled frame, delete those at the end"
        else:
            cause = _length_cause(len(frames), num_frames)
        problems.append(length_problem(path, len(frames), num_frames, cause))
    named = [(line, name) for line, name in frames if name]
    labels = label_space.unlabelled(len(frames))
    labels[[bool(name) for _, name in frames]] = class_indices(path, named, label_space, problems)
    return labels


def length_problem(path: Path, num_labels: int, num_frames: int, cause: str) -> Problem:
    """Describe that a file has another number of labels than its video has frames."""
    message = f"got {num_labels} labels for {num_frames} frames in {path.name}: {cause}"
    return Problem(path, None, message, fault="labels of another length")


def _length_cause(num_labels: int, num_frames: int) -> str:
    if _is_otherwise_counted(num_labels, num_frames):
        return "another decoder counted otherwise"
    frames_per_label = round(num_frames / max(1, num_labels))
    is_whole = abs(num_frames - num_labels * frames_per_label) <= frames_per_label
    if is_whole and frames_per_label > 1 and num_labels >= 5:  # of fewer, a whole ratio is chance
        return f"they were made at another frame rate, with one label for every {frames_per_label} frames"
    return "they were made at another frame rate or for another video"


def _is_otherwise_counted(counted: int, num_frames: int) -> bool:
    """Return whether two counts are of the same video: decoders differ over frames at its start and at its end."""
    difference = abs(counted - num_frames)
    return difference <= MAX_OTHERWISE_COUNTED and 10 * difference <= num_frames


def class_indices(path: Path, named_lines: NamedFrames, label_space: LabelSpace, problems: list[Problem]) -> list[int]:
    """Look up the indices of class names.

    Args:
        path: The file.
        named_lines: The line and the class name of each frame or segment.
        label_space: The classes.
        problems: Each name that is not a class is appended to it once, with the first line that has the name.

    Returns:
        The index of each name; 0 where it is not a class.
    """
    indices: list[int] = []
    unknown: dict[str, list[int]] = {}
    for line, name in named_lines:
        index = label_space.index(name)
        indices.append(index or 0)
        if index is None:
            unknown.setdefault(name, []).append(line)
    for position, (name, lines) in enumerate(unknown.items()):
        more = f" (on {len(lines)} lines)" if len(lines) > 1 else ""
        is_index = name.isdigit() and not any(known.isdigit() for known in label_space.classes)
        cause = ": class names are expected, not numbers"
        if not is_index:  # a guess is slow, and more than the first problems are not printed
            cause = did_you_mean(name, label_space.classes) if position < MAX_OF_KIND else ""
        what = f"unknown class {name!r}" if name else "no class name"
        problems.append(Problem(path, min(lines), what + more + cause))
    return indices
