"""What a file of another program says, before it is placed on the frames of videos.

A reader keeps everything that a file states, in the file's own words; what is done with subjects, modifiers and point
events is decided later, and so is which video on this machine is meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple
from urllib.parse import unquote


class Unit(Enum):
    """The unit of the times of a recording."""

    SECONDS = "seconds"
    FRAMES = "frames"  # counted from 0; a stop is the frame after the last one


class Loss(NamedTuple):
    """Something in a file that does not become a label, or not as it was.

    Attributes:
        kind: What happened, in the words of a sentence whose subject is a number of things, such as "comments are left
            out". Losses of one kind are counted together.
        place: Where in the file, such as "line 12" or "observation 'day 1', event 3".
        what: The thing itself, such as the text of a comment.
    """

    kind: str
    place: str
    what: str = ""


@dataclass(frozen=True)
class Event:
    """One behaviour, from a start to a stop.

    Attributes:
        start: When it starts, in the unit of its recording, on the clock of the recording.
        stop: When it stops; None for a point event, which has no duration.
        label: The behaviour.
        subject: Whose behaviour it is; "" where the file does not say.
        modifiers: What describes it further, one text for each set of modifiers that is not empty.
        comment: A remark of the annotator.
        score: The probability that a model gave it; None where the file has none.
        place: Where it is in the file, such as "line 12".
    """

    start: float
    stop: float | None
    label: str
    subject: str = ""
    modifiers: tuple[str, ...] = ()
    comment: str = ""
    score: float | None = None
    place: str = ""


@dataclass(frozen=True)
class Media:
    """A media file, as a file of another program names it.

    Attributes:
        name: The path or the address in the file, perhaps of another machine.
        start: When it begins on the clock of its recording, in the recording's unit; several files that were annotated
            one after the other begin where the one before ended. NaN where the file does not state the lengths of
            those before.
        seconds: Its length; None where the file does not state it.
        frame_rate: Its frames per second; None where the file does not state them.
    """

    name: str
    start: float = 0.0
    seconds: float | None = None
    frame_rate: float | None = None

    @property
    def file_name(self) -> str:
        r"""The last part of `name`, which may be a path of any system, or a file: address.

        >>> Media(r"C:\videos\day 1.mp4").file_name, Media("file:///home/me/day%201.mp4").file_name
        ('day 1.mp4', 'day 1.mp4')
        """
        # An address is not split: a name may have a # that is not encoded, or a [, which no host has.
        path = unquote(self.name[len("file:") :].lstrip("/")) if self.name.lower().startswith("file:") else self.name
        windows = PureWindowsPath(path)
        return windows.name if windows.drive or "\\" in path else PurePosixPath(path).name


class Span(NamedTuple):
    """A part of a recording at which people looked.

    Attributes:
        start: When it starts, as of an event.
        stop: When it stops.
        label: The behaviour for which they looked; None for all.
    """

    start: float
    stop: float
    label: str | None = None


@dataclass
class Recording:
    """The annotations of one video, or of several that follow one another.

    Attributes:
        name: The name of the observation; the stem of the file where it has none.
        media: The media files, in the order of their starts.
        unit: The unit of all times.
        resolution: The distance of neighbouring times that the file can state, such as 0.001 for whole milliseconds.
        events: The behaviours, in the order of the file.
        num_frames: The number of frames that the file has labels for; None where it does not say.
        scored: At what people looked; None where they looked at everything.
        split: "train", "val" or "test", where the file says to which split the video belongs.
    """

    name: str
    media: tuple[Media, ...]
    unit: Unit = Unit.SECONDS
    resolution: float = 0.001
    events: list[Event] = field(default_factory=list)
    num_frames: int | None = None
    scored: list[Span] | None = None
    split: str | None = None


@dataclass
class Document:
    """The content of a file of another program.

    Attributes:
        path: The file.
        recordings: The recordings in the order of the file.
        classes: The behaviours that the file declares, in its order, used or not; those that it only uses follow.
        may_overlap: Whether the file says that behaviours overlap (True) or exclude each other (False); None where it
            does not say.
        background: The behaviour that stands for none; None where there is none.
        losses: What does not become a label.
        notes: What a user should know, in whole sentences.
    """

    path: Path
    recordings: list[Recording]
    classes: Sequence[str] = ()
    may_overlap: bool | None = None
    background: str | None = None
    losses: list[Loss] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def labels(self) -> tuple[str, ...]:
        """Return the declared behaviours, and after them others that occur, each once."""
        used = (event.label for recording in self.recordings for event in recording.events)
        return tuple(dict.fromkeys([*self.classes, *used]))
