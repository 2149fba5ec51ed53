"""Label files: what people write by hand (`labels/<stem>.txt|.csv`) and what `framescribe label` writes.

Layouts, all UTF-8; T frames, numbered from 0, segments half-open [start, stop):

    <stem>.txt           one class name a line, one line a frame; an EMPTY line is an unlabelled frame
    <stem>.csv           start,stop,class; frames in no row are unlabelled; rows in any order
    labels.csv           stem,class; one class for all frames of a video, in place of a file for each one
    <stem>.frames.csv    frame,time_seconds,label,probability                       one row a frame
    <name>.live.csv      the same, row by row while the video is made; frames that were dropped have none
    <stem>.segments.csv  start,stop,start_seconds,stop_seconds,label,probability    every labelled frame is in a row

A reader gathers every problem of a file and raises them as one AnnotationError.
"""

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import (
    FRAMES,
    PREDICTED_FRAMES_HEADER,
    PREDICTED_SEGMENTS_HEADER,
    SEGMENTS,
    SEGMENTS_HEADER,
    VIDEO_LABELS,
    VIDEO_LABELS_HEADER,
    Span,
)
from pipeline.annotations.problems import AnnotationError, Problem, did_you_mean, read_lines
from pipeline.annotations.segments import Segment, frames_from_segments

MAX_FRAMES = 100_000_000  # 38 days at 30 frames a second: a larger number is a mistake, and would fill the memory

NamedFrames = list[tuple[int, str]]  # (line, class name) of each frame
NamedSegments = list[tuple[int, int, int, str]]  # (line, start, stop, class name)


def find_annotation(folder: Path, stem: str) -> Path | None:
    """The label file of the video `stem` in `folder`, or None. Raises AnnotationError if there are two."""
    found = [path for path in (Path(folder) / f"{stem}.csv", Path(folder) / f"{stem}.txt") if path.is_file()]
    if len(found) == 2:
        raise AnnotationError([Problem(found[0], None, f"and {found[1].name} both label {stem!r}: keep one of them")])
    return found[0] if found else None


def read_annotation(path: Path, label_space: LabelSpace, *, num_frames: int | None) -> np.ndarray:
    """Read `<stem>.txt` or `<stem>.csv` as labels int64 [T] of `label_space`.

    `num_frames` is the video's T; None takes it from the file (the last stop of a .csv).
    Raises AnnotationError with every problem of the file: one that cannot be read, wrong header, not integers, a
    negative, empty or overlapping segment, one beyond the video, an unknown class, more or fewer lines than frames.
    """
    path = Path(path)
    if path.suffix not in (".txt", ".csv"):
        raise AnnotationError([Problem(path, None, "is no label file: expected .txt or .csv")])
    problems: list[Problem] = []
    if path.suffix == ".txt":
        frames = [(line, name.strip()) for line, name in enumerate(read_lines(path), start=1)]
        labels = _label_frames(path, frames, label_space, num_frames=num_frames, problems=problems)
    else:
        segments = _parse_segments(path, SEGMENTS_HEADER, problems)
        labels = _label_segments(path, segments, label_space, num_frames=num_frames, problems=problems)
    _raise_problems(problems)
    return labels


def read_video_labels(path: Path, label_space: LabelSpace) -> dict[str, tuple[int, int]]:
    """Read labels.csv: of each stem, the index of its class and the line that says so.

    Raises AnnotationError with every problem of the file: one that cannot be read, wrong header, a row without a stem,
    a stem with two rows, an unknown class.
    """
    path = Path(path)
    problems: list[Problem] = []
    rows = _parse_rows(path, VIDEO_LABELS_HEADER, problems)
    lines: dict[str, int] = {}
    for line, (stem, _) in rows:
        if not stem:
            problems.append(Problem(path, line, "names no video: expected a stem and its class"))
        elif stem in lines:
            problems.append(Problem(path, line, f"{stem!r} is already on line {lines[stem]}: a video has one class"))
        lines.setdefault(stem, line)
    indices = _class_indices(path, [(line, name) for line, (_, name) in rows], label_space, problems)
    _raise_problems(problems)
    return {stem: (index, line) for (line, (stem, _)), index in zip(rows, indices, strict=True)}


def read_predicted(path: Path, label_space: LabelSpace, *, num_frames: int | None = None) -> np.ndarray:
    """Read labels int64 [T] from what `framescribe label` wrote, or from a label file of a data set.

    Raises AnnotationError as `read_annotation` does, and where the frames of a .frames.csv are not 0, 1, 2, ...
    """
    path = Path(path)
    problems: list[Problem] = []
    if path.name.endswith(FRAMES):
        frames = _parse_predicted_frames(path, problems)
        labels = _label_frames(path, frames, label_space, num_frames=num_frames, problems=problems)
    elif path.name.endswith(SEGMENTS):
        segments = _parse_segments(path, PREDICTED_SEGMENTS_HEADER, problems)
        labels = _label_segments(path, segments, label_space, num_frames=num_frames, problems=problems)
    else:
        return read_annotation(path, label_space, num_frames=num_frames)
    _raise_problems(problems)
    return labels


def read_spans(path: Path) -> list[Span]:
    """The segments of a `<stem>.segments.csv` by their times, in order; at least one.

    Raises AnnotationError with every problem of the file: one that cannot be read, wrong header, no segment, a time
    that is none, a segment that stops before it starts, or starts before the one above it stops.
    """
    path = Path(path)
    problems: list[Problem] = []
    spans: list[Span] = []
    for line, row in _parse_rows(path, PREDICTED_SEGMENTS_HEADER, problems):
        start, stop = (_time(path, line, name, row[i], problems) for i, name in ((2, "start"), (3, "stop")))
        if start is None or stop is None:
            continue
        if start > stop:
            problems.append(Problem(path, line, f"the segment ends at {stop} s, before it starts at {start} s"))
        elif spans and start < spans[-1].stop_seconds:
            above = spans[-1].stop_seconds
            problems.append(
                Problem(path, line, f"the segment starts at {start} s, before the last one ends at {above} s")
            )
        spans.append(Span(start, stop, row[4]))
    if not spans and not problems:
        problems.append(Problem(path, None, "has no segment: expected a row below the header"))
    _raise_problems(problems)
    return spans


def class_names_in(path: Path) -> set[str]:
    """The class names that a file of any of the layouts uses, for labels that come without a class list."""
    path = Path(path)
    problems: list[Problem] = []
    if path.suffix == ".txt":
        names = {line.strip() for line in read_lines(path)}
    elif path.name.endswith(FRAMES):
        names = {name for _, name in _parse_predicted_frames(path, problems)}
    elif path.name == VIDEO_LABELS:
        names = {name for _, (_, name) in _parse_rows(path, VIDEO_LABELS_HEADER, problems)}
    else:
        header = PREDICTED_SEGMENTS_HEADER if path.name.endswith(SEGMENTS) else SEGMENTS_HEADER
        names = {name for *_, name in _parse_segments(path, header, problems)}
    _raise_problems(problems)
    return names - {""}


def _raise_problems(problems: list[Problem]) -> None:
    if problems:
        raise AnnotationError(sorted(problems, key=lambda problem: problem.line or 0))


def _parse_rows(path: Path, header: Sequence[str], problems: list[Problem]) -> list[tuple[int, list[str]]]:
    """(line, fields) of each row below the header that has all its fields; empty lines are passed over."""
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
        cause = ": separate the columns by commas" if len(first) == 1 and re.search("[;\t]", first[0]) else ""
        problems.append(Problem(path, first_line, f"got the header {','.join(first)!r}, expected {expected!r}{cause}"))
        return []
    for line, row in rows:
        if len(row) != len(header):
            cause = " (put a class name that holds a comma in double quotes)" if len(row) > len(header) else ""
            problems.append(
                Problem(path, line, f"got {len(row)} columns, expected the {len(header)} of {expected}{cause}")
            )
    return [(line, row) for line, row in rows if len(row) == len(header)]


def _frame_number(path: Path, line: int, name: str, text: str, problems: list[Problem]) -> int | None:
    if re.fullmatch(r"[+-]?[0-9]+", text) and len(text) < 19:
        return int(text)
    cause = ": count frames, not seconds" if re.fullmatch(r"[+-]?[0-9]*[.:][0-9.:]*", text) else ""
    problems.append(Problem(path, line, f"{name} {text!r} is not a frame number{cause}"))
    return None


def _time(path: Path, line: int, name: str, text: str, problems: list[Problem]) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds):
        return seconds
    cause = ": it was written for ready features, which have no times; label the video itself" if not text else ""
    problems.append(Problem(path, line, f"{name}_seconds {text!r} is not a time in seconds{cause}"))
    return None


def _parse_predicted_frames(path: Path, problems: list[Problem]) -> NamedFrames:
    frames: NamedFrames = []
    for row_index, (line, (frame, _, name, _)) in enumerate(_parse_rows(path, PREDICTED_FRAMES_HEADER, problems)):
        if _frame_number(path, line, "frame", frame, problems) not in (None, row_index):
            problems.append(
                Problem(path, line, f"got frame {frame}, expected {row_index}: rows are missing or not in order")
            )
            break  # every row after it would be off as well
        frames.append((line, name))
    return frames


def _parse_segments(path: Path, header: Sequence[str], problems: list[Problem]) -> NamedSegments:
    """The rows whose numbers make a segment, in their order in the file; the others are added to `problems`."""
    segments: NamedSegments = []
    class_column = 4 if header == PREDICTED_SEGMENTS_HEADER else 2
    for line, row in _parse_rows(path, header, problems):
        start, stop = (_frame_number(path, line, name, row[i], problems) for i, name in enumerate(("start", "stop")))
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
    """Labels [T] of `segments`; what does not fit the classes, the video or each other is added to `problems`."""
    if num_frames is None:
        num_frames = max((stop for _, _, stop, _ in segments), default=0)
    for line, start, stop, name in segments:
        if stop > num_frames:
            message = f"segment [{start}, {stop}) {name} goes beyond the {num_frames} frames of the video"
            cause = "it was labelled at another frame rate, in another video, or counting from 1"
            problems.append(Problem(path, line, f"{message}: {cause}"))
    segments = sorted(segments, key=lambda segment: segment[1:3])
    furthest = None
    for segment in segments:
        line, start, stop, name = segment
        if furthest is not None and start < furthest[2]:
            other_line, other_start, other_stop, other_name = furthest
            other = f"[{other_start}, {other_stop}) {other_name} of line {other_line}"
            message = f"segment [{start}, {stop}) {name} overlaps {other}: a frame has one class"
            problems.append(Problem(path, line, message))
        furthest = segment if furthest is None or stop > furthest[2] else furthest
    indices = _class_indices(path, [(line, name) for line, _, _, name in segments], label_space, problems)
    if problems:
        return np.zeros(0, dtype=np.int64)
    spans = zip(segments, indices, strict=True)
    return frames_from_segments([Segment(start, stop, index) for (_, start, stop, _), index in spans], num_frames)


def _label_frames(
    path: Path, frames: NamedFrames, label_space: LabelSpace, *, num_frames: int | None, problems: list[Problem]
) -> np.ndarray:
    """Labels [T] of one name a frame ("" is unlabelled); what does not fit classes or video is added to `problems`."""
    if not frames and not problems:
        problems.append(Problem(path, None, "is empty: expected the label of each frame of the video"))
    elif num_frames is not None and len(frames) != num_frames and not problems:
        if len(frames) > num_frames and not any(name for _, name in frames[num_frames:]):
            cause = "an empty line is an unlabelled frame, delete those at the end"
        else:
            cause = "they were made at another frame rate or for another video"
        message = f"got {len(frames)} labels for {num_frames} frames in {path.name}: {cause}"
        problems.append(Problem(path, None, message))
    named = [(line, name) for line, name in frames if name]
    labels = label_space.unlabelled(len(frames))
    labels[[bool(name) for _, name in frames]] = _class_indices(path, named, label_space, problems)
    return labels


def _class_indices(path: Path, named_lines: NamedFrames, label_space: LabelSpace, problems: list[Problem]) -> list[int]:
    """The index of each name, 0 in place of one that is not a class; that is one problem, at the first of its lines."""
    indices: list[int] = []
    unknown: dict[str, list[int]] = {}
    for line, name in named_lines:
        index = label_space.index(name)
        indices.append(index or 0)
        if index is None:
            unknown.setdefault(name, []).append(line)
    for name, lines in unknown.items():
        more = f" (on {len(lines)} lines)" if len(lines) > 1 else ""
        is_index = name.isdigit() and not any(known.isdigit() for known in label_space.classes)
        cause = ": class names are expected, not numbers" if is_index else did_you_mean(name, label_space.classes)
        what = f"unknown class {name!r}" if name else "no class name"
        problems.append(Problem(path, min(lines), what + more + cause))
    return indices
