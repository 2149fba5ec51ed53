"""Trials that EthoVision XT exports: sheets that begin with "Number of header lines".

Above the columns stand names and values, such as "Trial name" and "Video file"; below them the units. A sheet of a
track has a row for each sample, and a behaviour or another state is a column of 0 and 1, in which "-" is a missing
value. A sheet of manual scoring has a row for each start and stop of a behaviour.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.annotations.foreign.cells import column_name, is_empty, number, resolution_of, seconds
from pipeline.annotations.foreign.document import Document, Event, Loss, Media, Recording, Span
from pipeline.annotations.foreign.pairs import Kind, Mark, events_from_marks, lose_time
from pipeline.annotations.foreign.samples import runs, sample_times
from pipeline.annotations.foreign.sources import refuse
from pipeline.annotations.foreign.tables import Header, Row, Table, find_header
from pipeline.annotations.problems import shorten

FIRST_CELL = "number of header lines"
TIME = ("trial time", "recording time")  # the first one begins with the trial, as its video does
UNITS = ("s", "sec", "seconds", "")
BEHAVIOUR, EVENT, SUBJECT = "behavior", "event", "subject"
EVENT_TYPES = {
    "state start": Kind.START,
    "state stop": Kind.STOP,
    "state point": Kind.POINT,
    "point": Kind.POINT,
    "point event": Kind.POINT,
}
NO_TYPE = "rows have another type than state start, state stop and point and are left out"
NO_STATE = "columns have other values than 0 and 1 and are left out"
SELECTION = "result "  # of such a column, 1 says that a sample was selected for analysis


class Sheet(NamedTuple):
    """A sheet of a trial.

    Attributes:
        table: The table.
        header: The row of its columns.
        values: What stands above it, by `column_name`.
    """

    table: Table
    header: Header
    values: dict[str, str]

    @property
    def rows(self) -> list[Row]:
        """The rows below the units that have any cell."""
        rows = self.table.rows[self.header.position + 1 :]
        is_unit = bool(rows) and self.header.cell(rows[0], *TIME).strip("()").casefold() in UNITS
        return [row for row in rows[is_unit:] if any(row.cells)]

    def seconds(self, row: Row) -> float | None:
        """Return the time of a row."""
        return seconds(self.header.cell(row, *TIME), decimal_comma=self.table.decimal_comma)

    @property
    def is_manual(self) -> bool:
        """Whether it has a row for each start and stop."""
        return {BEHAVIOUR, EVENT} <= self.header.columns.keys()


@dataclass
class _Trial:
    """The sheets of one trial."""

    sheets: list[Sheet] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    scored: list[Span] = field(default_factory=list)
    has_gaps: bool = False
    labels: dict[str, None] = field(default_factory=dict)
    resolution: float = 1.0


def is_trial(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the rows of a table begin as a sheet of EthoVision does."""
    return bool(rows and rows[0] and column_name(rows[0][0]).startswith(FIRST_CELL))


def read_trials(path: Path, tables: Sequence[Table]) -> Document:
    """Read the sheets of trials: those of one video are one recording.

    Raises:
        AnnotationError: A sheet has no column of times; a sample has no time, or times do not ascend.
    """
    document = Document(path, [], may_overlap=True)
    trials: dict[tuple[str, str], _Trial] = {}
    for table in tables:
        sheet = _sheet(path, table)
        key = sheet.values.get("trial name", ""), sheet.values.get("video file", "")
        trials.setdefault(key, _Trial()).sheets.append(sheet)
    for (name, video), trial in trials.items():
        arenas = {sheet.values.get("arena name", "") for sheet in trial.sheets}
        for sheet in sorted(trial.sheets, key=lambda sheet: not sheet.is_manual):
            read = _read_manual if sheet.is_manual else _read_track
            read(document, trial, sheet, _subject(sheet, len(arenas) > 1))
        media = () if is_empty(video) else (Media(video),)
        scored = trial.scored if trial.has_gaps else None
        document.recordings.append(
            Recording(name or path.stem, media, resolution=trial.resolution, events=trial.events, scored=scored)
        )
    document.classes = tuple(dict.fromkeys(label for trial in trials.values() for label in trial.labels))
    document.notes.append("The trial time of EthoVision is taken as the time of its video.")
    return document


def _sheet(path: Path, table: Table) -> Sheet:
    rows = [row.cells for row in table.rows]
    header = find_header(rows, TIME)
    if header is None:
        sheet = f" of sheet {table.name!r}" if table.name else ""
        refuse(path, f"looks like a trial of EthoVision, but no row{sheet} has a column 'Trial time'")
    above = [row for row in rows[: header.position] if len(row) > 1 and row[0]]
    return Sheet(table, header, {column_name(row[0]).rstrip(":"): row[1] for row in above})


def _subject(sheet: Sheet, has_arenas: bool) -> str:
    """Return the subject of a sheet; with its arena where there are several, as each numbers its own subjects."""
    values = [sheet.values.get("arena name", "")] if has_arenas else []
    values.append(sheet.values.get("subject name", ""))
    return ", ".join(value for value in values if not is_empty(value))


def _place(sheet: Sheet, row: Row) -> str:
    return f"{sheet.table.where}{sheet.table.unit} {row.number}"


def _read_manual(document: Document, trial: _Trial, sheet: Sheet, subject: str) -> None:
    events, losses = events_from_marks(_manual_marks(document, sheet, subject))
    trial.events += events
    document.losses += losses
    trial.labels |= dict.fromkeys(event.label for event in events)
    trial.resolution = min(trial.resolution, resolution_of(sheet.header.cell(row, *TIME) for row in sheet.rows))


def _manual_marks(document: Document, sheet: Sheet, subject: str) -> Iterator[Mark]:
    for row in sheet.rows:
        cell, place = sheet.header.cell, _place(sheet, row)
        moment, label, event = sheet.seconds(row), cell(row, BEHAVIOUR), cell(row, EVENT)
        kind = EVENT_TYPES.get(event.casefold())
        if moment is None:
            document.losses.append(lose_time(place, cell(row, *TIME)))
        elif kind is None or not label:
            document.losses.append(Loss(NO_TYPE, place, f"got {shorten(event)!r} of {shorten(label)!r}"))
        if kind is not None:
            whose = cell(row, SUBJECT)
            at, is_lost = math.nan if moment is None else moment, moment is None or not label
            yield Mark(at, label, kind, subject if is_empty(whose) else whose, place=place, is_lost=is_lost)


def _read_track(document: Document, trial: _Trial, sheet: Sheet, subject: str) -> None:
    rows, table = sheet.rows, sheet.table
    column = sheet.header.find(*TIME)
    assert column is not None  # the header was found by it
    times = sample_times(document.path, table, rows, column)
    trial.resolution = min(trial.resolution, resolution_of(sheet.header.cell(row, *TIME) for row in rows))
    scored_by_hand = {event.label for event in trial.events if event.subject in ("", subject)}
    for index, name in enumerate(sheet.header.names):
        if not name or column_name(name) in TIME or name in scored_by_hand:
            continue
        values = [_state(row.cells[index] if index < len(row.cells) else "") for row in rows]
        if "other" in values or not {"0", "1"} & {*values} or column_name(name).startswith(SELECTION):
            document.losses.append(Loss(NO_STATE, f"{table.where}column {name!r}"))
            continue
        trial.labels[name] = None
        for run in runs(values, times):
            if run.value == "1":
                place = _place(sheet, rows[run.sample])
                trial.events.append(Event(run.start, run.stop, name, subject, place=place))
        known = runs(["known" if value else "" for value in values], times)
        trial.scored += [Span(run.start, run.stop, name) for run in known if run.value]
        trial.has_gaps |= "" in values


def _state(cell: str) -> str:
    """Return "0" or "1"; "" for a missing value, and "other" for anything else."""
    if cell in ("0", "1"):
        return cell
    value = number(cell)
    if value in (0.0, 1.0):
        return str(int(value))
    return "" if is_empty(cell) else "other"
