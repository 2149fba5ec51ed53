"""Columns of a table that are named after classes."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.annotations.formats.parsing import unknown_cause
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import Problem, shorten
from pipeline.files import canonical
from pipeline.text.wording import listed

MAX_NAMES = 8  # in one message


class CellFaults:
    """The cells of columns of classes that cannot be read: one problem for all cells of a column."""

    def __init__(self, path: Path, expected: str) -> None:
        """Collect the faults of a file.

        Args:
            path: The file.
            expected: What the cells should have, for the message.
        """
        self._path, self._expected = path, expected
        self._cells: dict[str, list[tuple[int, str]]] = {}  # line and text, by the name of the column

    def add(self, line: int, name: str, text: str) -> None:
        """Add the fault of a cell in the column `name`."""
        self._cells.setdefault(name, []).append((line, text))

    def problems(self) -> list[Problem]:
        """Return the problems, each with the first line that has it."""
        return [self._problem(name, cells) for name, cells in self._cells.items()]

    def _problem(self, name: str, cells: Sequence[tuple[int, str]]) -> Problem:
        line, text = cells[0]
        others = " and others" if len({text for _, text in cells}) > 1 else ""
        message = f"got {text!r}{others} for {name!r}{_on(cells)}, expected {self._expected}"
        return Problem(self._path, line, message, "cells")


def _on(lines: Sequence[object]) -> str:
    return f" (on {len(lines):,} lines)" if len(lines) > 1 else ""


def find_columns(
    path: Path, line: int, names: Sequence[str], label_space: LabelSpace, problems: list[Problem]
) -> list[int]:
    """Find the column of each class.

    Args:
        path: The file.
        line: The line of the header.
        names: The names of the columns, in any order.
        label_space: The classes.
        problems: Columns that are missing, unknown or there twice are appended to it.

    Returns:
        The index in `names` of each class; those that are missing are left out.
    """
    unknown = [name for name in names if label_space.index(name) is None]
    if unknown:
        problems.append(Problem(path, line, _describe_unknown(unknown, label_space), fault="unknown column"))
    positions: dict[str, int] = {}
    for position, name in enumerate(names):
        if positions.setdefault(canonical(name), position) != position and name not in unknown:
            problems.append(Problem(path, line, f"the class {name!r} has two columns: delete one of them"))
    missing = [name for name in label_space.classes if canonical(name) not in positions]
    if missing:
        shown = listed([*map(repr, missing)], MAX_NAMES)
        problems.append(Problem(path, line, f"there is no column for {shown}: expected one for each class"))
    return [positions[canonical(name)] for name in label_space.classes if canonical(name) in positions]


def _describe_unknown(names: Sequence[str], label_space: LabelSpace) -> str:
    if len(names) == 1:
        (name,) = names
        cause = unknown_cause(name, label_space) if name else ": expected the name of a class"
        return f"the column {name!r} is no class{cause}"
    known = listed([*map(repr, label_space.classes)], MAX_NAMES)
    shown = listed([repr(shorten(name)) for name in names], MAX_NAMES)
    return f"the columns {shown} are no classes: there are {known}"
