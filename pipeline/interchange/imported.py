"""What an import gives: the labels of videos, their classes, and what does not become a label."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.annotations.foreign.placing import Choices, PlacedSegment
from pipeline.annotations.label_space import LabelSpace
from pipeline.interchange.losses import Losses
from pipeline.text.wording import counted


class ScoredFrames(NamedTuple):
    """The frames [start, stop) at which people looked, for one class, or for all (None)."""

    start: int
    stop: int
    name: str | None


@dataclass
class ImportedVideo:
    """The labels of a video.

    Attributes:
        path: The video.
        stem: Its name in the data set.
        num_frames: T.
        segments: The segments, sorted; none of one class overlaps another.
        scored: At which frames people looked; None for all.
        split: "train", "val" or "test"; None where the file does not say.
        source: The file, and the recording in it.
        background: The class that stands for none of the others, as the file says; None where there is none.
    """

    path: Path
    stem: str
    num_frames: int
    segments: list[PlacedSegment]
    scored: list[ScoredFrames] | None
    split: str | None
    source: tuple[Path, str]
    background: str | None = None


@dataclass
class Imported:
    """The labels of files of other programs.

    Attributes:
        videos: The videos by stem.
        label_space: The classes.
        losses: Everything that does not become a label, or not as it was.
        notes: What a user should know, in whole sentences.
        declared: The classes that files declare, used or not, in their order.
        unlabelled_share: The share of the frames that are in no event, where classes exclude each other.
    """

    videos: dict[str, ImportedVideo] = field(default_factory=dict)
    label_space: LabelSpace = field(default_factory=lambda: LabelSpace(()))
    losses: Losses = field(default_factory=Losses)
    notes: list[str] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)
    unlabelled_share: float = 0.0

    def describe(self) -> str:
        """Describe in a line what was imported."""
        num_segments = sum(len(video.segments) for video in self.videos.values())
        how = "exclude each other" if self.label_space.is_exclusive else "may overlap"
        return (
            f"{counted(len(self.videos), 'video')}, {counted(num_segments, 'segment', separator=',')},"
            f" {counted(self.label_space.num_classes, 'class', 'classes')} that {how}"
        )


@dataclass(frozen=True)
class ImportOptions:
    """What the caller decides.

    Attributes:
        choices: What becomes of subjects, modifiers, point events and names.
        recordings: The names of the recordings that are taken; empty for all.
        independent: Whether any classes may overlap, also where none does.
        background: The class of the frames that are in no event, where classes exclude each other; None leaves them
            unlabelled.
        from_first: Whether times count from the first frame of a video, see `videos.read_times`.
    """

    choices: Choices = field(default_factory=Choices)
    recordings: tuple[str, ...] = ()
    independent: bool = False
    background: str | None = None
    from_first: bool = False
