"""Tables that BORIS exports: tabular events and aggregated events, as csv, tsv or xlsx, of all its versions.

Tabular events have a row for each mark, whose status is START, STOP or POINT; aggregated events a row for each event,
with its start and its stop. Old tabular exports have a preamble with the name of the observation, its media and its
time offset; newer tables have these in columns, see `boris/export_observation.py` of BORIS. Times are on the clock of
the observation: its media follow one another.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.boris_aggregated import write_boris_table
from pipeline.annotations.foreign.cells import is_empty, number, seconds, split_score
from pipeline.annotations.foreign.document import Document, Event, Loss, Media, Recording
from pipeline.annotations.foreign.pairs import (
    FURTHER_PLAYERS,
    NO_TIME,
    Kind,
    Mark,
    events_from_marks,
    lose_time,
    named_modifiers,
    refuse_unusable,
)
from pipeline.annotations.foreign.sources import refuse
from pipeline.annotations.foreign.tables import Header, Row, Table, find_header, peek, read_tables
from pipeline.annotations.problems import shorten

RESOLUTION = 0.001
BEHAVIOUR, SUBJECT, CATEGORY = ("behavior", "behaviour"), ("subject",), ("behavioral category",)
TIME, TYPE = ("time", "time (s)"), ("behavior type", "behaviour type", "status")
START, STOP = ("start (s)", "start"), ("stop (s)", "stop")
NAME, OFFSET, SOURCE = ("observation id",), ("time offset (s)",), ("source",)
MEDIA = ("media file", "media file path", "media file name")
LENGTHS, TOTAL, RATES = ("media duration (s)",), ("total length",), ("fps (frame/s)", "fps")
COMMENTS = ("comment start", "comment stop", "comment")
TABULAR, AGGREGATED = (BEHAVIOUR, TIME, TYPE), (BEHAVIOUR, START, STOP)
NO_SUBJECT, NOT_DEFINED = "No focal subject", "Not defined"
STATUSES = {"START": Kind.START, "STOP": Kind.STOP, "POINT": Kind.POINT}
NO_BEHAVIOUR = "rows name no behaviour and are left out"
NO_STATUS = "rows have another status than START, STOP and POINT and are left out"
BACKWARDS = "rows have a stop before their start and are left out"


class _Preamble(NamedTuple):
    """What stands above the header of an old tabular export."""

    name: str = ""
    offset: float = 0.0
    files: tuple[str, ...] = ()
    further: tuple[str, ...] = ()  # the files of the players after the first one


@dataclass
class _Observation:
    """The rows of one observation."""

    first: Row
    marks: list[Mark] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    files: dict[str, tuple[float, Row]] = field(default_factory=dict)  # the media of rows: the first time and its row

    def files_in_order(self) -> dict[str, Row]:
        """Return the media that rows name, in the order of their first times, each with the row of it."""
        return {name: row for name, (_, row) in sorted(self.files.items(), key=lambda file: file[1][0])}


class _Reader(NamedTuple):
    """A table while it is read."""

    table: Table
    header: Header
    preamble: _Preamble
    losses: list[Loss]

    def cell(self, row: Row, names: Sequence[str]) -> str:
        return self.header.cell(row, *names)

    def place(self, row: Row) -> str:
        return f"{self.table.where}{self.table.unit} {row.number}"

    def seconds(self, row: Row, names: Sequence[str]) -> float | None:
        return seconds(self.cell(row, names), decimal_comma=self.table.decimal_comma)

    def number(self, text: str) -> float | None:
        return number(text, decimal_comma=self.table.decimal_comma)

    def lose(self, kind: str, row: Row, what: str) -> None:
        self.losses.append(Loss(kind, self.place(row), what))


def looks_like_boris_table(path: Path, text: str) -> bool:
    """Return whether a file is a table with the columns of an export of BORIS, or with its rows without columns."""
    rows = peek(path, text)
    header = _header(rows)
    if header is None:
        return _has_rows_without_header(rows)
    names = {*header.columns}.union(*({row[0].casefold()} for row in rows[: header.position] if row))
    return NAME[0] in names


def _header(rows: Sequence[Sequence[str]]) -> Header | None:
    return find_header(rows, *AGGREGATED) or find_header(rows, *TABULAR)


def _has_rows_without_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row is one of aggregated events: STATE or POINT, then a start and a stop."""
    for row in rows[:1]:
        for index, cell in enumerate(row[:-2]):
            times = row[index + 1 : index + 3]
            if cell in ("STATE", "POINT") and index >= 4 and all(number(time) is not None for time in times):
                return True
    return False


def read_boris_table(path: Path) -> Document:
    """Read tabular or aggregated events that BORIS exported; of a workbook, all sheets that have them.

    Raises:
        AnnotationError: The file is no table, or has none of the headers that BORIS writes.
    """
    document = Document(path, [])
    tables = read_tables(path)
    for table in tables:
        rows = [row.cells for row in table.rows]
        header = _header(rows)
        if header is not None:
            preamble = _read_preamble(table, header)
            _read_rows(_Reader(table, header, preamble, document.losses), document)
        elif _has_rows_without_header(rows):
            refuse(path, "has rows of BORIS but no header, so that its columns are not known: export it again", 1)
        document.notes += table.notes
    refuse_unusable(document, (NO_TIME, NO_STATUS, BACKWARDS, NO_BEHAVIOUR))
    if not document.recordings and not any(_header([row.cells for row in table.rows]) for table in tables):
        columns = "Behavior, and Start (s) and Stop (s), or Time and Behavior type (or Status)"
        refuse(path, f"is not a table of BORIS: no row has the columns {columns}")
    return document


def _read_preamble(table: Table, header: Header) -> _Preamble:
    name, offset = "", 0.0
    files: list[str] = []
    further: list[str] = []
    for row in table.rows[: header.position]:
        key, value = (*row.cells, "", "")[:2]
        if key.casefold() == NAME[0]:
            name = value
        elif key.casefold() == OFFSET[0]:
            offset = seconds(value, decimal_comma=table.decimal_comma) or 0.0
        elif key.casefold().startswith("player #") and value:
            (files if key.endswith("#1") else further).append(value)
    return _Preamble(name, offset, tuple(files), tuple(further))


def _read_rows(reader: _Reader, document: Document) -> None:
    observations: dict[str, _Observation] = {}
    categories: dict[str, tuple[Row, str]] = {}
    is_aggregated = reader.header.find(*START) is not None
    for row in reader.table.rows[reader.header.position + 1 :]:
        if not any(row.cells):
            continue
        name = reader.cell(row, NAME) or reader.preamble.name or document.path.stem
        observation = observations.setdefault(name, _Observation(row))
        label = reader.cell(row, BEHAVIOUR)
        category = reader.cell(row, CATEGORY)
        if label and not is_empty(category) and category != NOT_DEFINED:
            categories.setdefault(label, (row, category))
        _note_file(reader, row, observation)
        if not label:
            reader.lose(NO_BEHAVIOUR, row, "; ".join(filter(None, row.cells))[:100])
        elif is_aggregated:
            observation.events += _event(reader, row, label)
        else:
            observation.marks += _mark(reader, row, label)
    for label, (row, category) in categories.items():
        reader.lose("categories are left out", row, f"{shorten(label)}: {shorten(category)}")
    document.recordings += [_recording(reader, name, found, document) for name, found in observations.items()]


def _note_file(reader: _Reader, row: Row, observation: _Observation) -> None:
    file = reader.cell(row, MEDIA)
    if file in ("", "NA", "Not found"):
        return
    moment = reader.seconds(row, START + TIME)
    moment = math.inf if moment is None else moment
    if file not in observation.files or moment < observation.files[file][0]:
        observation.files[file] = moment, row


def _event(reader: _Reader, row: Row, label: str) -> Iterator[Event]:
    start, stop = reader.seconds(row, START), reader.seconds(row, STOP)
    is_point = reader.cell(row, TYPE).upper() == "POINT"
    if start is None or (stop is None and not is_point):
        text = reader.cell(row, START if start is None else STOP)
        reader.losses.append(lose_time(reader.place(row), text))
    elif stop is not None and stop < start:
        reader.lose(BACKWARDS, row, f"{shorten(label)} from {start} to {stop}")
    else:
        score, comment = split_score(_comment(reader, row))
        stop = None if is_point else stop
        modifiers = named_modifiers(_modifiers(reader, row))
        yield Event(start, stop, label, _subject(reader, row), modifiers, comment, score, reader.place(row))


def _mark(reader: _Reader, row: Row, label: str) -> Iterator[Mark]:
    moment, status = reader.seconds(row, TIME), reader.cell(row, TYPE)
    kind = STATUSES.get(status.upper())
    if moment is None:
        reader.losses.append(lose_time(reader.place(row), reader.cell(row, TIME)))
    elif kind is None:
        reader.lose(NO_STATUS, row, f"got {shorten(status)!r}")
    comment, modifiers = _comment(reader, row), tuple(_modifiers(reader, row))
    is_lost, moment = moment is None or kind is None, math.nan if moment is None else moment
    yield Mark(moment, label, kind or Kind.STOP, _subject(reader, row), modifiers, comment, reader.place(row), is_lost)


def _subject(reader: _Reader, row: Row) -> str:
    subject = reader.cell(row, SUBJECT)
    return "" if subject == NO_SUBJECT else subject


def _comment(reader: _Reader, row: Row) -> str:
    return "; ".join(filter(None, (reader.cell(row, [name]) for name in COMMENTS)))


def _modifiers(reader: _Reader, row: Row) -> Iterator[str]:
    """Yield the modifiers of a row: one column for each set, or one for all, in which "|" separates them."""
    for name, index in reader.header.columns.items():
        if name.startswith("modifier") and index < len(row.cells) and row.cells[index]:
            yield from row.cells[index].split("|")


def _recording(reader: _Reader, name: str, observation: _Observation, document: Document) -> Recording:
    events, losses = events_from_marks(observation.marks)
    document.losses += losses
    media = _media(reader, observation)
    if any(math.isnan(file.start) for file in media):
        document.notes.append(
            f"Observation {shorten(name)!r} has several media files, whose lengths the table does not state."
        )
    return Recording(name, media, resolution=RESOLUTION, events=[*observation.events, *events])


def _media(reader: _Reader, observation: _Observation) -> tuple[Media, ...]:
    """Return the media of an observation: those of "Source", which has all; otherwise those that rows name."""
    first, files = observation.first, observation.files_in_order()
    offset = reader.seconds(first, OFFSET)
    start = reader.preamble.offset if offset is None else offset
    source = reader.cell(first, SOURCE)
    whole = source.removeprefix("player #1:").strip()
    is_one = [*observation.files] == [whole]  # then what separates names in other tables is part of its name
    names = [whole] if is_one else _of_first_player(source)
    lengths, rates = (
        [reader.number(text) for text in _of_first_player(reader.cell(first, of))] for of in (LENGTHS, RATES)
    )
    if not is_one:
        _lose_further_players(reader, first)
    if not names:
        names = [*files] if not files.keys() <= {*reader.preamble.files} else [*reader.preamble.files]
        rates = [reader.number(reader.cell(files.get(name, first), RATES)) for name in names]
    if not lengths and len(names) == 1:
        lengths = [reader.number(reader.cell(first, TOTAL))]
    media = []
    for name, length, rate in itertools.zip_longest(names, lengths[: len(names)], rates[: len(names)]):
        media.append(Media(name, round(start, 6), length or None, rate or None))
        start += math.nan if not length else int(length * 1000) / 1000
    return tuple(media)


def _lose_further_players(reader: _Reader, row: Row) -> None:
    """Count the media of the players after the first one, which show the same time."""
    further = (part.split(":", 1)[-1] for part in reader.cell(row, SOURCE).split("|")[1:])
    names = [name for part in further for name in part.split(";")] + [*reader.preamble.further]
    for name in names:
        reader.lose(FURTHER_PLAYERS.format(1), row, shorten(name.strip()))


def _of_first_player(cell: str) -> list[str]:
    """Return the values of a cell for the media of the first player.

    >>> _of_first_player("player #1:a.mp4;b.mp4|player #2:c.mp4"), _of_first_player("25.000;30.000|25.000")
    (['a.mp4', 'b.mp4'], ['25.000', '30.000'])
    """
    first = cell.split("|")[0].split("player #2:")[0].strip()
    if first in ("", "NA", "Live observation"):
        return []
    return [value.strip() for value in first.removeprefix("player #1:").split(";") if value.strip()]


FORMAT = ForeignFormat(
    name="boris-table",
    title="BORIS tabular and aggregated events",
    suffixes=(".csv", ".tsv", ".xlsx"),
    keeps="state and point events, subjects, modifiers, comments, several media files in a row, offsets",
    loses="categories, independent variables, image numbers, behaviours without any event",
    looks_like=looks_like_boris_table,
    read=read_boris_table,
    write=write_boris_table,
    is_per_video=False,
)
