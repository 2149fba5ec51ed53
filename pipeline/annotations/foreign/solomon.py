"""Tables of Solomon Coder (András Péter): a row for each step of time, a column for each category of behaviour.

The first column has the time in seconds, at a fixed step such as 0.2 s or the duration of a frame; a cell of another
column names the behaviour of its category that is shown from that time to the next one, and is empty where there is
none. Cells are separated by commas, or by semicolons and then with decimal commas. The video is not named.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.cells import column_name, number, resolution_of, seconds
from pipeline.annotations.foreign.document import Document, Event, Loss, Recording
from pipeline.annotations.foreign.samples import runs, sample_times
from pipeline.annotations.foreign.sources import refuse
from pipeline.annotations.foreign.tables import Header, Row, Table, find_header, peek, read_table
from pipeline.annotations.problems import shorten

TIME = ("time", "time (s)", "time (sec)", "time [s]", "time(s)", "time(sec)", "seconds", "sec")
COMMENT = ("comment", "comments", "note", "notes")
RELATIVE_STEP = 0.26  # that steps may differ by: times of frames are rounded, as in 0.03, 0.07, 0.10
SMALLEST_STEP = 0.011  # that rounding to 2 decimals makes of two equal ones


class _Category(NamedTuple):
    """A column of behaviours.

    Attributes:
        name: Its name.
        values: The cells of the S rows.
    """

    name: str
    values: list[str]


def looks_like_solomon(path: Path, text: str) -> bool:
    """Return whether a file is a table whose first column has times at a fixed step, and whose others have words."""
    rows = [row for row in peek(path, text) if any(row)]
    header = find_header(rows[:1], TIME)
    if header is None or header.find(*TIME) != 0 or len(header.names) < 2 or len(rows) < 4:
        return False
    width = len(header.names)
    body = rows[1:-1]  # the last row may be cut off
    cells = [cell for row in body for cell in row[1:] if cell]
    times = [seconds(row[0], decimal_comma=True) for row in body]
    if any(len(row) > width or _is_number(cell) for row in body for cell in row[1:] if cell):
        return False
    return bool(cells or path.suffix.lower() == ".csv") and _has_fixed_step(times)


def _is_number(cell: str) -> bool:
    return number(cell, decimal_comma=True) is not None


def _has_fixed_step(times: Sequence[float | None]) -> bool:
    known = [moment for moment in times if moment is not None]
    if len(known) < len(times) or len(known) < 2:
        return False
    steps = np.diff(known)
    typical = float(np.median(steps))
    return typical > 0 and bool((np.abs(steps - typical) <= max(typical * RELATIVE_STEP, SMALLEST_STEP)).all())


def read_solomon(path: Path) -> Document:
    """Read a table of Solomon Coder.

    Raises:
        AnnotationError: The file is no table, its first column is no time, a row has no time, times do not ascend or
            have no fixed step, or no column has behaviours.
    """
    table = read_table(path)
    rows = [row for row in table.rows if any(row.cells)]
    header = find_header([row.cells for row in rows[:1]], TIME)
    if header is None or header.find(*TIME) != 0:
        first = shorten(rows[0].cells[0]) if rows else ""
        refuse(path, f"is not a table of Solomon Coder: got {first!r}, expected a first column 'Time'", 1)
    rows = rows[1:]
    times = sample_times(path, table, rows, 0)
    if not _has_fixed_step(times[:-1].tolist()):
        refuse(path, "has times at no fixed step in its first column, expected steps such as 0.2 s of Solomon Coder")
    document = Document(path, [], notes=[*table.notes])
    categories = [*_categories(document, table, header, rows)]
    if not categories:
        refuse(path, "has no column of behaviours beside the time: is it a table of numbers of another program?")
    in_rows = [row.cells[0] for row in rows]
    recording = Recording(path.stem, (), resolution=resolution_of(in_rows))
    recording.events = _events(categories, times, table, rows)
    document.recordings.append(recording)
    document.may_overlap = len(categories) > 1
    return document


def _categories(document: Document, table: Table, header: Header, rows: Sequence[Row]) -> list[_Category]:
    categories = []
    for column, name in enumerate(header.names[1:], 1):
        values = [row.cells[column] if column < len(row.cells) else "" for row in rows]
        used = {value for value in values if value}
        if column_name(name) in COMMENT:
            kept = ((row, value) for row, value in zip(rows, values, strict=True) if value)
            place = f"{table.where}{table.unit}"
            document.losses += [
                Loss("comments are left out", f"{place} {row.number}", shorten(text)) for row, text in kept
            ]
        elif used and all(map(_is_number, used)):
            document.losses.append(Loss("columns of numbers are left out", f"column {name!r}"))
        elif name or used:
            categories.append(_Category(name or f"column {column + 1}", values))
    return categories


def _events(categories: Sequence[_Category], times: np.ndarray, table: Table, rows: Sequence[Row]) -> list[Event]:
    """Return the runs of each behaviour; one that several categories have is named with its category."""
    counts = Counter(value for category in categories for value in {*category.values})
    events = []
    for category in categories:
        for run in runs(category.values, times):
            if run.value:
                label = run.value if counts[run.value] == 1 else f"{category.name}: {run.value}"
                place = f"{table.where}{table.unit} {rows[run.sample].number}"
                events.append(Event(run.start, run.stop, label, place=place))
    return sorted(events, key=lambda event: event.start)


FORMAT = ForeignFormat(
    name="solomon",
    title="Solomon Coder table",
    suffixes=(".csv", ".txt", ".xlsx"),
    keeps="the behaviours of all categories, at the step of the table",
    loses="comments, columns of numbers, which behaviours share a category; the video is not named",
    looks_like=looks_like_solomon,
    read=read_solomon,
    names_video=False,
)
