"""Workbooks (.xlsx): whether a file is one that can be read safely, and the values in its sheets.

A cell has what its formula gave when the workbook was saved.
"""

import re
import sys
import warnings
import zipfile
from collections.abc import Collection, Iterator, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from pipeline.annotations.problems import AnnotationError, Problem

WORKBOOK = ".xlsx"
ZIP, OLD_OFFICE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"  # the beginnings of .xlsx, and of .xls and what has a password
MAX_BYTES = 200 << 20  # of all parts of a workbook together, when they are unpacked; 50,000 events have 40 MB
MAX_ROWS = 1 << 20  # of all sheets together; a sheet of a spreadsheet program has no more
MAX_CELLS = 20_000_000  # with the empty ones, as if each row were as wide as the widest
ROWS_AT_ONCE = 64  # few, as often only the header is needed
START_BYTES = 4 << 10  # of a part of a workbook, in which XML declares its document type if it has one
DOCUMENT_TYPE = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)


class Sheet(NamedTuple):
    """A sheet of a workbook.

    Attributes:
        name: Its name.
        rows: The values of each row up to its last cell, also of empty rows, with None where there is no cell. The
            rows are read while they are iterated, before the next sheet.
    """

    name: str
    rows: Iterator[Sequence[Any]]


def read_sheets(path: Path, content: bytes) -> Iterator[Sheet]:
    """Yield the sheets of a workbook.

    Args:
        path: The file, for messages.
        content: Its content.

    Raises:
        AnnotationError: The file is not a workbook, is one of another kind, is damaged, or is larger than any table of
            labels. This may also be found while the rows are read.
    """
    _check(path, content)
    num_rows = num_cells = 0

    def rows_of(sheet: Any) -> Iterator[Sequence[Any]]:
        nonlocal num_rows, num_cells
        sheet.reset_dimensions()  # those that are stated may be too small, or immense
        rows = sheet.iter_rows(values_only=True)
        width = 0
        while some := _next_rows(path, rows):
            width = max(width, *map(len, some))
            num_rows += len(some)
            num_cells += len(some) * width  # a reader may fill up short rows, and keep all of them
            for number, most, noun in ((num_rows, MAX_ROWS, "rows"), (num_cells, MAX_CELLS, "cells")):
                if number > most:
                    _refuse(path, f"has more than {most:,} {noun}, also empty ones: no table of labels is so large")
            yield from some

    for sheet in _load(path, content):
        yield Sheet(sheet.title, rows_of(sheet))


def _load(path: Path, content: bytes) -> list[Any]:
    import openpyxl  # it takes a third of a second, and most tables are text

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions, which are not read
            book = openpyxl.load_workbook(BytesIO(content), read_only=True, data_only=True, keep_links=False)
            return list(book.worksheets)
    except Exception as error:  # openpyxl raises whatever a damaged file makes its parts raise
        _refuse_damaged(path, error)


def _next_rows(path: Path, rows: Iterator[Sequence[Any]]) -> list[Sequence[Any]]:
    """Return the next rows; none at the end."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about dates that Excel does not show either
            return [*islice(rows, ROWS_AT_ONCE)]
    except Exception as error:
        _refuse_damaged(path, error)


def _check(path: Path, content: bytes) -> None:
    """Check, before anything is unpacked, that a workbook is one, and that its parts cannot fill the memory."""
    if content.startswith(OLD_OFFICE):
        _refuse(
            path, "is an old workbook (.xls) or has a password, expected .xlsx or text: save it as .xlsx without one"
        )
    if not content.startswith(ZIP):
        _refuse(path, "is not a workbook, expected .xlsx: it is another file with this name, or is damaged")
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            parts = archive.infolist()
            size = sum(part.file_size for part in parts)
            if size > MAX_BYTES:
                most = f"expected at most {MAX_BYTES >> 20:,}"
                _refuse(path, f"unpacks to {size >> 20:,} MB, {most}: no table of labels is so large")
            _check_names(path, archive.namelist())
            for part in parts:
                with archive.open(part) as file:
                    if DOCUMENT_TYPE.search(file.read(START_BYTES).replace(b"\0", b"")):
                        _refuse(path, "has a document type (DOCTYPE), which no workbook has; it is not read")
    except AnnotationError:
        raise
    except Exception as error:  # each kind of compression has errors of its own
        _refuse_damaged(path, error)


def _check_names(path: Path, names: Collection[str]) -> None:
    if "[Content_Types].xml" not in names:
        kind = "an OpenDocument sheet" if "mimetype" in names else "a zip file"
        _refuse(path, f"is {kind}, expected .xlsx or text: save it as .xlsx")


def _refuse_damaged(path: Path, error: Exception) -> NoReturn:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if "int_max_str_digits" in str(error):  # Python's own message is about the settings of Python
        reason = f"it has a number of more than {sys.get_int_max_str_digits():,} digits"
    _refuse(path, f"is not a workbook that can be read, it is damaged or cut off: {reason}")


def _refuse(path: Path, message: str) -> NoReturn:
    raise AnnotationError([Problem(path, None, message)]) from None
