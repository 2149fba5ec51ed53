"""Columns of 0 and 1 beside other columns: which of a table's columns are classes, and their labels.

Shapes: T frames, C columns, K classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.annotations.foreign.dense import BACKGROUND_NAMES
from pipeline.annotations.foreign.values import shown
from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT
from pipeline.text.wording import listed

# As programs write them, and no other words as in `formats.one_hot`: the columns beside the classes may have answers.
CELLS = {
    "0": ABSENT, "0.0": ABSENT, "False": ABSENT, "1": PRESENT, "1.0": PRESENT, "True": PRESENT,
    "": IGNORE_INDEX, "-1": IGNORE_INDEX, "-1.0": IGNORE_INDEX,
}  # fmt: skip
MAX_ROWS_OF_KIND = 10_000  # that are remembered: few rows of 0 and 1 differ
MAX_NAMES = 3  # in a note


class Classes(NamedTuple):
    """The classes of a table.

    Attributes:
        names: The K names.
        labels: int8 [T, K]: PRESENT, ABSENT or IGNORE_INDEX.
        notes: What was left out, in whole sentences.
    """

    names: list[str]
    labels: np.ndarray
    notes: list[str]

    def background(self) -> str | None:
        """Return the class that stands for none of the others: it has such a name, and is where no other class is."""
        is_known = (self.labels != IGNORE_INDEX).all(axis=1)
        is_present = self.labels == PRESENT
        for index, name in enumerate(self.names):
            has_others = np.delete(is_present, index, axis=1).any(axis=1)
            is_none = (is_present[:, index] == ~has_others)[is_known].all()
            if name.casefold() in BACKGROUND_NAMES and is_present[:, index].any() and is_none:
                return name
        return None

    def may_overlap(self) -> bool | None:
        """Return None where each frame that is known has exactly one class, so that they may exclude each other."""
        is_known = (self.labels != IGNORE_INDEX).all(axis=1)
        return None if ((self.labels == PRESENT).sum(axis=1) == 1)[is_known].all() else True


class ZeroOneColumns:
    """The columns of a table that may be classes: a column is none from the first cell on that no class has."""

    def __init__(self, header: Sequence[str], first: int) -> None:
        """Begin with all columns.

        Args:
            header: The names of the columns of the table.
            first: The number of columns at its start that are no classes.
        """
        self._names = dict(enumerate(header[first:], first))  # by the position in a row
        self._refused: list[tuple[str, str, int]] = []  # name, cell, line
        self._labels = bytearray()  # int8 [T, C]
        self._codes: dict[tuple[str, ...], bytes] = {}
        self._filled: set[int] = set()  # the positions of columns with a cell that is not empty
        self._num_rows = 0

    def add(self, line: int, row: Sequence[str]) -> None:
        """Add a row; [] where its cells are not known."""
        cells = tuple([row[position] for position in self._names]) if row else ("",) * len(self._names)
        if (code := self._codes.get(cells)) is None:
            if wrong := [number for number, cell in enumerate(cells) if cell not in CELLS]:
                self._refuse(wrong, cells, line)
                cells = tuple(cell for cell in cells if cell in CELLS)
            self._filled.update(position for position, cell in zip(self._names, cells, strict=True) if cell)
            code = np.array([CELLS[cell] for cell in cells], dtype=np.int8).tobytes()
            if len(self._codes) < MAX_ROWS_OF_KIND:
                self._codes[cells] = code
        self._labels += code
        self._num_rows += 1

    def _refuse(self, wrong: Sequence[int], cells: Sequence[str], line: int) -> None:
        self._labels = bytearray(np.delete(self._matrix(), wrong, axis=1).tobytes())
        positions = [*self._names]
        self._refused += [(self._names.pop(positions[number]), cells[number], line) for number in wrong]
        self._codes.clear()

    def _matrix(self) -> np.ndarray:
        return np.frombuffer(bytes(self._labels), dtype=np.int8).reshape(self._num_rows, len(self._names))

    def classes(self) -> Classes:
        """Return the columns with a name and a cell that is not empty; a column of the background also has a 1."""
        labels, names = self._matrix(), [*self._names.values()]
        is_background = [name.casefold() == BACKGROUND_NAMES[0] for name in names]
        is_filled = np.array([position in self._filled for position in self._names], dtype=bool)
        is_used = np.where(is_background, (labels == PRESENT).any(axis=0), is_filled)
        is_class = is_used & np.array([bool(name) for name in names], dtype=bool)
        empty = [shown(name) for name, used in zip(names, is_used, strict=True) if name and not used]
        notes = [f"Columns that are never used are left out: {listed(empty, MAX_NAMES)}."] if empty else []
        if self._refused:
            # The last ones first: a column that is one of a class but for a cell shows it late.
            cells = [f"{shown(name)} (it has {shown(cell)} on line {line})" for name, cell, line in self._refused[::-1]]
            notes.append(f"Columns with other cells than 0, 1 and -1 are left out: {listed(cells, MAX_NAMES)}.")
        kept = [name for name, is_kept in zip(names, is_class, strict=True) if is_kept]
        return Classes(kept, labels[:, is_class], notes)
