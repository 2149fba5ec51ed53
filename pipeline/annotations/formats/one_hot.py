"""`<stem>.csv` with a column for each class, in any order, and a row for each frame.

A cell is 1 where the frame has the class, and 0 where it has not; an empty cell is a class that nobody has looked for.
A first column `frame`, or without a name, may count the frames: 0, 1, 2, ...

Shapes: T frames, C columns of classes, K classes.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.formats.class_columns import CellFaults, find_columns
from pipeline.annotations.formats.parsing import (
    ASK_WHETHER_INDEPENDENT,
    frame_number,
    iterate_rows,
    length_cause,
    length_problem,
    raise_problems,
    report_clashes,
)
from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.annotations.layouts import SEGMENTS_HEADER
from pipeline.annotations.problems import Problem

FRAME_COLUMNS = ("", "frame")
CELLS = {"0": ABSENT, "0.0": ABSENT, "1": PRESENT, "1.0": PRESENT, "": IGNORE_INDEX}  # pandas writes 1.0 beside gaps
EXPECTED = "1 (present), 0 (absent) or an empty cell (nobody looked)"


class _Table(NamedTuple):
    """A parsed table.

    Attributes:
        header_line: The line of the header.
        names: The names of the columns of classes.
        lines: The line of each row.
        cells: int8 [T, C]: PRESENT, ABSENT or IGNORE_INDEX.
    """

    header_line: int
    names: list[str]
    lines: list[int]
    cells: np.ndarray


def is_one_hot(path: Path, label_space: LabelSpace | None = None) -> bool:
    """Return whether a .csv has a column for each class; otherwise it is a table of segments, or no label file.

    Its header names a class, or its first row has nothing but the cells that such a table may have.

    Args:
        path: The file.
        label_space: The classes; None where they are not known.

    Raises:
        AnnotationError: The file cannot be read, or is not UTF-8.
    """
    rows = (row for _, row in iterate_rows(path, []) if any(row))
    header, first = next(rows, []), next(rows, [])
    names = header[_has_frame_numbers(header, label_space) :]
    is_class = [label_space is not None and label_space.index(name) is not None for name in names]
    is_number = any(name.isdigit() and not known for name, known in zip(names, is_class, strict=True))
    if not names or tuple(header) == SEGMENTS_HEADER or is_number:
        return False
    cells = first[len(header) - len(names) :]
    return any(is_class) or (bool(cells) and all(cell in CELLS for cell in cells))


def class_names(path: Path) -> set[str]:
    """Read the names of the columns of classes; it raises as `read` does."""
    problems: list[Problem] = []
    table = _parse(path, None, problems)
    raise_problems(problems)
    return set(table.names)


def read(path: Path, label_space: LabelSpace, *, num_frames: int | None) -> np.ndarray:
    """Read a table with a column for each class, see `ReadLabels`.

    Exclusive classes have exactly one 1 in each row; a row without any cell is an unlabelled frame.
    """
    problems: list[Problem] = []
    table = _parse(path, label_space, problems)
    columns = find_columns(path, table.header_line, table.names, label_space, problems)
    if num_frames is not None and len(table.cells) != num_frames:
        cause = length_cause(len(table.cells), num_frames)
        problems.append(length_problem(path, len(table.cells), num_frames, cause))
    if len(columns) < label_space.num_classes:
        raise_problems(problems)
    labels = table.cells[:, columns]
    if label_space.is_exclusive:
        labels = _one_class_each(path, table.lines, labels, label_space, problems)
    else:
        report_clashes(path, table.lines, labels, label_space, problems)
    raise_problems(problems)
    return labels


def _has_frame_numbers(header: list[str], label_space: LabelSpace | None) -> bool:
    is_class = label_space is not None and bool(header) and label_space.index(header[0]) is not None
    return bool(header) and header[0].casefold() in FRAME_COLUMNS and not is_class


def _parse(path: Path, label_space: LabelSpace | None, problems: list[Problem]) -> _Table:
    """Parse a table, whatever its columns are; `problems` gets what is wrong with its rows."""
    rows = iterate_rows(path, problems)
    header_line, header = next((line, row) for line, row in rows if any(row))
    first_column = int(_has_frame_numbers(header, label_space))
    names = header[first_column:]
    codes: dict[tuple[str, ...], bytes] = {}  # of the rows so far: few rows differ
    lines: list[int] = []
    content = bytearray()
    faults = CellFaults(path, EXPECTED)
    widths: dict[int, list[int]] = {}  # lines by their number of cells, where it is wrong
    is_counted = bool(first_column)
    for line, row in rows:
        if not row:
            if len(header) > 1:
                continue
            row = [""]  # the only cell is empty
        if len(row) != len(header):
            widths.setdefault(len(row), []).append(line)
        if is_counted:
            is_counted = _is_next(path, line, row[0], len(lines), problems)
        cells = tuple(row[first_column:])
        if cells not in codes:
            given = cells[: len(names)] + ("",) * (len(names) - len(cells))
            values = [CELLS.get(cell) for cell in given]
            for name, cell, value in zip(names, given, values, strict=True):
                if value is None:
                    faults.add(line, name, cell)
            code = np.array([IGNORE_INDEX if value is None else value for value in values], np.int8).tobytes()
            if None not in values:
                codes[cells] = code
        else:
            code = codes[cells]
        lines.append(line)
        content += code
    expected = f"expected the {len(header)} of the header"
    for width, of_width in widths.items():
        others = f" (on {len(of_width):,} lines)" if len(of_width) > 1 else ""
        problems.append(Problem(path, of_width[0], f"got {width} columns{others}, {expected}"))
    problems.extend(faults.problems())
    return _Table(header_line, names, lines, np.frombuffer(bytes(content), np.int8).reshape(-1, len(names)))


def _is_next(path: Path, line: int, text: str, expected: int, problems: list[Problem]) -> bool:
    """Return whether a cell has the number of the next frame; otherwise that is a problem."""
    number = frame_number(path, line, "frame", text, problems)
    if number is not None and number != expected:
        cause = "rows are missing or not in order" if expected else "the first frame is 0"
        problems.append(Problem(path, line, f"got frame {number}, expected {expected}: {cause}"))
    return number == expected


def _one_class_each(
    path: Path, lines: list[int], cells: np.ndarray, label_space: LabelSpace, problems: list[Problem]
) -> np.ndarray:
    """Convert the cells of exclusive classes, int8 [T, K], to labels int64 [T]."""
    is_present = cells == PRESENT
    num_present = is_present.sum(axis=1)
    is_labelled = label_space.is_labelled(cells).any(axis=1)
    for is_wrong, what in ((num_present > 1, "several classes"), (is_labelled & (num_present == 0), "no class")):
        (frames,) = np.nonzero(is_wrong)
        if len(frames):
            names = ", ".join(repr(label_space.classes[index]) for index in np.flatnonzero(is_present[frames[0]]))
            which = f" ({names})" if names else ""
            others = f", as {len(frames) - 1:,} more have" if len(frames) > 1 else ""
            message = f"frame {frames[0]} has {what}{which}{others}: {ASK_WHETHER_INDEPENDENT}"
            problems.append(Problem(path, lines[frames[0]], message))
    return np.where(is_labelled, is_present.argmax(axis=1), IGNORE_INDEX)
