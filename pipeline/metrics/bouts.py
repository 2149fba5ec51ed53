"""Time budgets, bouts and transitions: what behaviour researchers publish of labels.

T frames, K classes. Definitions:

- A *bout* is a run of frames that have a class. A frame without a label ends it; where classes overlap, so does a frame
  of which nobody has said whether it has the class. A bout at the start or at the end of a video is counted with the
  part that is seen.
- *Labelled* is, for a class, the time of the frames of which it is known whether they have the class: where classes
  exclude each other, of all frames with a label.
- The *budget* of a class is the time of its bouts; its *share* is that of the labelled time. Where classes exclude each
  other, the budgets add up to the labelled time.
- *Bouts per minute* are the bouts for each minute of labelled time.
- The *latency* of a class is the time from the first frame of the video to the first frame of its first bout. There is
  none without a bout.
- A *chain* is a stretch of labelled frames between frames without a label. Where classes exclude each other, each bout
  but the last one of a chain is followed by the next one, so that there are as many *transitions* as bouts less chains.
  Where they overlap, a bout is followed by the bout, or the bouts, of any class that start next after its own start in
  the same chain; this is the same where no two bouts overlap or start together.
- The *probability* of a transition from A to B is its share of all transitions from A.
- The time of a frame is from its own start to that of the next frame, so that a variable frame rate counts as it is.
- *Pooled* over videos: times, bouts and transitions of all of them are taken together; the latency is the mean over the
  videos that have one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import segments_from_frames

SECONDS_PER_MINUTE = 60


class Lengths(NamedTuple):
    """The lengths of bouts, in frames or seconds.

    Attributes:
        total: Their sum.
        mean: Their mean; None without a bout.
        median: Their median; None without a bout.
    """

    total: float
    mean: float | None
    median: float | None

    @classmethod
    def of(cls, lengths: np.ndarray) -> "Lengths":
        """Describe lengths [n].

        >>> Lengths.of(np.array([1, 2, 6]))
        Lengths(total=9.0, mean=3.0, median=2.0)
        """
        if not len(lengths):
            return cls(0.0, None, None)
        return cls(float(lengths.sum()), float(lengths.mean()), float(np.median(lengths)))


@dataclass(frozen=True)
class ClassBouts:
    """The bouts of a class in a video, or in several.

    Attributes:
        frames: int64 [n], the number of frames of each of n bouts.
        seconds: float64 [n], their lengths; None where the times of the frames are not known.
        labelled_frames: The number of frames of which it is known whether they have the class.
        labelled_seconds: Their time; None where it is not known.
        latency_frames: The frames before the first bout; None without a bout. Of several videos, the mean.
        latency_seconds: The time likewise; None without a bout, and where it is not known.
        num_videos: The number of videos.
        num_videos_with: The number of those with a bout.
    """

    frames: np.ndarray
    seconds: np.ndarray | None
    labelled_frames: int
    labelled_seconds: float | None
    latency_frames: float | None
    latency_seconds: float | None
    num_videos: int = 1
    num_videos_with: int = 0

    @property
    def num_bouts(self) -> int:
        """The number of bouts."""
        return len(self.frames)

    @property
    def share(self) -> float | None:
        """The share of the labelled time, or of the labelled frames where times are not known; None without any."""
        if self.seconds is None or not self.labelled_seconds:
            return float(self.frames.sum() / self.labelled_frames) if self.labelled_frames else None
        return float(self.seconds.sum() / self.labelled_seconds)

    @property
    def per_minute(self) -> float | None:
        """The bouts for each minute of labelled time; None where it is not known, or there is none."""
        return SECONDS_PER_MINUTE * self.num_bouts / self.labelled_seconds if self.labelled_seconds else None


def bouts_of_classes(
    labels: np.ndarray, label_space: LabelSpace, edges: np.ndarray | None = None
) -> tuple[ClassBouts, ...]:
    """Collect the bouts of each class of a video.

    Args:
        labels: int64 [T], or int8 [T, K] where classes overlap.
        label_space: The K classes.
        edges: float64 [T + 1], when each frame starts, and when the last one ends, in seconds; None where it is not
            known.

    Returns:
        The bouts of each of the K classes.

    Raises:
        ValueError: There is not one edge for each frame and one for the end.
    """
    if edges is not None and len(edges) != len(labels) + 1:
        raise ValueError(f"got {len(edges)} edges for {len(labels)} frames, expected one for each and one for the end")
    is_labelled = np.asarray(label_space.is_labelled(labels))
    segments = segments_from_frames(labels)
    found = []
    for index in range(label_space.num_classes):
        spans = np.array([(s.start, s.stop) for s in segments if s.class_index == index], dtype=np.int64).reshape(-1, 2)
        is_known = is_labelled if is_labelled.ndim == 1 else is_labelled[:, index]
        first = int(spans[0, 0]) if len(spans) else None
        found.append(
            ClassBouts(
                frames=spans[:, 1] - spans[:, 0],
                seconds=None if edges is None else edges[spans[:, 1]] - edges[spans[:, 0]],
                labelled_frames=int(is_known.sum()),
                labelled_seconds=None if edges is None else float(np.diff(edges)[is_known].sum()),
                latency_frames=first,
                latency_seconds=None if edges is None or first is None else float(edges[first] - edges[0]),
                num_videos_with=int(first is not None),
            )
        )
    return tuple(found)


def pool_bouts(videos: Sequence[ClassBouts]) -> ClassBouts:
    """Take the bouts of a class in several videos together.

    Args:
        videos: Those of each video, at least one. Where the times of one are not known, neither are those of all.
    """
    seconds = [video.seconds for video in videos if video.seconds is not None]
    labelled = [video.labelled_seconds for video in videos if video.labelled_seconds is not None]
    has_times = len(seconds) == len(videos)
    return ClassBouts(
        frames=np.concatenate([video.frames for video in videos]),
        seconds=np.concatenate(seconds) if has_times else None,
        labelled_frames=sum(video.labelled_frames for video in videos),
        labelled_seconds=sum(labelled) if has_times else None,
        latency_frames=_mean([video.latency_frames for video in videos]),
        latency_seconds=_mean([video.latency_seconds for video in videos]) if has_times else None,
        num_videos=sum(video.num_videos for video in videos),
        num_videos_with=sum(video.num_videos_with for video in videos),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def count_transitions(labels: np.ndarray, label_space: LabelSpace) -> np.ndarray:
    """Count which class follows which in a video.

    Args:
        labels: int64 [T], or int8 [T, K] where classes overlap.
        label_space: The K classes.

    Returns:
        int64 [K, K]: a row for each class, a column for each class that follows it.
    """
    counts = np.zeros((label_space.num_classes, label_space.num_classes), dtype=np.int64)
    segments = segments_from_frames(labels)
    classes = np.array([segment.class_index for segment in segments], dtype=np.int64)
    starts = np.array([segment.start for segment in segments], dtype=np.int64)  # ascending
    for first, end in _chains(labels, label_space):
        low, high = np.searchsorted(starts, (first, end))
        of_chain, starts_of_chain = classes[low:high], starts[low:high]
        for position, start in enumerate(starts_of_chain.tolist()):
            after = int(np.searchsorted(starts_of_chain, start, side="right"))
            if after < len(of_chain):
                stop = int(np.searchsorted(starts_of_chain, starts_of_chain[after], side="right"))
                np.add.at(counts[of_chain[position]], of_chain[after:stop], 1)
    return counts


def _chains(labels: np.ndarray, label_space: LabelSpace) -> Iterator[tuple[int, int]]:
    """Yield the first frame of each stretch of labelled frames, and the frame after its last one."""
    is_labelled = label_space.labelled_frames(labels).astype(np.int64)
    return ((run.start, run.stop) for run in segments_from_frames(is_labelled) if run.class_index)


def transition_probabilities(counts: np.ndarray) -> np.ndarray:
    """Return the share of each count of its row: float64 [K, K]; a row without counts stays 0.

    >>> transition_probabilities(np.array([[0, 3], [0, 0]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
