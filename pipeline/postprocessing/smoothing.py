"""The smoothing of labels: no segment is shorter than a minimum number of frames.

`smooth` is for a whole video; `CausalSmoother` is for the frames of a live video, one by one.

Shapes: T frames, K classes.
"""

import heapq
import itertools
from collections.abc import Sequence

import numpy as np

from pipeline.annotations.segments import segments_from_frames

MinSegmentFrames = int | Sequence[int]


def smooth(probabilities: np.ndarray, *, min_segment_frames: MinSegmentFrames) -> np.ndarray:
    """Return the most probable class of each frame, with short segments merged into their neighbours.

    The shortest of those that are too short is merged first, the earlier of two of the same length. It takes the class
    of the neighbour whose summed probability over the segment's frames is higher (the previous one if they are equal),
    and joins it. A joined segment counts at its new length, so every segment of the result is long enough, except that
    a video shorter than `min_segment_frames` is one segment.

    Args:
        probabilities: [T, K].
        min_segment_frames: The minimum length of a segment, in frames: one for all classes, or one for each. With 1 the
            result is the plain argmax.

    Returns:
        Labels int64 [T].

    Raises:
        ValueError: `probabilities` is not [T, K], or `min_segment_frames` is below 1 or not of K classes.
    """
    if probabilities.ndim != 2:
        raise ValueError(f"got probabilities of shape {probabilities.shape}, expected [T, K]")
    _check(min_segment_frames)
    min_lengths = np.broadcast_to(min_segment_frames, probabilities.shape[1]).tolist()
    longest_min = max(min_lengths)
    num_frames = len(probabilities)
    if num_frames == 0:
        return np.zeros(0, dtype=np.int64)
    labels = probabilities.argmax(axis=1).astype(np.int64)
    # The key of a segment is its start; the one after [start, stop) starts at stop. The heap may have outdated lengths.
    segments = segments_from_frames(labels)
    stops = {segment.start: segment.stop for segment in segments}
    previous = {after.start: before.start for before, after in itertools.pairwise(segments)}
    shortest = [(segment.stop - segment.start, segment.start) for segment in segments]
    heapq.heapify(shortest)
    while shortest:
        length, start = heapq.heappop(shortest)
        if stops.get(start) != start + length:
            continue  # it has joined another segment
        if length >= longest_min or length == num_frames:
            break
        if length >= min_lengths[labels[start]]:
            continue  # it stays, unless a neighbour joins it
        before, after = previous.get(start), (start + length if start + length < num_frames else None)
        neighbours = [labels[neighbour] for neighbour in (before, after) if neighbour is not None]
        winner = max(neighbours, key=lambda c: probabilities[start : start + length, c].sum(dtype=np.float64))
        first = before if before is not None and labels[before] == winner else start
        last = after if after is not None and labels[after] == winner else start
        stop = stops[last]
        for joined in {first, start, last}:
            del stops[joined]
        stops[first] = stop
        previous[stop] = first
        labels[start : start + length] = winner
        heapq.heappush(shortest, (stop - first, first))
    return labels


class CausalSmoother:
    """Labels the frames of a live video from their most probable classes, without segments that are too short.

    A run of frames of one class counts when it has lasted `min_segment_frames`; the first run always counts. The label
    of a frame is the class of the last run that counts, of those that have begun at that frame. A label is therefore
    known immediately while the class stays the same, and at most `min_segment_frames` - 1 frames later where another
    class may have begun: the new segment then starts at the first frame of its run. Only the first segment may be
    shorter.

    `smooth` sees the whole video, and may therefore merge a short run into the neighbour that fits it better.

    Args:
        min_segment_frames: The minimum length of a segment, in frames: one for all classes, or one for each. With 1 the
            labels are the plain argmax.

    Raises:
        ValueError: `min_segment_frames` is below 1.
    """

    def __init__(self, min_segment_frames: MinSegmentFrames) -> None:
        _check(min_segment_frames)
        self._min_segment_frames = min_segment_frames
        self._current: int | None = None
        self._candidate = -1  # the class of the run that does not count yet
        self._run_frames = 0  # the length of that run; its frames are those without a label

    def add(self, most_probable: int) -> list[int]:
        """Add the most probable class of the next frame, and return the labels that are now known, the oldest first."""
        if self._current is None:
            self._current = most_probable
        if most_probable == self._current:
            return [*self.end(), most_probable]
        too_short = self.end() if most_probable != self._candidate else []
        self._candidate = most_probable
        self._run_frames += 1
        if self._run_frames < self._min_frames_of(most_probable):
            return too_short
        self._current = most_probable
        return too_short + self.end()

    def end(self) -> list[int]:
        """Return the labels of the frames that have none yet, as no frames follow."""
        num_waiting, self._run_frames = self._run_frames, 0
        return [] if self._current is None else [self._current] * num_waiting

    def _min_frames_of(self, class_index: int) -> int:
        of_classes = self._min_segment_frames
        return of_classes[class_index] if isinstance(of_classes, Sequence) else of_classes


def _check(min_segment_frames: MinSegmentFrames) -> None:
    if np.min(min_segment_frames) < 1:
        raise ValueError(f"got min_segment_frames {min_segment_frames}, expected 1 or more")
