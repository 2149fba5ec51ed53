"""From the events of a recording to segments of frames: which class an event has, and which frames of which video.

What the caller decides (subjects, modifiers, point events, names of classes) is in `Choices`. Everything that is left
out, or changed, becomes a Loss.

Shapes: T frames.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from pipeline.annotations.foreign.document import Event, Loss, Recording, Unit
from pipeline.annotations.label_space import SEPARATOR
from pipeline.annotations.times import FrameTimes
from pipeline.files import canonical

EACH = "each"  # the choice that makes classes of its own for each subject
JOINED = ","  # what replaces the SEPARATOR in names
MODIFIER_MARK = "|"  # between a behaviour and its modifiers, in the name of a class

POINTS = "point events, which have no duration, are left out (see --points)"
SHORT = "events shorter than a frame are left out"
OUTSIDE = "events before the first frame or after the last one are left out"
CUT = "events that go on before the first frame or after the last one are cut off there"
SUBJECTS = "subjects are not kept: all of them count together (see --subject)"
OTHER_SUBJECTS = "events of other subjects are left out"
MODIFIERS = "modifiers are left out (see --modifiers)"
COMMENTS = "comments are left out"
SCORES = "scores are left out"
UNMAPPED = "events whose class the class map leaves out are left out"
REPEATED = "events overlap another one of their class, and become one with it"
RENAMED = f"names of classes are changed, as {SEPARATOR!r} joins the names of several classes"


@dataclass(frozen=True)
class Choices:
    """What becomes of what a file states beside behaviours and times.

    Attributes:
        subject: The subject whose events are taken; EACH makes classes of its own for each subject; None takes the
            events of all together.
        keep_modifiers: Whether a behaviour with modifiers is a class of its own.
        point_seconds: The duration that point events get, where they have times; those that have a frame get that one
            frame. None leaves them out.
        class_map: The name of the class of each behaviour, "" where it is left out; those without an entry keep their
            name.
    """

    subject: str | None = None
    keep_modifiers: bool = False
    point_seconds: float | None = None
    class_map: Mapping[str, str] | None = None


class NamedEvent(NamedTuple):
    """An event with the name of its class, and the group of that class.

    Attributes:
        event: The event, whose stop is known.
        name: The name of the class.
        group: The subject, with the choice EACH; "" otherwise.
    """

    event: Event
    name: str
    group: str


class PlacedSegment(NamedTuple):
    """The frames [start, stop) of a video that have a class.

    Attributes:
        start: The first frame.
        stop: The frame after the last one.
        name: The name of the class.
        group: See `NamedEvent`.
    """

    start: int
    stop: int
    name: str
    group: str = ""


def name_events(recording: Recording, choices: Choices, losses: list[Loss]) -> Iterator[NamedEvent]:
    """Yield the events that are taken, each with the name of its class.

    Args:
        recording: The recording.
        choices: What becomes of subjects, modifiers, point events and names.
        losses: What is left out is appended to it.
    """
    for event in recording.events:
        found = _name_event(event, choices, losses, recording.unit)
        if found is not None:
            losses.extend(_remarks(event, choices))
            yield found


def _name_event(event: Event, choices: Choices, losses: list[Loss], unit: Unit) -> NamedEvent | None:
    if choices.subject not in (None, EACH, event.subject):
        losses.append(Loss(OTHER_SUBJECTS, event.place, event.subject or "no subject"))
        return None
    if event.stop is None:
        if choices.point_seconds is None:
            losses.append(Loss(POINTS, event.place, event.label))
            return None
        event = replace(event, stop=event.start + (choices.point_seconds if unit is Unit.SECONDS else 1))
    name = class_name(event.label, choices, event.modifiers)
    if not name:
        losses.append(Loss(UNMAPPED, event.place, event.label))
        return None
    group = event.subject if choices.subject == EACH else ""
    if SEPARATOR in event.label or any(SEPARATOR in text for text in event.modifiers):
        losses.append(Loss(RENAMED, event.place, event.label))
    full = f"{group}: {name}".replace(SEPARATOR, JOINED) if group else name
    return NamedEvent(event, full, group)


def class_name(label: str, choices: Choices, modifiers: Sequence[str] = ()) -> str:
    """Return the name of the class of a behaviour, without its subject; "" where it is left out.

    White space at its ends and more than one between words is taken off, as spreadsheets and people leave it. The
    SEPARATOR is replaced.
    """
    if choices.keep_modifiers and modifiers:
        label = MODIFIER_MARK.join([label, *modifiers])
    name = plain_name(label)
    if choices.class_map is not None:
        name = choices.class_map.get(name, name)
    return name.replace(SEPARATOR, JOINED)


def plain_name(label: str) -> str:
    """Return the name of a behaviour in the form in which names are compared: one Unicode form, single blanks.

    >>> plain_name("  wild   boar\ufeff ")
    'wild boar'
    """
    return canonical(" ".join(label.replace("\ufeff", " ").split()))


def _remarks(event: Event, choices: Choices) -> Iterator[Loss]:
    if event.comment:
        yield Loss(COMMENTS, event.place, event.comment)
    if event.modifiers and not choices.keep_modifiers:
        yield Loss(MODIFIERS, event.place, MODIFIER_MARK.join(event.modifiers))
    if event.score is not None:
        yield Loss(SCORES, event.place, f"{event.score:g}")
    if event.subject and choices.subject is None:
        yield Loss(SUBJECTS, event.place, event.subject)


def place_events(
    events: Iterable[NamedEvent], recording: Recording, times: Sequence[FrameTimes | None], losses: list[Loss]
) -> list[list[PlacedSegment]]:
    """Find the frames of events.

    An event that goes on from one media file into the next becomes a segment in each.

    Args:
        events: The events, of `name_events`.
        recording: Their recording.
        times: When the frames of each media file are shown, in the order of `recording.media`; None where the file was
            not found: what lies in it is left out, and counted by the caller.
        losses: What is left out is appended to it.

    Returns:
        The segments of each media file, sorted, without any two of one class that overlap.
    """
    starts = [media.start for media in recording.media]
    ends = [*starts[1:], float("inf")]
    found: list[list[PlacedSegment]] = [[] for _ in recording.media]
    for event in events:
        assert event.event.stop is not None, event
        is_in_any = False
        for index, (begin, end) in enumerate(zip(starts, ends, strict=True)):
            start, stop = event.event.start, event.event.stop
            # What begins before the first media file, or after the last one, belongs to that one.
            if (stop <= begin and index > 0) or start >= end:
                continue
            is_in_any = True
            of_media = times[index]
            if of_media is not None:
                local = max(start, begin if index else start) - begin, min(stop, end) - begin
                segment = _place(event, local, recording, of_media, losses)
                found[index] += [segment] if segment else []
        if not is_in_any:
            losses.append(Loss(OUTSIDE, event.event.place, event.event.label))
    return [join_segments(segments, losses) for segments in found]


def _place(
    event: NamedEvent, local: tuple[float, float], recording: Recording, times: FrameTimes, losses: list[Loss]
) -> PlacedSegment | None:
    """Find the frames of an event in a media file, on whose clock `local` is its start and its stop."""
    place, label = event.event.place, event.event.label
    start, stop = frames_of(local, recording, times)
    if recording.unit is Unit.FRAMES:
        is_cut = local[0] < 0 or local[1] > times.num_frames
    else:
        tolerance = max(times.frame_seconds, recording.resolution)
        first = float(times.pts_seconds[0]) if times.num_frames else 0.0
        is_cut = local[1] > times.end_seconds + tolerance or local[0] < min(0.0, first) - tolerance
    if start >= stop:
        is_outside = start >= times.num_frames or stop <= 0
        losses.append(Loss(OUTSIDE if is_outside else SHORT, place, label))
        return None
    if is_cut:
        losses.append(Loss(CUT, place, label))
    return PlacedSegment(start, stop, event.name, event.group)


def frames_of(local: tuple[float, float], recording: Recording, times: FrameTimes) -> tuple[int, int]:
    """Return the frames [start, stop) of a part of a media file; start is not below stop where there is none.

    Args:
        local: Its start and its stop, in the unit of the recording, on the clock of the media file.
        recording: The recording.
        times: When the frames of the media file are shown.
    """
    if recording.unit is Unit.FRAMES:
        return max(0, int(local[0])), min(times.num_frames, int(local[1]))
    return times.segment(*local, resolution=times.usable_resolution(recording.resolution))


def join_segments(segments: Sequence[PlacedSegment], losses: list[Loss]) -> list[PlacedSegment]:
    """Join the segments of one class that overlap, with a Loss for each, and sort them."""
    joined: list[PlacedSegment] = []
    latest: dict[str, int] = {}  # the place in `joined` of the last segment of each class
    for segment in sorted(segments):
        index = latest.get(segment.name)
        if index is not None and segment.start < joined[index].stop:
            losses.append(Loss(REPEATED, f"frame {segment.start}", segment.name))
            joined[index] = joined[index]._replace(stop=max(joined[index].stop, segment.stop))
        else:
            latest[segment.name] = len(joined)
            joined.append(segment)
    return joined
