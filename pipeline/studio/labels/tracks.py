"""The labels of a video as runs of frames, which are edited in place.

Exclusive classes have one track, whose values are indices of classes. Classes that overlap have a track each, whose
values are PRESENT and ABSENT. A frame in no run has no label.

Runs of one value that touch are one run, unless there is a cut between them: two rows of a label file stay two.

Shapes: T frames, K classes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.annotations.segments import Segment, segments_from_frames

Run = tuple[int, int, int]  # start, stop, value


class Patch(NamedTuple):
    """What a track has in the frames [start, stop).

    Attributes:
        start: The first frame.
        stop: The frame after the last one; it may be `start`, for a cut alone.
        runs: The runs inside.
        cut_at_start: Whether there is a cut at `start`.
        cut_at_stop: Whether there is one at `stop`.
    """

    start: int
    stop: int
    runs: tuple[Run, ...]
    cut_at_start: bool
    cut_at_stop: bool


class Change(NamedTuple):
    """A change of a track: `before` put there undoes it, and `after` does it again."""

    track: int
    before: Patch
    after: Patch


class Track:
    """Sorted runs that do not overlap.

    Attributes:
        starts: The first frame of each run.
        stops: The frame after the last one of each.
        values: The value of each.
    """

    __slots__ = ("starts", "stops", "values")

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        columns = [list(column) for column in zip(*runs, strict=True)] or [[], [], []]
        self.starts, self.stops, self.values = columns

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Run]:
        return zip(self.starts, self.stops, self.values, strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Track):
            return NotImplemented
        return (self.starts, self.stops, self.values) == (other.starts, other.stops, other.values)

    def __hash__(self) -> int:
        raise TypeError("a track changes")

    def to_json(self) -> dict[str, list[int]]:
        """Return the runs as the page gets them; the lists are copies."""
        return {"starts": self.starts[:], "stops": self.stops[:], "values": self.values[:]}

    def copy(self) -> "Track":
        """Return a track of its own with the same runs."""
        other = Track()
        other.starts, other.stops, other.values = self.starts[:], self.stops[:], self.values[:]
        return other

    def has_cut(self, frame: int) -> bool:
        """Return whether two runs of one value touch at a frame."""
        i = bisect_left(self.starts, frame)
        if not 0 < i < len(self.starts) or self.starts[i] != frame:
            return False
        return self.stops[i - 1] == frame and self.values[i - 1] == self.values[i]

    def take(self, start: int, stop: int) -> Patch:
        """Return what the track has in the frames [start, stop)."""
        i, j = bisect_right(self.stops, start), bisect_left(self.starts, stop)
        found = zip(self.starts[i:j], self.stops[i:j], self.values[i:j], strict=True)
        runs = tuple((max(a, start), min(b, stop), value) for a, b, value in found) if start < stop else ()
        return Patch(start, stop, runs, self.has_cut(start), self.has_cut(stop))

    def put(self, patch: Patch) -> None:
        """Replace what the track has in the frames of a patch, which joins its ends to neighbours of their values."""
        start, stop, runs, *_ = patch
        i, j = bisect_right(self.stops, start), bisect_left(self.starts, stop)
        low, high = i, j
        before: tuple[Run, ...] = ()
        after: tuple[Run, ...] = ()
        if i < j and self.starts[i] < start:
            before = ((self.starts[i], start, self.values[i]),)
        elif i > 0 and self.stops[i - 1] == start:
            low, before = i - 1, ((self.starts[i - 1], start, self.values[i - 1]),)
        if i < j and self.stops[j - 1] > stop:
            after = ((stop, self.stops[j - 1], self.values[j - 1]),)
        elif j < len(self.starts) and self.starts[j] == stop:
            high, after = j + 1, ((stop, self.stops[j], self.values[j]),)
        joined = _join((*before, *runs, *after), patch)
        self.starts[low:high] = [run[0] for run in joined]
        self.stops[low:high] = [run[1] for run in joined]
        self.values[low:high] = [run[2] for run in joined]


def _join(runs: Sequence[Run], patch: Patch) -> list[Run]:
    """Join runs of one value that touch at the ends of a patch, where it has no cut."""
    joined: list[Run] = []
    for run in runs:
        at_start = run[0] == patch.start and not patch.cut_at_start
        at_stop = run[0] == patch.stop and not patch.cut_at_stop
        if joined and (at_start or at_stop) and joined[-1][1] == run[0] and joined[-1][2] == run[2]:
            joined[-1] = joined[-1][0], run[1], run[2]
        else:
            joined.append(run)
    return joined


class Tracks:
    """The tracks of a video.

    Args:
        tracks: The tracks: one, or one for each of the classes that overlap.
        num_frames: T.
        label_space: The classes.
    """

    def __init__(self, tracks: Sequence[Track], num_frames: int, label_space: LabelSpace) -> None:
        self.tracks, self.num_frames, self.label_space = list(tracks), num_frames, label_space
        self._others: list[tuple[int, ...]] = [() for _ in tracks]
        if not label_space.is_exclusive:
            for members in label_space.group_members:
                for index in members:
                    self._others[index] = tuple(other for other in members if other != index)

    @classmethod
    def empty(cls, num_frames: int, label_space: LabelSpace) -> "Tracks":
        """Return the tracks of a video without labels."""
        count = 1 if label_space.is_exclusive else label_space.num_classes
        return cls([Track() for _ in range(count)], num_frames, label_space)

    @classmethod
    def from_labels(cls, labels: np.ndarray, label_space: LabelSpace, rows: Iterable[Segment] = ()) -> "Tracks":
        """Return labels as tracks.

        Args:
            labels: int64 [T], or int8 [T, K] where classes overlap.
            label_space: The classes.
            rows: The rows of the table of segments that the labels come from: two that touch stay two.
        """
        columns = [labels] if label_space.is_exclusive else list(labels.T)
        tracks = cls([Track(segments_from_frames(column)) for column in columns], len(labels), label_space)
        edges = [{*track.starts, *track.stops, 0, len(labels)} for track in tracks.tracks]
        for row in rows:
            track = 0 if label_space.is_exclusive else row.class_index
            for frame in {row.start, row.stop} - edges[track]:
                tracks.cut(track, frame)
        return tracks

    @classmethod
    def from_json(cls, content: Sequence[Mapping[str, Any]], num_frames: int, label_space: LabelSpace) -> "Tracks":
        """Return tracks from what `to_json` returned."""
        runs = (zip(one["starts"], one["stops"], one["values"], strict=True) for one in content)
        return cls([Track(of_track) for of_track in runs], num_frames, label_space)

    def copy(self) -> "Tracks":
        """Return tracks of their own with the same runs."""
        return Tracks([track.copy() for track in self.tracks], self.num_frames, self.label_space)

    def to_json(self) -> list[dict[str, list[int]]]:
        """Return the tracks as the page gets them."""
        return [track.to_json() for track in self.tracks]

    def to_labels(self) -> np.ndarray:
        """Return the labels: int64 [T], or int8 [T, K] where classes overlap."""
        if self.label_space.is_exclusive:
            return self._column(self.tracks[0], np.dtype(np.int64))
        if not self.tracks:
            return self.label_space.unlabelled(self.num_frames)
        return np.stack([self._column(track, np.dtype(np.int8)) for track in self.tracks], axis=1)

    def _column(self, track: Track, dtype: np.dtype[Any]) -> np.ndarray:
        labels = np.full(self.num_frames, IGNORE_INDEX, dtype=dtype)
        for start, stop, value in track:
            labels[start:stop] = value
        return labels

    def segments(self) -> list[Segment]:
        """Return the segments, with their cuts, in the order of their starts, stops and classes."""
        if self.label_space.is_exclusive:
            return [Segment(*run) for run in self.tracks[0]]
        found = ((start, stop, k, value) for k, track in enumerate(self.tracks) for start, stop, value in track)
        return sorted(Segment(start, stop, k) for start, stop, k, value in found if value == PRESENT)

    @property
    def num_labelled(self) -> int:
        """The number of frames with a label; where classes overlap, summed over the classes."""
        return sum(sum(track.stops) - sum(track.starts) for track in self.tracks)

    def paint(self, track: int, start: int, stop: int, value: int | None) -> list[Change]:
        """Give frames a value, and take away the cuts between them.

        Of classes that exclude each other, the others become ABSENT where one becomes PRESENT.

        Args:
            track: The index of the track.
            start: The first frame.
            stop: The frame after the last one.
            value: The value; None for frames without a label.

        Returns:
            The changes, in order.
        """
        changes = [self._paint_one(track, start, stop, value)]
        if value == PRESENT:
            changes += [self._paint_one(other, start, stop, ABSENT) for other in self._others[track]]
        return changes

    def _paint_one(self, index: int, start: int, stop: int, value: int | None) -> Change:
        before = self.tracks[index].take(start, stop)
        runs = () if value is None else ((start, stop, value),)
        return self._put(index, before, before._replace(runs=runs))

    def cut(self, track: int, frame: int, *, remove: bool = False) -> Change:
        """Split the run in which a frame lies, so that the frame is the first of the second part; or join them again.

        Nothing changes where there is no such run.
        """
        before = self.tracks[track].take(frame, frame)
        return self._put(track, before, Patch(frame, frame, (), not remove, not remove))

    def replace(self, other: "Tracks") -> list[Change]:
        """Take over all runs of other tracks of the same video and the same classes."""
        return [
            self._put(index, track.take(0, self.num_frames), Patch(0, self.num_frames, tuple(new), False, False))
            for index, (track, new) in enumerate(zip(self.tracks, other.tracks, strict=True))
        ]

    def _put(self, index: int, before: Patch, after: Patch) -> Change:
        self.tracks[index].put(after)
        return Change(index, before, after)

    def undo(self, changes: Sequence[Change]) -> None:
        """Take back changes, which are those that were made last."""
        for change in reversed(changes):
            self.tracks[change.track].put(change.before)

    def redo(self, changes: Sequence[Change]) -> None:
        """Make changes again."""
        for change in changes:
            self.tracks[change.track].put(change.after)
