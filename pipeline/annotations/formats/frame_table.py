"""Tables with the number and the class of each frame, such as frame,class: 0, 1, 2, ... or 1, 2, 3, ...

An empty cell is a frame without a label. Where classes overlap, a cell has the names of all classes of its frame,
joined by the SEPARATOR.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.formats.base import VideoFrames
from pipeline.annotations.formats.columns import find_frame_columns, ignored_note
from pipeline.annotations.formats.delimited import Row, iterate_rows
from pipeline.annotations.formats.frame_numbers import FrameNumbers
from pipeline.annotations.formats.parsing import NamedFrames, label_frames, one_of_each_kind, raise_problems
from pipeline.annotations.formats.rows import whole_rows
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import Problem

MIN_ROWS = 3  # from which on frames at equal distances are no chance


def is_frame_table(path: Path) -> bool:
    """Return whether the header of a table names the columns of a frame and of its class.

    Raises:
        AnnotationError: The file cannot be read, or is in another encoding.
    """
    header = next((row for _, row in iterate_rows(path, []) if any(row)), [])
    return find_frame_columns(header) is not None


def class_names(path: Path) -> set[str]:
    """Read the texts of the column of classes; it raises as `read` does."""
    problems: list[Problem] = []
    names = {name for _, name in _parse(path, problems, [])}
    raise_problems(problems)
    return names


def read(path: Path, label_space: LabelSpace, *, video: VideoFrames, notes: list[Problem]) -> np.ndarray:
    """Read a table with the class of each frame, see `ReadLabels`."""
    problems: list[Problem] = []
    frames = _parse(path, problems, notes)
    labels = label_frames(path, frames, label_space, num_frames=video.num_frames, problems=problems)
    raise_problems(problems)
    return labels


def _parse(path: Path, problems: list[Problem], notes: list[Problem]) -> NamedFrames:
    rows = [(line, row) for line, row in iterate_rows(path, problems) if any(row)]
    if not rows:
        return []
    line, header = rows[0]
    columns = find_frame_columns(header)
    assert columns is not None
    notes += ignored_note(path, line, columns.ignored)
    of_rows: list[Problem] = []
    rows = whole_rows(path, rows[1:], header, of_rows, num_needed=columns.frame + 1)
    problems += one_of_each_kind(of_rows)
    padded = [(line, [*row, *[""] * (len(header) - len(row))]) for line, row in rows]
    return number_frames(
        path, [(line, [row[columns.frame], row[columns.name]]) for line, row in padded], problems, notes
    )


def number_frames(path: Path, rows: Sequence[Row], problems: list[Problem], notes: list[Problem]) -> NamedFrames:
    """Return the line and the class of each frame.

    Args:
        path: The file.
        rows: The line, and the number and the class of each frame.
        problems: It is appended to it that a frame has no row, or that rows are not in order.
        notes: It is appended to it where frames are counted from 1.
    """
    numbers = FrameNumbers(path, problems, may_be_from_1=True)
    frames: NamedFrames = []
    for line, (number, name) in rows:
        if not numbers.follow(line, number):
            if step := _step([row[0] for _, row in rows]):
                cause = "repeat each label up to the next one, or import the file"
                message = f"has a row for every {step}th frame, expected one for each frame: {cause}"
                problems[-1] = Problem(path, line, message)
            break  # all rows that follow would be reported as well
        frames.append((line, name))
    notes += numbers.notes()
    return frames


def _step(numbers: Sequence[str]) -> int | None:
    """Return the distance of numbers that all have the same one, other than 1; otherwise None."""
    if len(numbers) < MIN_ROWS or not all(number.isdigit() and len(number) < 19 for number in numbers):
        return None
    steps = set(np.diff([int(number) for number in numbers]).tolist())
    step = steps.pop()
    return step if not steps and step > 1 else None
