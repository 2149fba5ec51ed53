"""Events from marks: programs that log keys write the start and the stop of a behaviour as two rows."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
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
NO_PARTNER = "state events have a start or a stop that cannot be read, and are left out"
UNCERTAIN = "marks may be starts or stops, as a row before them cannot be read, and are left out"
_Key = tuple[str, str, tuple[str, ...]]  # what is paired: the behaviour, the subject and the modifiers


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
        is_lost: Whether the row cannot be used, and has a loss of its own. It still takes its turn, so that the ones
            after it are not inverted. Its time is NaN, or its label "", where that cannot be read.
    """

    seconds: float
    label: str
    kind: Kind
    subject: str = ""
    modifiers: tuple[str, ...] = ()
    comment: str = ""
    place: str = ""
    is_lost: bool = False

    @property
    def key(self) -> _Key:
        """What this mark is paired by."""
        return self.label, self.subject, self.modifiers


def events_from_marks(marks: Iterable[Mark]) -> tuple[list[Event], list[Loss]]:
    """Return the events of marks, which may be in any order.

    The marks of each behaviour, subject and modifiers are taken in the order of their times, and those of one time in
    the order of the file, except that a stop comes before the next start. A lost mark without a time has that of the
    one before it.

    Args:
        marks: The marks of one recording, in the order of the file.

    Returns:
        The events in the order of their starts, and a loss for each mark that has no partner and is not lost itself.
    """
    marks = [*marks]
    uncertain = _uncertain_from(marks)
    open_marks: dict[_Key, list[Mark]] = {}
    events: list[Event] = []
    losses: list[Loss] = []
    for mark in sorted(_with_times(marks), key=attrgetter("seconds")):
        if mark.kind is Kind.POINT or not mark.label:
            events += [] if mark.is_lost else [_event(mark, None)]
            continue
        if mark.kind is Kind.TURN and mark.seconds >= uncertain.get(mark.key, math.inf):
            losses += [] if mark.is_lost else [_loss(UNCERTAIN, mark)]
            continue
        waiting = open_marks.setdefault(mark.key, [])
        losses += _lose_unstopped(waiting, mark)
        if mark.is_lost or (waiting and waiting[0].is_lost):
            losses += _lose_partners(waiting, mark)
        elif waiting and mark.kind is not Kind.START:
            events.append(_event(waiting.pop(0), mark))
        elif mark.kind is Kind.STOP:
            losses.append(_loss(NO_START, mark))
        else:
            waiting.append(mark)
    losses += [_loss(NO_STOP, mark) for waiting in open_marks.values() for mark in waiting if not mark.is_lost]
    return sorted(events, key=attrgetter("start")), losses


def _with_times(marks: Iterable[Mark]) -> Iterable[Mark]:
    """Yield the marks; a lost one without a time has that of the one before it."""
    seconds = -math.inf
    for mark in marks:
        seconds = seconds if math.isnan(mark.seconds) else mark.seconds
        yield mark._replace(seconds=seconds)


def _uncertain_from(marks: Sequence[Mark]) -> dict[_Key, float]:
    """Return from which time on the turns of a behaviour cannot be told apart, where that is so.

    Where a lost mark has no time, and the file is not in the order of times, its place is not known. Where it names no
    behaviour, it may be of any that has an odd number of turns.
    """
    times = [mark.seconds for mark in marks if not math.isnan(mark.seconds)]
    uncertain: dict[_Key, float] = {}
    unnamed = [mark.seconds for mark in _with_times(marks) if mark.is_lost and not mark.label]
    if unnamed:
        counts = Counter(mark.key for mark in marks if mark.kind is Kind.TURN and mark.label)
        uncertain |= {key: min(unnamed) for key, count in counts.items() if count % 2}
    if times != sorted(times):
        uncertain |= {mark.key: -math.inf for mark in marks if mark.is_lost and math.isnan(mark.seconds)}
    return uncertain


def _lose_partners(waiting: list[Mark], mark: Mark) -> list[Loss]:
    """Pass over a lost mark, or the partner of one: what is open ends there, or what begins there never opens."""
    if mark.kind is Kind.TURN and not waiting:
        waiting.append(mark)  # a start, whose stop is yet to come
        return []
    partners = [*waiting, mark]
    waiting.clear()
    return [_loss(NO_PARTNER, partner) for partner in partners if not partner.is_lost]


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
