"""BORIS projects (.boris), of version 8 and later, and of older ones.

A project is a JSON object. `behaviors_conf` declares the behaviours, and `observations` has for each observation the
media files of each player, their lengths, and `events`: rows of time, subject, behaviour, modifiers and comment, which
a number or a path of an image may follow. The structure is that of BORIS' own source, `boris/config.py`.

- A state event is two rows in turn of one subject, behaviour and choice of modifiers.
- A time is that of the players, plus the "time offset" of the observation, plus the creation time of the media file
  where "media_creation_date_as_offset" is set. The files of a player follow one another, each as long as
  `media_info` says, cut to whole milliseconds.
- A behaviour that is `excluded` by another one is stopped one millisecond before the other one starts. It is taken to
  end at that start, as the frame between them would have no class. A frame that lasts 1 ms cannot be told from that.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.boris_project import write_boris
from pipeline.annotations.foreign.cells import MAX_SECONDS
from pipeline.annotations.foreign.document import Document, Event, Loss, Media, Recording, Span
from pipeline.annotations.foreign.pairs import FURTHER_PLAYERS, Kind, Mark, events_from_marks
from pipeline.annotations.foreign.sources import read_json, refuse
from pipeline.annotations.problems import shorten
from pipeline.text.wording import counted, listed

RESOLUTION = 0.001
MAX_NAMES = 8  # in a note
EVENT_CELLS = 3  # time, subject and behaviour; the cells after them may be missing
# The events that start at a millisecond, by subject; one for each behaviour and choice of modifiers.
_Starts = dict[tuple[str, int], dict[tuple[str, tuple[str, ...]], Event]]
UNREADABLE = "events are not as BORIS writes them and are left out"


class Behaviour(NamedTuple):
    """A behaviour of the ethogram.

    Attributes:
        is_state: Whether it has a duration.
        excludes: The behaviours that stop when it starts.
    """

    is_state: bool
    excludes: frozenset[str]


@dataclass
class _Project:
    """What is known while a project is read."""

    ethogram: dict[str, Behaviour]
    losses: list[Loss] = field(default_factory=list)
    num_live: int = 0
    num_joined: int = 0
    unknown: dict[str, None] = field(default_factory=dict)  # behaviours that are not declared, in order


def looks_like_boris(path: Path, text: str) -> bool:
    """Return whether a file is a BORIS project by its name, or by the keys at its beginning."""
    if not text.lstrip().startswith("{"):
        return False
    return path.suffix.lower() == ".boris" or '"behaviors_conf"' in text or '"subjects_conf"' in text


def read_boris(path: Path) -> Document:
    """Read a BORIS project.

    Raises:
        AnnotationError: The file is not JSON, or has no observations or behaviours as a BORIS project has them.
    """
    content = read_json(path, nan_is_null=True)  # the time of an event on a single image is NaN
    if not isinstance(content, dict):
        refuse(path, f"is not a BORIS project: got {_kind(content)}, expected an object")
    for key in ("observations", "behaviors_conf"):
        if not isinstance(content.get(key), dict):
            got = _kind(content[key]) if key in content else "none"
            refuse(path, f"is not a BORIS project: got {got}, expected an object {key!r}")
    project = _Project({})
    _read_ethogram(content["behaviors_conf"], project)
    for key, variable in _object(content.get("independent_variables")).items():
        name = shorten(str(_object(variable).get("label", key)))
        project.losses.append(Loss("independent variables are left out", f"variable {name!r}"))
    recordings = [*_recordings(content["observations"], project)]
    return Document(
        path,
        recordings,
        classes=tuple(project.ethogram),
        may_overlap=_may_overlap(project.ethogram),
        losses=project.losses,
        notes=_notes(project),
    )


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null", bool: "true or false"}
    return names.get(type(value), "a number")


def _number(value: object) -> float | None:
    """Return a finite number that a time or a length can be; None for anything else, such as true or a text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < MAX_SECONDS else None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_ethogram(conf: dict[str, Any], project: _Project) -> None:
    for key in sorted(conf, key=lambda key: int(key) if key.isdecimal() and len(key) < 9 else MAX_SECONDS):
        entry = _object(conf[key])
        code, place = entry.get("code"), f"behaviour {shorten(key)!r}"
        if not isinstance(code, str) or not code.strip():
            project.losses.append(Loss("behaviours have no name and are left out", place))
            continue
        excluded = entry.get("excluded")
        excludes = frozenset(excluded.split(",")) if isinstance(excluded, str) and excluded else frozenset()
        is_state = str(entry.get("type", "")).upper().startswith("STATE")
        project.ethogram[code.strip()] = Behaviour(is_state, excludes)
        if entry.get("category"):
            place = f"behaviour {shorten(code)!r}"
            project.losses.append(Loss("categories are left out", place, shorten(str(entry["category"]))))


def _may_overlap(ethogram: dict[str, Behaviour]) -> bool | None:
    """False where each state excludes all others; None otherwise, as BORIS lets states overlap by default."""
    states = {code for code, behaviour in ethogram.items() if behaviour.is_state}
    if len(states) > 1 and all(states - {code} <= ethogram[code].excludes for code in states):
        return False
    return None


def _recordings(observations: dict[str, Any], project: _Project) -> Iterator[Recording]:
    for name, observation in observations.items():
        place = f"observation {shorten(name)!r}"
        if not isinstance(observation, dict) or not isinstance(observation.get("events", []), list):
            project.losses.append(Loss("observations are not as BORIS writes them and are left out", place))
        elif observation.get("type") == "IMAGES":
            project.losses.append(Loss("observations of single images are left out", place))
        else:
            yield _recording(name, observation, place, project)


def _recording(name: str, observation: dict[str, Any], place: str, project: _Project) -> Recording:
    offset = _number(observation.get("time offset")) or 0.0
    media = _media(observation, offset, place, project)
    project.num_live += not media
    marks = _marks(observation.get("events", []), place, project)
    events, losses = events_from_marks(marks)
    project.losses += losses
    events = _join_excluded(events, project)
    return Recording(name, media, resolution=RESOLUTION, events=events, scored=_scored(observation, offset, media))


def _media(observation: dict[str, Any], offset: float, place: str, project: _Project) -> tuple[Media, ...]:
    """Return the media of the first player that has any; the other ones show the same time."""
    files = observation.get("file")
    if isinstance(files, list):  # before version 1, the files of the players in their order
        files = {str(number): [name] for number, name in enumerate(files, 1)}
    players = {player: names for player, names in sorted(_object(files).items()) if isinstance(names, list) and names}
    labelled = next(iter(players), None)
    for player, names in players.items():
        if player != labelled:
            kind = FURTHER_PLAYERS.format(labelled)
            project.losses += [Loss(kind, f"{place}, player {player}", shorten(str(name))) for name in names]
    if labelled is None:
        return ()
    info = _object(observation.get("media_info"))
    created = _object(info.get("media_creation_time")) if observation.get("media_creation_date_as_offset") else {}
    return tuple(_following(players[labelled], info, created, offset, place, project))


def _following(
    names: list[Any], info: dict[str, Any], created: dict[str, Any], start: float, place: str, project: _Project
) -> Iterator[Media]:
    for name in names:
        if not isinstance(name, str) or not name:
            project.losses.append(Loss("media files have no name and are left out", place))
            start = math.nan
            continue
        length = _number(_object(info.get("length")).get(name))
        rate = _number(_object(info.get("fps")).get(name))
        length = length if length and length > 0 else None
        yield Media(name, round(start + (_number(created.get(name)) or 0.0), 6), length, rate if rate else None)
        start += math.nan if length is None else int(length * 1000) / 1000  # as BORIS cuts it


def _scored(observation: dict[str, Any], offset: float, media: tuple[Media, ...]) -> list[Span] | None:
    """Return the part of the media to which BORIS limits an observation; None where it is not limited."""
    interval = observation.get("observation time interval")
    if not isinstance(interval, list) or len(interval) != 2:
        return None
    start, stop = (_number(value) or 0.0 for value in interval)
    if not start and not stop:
        return None
    end = media[-1].start + media[-1].seconds - offset if media and media[-1].seconds else math.inf
    return [Span(start + offset, (stop or end) + offset)]


def _marks(rows: list[Any], place: str, project: _Project) -> Iterator[Mark]:
    for index, row in enumerate(rows, 1):
        cells = row if isinstance(row, list) and len(row) >= EVENT_CELLS else [None] * EVENT_CELLS
        seconds, code = _number(cells[0]), cells[2] if isinstance(cells[2], str) else ""
        is_lost = seconds is None or not code.strip()
        if is_lost:
            project.losses.append(Loss(UNREADABLE, f"{place}, event {index}", shorten(str(row)[:200])))
        subject, modifiers, comment = (
            cell if isinstance(cell, str) else "" for cell in (cells[1:2] + cells[3:5] + ["", ""])[:3]
        )
        code = code.strip()
        behaviour = project.ethogram.get(code)
        if behaviour is None and not is_lost:
            project.unknown[code] = None
        kind = Kind.TURN if behaviour and behaviour.is_state else Kind.POINT
        split = tuple(modifiers.split("|")) if modifiers else ()
        at = math.nan if seconds is None else seconds
        yield Mark(at, code, kind, subject.strip(), split, comment.strip(), f"{place}, event {index}", is_lost)


def _join_excluded(events: list[Event], project: _Project) -> list[Event]:
    """Let a behaviour end when the next one starts, where BORIS stopped it for that one, a millisecond before."""
    starts: _Starts = defaultdict(dict)
    for event in events:
        starts[event.subject, round(event.start * 1000)].setdefault((event.label, event.modifiers), event)
    joined = []
    for event in events:
        following = None if event.stop is None else _following_event(event, event.stop, starts, project.ethogram)
        joined.append(event if following is None else replace(event, stop=following.start))
        project.num_joined += following is not None
    return joined


def _following_event(event: Event, stop: float, starts: _Starts, ethogram: dict[str, Behaviour]) -> Event | None:
    """Return the event that starts 1 ms after a stop, and excludes the stopped one; None where one starts at it."""
    now, then = (
        [
            other
            for other in starts.get((event.subject, round(stop * 1000) + later), {}).values()
            if _stops(other, event, ethogram)
        ]
        for later in (0, 1)
    )
    return then[0] if then and not now else None


def _stops(other: Event, event: Event, ethogram: dict[str, Behaviour]) -> bool:
    if other.label == event.label:
        return other.modifiers != event.modifiers and other.stop is not None
    return other.label in ethogram and event.label in ethogram[other.label].excludes


def _notes(project: _Project) -> list[str]:
    notes = []
    if project.num_live:
        count = counted(project.num_live, "observation is a live one or names", "observations are live ones or name")
        notes.append(f"{count} no media file.")
    if project.unknown:
        names = listed([*map(shorten, project.unknown)], MAX_NAMES)
        notes.append(f"Behaviours that are not declared are point events, as in BORIS: {names}.")
    if project.num_joined:
        count = counted(project.num_joined, "event reaches", "events reach", separator=",")
        reason = "as BORIS had cut off the last millisecond before a behaviour that excludes theirs"
        notes.append(f"{count} to the start of the next one, {reason}.")
    return notes


FORMAT = ForeignFormat(
    name="boris",
    title="BORIS project",
    suffixes=(".boris",),
    keeps="state and point events, subjects, modifiers, comments, several media files in a row, offsets, intervals",
    loses="categories, independent variables, observations of single images, media of further players, image numbers",
    looks_like=looks_like_boris,
    read=read_boris,
    write=write_boris,
    is_per_video=False,
)
