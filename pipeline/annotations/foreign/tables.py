"""Reading tables: comma-, semicolon- or tab-separated text of any usual encoding, and sheets of a workbook (.xlsx).

Nothing is decided about a table's content. Cells are text; a formula's last result is its cell.
"""

import csv
import datetime
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.annotations.foreign.cells import column_name, unprotect
from pipeline.annotations.foreign.sources import MAX_BYTES, head_lines, refuse
from pipeline.annotations.problems import AnnotationError, read_content, read_text
from pipeline.annotations.workbook import MAX_CELLS, OLD_OFFICE, ZIP, read_sheets

DELIMITERS = "\t;,"  # in the order in which they are preferred
MAX_HEADER_ROW = 200  # no preamble is longer
SNIFFED_LINES, SNIFFED_CHARACTERS = 100, 1 << 16
PEEKED_ROWS = 80
FALLBACK_ENCODING = "windows-1252"


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        number: The number of its line in the file, or of the row in the sheet, from 1.
        cells: Its cells as text, without blanks at their ends.
    """

    number: int
    cells: list[str]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: The name of the sheet; "" for text.
        rows: The rows, also empty ones.
        delimiter: What separates the cells; None for a sheet.
        notes: What a user should know about how it was read, in whole sentences.
    """

    name: str
    rows: list[Row]
    delimiter: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def decimal_comma(self) -> bool:
        """Whether a comma in a number is a decimal point, as it cannot separate cells."""
        return self.delimiter != ","

    @property
    def where(self) -> str:
        """The beginning of a place in it: its sheet, where it has a name."""
        return f"sheet {self.name!r}, " if self.name else ""

    @property
    def unit(self) -> str:
        """What its rows are called in a place: "line" of text, "row" of a sheet."""
        return "row" if self.delimiter is None else "line"


class Header(NamedTuple):
    """The row of a table that names its columns.

    Attributes:
        position: Its index in the rows of the table.
        columns: The index of each column by its `column_name`; the first one where a name occurs twice.
        names: The names of all columns, as they are written.
    """

    position: int
    columns: dict[str, int]
    names: list[str]

    def find(self, *names: str) -> int | None:
        """Return the index of the first of the columns that there is; None where there is none of them."""
        return next((self.columns[name] for name in names if name in self.columns), None)

    def cell(self, row: Row, *names: str) -> str:
        """Return a cell of a row by the names of its column; "" where the column or the cell is missing."""
        index = self.find(*names)
        return row.cells[index] if index is not None and index < len(row.cells) else ""


def read_table(path: Path, sheet: str | None = None) -> Table:
    """Read a table.

    Args:
        path: The file.
        sheet: The name of a sheet; None for the first one. Text has one table, whatever the name.

    Raises:
        AnnotationError: See `read_tables`; or there is no such sheet.
    """
    tables = read_tables(path, only=None if sheet is None else [sheet], first=sheet is None)
    if not tables:
        refuse(path, f"has no sheet {sheet!r}" if sheet is not None else "has no sheet")
    return tables[0]


def read_tables(path: Path, *, only: Collection[str] | None = None, first: bool = False) -> list[Table]:
    """Read all tables of a file.

    Args:
        path: The file.
        only: The names of the sheets to read; None for all.
        first: Whether the first of them is enough.

    Raises:
        AnnotationError: The file cannot be read, or is not text of a usual encoding; of a workbook, see `read_sheets`.
    """
    content = read_content(path)
    if content.startswith((ZIP, OLD_OFFICE)):
        return _read_workbook(path, content, only, first)
    return [_read_text_table(path)]


def peek(path: Path, text: str) -> list[list[str]]:
    """Return the first rows of a file that may be a table; no row where it is none. It raises nothing.

    Args:
        path: The file.
        text: The beginning of its content, decoded.
    """
    try:
        if text.startswith("PK"):
            content = read_content(path)
            return [_texts(row) for sheet in read_sheets(path, content) for row in islice(sheet.rows, PEEKED_ROWS)]
        head = "\n".join(head_lines(text)[:PEEKED_ROWS])
        return [row.cells for row in text_rows(path, head, find_delimiter(head))]
    except AnnotationError:
        return []


def find_header(rows: Sequence[Sequence[str]], *needed: Collection[str]) -> Header | None:
    """Find the first row that names columns, at the top or below a preamble.

    Args:
        rows: The cells of the rows.
        needed: For each column that it must have, the names that the column may have, see `column_name`.

    Returns:
        The header; None where none of the first MAX_HEADER_ROW rows is one.
    """
    for index, row in enumerate(rows[:MAX_HEADER_ROW]):
        names = [column_name(cell) for cell in row]
        if all(not set(names).isdisjoint(choice) for choice in needed):
            columns = {name: position for position, name in reversed([*enumerate(names)]) if name}
            return Header(index, columns, list(row))
    return None


def _read_text_table(path: Path) -> Table:
    text, notes = decode(path)
    if not text.strip():
        refuse(path, "is empty, expected a table")
    delimiter = find_delimiter(text)
    if text.count(delimiter) + text.count("\n") > MAX_CELLS:  # empty ones take as much memory and time as others
        refuse(path, f"has more than {MAX_CELLS:,} cells, also empty ones: no table of events is so large")
    return Table("", [*text_rows(path, text, delimiter)], delimiter, notes)


def text_rows(path: Path, text: str, delimiter: str, *, strict: bool = False) -> Iterator[Row]:
    """Yield the rows of a table that is text, also empty ones.

    Args:
        path: The file, for messages.
        text: Its content.
        delimiter: What separates the cells.
        strict: Whether a quotation mark that is left open is refused, and one within a cell. Comments of events have
            such marks.

    Raises:
        AnnotationError: The text is not CSV.
    """
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=strict)
    line = 1
    try:
        for cells in reader:
            yield Row(line, [unprotect(cell).strip() for cell in cells])
            line = reader.line_num + 1
    except csv.Error as error:
        refuse(path, f"is not CSV: {error}, perhaps a double quote is left open", line)


def decode(path: Path) -> tuple[str, tuple[str, ...]]:
    """Decode text that is UTF-8, says otherwise, or was saved by an old spreadsheet on Windows.

    Returns:
        The text, and the notes of `Table`.

    Raises:
        AnnotationError: The file cannot be read, or is not text of such an encoding.
    """
    try:
        return read_text(path, max_bytes=MAX_BYTES), ()
    except AnnotationError as error:
        try:
            text = read_text(path, encoding=FALLBACK_ENCODING, max_bytes=MAX_BYTES)
        except AnnotationError:
            raise error from None
    return text, ("It is not UTF-8 and was read as Windows-1252: check names with other letters than a to z.",)


def find_delimiter(text: str) -> str:
    """Return the delimiter with which most of the first lines have the same number of cells, the larger one of equals.

    Lines may come before the header; in label files none does, and there the header counts, see
    `formats.delimited.find_separator`.
    """
    lines = text[:SNIFFED_CHARACTERS].splitlines()[:SNIFFED_LINES]

    def score(delimiter: str) -> tuple[int, int]:
        counts = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter) if row)
        return max(((num_rows, width) for width, num_rows in counts.items() if width > 1), default=(0, 0))

    try:
        return max(DELIMITERS, key=score)
    except csv.Error:
        return ","


def _read_workbook(path: Path, content: bytes, only: Collection[str] | None, first: bool) -> list[Table]:
    tables: list[Table] = []
    for sheet in read_sheets(path, content):
        if only is None or sheet.name in only:
            tables.append(Table(sheet.name, [Row(number, _texts(row)) for number, row in enumerate(sheet.rows, 1)]))
            if first:
                break
    return tables


def _texts(row: Sequence[Any]) -> list[str]:
    return [cell.strip() if type(cell) is str else _text(cell) for cell in row]


def _text(cell: object) -> str:
    """Return the text of a cell: a date is one of ISO 8601, a time of the day is `hours:minutes:seconds`."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, datetime.timedelta):
        minutes, rest = divmod(cell.total_seconds(), 60)
        return f"{int(minutes // 60)}:{int(minutes % 60):02}:{rest:09.6f}"
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(sep=" ")
    return str(cell).strip()
