"""The rows of tables whose columns are known.

A reader collects all problems of a file, and the functions here append to its list, `problems`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.annotations.formats.columns import plain
from pipeline.annotations.formats.delimited import Row, iterate_rows
from pipeline.annotations.layouts import OVERLAPPING_FRAMES_START
from pipeline.annotations.problems import Problem


def parse_rows(path: Path, header: Sequence[str], problems: list[Problem]) -> list[Row]:
    """Parse a table with given columns; empty lines are skipped.

    Args:
        path: The file.
        header: The expected header.
        problems: Faults of the file are appended to it.

    Returns:
        The line number and the fields of each row below the header that has as many fields as the header.

    Raises:
        AnnotationError: The file cannot be read, or is in another encoding.
    """
    rows = rows_with_header(path, header, problems)
    if not rows:
        return []
    first_line, first = rows[0]
    if tuple(map(plain, first)) == tuple(map(plain, header)):
        rows = rows[1:]
    elif not is_header_missing(path, first_line, first, header, problems):
        problems.append(other_header(path, first_line, first, header))
        return []
    return whole_rows(path, rows, header, problems)


def rows_with_header(path: Path, header: Sequence[str], problems: list[Problem]) -> list[Row]:
    """Return the rows of a table that are not empty; none where it is no table or has none, which is a problem."""
    num_before = len(problems)
    rows = [(line, row) for line, row in iterate_rows(path, problems) if any(row)]
    if len(problems) > num_before:
        return []
    if not rows:
        problems.append(Problem(path, None, f"is empty: expected the header {','.join(header)!r}"))
    return rows


def is_header_missing(
    path: Path, line: int, first: Sequence[str], header: Sequence[str], problems: list[Problem]
) -> bool:
    """Return whether the first row of a table is one of numbers, and no header, which then is a problem."""
    if not (first[0].isdigit() and len(first) == len(header)):
        return False
    message = f"the header is missing: expected {','.join(header)!r} before the first row"
    problems.append(Problem(path, line, message))
    return True


def other_header(path: Path, line: int, first: Sequence[str], header: Sequence[str]) -> Problem:
    """Describe that a table has another header than the expected one."""
    message = f"got the header {','.join(first)!r}, expected {','.join(header)!r}"
    return Problem(path, line, message + _header_cause(first, header))


def whole_rows(
    path: Path, rows: Sequence[Row], header: Sequence[str], problems: list[Problem], *, num_needed: int | None = None
) -> list[Row]:
    """Return the rows that have as many fields as the header.

    Args:
        path: The file.
        rows: The rows below the header.
        header: The names of its columns.
        problems: Those that have more or fewer are appended to it.
        num_needed: The number of fields that a row must have, where the others may be missing; None for all.
    """
    width, least = len(header), num_needed or len(header)
    for line, row in rows:
        if not least <= len(row) <= width:
            cause = " (put a class name that holds a comma in double quotes)" if len(row) > width else ""
            message = f"got {len(row)} columns, expected the {width} of {','.join(header)}{cause}"
            problems.append(Problem(path, line, message, fault="more columns" if len(row) > width else "fewer columns"))
    return [(line, row) for line, row in rows if least <= len(row) <= width]


def _header_cause(first: Sequence[str], header: Sequence[str]) -> str:
    """Return the likely cause of another first row than `header`, with a colon before it; "" where it is not known."""
    if tuple(first[:3]) == OVERLAPPING_FRAMES_START:
        return ": the classes of these labels overlap, and those that are expected exclude each other"
    if any(re.search(r"(^|[\s_(])m(illi)?s(ec|econds)?\b", name, re.IGNORECASE) for name in first):
        return ": divide milliseconds by 1000, and name the columns start_seconds,stop_seconds"
    return ""
