"""Tables with the number of a frame and its phase, or 0 and 1 for each tool: `Frame<tab>Phase`, as of Cholec80.

Unlike label files (`formats.frame_table`), which have every frame of one video, these may lack rows, and say which.
A row may stand for several frames: where only every nth frame is in the table, each row stands for the frames from its
own up to that of the next row.

Shapes: R rows, K classes.
"""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.dense import (
    BACKGROUND_NAMES,
    FrameTable,
    check_twice,
    frame_recording,
    head_rows,
    open_table,
    whole_rows,
)
from pipeline.annotations.foreign.document import Document, Loss
from pipeline.annotations.foreign.sources import refuse
from pipeline.annotations.foreign.values import shown
from pipeline.annotations.foreign.zero_one import CELLS, Classes, ZeroOneColumns
from pipeline.annotations.formats.columns import numbers_frames
from pipeline.annotations.label_space import IGNORE_INDEX

SUFFIXES = (".txt", ".tsv", ".csv")
ENDS = re.compile(r"[-_](phase|tool|timestamp|labels?|annotations?)$", re.IGNORECASE)  # of Cholec80's file names
PHASE = ("phase", "step", "class", "label", "behavior", "behaviour", "activity")  # columns of names
UNLABELLED = ("", "-1")
NUMBER = re.compile(r"[0-9]{1,12}(\.0*)?")
MAX_CLASSES = 10_000
MAX_ROWS = 20_000_000  # of a table with those that are missing; a week has 18 million frames
MAX_LABELS = 100_000_000  # of all classes


class _Rows(NamedTuple):
    """The rows of a table.

    Attributes:
        frames: int64 [R], the number of each.
        lines: The line of each.
        cells: The cells of each after the number; [] where they are not known.
    """

    frames: np.ndarray
    lines: list[int]
    cells: list[list[str]]


def _looks_like(path: Path, text: str) -> bool:
    header, *rows = head_rows(path, text) or [[]]
    if path.suffix.lower() not in SUFFIXES or not header or not numbers_frames(header[0]) or len(rows) < 2:
        return False
    frames = [row[0] for row in rows]
    is_table = all(len(row) == len(header) > 1 and NUMBER.fullmatch(row[0]) for row in rows)
    if not is_table or (len(header) > 2 and not all(cell in CELLS for row in rows for cell in row[1:])):
        return False
    is_dense = path.suffix.lower() == ".csv" and float(frames[1]) - float(frames[0]) == 1
    return not (is_dense and all(row[1] in CELLS for row in rows))  # that is a table of the format "one-hot"


def _read(path: Path) -> Document:
    table = open_table(path)
    document = Document(path, [], notes=[*table.notes])
    if not numbers_frames(table.header[0]) or len(table.header) < 2:
        refuse(path, f"got the first column {shown(table.header[0])}, expected 'Frame' and at least one more", 1)
    rows = _read_rows(path, table, document.losses)
    step = _find_step(path, rows)
    positions = (rows.frames - rows.frames[0]) // step
    num_labels = int(positions[-1]) + 1
    has_phases = _has_phases(table.header, rows)
    num_columns = 1 if has_phases else len(table.header) - 1
    if num_labels > MAX_ROWS or num_labels * num_columns > MAX_LABELS:
        got = f"has frames up to {rows.frames[-1]:,} in {len(rows.lines):,} rows and {num_columns:,} columns"
        refuse(path, f"{got}, expected at most {MAX_LABELS:,} labels and {MAX_ROWS:,} rows, also missing ones")
    document.losses += _missing_rows(positions, rows, step)
    line_of = dict(zip(positions.tolist(), rows.lines, strict=True))
    classes = _phases(rows, path) if has_phases else _tools(table.header, rows)
    check_twice(path, table.header_line, classes.names)
    if not classes.names:
        refuse(path, " ".join(["has no column with a class, or with 0 and 1.", *classes.notes]))
    labels = np.full((num_labels, *classes.labels.shape[1:]), IGNORE_INDEX, dtype=classes.labels.dtype)
    labels[positions] = classes.labels
    document.notes += [*classes.notes, *_describe(rows.frames, step)]
    first = 0 if rows.frames[0] == 1 else int(rows.frames[0])
    document.recordings.append(
        frame_recording(
            ENDS.sub("", path.stem) or path.stem,
            labels,
            classes.names,
            place=lambda label: f"line {line_of[label]}",
            first=first,
            step=step,
        )
    )
    document.classes = classes.names
    if labels.ndim == 1:
        document.may_overlap = False
        document.background = next((name for name in classes.names if name.casefold() in BACKGROUND_NAMES), None)
    else:
        document.may_overlap, document.background = classes.may_overlap(), classes.background()
    return document


def _read_rows(path: Path, table: FrameTable, losses: list[Loss]) -> _Rows:
    frames, lines, cells = [], [], []
    wrong: list[tuple[int, str]] = []
    for line, row in whole_rows(path, table, losses):
        if row and NUMBER.fullmatch(row[0]):
            frames.append(int(row[0].partition(".")[0]))
            lines.append(line)
            cells.append(row[1:])
        elif row:
            wrong.append((line, row[0]))
    if len(wrong) >= len(frames):
        line, cell = wrong[0] if wrong else (table.header_line, "")
        cause = ": it is a time" if ":" in cell else ""
        refuse(
            path, f"got {shown(cell)} in the column {table.header[0]!r}, expected the number of a frame{cause}", line
        )
    kind = "rows have no number of a frame, and are left out"
    losses += [Loss(kind, f"line {line}", shown(cell)) for line, cell in wrong]
    return _Rows(np.array(frames, dtype=np.int64), lines, cells)


def _find_step(path: Path, rows: _Rows) -> int:
    """Return the number of frames from a row to the next one: the most frequent one.

    Raises:
        AnnotationError: The frames do not ascend, or not by multiples of it.
    """
    steps = np.diff(rows.frames)
    if not len(steps):
        return 1
    step = Counter(steps.tolist()).most_common(1)[0][0]
    is_wrong = (steps <= 0) | (steps % max(step, 1) != 0)
    if is_wrong.any():
        after = int(is_wrong.argmax())
        expected = f"{rows.frames[after] + max(step, 1)}: the frames of the rows ascend by equal steps"
        refuse(path, f"got frame {rows.frames[after + 1]}, expected {expected}", rows.lines[after + 1])
    return int(step)


def _missing_rows(positions: np.ndarray, rows: _Rows, step: int) -> list[Loss]:
    return [
        Loss(
            "places in the table have no row, and their frames count as unlabelled",
            f"after line {rows.lines[row]}",
            f"frames {rows.frames[row] + step} to {rows.frames[row + 1] - 1}",
        )
        for row in np.flatnonzero(np.diff(positions) > 1).tolist()
    ]


def _has_phases(header: list[str], rows: _Rows) -> bool:
    """Return whether the second column has the name of a class; otherwise each column has 0 and 1 for one class."""
    are_classes = all(cells[0] in CELLS for cells in rows.cells)
    return len(header) == 2 and (not are_classes or header[1].casefold() in PHASE)


def _phases(rows: _Rows, path: Path) -> Classes:
    cells = [row[0] for row in rows.cells]
    names = sorted({*cells} - {*UNLABELLED})
    if len(names) > MAX_CLASSES:
        refuse(path, f"has {len(names):,} different classes, expected fewer: is it a table of numbers?")
    index_of = {name: index for index, name in enumerate(names)} | dict.fromkeys(UNLABELLED, IGNORE_INDEX)
    return Classes(names, np.array([index_of[cell] for cell in cells], dtype=np.int64), [])


def _tools(header: list[str], rows: _Rows) -> Classes:
    columns = ZeroOneColumns(header[1:], 0)
    for line, row in zip(rows.lines, rows.cells, strict=True):
        columns.add(line, row)
    return columns.classes()


def _describe(frames: np.ndarray, step: int) -> list[str]:
    notes = []
    if frames[0] == 1:
        notes.append("Its frames are numbered from 1.")
    elif frames[0] > 1:
        notes.append(f"It begins at frame {frames[0]}; those before count as unlabelled.")
    if step > 1:
        notes.append(f"It has a row for every {step} frames, and each row stands for {step} frames.")
    return notes


FORMAT = ForeignFormat(
    name="frame-table",
    title="a table of frames and phases, or of frames and 0 and 1 for each tool (Cholec80)",
    suffixes=SUFFIXES,
    keeps="classes, the label of each frame or of every nth one, overlapping classes, frames without a row",
    loses="read: columns with other cells; it is not written",
    looks_like=_looks_like,
    read=_read,
    names_video=False,
)
