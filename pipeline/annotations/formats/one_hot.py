"""`<stem>.csv` with a column for each class, in any order, and a row for each frame.

A cell is 1 where the frame has the class, and 0 where it has not; an empty cell is a class that nobody has looked for.
A first column `frame`, or without a name, may count the frames: 0, 1, 2, ...

Shapes: T frames, C columns of classes, K classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.formats.base import VideoFrames
from pipeline.annotations.formats.class_columns import CellFaults, find_columns
from pipeline.annotations.formats.columns import (
    counts_frames,
    find_frame_columns,
    find_segment_columns,
    is_time,
    plain,
)
from pipeline.annotations.formats.delimited import iterate_rows
from pipeline.annotations.formats.frame_numbers import FrameNumbers
from pipeline.annotations.formats.parsing import (
    ASK_WHETHER_INDEPENDENT,
    length_cause,
    length_problem,
    raise_problems,
    report_clashes,
)
from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.annotations.problems import Problem
from pipeline.text.wording import counted

CELLS = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), PRESENT),  # pandas writes 1.0 beside gaps
    **dict.fromkeys(("0", "0.0", "false", "no"), ABSENT),
    **dict.fromkeys(("", "-1", "-1.0"), IGNORE_INDEX),
}
EXPECTED = "1 (present), 0 (absent) or an empty cell (nobody looked)"
NO_CLASS = frozenset({"background", "none", "other", "no behavior", "no behaviour"})


class _Columns(NamedTuple):
    """The columns of a table.

    Attributes:
        line: The line of the header.
        width: The number of all columns.
        has_numbers: Whether the first column numbers the frames.
        classes: The indices of the columns of classes.
        names: The names of these columns.
    """

    line: int
    width: int
    has_numbers: bool
    classes: tuple[int, ...]
    names: tuple[str, ...]


class _Table(NamedTuple):
    """A parsed table.

    Attributes:
        columns: Its columns.
        lines: The line of each row.
        cells: int8 [T, C]: PRESENT, ABSENT or IGNORE_INDEX.
        is_broken: Whether the numbers of frames show that rows are missing or not in order.
    """

    columns: _Columns
    lines: list[int]
    cells: np.ndarray
    is_broken: bool


def is_one_hot(path: Path, label_space: LabelSpace | None = None) -> bool:
    """Return whether a table has a column for each class; otherwise it is of segments or frames, or no label file.

    Its header names a class, or its first row has nothing but the cells that such a table may have.

    Args:
        path: The file.
        label_space: The classes; None where they are not known.

    Raises:
        AnnotationError: The file cannot be read, or is in another encoding.
    """
    rows = (row for _, row in iterate_rows(path, []) if any(row))
    header, first = next(rows, []), next(rows, [])
    columns = _find_columns(0, header, label_space)
    is_class = [_is_class(name, label_space) for name in columns.names]
    is_number = any(name.isdigit() and not known for name, known in zip(columns.names, is_class, strict=True))
    if not columns.names or find_segment_columns(header) is not None or is_number:
        return False
    if label_space is not None and find_frame_columns(header) is not None and not any(is_class):
        return False
    cells = [first[index] for index in columns.classes if index < len(first)]
    return any(is_class) or (bool(cells) and all(cell.casefold() in CELLS for cell in cells))


def class_names(path: Path) -> set[str]:
    """Read the names of the columns of classes; it raises as `read` does."""
    problems: list[Problem] = []
    table = _parse(path, None, problems, [])
    raise_problems(problems)
    return set(table.columns.names)


def read(path: Path, label_space: LabelSpace, *, video: VideoFrames, notes: list[Problem]) -> np.ndarray:
    """Read a table with a column for each class, see `ReadLabels`.

    Exclusive classes have exactly one 1 in each row; a row without any cell is an unlabelled frame. A column for frames
    without a class, such as `background`, is no class unless the list of classes has it.
    """
    problems: list[Problem] = []
    table = _without_blank_end(_parse(path, label_space, problems, notes), video.num_frames)
    names, line = table.columns.names, table.columns.line
    of_no_class = [index for index, name in enumerate(names) if _is_no_class(name, label_space)]
    named = [index for index in range(len(names)) if index not in of_no_class]
    columns = find_columns(path, line, [names[index] for index in named], label_space, problems)
    columns = [named[column] for column in columns]
    if not len(table.cells):
        problems.append(Problem(path, None, "has no row below the header: expected one for each frame"))
    elif video.num_frames is not None and len(table.cells) != video.num_frames and not table.is_broken:
        cause = length_cause(len(table.cells), video.num_frames)
        problems.append(length_problem(path, len(table.cells), video.num_frames, cause))
    if len(columns) < label_space.num_classes:
        raise_problems(problems)
    labels = table.cells[:, columns]
    if label_space.is_exclusive:
        shown = [*label_space.classes, *(names[index] for index in of_no_class)]
        labels = _one_class_each(path, table.lines, table.cells[:, [*columns, *of_no_class]], shown, problems)
        labels[labels >= label_space.num_classes] = IGNORE_INDEX
    else:
        report_clashes(path, table.lines, labels, label_space, problems)
    raise_problems(problems)
    for index in of_no_class:
        notes.append(_no_class_note(path, line, names[index], table.cells[:, index], label_space))
    return labels


def _is_class(name: str, label_space: LabelSpace | None) -> bool:
    return label_space is not None and label_space.index(name) is not None


def _is_no_class(name: str, label_space: LabelSpace) -> bool:
    return plain(name) in NO_CLASS and not _is_class(name, label_space)


def _no_class_note(path: Path, line: int, name: str, cells: np.ndarray, label_space: LabelSpace) -> Problem:
    count = counted(int((cells == PRESENT).sum()), "frame", separator=",")
    result = "without a label" if label_space.is_exclusive else "without a class"
    message = f"the column {name!r} is not in the list of classes: {count} with a 1 in it counted as {result}"
    return Problem(path, line, message)


def _find_columns(line: int, header: Sequence[str], label_space: LabelSpace | None) -> _Columns:
    """Find the columns of classes: all but the numbers of frames in the first column, and times."""
    has_numbers = bool(header) and counts_frames(header[0]) and not _is_class(header[0], label_space)
    is_of_class = [_is_class(name, label_space) or not is_time(name) for name in header]
    classes = tuple(i for i, is_kept in enumerate(is_of_class) if is_kept and not (i == 0 and has_numbers))
    return _Columns(line, len(header), has_numbers, classes, tuple(header[i] for i in classes))


def _parse(path: Path, label_space: LabelSpace | None, problems: list[Problem], notes: list[Problem]) -> _Table:
    """Parse a table, whatever its columns are; `problems` gets what is wrong with its rows."""
    rows = iterate_rows(path, problems)
    columns = _find_columns(*next((line, row) for line, row in rows if any(row)), label_space)
    numbers = FrameNumbers(path, problems, may_be_from_1=True)
    codes: dict[tuple[str, ...], bytes] = {}  # of the rows so far: few rows differ
    lines: list[int] = []
    content = bytearray()
    faults = CellFaults(path, EXPECTED)
    widths: dict[int, list[int]] = {}  # lines by their number of cells, where it is wrong
    for line, row in rows:
        if not row:
            if columns.width > 1:
                continue
            row = [""]  # the only cell is empty
        if len(row) != columns.width:
            widths.setdefault(len(row), []).append(line)
        if columns.has_numbers:
            numbers.follow(line, row[0])
        cells = tuple(row[i].casefold() if i < len(row) else "" for i in columns.classes)
        if cells not in codes:
            codes[cells] = _code(line, cells, columns, label_space, faults)
        elif codes[cells] == b"":
            _code(line, cells, columns, label_space, faults)
        lines.append(line)
        content += codes[cells] or bytes(len(cells))
    expected = f"expected the {columns.width} of the header"
    for width, of_width in widths.items():
        others = f" (on {len(of_width):,} lines)" if len(of_width) > 1 else ""
        problems.append(Problem(path, of_width[0], f"got {width} columns{others}, {expected}"))
    problems.extend(faults.problems())
    notes += numbers.notes()
    labels = np.frombuffer(bytes(content), np.int8).reshape(-1, len(columns.names))
    return _Table(columns, lines, labels, numbers.is_broken)


def _code(
    line: int, cells: tuple[str, ...], columns: _Columns, label_space: LabelSpace | None, faults: CellFaults
) -> bytes:
    """Return the labels of a row, int8 [C], as bytes; none where a cell of a class is at fault."""
    values = [CELLS.get(cell) for cell in cells]
    is_whole = True
    for name, cell, value in zip(columns.names, cells, values, strict=True):
        of_class = label_space is None or _is_class(name, label_space) or _is_no_class(name, label_space)
        if value is None and of_class:  # other columns are reported as such
            faults.add(line, name, cell)
            is_whole = False
    return np.array([IGNORE_INDEX if value is None else value for value in values], np.int8).tobytes() * is_whole


def _without_blank_end(table: _Table, num_frames: int | None) -> _Table:
    """Leave out empty lines at the end of a table of a single column that has more rows than the video has frames."""
    kept = len(table.cells)
    while table.columns.width == 1 and num_frames is not None and kept > num_frames and table.cells[kept - 1] < ABSENT:
        kept -= 1
    return table._replace(lines=table.lines[:kept], cells=table.cells[:kept])


def _one_class_each(
    path: Path, lines: list[int], cells: np.ndarray, names: Sequence[str], problems: list[Problem]
) -> np.ndarray:
    """Convert the cells of exclusive classes with these names, int8 [T, K], to labels int64 [T]."""
    is_present = cells == PRESENT
    num_present = is_present.sum(axis=1)
    is_labelled = (cells != IGNORE_INDEX).any(axis=1)
    for is_wrong, what in ((num_present > 1, "several classes"), (is_labelled & (num_present == 0), "no class")):
        (frames,) = np.nonzero(is_wrong)
        if len(frames):
            shown = ", ".join(repr(names[index]) for index in np.flatnonzero(is_present[frames[0]]).tolist())
            which = f" ({shown})" if shown else ""
            others = f", as {len(frames) - 1:,} more have" if len(frames) > 1 else ""
            message = f"frame {frames[0]} has {what}{which}{others}: {ASK_WHETHER_INDEPENDENT}"
            problems.append(Problem(path, lines[frames[0]], message))
    return np.where(is_labelled, is_present.argmax(axis=1), IGNORE_INDEX)
