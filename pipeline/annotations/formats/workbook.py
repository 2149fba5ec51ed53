"""The rows of the first sheet of a workbook (.xlsx), as text."""

import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from pipeline.annotations.problems import AnnotationError, Problem, read_content

WORKBOOK = ".xlsx"
MAX_BYTES = 100 << 20  # of all parts of a workbook together, when they are unpacked
MAX_CELLS = 50_000_000
START_BYTES = 1 << 10  # of a part of a workbook, in which XML declares its type if it has one


def read_workbook(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each row of the first sheet; a row without any cell has no field.

    What a formula gave when the workbook was saved counts as its cell. A whole number has no decimals, whatever the
    sheet shows.

    Args:
        path: The file.

    Raises:
        AnnotationError: The file cannot be read, is no workbook, or is larger than any table of labels.
    """
    import openpyxl  # it takes a third of a second, and most label files are text

    content = BytesIO(read_content(path))
    _check(path, content)
    num_cells = 0
    try:
        workbook = openpyxl.load_workbook(content, read_only=True, data_only=True, keep_links=False)
        sheet = workbook.worksheets[0]
        for line, row in enumerate(sheet.iter_rows(values_only=True), start=1):
            num_cells += len(row)
            if num_cells > MAX_CELLS:
                raise _refused(path, f"has more than {MAX_CELLS:,} cells, more than any table of labels")
            cells = [_text(value) for value in row]
            yield line, cells if any(cells) else []
    except AnnotationError:
        raise
    except Exception as error:  # a damaged workbook raises anything
        raise _refused(path, f"cannot be read as a workbook ({type(error).__name__}): is it damaged?") from None


def sheet_notes(path: Path) -> list[Problem]:
    """Say that a workbook which was read has sheets that were not, if it has."""
    with zipfile.ZipFile(path) as parts:
        count = sum(name.startswith("xl/worksheets/") and name.endswith(".xml") for name in parts.namelist())
    message = f"has {count} sheets: the first one is read, and the others are passed over"
    return [Problem(path, None, message)] if count > 1 else []


def _check(path: Path, content: BytesIO) -> None:
    """Raise an AnnotationError where a file is no workbook, or its parts could fill the memory."""
    try:
        with zipfile.ZipFile(content) as parts:
            size = sum(part.file_size for part in parts.infolist())
            if size > MAX_BYTES:
                raise _refused(path, f"has {size >> 20:,} MB of content, more than any table of labels")
            for part in parts.infolist():
                with parts.open(part) as file:
                    if b"<!DOCTYPE" in file.read(START_BYTES).upper().replace(b"\0", b""):
                        raise _refused(path, "declares XML entities, which no workbook needs: save it again")
    except AnnotationError:
        raise
    except Exception:  # a damaged archive raises anything
        message = "is no workbook: is it an .xls with another name, damaged, or protected by a password?"
        raise _refused(path, f"{message} Save it as .xlsx or 'CSV UTF-8'") from None


def _refused(path: Path, message: str) -> AnnotationError:
    return AnnotationError([Problem(path, None, message)])


def _text(value: Any) -> str:
    """Return the text of a cell: a number without decimals that say nothing, and true and false as 1 and 0."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).strip()
