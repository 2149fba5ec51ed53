"""Events from marks: programs that log keys write the start and the stop of a behaviour as two rows."""

from collections.abc import Collection, Iterable
from enum import Enum
from operator import attrgetter
from typing import NamedTuple

from pipeline.annotations.foreign.cells import split_score, why_no_time
from pipeline.annotations.foreign.document import Document, Event, Loss
from pipeline.annotations.foreign.sources import refuse

FURTHER_PLAYERS = "media files are left out, as they show the same time as those of player {}"
NO_STOP = "state events have no end and are left out"
NO_TIME = "rows have no time in seconds and are left out"
NO_START = "state events have no start and are left out"


class Kind(Enum):
    """What happens at a mark."""

    START = "start"
    STOP = "stop"
    TURN = "turn"  # a start, or the stop of the one before: they alternate
    POINT = "point"


class Mark(NamedTuple):
    """A row about one moment.

    Attributes:
        seconds: When, on the clock of the recording.
        label: The behaviour.
        kind: What happens.
        subject: Whose behaviour it is; "" for nobody's.
        modifiers: The modifiers, as the file writes them: a stop belongs to the start with the same ones.
        comment: A remark.
        place: Where the row is.
    """

    seconds: float
    label: str
    kind: Kind
    subject: str = ""
    modifiers: tuple[str, ...] = ()
    comment: str = ""
    place: str = ""


def events_from_marks(marks: Iterable[Mark]) -> tuple[list[Event], list[Loss]]:
    """Return the events of marks, which may be in any order.

    The marks of each behaviour, subject and modifiers are taken in the order of their times, and those of one time in
    the order of the file, except that a stop comes before the next start.

    Args:
        marks: The marks of one recording.

    Returns:
        The events in the order of their starts, and a loss for each mark that has no partner.
    """
    open_marks: dict[tuple[str, str, tuple[str, ...]], list[Mark]] = {}
    events: list[Event] = []
    losses: list[Loss] = []
    for mark in sorted(marks, key=attrgetter("seconds")):
        if mark.kind is Kind.POINT:
            events.append(_event(mark, None))
            continue
        waiting = open_marks.setdefault((mark.label, mark.subject, mark.modifiers), [])
        losses += _lose_unstopped(waiting, mark)
        if waiting and mark.kind is not Kind.START:
            events.append(_event(waiting.pop(0), mark))
        elif mark.kind is Kind.STOP:
            losses.append(_loss(NO_START, mark))
        else:
            waiting.append(mark)
    losses += [_loss(NO_STOP, mark) for waiting in open_marks.values() for mark in waiting]
    return sorted(events, key=attrgetter("start")), losses


def _lose_unstopped(waiting: list[Mark], mark: Mark) -> list[Loss]:
    """Give up the first of two waiting starts where no stop at the time of the second one came."""
    if len(waiting) == 2 and (mark.kind is Kind.START or mark.seconds > waiting[1].seconds):
        return [_loss(NO_STOP, waiting.pop(0))]
    return []


def _event(start: Mark, stop: Mark | None) -> Event:
    score, comment = split_score(start.comment)
    comments = dict.fromkeys([comment, stop.comment if stop else ""])
    return Event(
        start.seconds,
        stop.seconds if stop else None,
        start.label,
        subject=start.subject,
        modifiers=named_modifiers(start.modifiers),
        comment="; ".join(filter(None, comments)),
        score=score,
        place=start.place,
    )


def _loss(kind: str, mark: Mark) -> Loss:
    return Loss(kind, mark.place, f"{mark.label} at {mark.seconds:.3f} s")


def lose_time(place: str, text: str) -> Loss:
    """Return the loss of a row whose time is none.

    Args:
        place: Where the row is.
        text: The cell that should have a time.
    """
    return Loss(NO_TIME, place, f"got {why_no_time(text)}")


def named_modifiers(modifiers: Iterable[str]) -> tuple[str, ...]:
    """Return the modifiers that are named: BORIS writes "None" for a set of which none was chosen.

    >>> named_modifiers(["fast", "None", ""])
    ('fast',)
    """
    return tuple(modifier for modifier in map(str.strip, modifiers) if modifier not in ("", "None"))


def refuse_unusable(document: Document, kinds: Collection[str]) -> None:
    """Refuse a file of which no row became an event.

    Args:
        document: What was read.
        kinds: The kinds of its losses that are rows.

    Raises:
        AnnotationError: There is no event, and a row was lost: then the file is probably another one.
    """
    lost = next((loss for loss in document.losses if loss.kind in kinds), None)
    if lost is not None and not any(recording.events for recording in document.recordings):
        refuse(
            document.path, f"has no row that can be used; of the first one, the cause is: {lost.what} ({lost.place})"
        )
