"""From probabilities to labels without flicker: no segment shorter than a least number of frames.

Of a whole video, or frame by frame while it is made.

T frames, K classes.
"""

import heapq
import itertools

import numpy as np

from pipeline.annotations.segments import segments_from_frames


def smooth(probabilities: np.ndarray, *, min_segment_frames: int) -> np.ndarray:
    """The most probable class of each frame, with segments shorter than `min_segment_frames` given to a neighbour.

    probabilities [T, K] -> labels int64 [T]. The shortest segment goes first, the earlier of two equal ones: it takes
    the class of the neighbour with the higher summed probability over its frames (the one before, where they tie) and
    joins it. What has joined counts at its new length, so every segment of the result is long enough, except that a
    video shorter than `min_segment_frames` is one segment. With 1 this is the plain argmax.

    Raises ValueError if `probabilities` is not [T, K] or `min_segment_frames` is below 1.
    """
    if probabilities.ndim != 2:
        raise ValueError(f"got probabilities of shape {probabilities.shape}, expected [T, K]")
    if min_segment_frames < 1:
        raise ValueError(f"got min_segment_frames {min_segment_frames}, expected 1 or more")
    num_frames = len(probabilities)
    if num_frames == 0:
        return np.zeros(0, dtype=np.int64)
    labels = probabilities.argmax(axis=1).astype(np.int64)
    # Segments live under their start; the one after [start, stop) starts at stop. The heap may hold outdated lengths.
    segments = segments_from_frames(labels)
    stops = {segment.start: segment.stop for segment in segments}
    previous = {after.start: before.start for before, after in itertools.pairwise(segments)}
    shortest = [(segment.stop - segment.start, segment.start) for segment in segments]
    heapq.heapify(shortest)
    while shortest:
        length, start = heapq.heappop(shortest)
        if stops.get(start) != start + length:
            continue  # joined to another since
        if length >= min_segment_frames or length == num_frames:
            break
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
    """The labels of frames as they come, the most probable class of each in, without segments that are too short.

    A run of frames of one class counts when it has lasted `min_segment_frames`, the first run always does. A frame has
    the class of the last run that counts, of those that have begun when it is shown. So a label is known at once
    while the class stays the same, and at most `min_segment_frames` - 1 frames later where another one may have begun:
    then the segment starts where it did start. Only the first segment may be shorter. With 1 it is the plain argmax.

    `smooth` sees the whole video, and so may give a short run to the neighbour that fits it better.
    """

    def __init__(self, min_segment_frames: int) -> None:
        if min_segment_frames < 1:
            raise ValueError(f"got min_segment_frames {min_segment_frames}, expected 1 or more")
        self._min_segment_frames = min_segment_frames
        self._current: int | None = None
        self._candidate = -1  # the class of the run that does not count yet
        self._run_frames = 0  # how long it has lasted; its frames are those without a label

    def add(self, most_probable: int) -> list[int]:
        """The next frame's most probable class -> labels of the frames that have one now, the oldest first."""
        if self._current is None:
            self._current = most_probable
        if most_probable == self._current:
            return [*self.end(), most_probable]
        too_short = self.end() if most_probable != self._candidate else []
        self._candidate = most_probable
        self._run_frames += 1
        if self._run_frames < self._min_segment_frames:
            return too_short
        self._current = most_probable
        return too_short + self.end()

    def end(self) -> list[int]:
        """Labels of the frames without one: nothing comes after them."""
        num_waiting, self._run_frames = self._run_frames, 0
        return [] if self._current is None else [self._current] * num_waiting
