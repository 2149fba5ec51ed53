"""Events that The Observer XT of Noldus exports, and trials of EthoVision XT (see `ethovision`), as .xlsx or text.

The Observer writes a row for each start and stop of a state and for each point, with the observation, the behaviour,
its modifiers and the time since the observation began: in seconds (`Time_Relative_sf`) or as hours, minutes and seconds
(`Time_Relative_hmsf`). It does not write which video was observed.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.cells import is_empty, resolution_of, seconds
from pipeline.annotations.foreign.document import Document, Loss, Recording
from pipeline.annotations.foreign.ethovision import EVENT_TYPES, NO_TYPE, is_trial, read_trials
from pipeline.annotations.foreign.pairs import NO_TIME, Mark, events_from_marks, lose_time, refuse_unusable
from pipeline.annotations.foreign.sources import refuse
from pipeline.annotations.foreign.tables import Header, Row, Table, find_header, peek, read_tables
from pipeline.annotations.problems import shorten

TIME = ("time_relative_sf", "time_relative_hmsf", "time_relative_s", "time_relative_hms")
BEHAVIOUR, EVENT_TYPE, OBSERVATION, SUBJECT, COMMENT = "behavior", "event_type", "observation", "subject", "comment"
MODIFIER = "modifier_"


def looks_like_observer(path: Path, text: str) -> bool:
    """Return whether a file has the columns of The Observer, or the beginning of a trial of EthoVision."""
    rows = peek(path, text)
    return is_trial(rows) or _header(rows) is not None


def _header(rows: Sequence[Sequence[str]]) -> Header | None:
    return find_header(rows, TIME, (BEHAVIOUR,), (EVENT_TYPE,))


def read_observer(path: Path) -> Document:
    """Read the events of The Observer, or the trials of EthoVision, of all sheets of a file.

    Raises:
        AnnotationError: No sheet has the columns of either, or no row of them can be used; see `read_trials`.
    """
    tables = read_tables(path)
    notes = [note for table in tables for note in table.notes]
    trials = [table for table in tables if is_trial([row.cells for row in table.rows[:1]])]
    document = read_trials(path, trials) if trials else _read_events(path, tables)
    document.notes += notes
    refuse_unusable(document, (NO_TIME, NO_TYPE))
    return document


def _read_events(path: Path, tables: Sequence[Table]) -> Document:
    document = Document(path, [])
    marks: dict[str, list[Mark]] = {}
    times: list[str] = []
    is_observer = False
    for table in tables:
        header = _header([row.cells for row in table.rows])
        if header is not None:
            is_observer = True
            for name, mark in _marks(document, table, header, times):
                marks.setdefault(name, []).append(mark)
    if not is_observer:
        columns = "Behavior, Event_Type and Time_Relative_sf or Time_Relative_hmsf"
        refuse(path, f"is not an export of The Observer or EthoVision: no row has the columns {columns}")
    for name, found in marks.items():
        events, losses = events_from_marks(found)
        document.losses += losses
        document.recordings.append(Recording(name, (), resolution=resolution_of(times), events=events))
    return document


def _marks(document: Document, table: Table, header: Header, times: list[str]) -> Iterator[tuple[str, Mark]]:
    for row in table.rows[header.position + 1 :]:
        if not any(row.cells):
            continue
        place = f"{table.where}{table.unit} {row.number}"
        time, label, event = (header.cell(row, *names) for names in (TIME, (BEHAVIOUR,), (EVENT_TYPE,)))
        moment = seconds(time, decimal_comma=table.decimal_comma)
        kind = EVENT_TYPES.get(event.casefold())
        if moment is None:
            document.losses.append(lose_time(place, time))
        elif kind is None or not label:
            document.losses.append(Loss(NO_TYPE, place, f"got {shorten(event)!r} of {shorten(label)!r}"))
        else:
            times.append(time)
        if kind is not None:
            subject = header.cell(row, SUBJECT)
            subject = "" if is_empty(subject) else subject
            modifiers, comment = tuple(_modifiers(header, row)), header.cell(row, COMMENT)
            at, is_lost = math.nan if moment is None else moment, moment is None or not label
            mark = Mark(at, label, kind, subject, modifiers, comment, place, is_lost)
            yield header.cell(row, OBSERVATION) or document.path.stem, mark


def _modifiers(header: Header, row: Row) -> Iterator[str]:
    for name, index in header.columns.items():
        if name.startswith(MODIFIER) and index < len(row.cells):
            yield row.cells[index]


FORMAT = ForeignFormat(
    name="observer",
    title="The Observer XT events and EthoVision XT trials (Noldus)",
    suffixes=(".xlsx", ".csv", ".txt"),
    keeps="state and point events, subjects, modifiers, comments; of EthoVision, columns of 0 and 1 and missing values",
    loses="coordinates and other numbers, independent variables, absolute times; The Observer does not name the video",
    looks_like=looks_like_observer,
    read=read_observer,
    is_per_video=False,
    names_video=False,
)
