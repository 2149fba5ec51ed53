"""`<stem>.frames.csv` of classes that overlap: frame,time_seconds,labels, and a column for each class; a row per frame.

`labels` has the names of the classes of a frame, joined by the SEPARATOR, and the column of a class has its
probability. A frame that was not decoded has neither.

Shapes: T frames, K classes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.formats.base import VideoFrames
from pipeline.annotations.formats.class_columns import CellFaults, find_columns
from pipeline.annotations.formats.delimited import iterate_rows
from pipeline.annotations.formats.frame_numbers import FrameNumbers
from pipeline.annotations.formats.parsing import NamedFrames, label_frames, raise_problems
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import OVERLAPPING_FRAMES_START
from pipeline.annotations.problems import AnnotationError, Problem

FIRST_CLASS = len(OVERLAPPING_FRAMES_START)  # the index of the first column of a class
START = ",".join(OVERLAPPING_FRAMES_START)


class _Header(NamedTuple):
    """The header of a file.

    Attributes:
        line: Its line.
        names: The names of the columns of classes.
    """

    line: int
    names: list[str]


def has_sets(path: Path) -> bool:
    """Return whether a .frames.csv is of classes that overlap.

    Raises:
        AnnotationError: The file cannot be read, or is not UTF-8.
    """
    first = next((row for _, row in iterate_rows(path, []) if any(row)), [])
    return tuple(first[:FIRST_CLASS]) == OVERLAPPING_FRAMES_START


def class_names(path: Path) -> set[str]:
    """Read the classes that a file has columns for."""
    problems: list[Problem] = []
    header, _ = _open(path, problems)
    raise_problems(problems)
    return set(header.names)


def read(path: Path, label_space: LabelSpace, *, video: VideoFrames, notes: list[Problem]) -> np.ndarray:
    """Read the labels of a file, see `ReadLabels`."""
    return _read(path, label_space, num_frames=video.num_frames, may_skip=False)[0]


def read_with_gaps(path: Path, label_space: LabelSpace) -> tuple[np.ndarray, list[int]]:
    """Read the labels of a file in which frames have no row.

    Returns:
        The labels int8 [.., K] of the frames that have a row, and the numbers of these frames.
    """
    return _read(path, label_space, num_frames=None, may_skip=True)


def _read(
    path: Path, label_space: LabelSpace, *, num_frames: int | None, may_skip: bool
) -> tuple[np.ndarray, list[int]]:
    problems: list[Problem] = []
    header, rows = _open(path, problems)
    find_columns(path, header.line, header.names, label_space, problems)
    numbers = FrameNumbers(path, problems, may_skip=may_skip)
    frames: NamedFrames = []
    is_decoded: list[bool] = []
    for line, row in rows:
        if not numbers.follow(line, row[0]):
            break  # all rows that follow would be reported as well
        frames.append((line, row[FIRST_CLASS - 1]))
        is_decoded.append(_is_decoded(row))
    labels = label_frames(path, frames, label_space, num_frames=num_frames, problems=problems)
    raise_problems(problems)
    labels[~np.array(is_decoded, dtype=bool)] = label_space.unlabelled(1)
    return labels, numbers.found


def read_probabilities(path: Path, label_space: LabelSpace) -> np.ndarray:
    """Read the probabilities of a file.

    Args:
        path: The file.
        label_space: The K classes.

    Returns:
        float32 [T, K]; NaN where a frame was not decoded.

    Raises:
        AnnotationError: Every problem of the file: it cannot be read, columns are missing or unknown, frames are
            missing, a cell is not a probability, or is empty although the frame was decoded.
    """
    problems: list[Problem] = []
    header, rows = _open(path, problems)
    columns = find_columns(path, header.line, header.names, label_space, problems)
    faults = CellFaults(path, "a probability from 0 to 1")
    values = []
    numbers = FrameNumbers(path, problems)
    for line, row in rows:
        if not numbers.follow(line, row[0]):
            break
        cells = row[FIRST_CLASS:]
        is_decoded = _is_decoded(row)
        of_frame = [None if is_decoded and not cells[column] else _probability(cells[column]) for column in columns]
        for column, value in zip(columns, of_frame, strict=True):
            if value is None:
                faults.add(line, header.names[column], cells[column])
        values.append([np.nan if value is None else value for value in of_frame])
    raise_problems(problems + faults.problems())
    return np.array(values, dtype=np.float32).reshape(-1, label_space.num_classes)


def _is_decoded(row: Sequence[str]) -> bool:
    """Return whether a row has labels or a probability."""
    return any(row[FIRST_CLASS - 1 :])


def _probability(text: str) -> float | None:
    """Return the probability in a cell, NaN where it is empty; None where it is none."""
    if not text:
        return np.nan
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def _open(path: Path, problems: list[Problem]) -> tuple[_Header, Iterator[tuple[int, list[str]]]]:
    """Return the header of a file, and its rows, which append to `problems` what is wrong with them.

    Raises:
        AnnotationError: The file cannot be read, or has another header.
    """
    rows = ((line, row) for line, row in iterate_rows(path, problems) if any(row))
    line, header = next(rows, (None, []))
    raise_problems(problems)
    if line is None:
        raise AnnotationError([Problem(path, None, f"is empty: expected a header that begins with {START!r}")])
    if tuple(header[:FIRST_CLASS]) != OVERLAPPING_FRAMES_START:
        cause = "a model whose classes exclude each other wrote it, and those that are expected overlap"
        expected = f"expected one that begins with {START!r}, and has a column for each class"
        raise AnnotationError([Problem(path, line, f"got the header {','.join(header)!r}, {expected}: {cause}")])
    return _Header(line, header[FIRST_CLASS:]), _whole_rows(path, rows, len(header), problems)


def _whole_rows(
    path: Path, rows: Iterator[tuple[int, list[str]]], num_columns: int, problems: list[Problem]
) -> Iterator[tuple[int, list[str]]]:
    for line, row in rows:
        if len(row) != num_columns:
            problems.append(Problem(path, line, f"got {len(row)} columns, expected the {num_columns} of the header"))
        yield line, (row + [""] * num_columns)[:num_columns]
