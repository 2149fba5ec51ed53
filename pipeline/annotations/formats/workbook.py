"""The rows of the first sheet of a workbook, as text."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.annotations.problems import Problem, read_content
from pipeline.annotations.workbook import read_sheets


def read_workbook(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each row of the first sheet; a row without any cell has no field.

    Other rows have at least as many cells as the first one that has any, which is the header. A whole number has no
    decimals, whatever the sheet shows.

    Args:
        path: The file.

    Raises:
        AnnotationError: The file cannot be read; or see `read_sheets`.
    """
    width = 0
    for sheet in read_sheets(path, read_content(path)):
        for line, row in enumerate(sheet.rows, start=1):
            cells = [_text(value) for value in row]
            if any(cells):
                width = width or len(cells)
                yield line, cells + [""] * (width - len(cells))
            else:
                yield line, []
        break


def sheet_notes(path: Path) -> list[Problem]:
    """Say that a workbook which was read has sheets that were not, if it has."""
    with zipfile.ZipFile(path) as parts:
        count = sum(name.startswith("xl/worksheets/") and name.endswith(".xml") for name in parts.namelist())
    message = f"has {count} sheets: the first one is read, and the others are passed over"
    return [Problem(path, None, message)] if count > 1 else []


def _text(value: Any) -> str:
    """Return the text of a cell: a number without decimals that say nothing, and true and false as 1 and 0.

    Other programs write true and false as words, and so `foreign.tables` has them.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).strip()
