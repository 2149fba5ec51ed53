"""The rows of tables as people and spreadsheets write them, whatever separates their columns.

Columns are separated by commas, tabs or semicolons; a workbook (.xlsx) has rows of its own, see `workbook`. Empty cells
after the last column of the header, as spreadsheets leave them, are passed over.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from pipeline.annotations.formats.workbook import read_workbook
from pipeline.annotations.problems import Problem, read_lines
from pipeline.annotations.workbook import WORKBOOK

COMMA = ","
SEPARATORS = (COMMA, "\t", ";")  # the first one counts where several give as many columns
LOOKED_AT = 5  # rows that must have as many columns as the header, for a separator to be taken
SEPARATOR_LINE = re.compile(r"sep=(.)", re.IGNORECASE)  # Excel reads it as a first line, and some programs write it

Row = tuple[int, list[str]]


def iterate_rows(path: Path, problems: list[Problem]) -> Iterator[Row]:
    """Yield the line number and the fields of each row of a table; an empty line has no field.

    Args:
        path: The file.
        problems: That the file is no table is appended to it, and ends the rows.

    Raises:
        AnnotationError: The file cannot be read, or is in another encoding.
    """
    path = Path(path)
    if path.suffix == WORKBOOK:
        return _without_empty_ends(read_workbook(path))
    return _without_empty_ends(_parse(path, problems))


def _parse(path: Path, problems: list[Problem]) -> Iterator[Row]:
    lines = read_lines(path)
    separator, first = find_separator(lines)
    # With their ends: a cell in quotes that goes over two lines is not joined to a name that nobody wrote.
    reader = csv.reader((f"{line}\n" for line in lines[first:]), delimiter=separator, strict=True)
    try:
        for row in reader:
            yield first + reader.line_num, [field.strip() for field in row]
    except csv.Error as error:
        message = f"is not CSV: {error}, perhaps a double quote is left open"
        problems.append(Problem(path, first + reader.line_num, message))


def find_separator(lines: Sequence[str]) -> tuple[str, int]:
    """Find what separates the columns of a table whose header comes first; see also `foreign.tables.find_delimiter`.

    Args:
        lines: The lines of the file.

    Returns:
        The separator, and the index of the line at which the table begins.

    >>> find_separator(["start;stop;class", "0,5;2,5;walk, fast"]), find_separator(["sep=;", "a,b;c"])
    ((';', 0), (';', 1))
    """
    if lines and (stated := SEPARATOR_LINE.fullmatch(lines[0].strip())):
        return stated[1], 1
    looked_at = list(islice((line for line in lines if line.strip(" \t,;")), LOOKED_AT))
    widths = {separator: [len(row) for row in _split(looked_at, separator)] for separator in SEPARATORS}
    are_even = {separator: min(found, default=0) == max(found, default=0) > 1 for separator, found in widths.items()}
    # A comma in a name, or a decimal comma, gives some rows more columns than others.
    return max(SEPARATORS, key=lambda separator: (are_even[separator], *widths[separator][:1])), 0


def _split(lines: Sequence[str], separator: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader([f"{line}\n" for line in lines], delimiter=separator) if row]
    except csv.Error:
        return []


def _without_empty_ends(rows: Iterator[Row]) -> Iterator[Row]:
    """Take the empty cells after the last column of the header off each row; the header is the first row with cells."""
    num_columns: int | None = None
    for line, row in rows:
        if num_columns is None and any(row):
            while not row[-1]:
                row.pop()
            num_columns = len(row)
        while num_columns is not None and len(row) > num_columns and not row[-1]:
            row.pop()
        yield line, row
