"""The best sequence of segments, by the probabilities of the frames and by what training labels say of segments.

`smooth` looks at one short segment after the other. The Viterbi algorithm for explicit durations (Rabiner 1989, section
IV.D, equations 68 to 75) finds the labels of a whole video with the highest sum of

- ln p of the class of each frame, and
- `weight` times: ln p of the first class, of each transition, and of the length of each segment,

the last three from a `SegmentModel`. The length has a log-normal density up to EXACT_FRAMES. From there on its
logarithm falls along a straight line, so that the time and the memory for a frame do not grow with the longest segment.

`decode_segments` is for a whole video, `CausalDecoder` for the frames of a live video, one by one.

Shapes: T frames, K classes, D lengths.
"""

import math
from collections import deque

import numpy as np
from numpy.typing import ArrayLike

from pipeline.annotations.segment_model import SegmentModel

EXACT_FRAMES = 1000  # longer segments are counted along the straight line
EXACT_SPREADS = 3  # so are those that are longer than the mean of all classes by so many spreads
SMALLEST_PROBABILITY = 1e-12


def decode_segments(probabilities: np.ndarray, model: SegmentModel) -> np.ndarray:
    """Find the labels with the highest score; the segments may have any length.

    Args:
        probabilities: [T, K].
        model: The segments of the K classes.

    Returns:
        Labels int64 [T].

    Raises:
        ValueError: `probabilities` is not [T, K].
    """
    if probabilities.ndim != 2 or probabilities.shape[1] != model.num_classes:
        raise ValueError(f"got probabilities of shape {probabilities.shape}, expected [T, {model.num_classes}]")
    num_frames, num_classes = probabilities.shape
    search = _Search(model)
    previous = np.zeros((num_frames, num_classes), dtype=np.int32)
    starts = np.zeros((num_frames + 1, num_classes), dtype=np.int32)
    for frame, logs in enumerate(_log(probabilities)):
        previous[frame], starts[frame + 1] = search.add(logs)
    labels = np.zeros(num_frames, dtype=np.int64)
    stop, class_index = num_frames, int(search.scores.argmax())
    while stop:
        start = int(starts[stop, class_index])
        labels[start:stop] = class_index
        stop, class_index = start, int(previous[start, class_index])
    return labels


class CausalDecoder:
    """Labels of a live video by the best sequence of segments of the frames so far.

    The label of a frame is that of the sequence that is best `lag` frames later. Its last segment is not over: it
    counts by the probability that a segment lasts so long or longer. `decode_segments` sees the whole video, and gives
    the same labels as a lag that is as long as the video.

    Args:
        model: The segments of the K classes.
        lag: How many more frames the label of each frame waits for.

    Raises:
        ValueError: `lag` is negative.
    """

    def __init__(self, model: SegmentModel, lag: int) -> None:
        if lag < 0:
            raise ValueError(f"got a lag of {lag} frames, expected 0 or more")
        self._search = _Search(model)
        self._open = _Starts(*_lasting(model))
        self._lag = lag
        # Of the newest frames, those without a label among them: what `_Search.add` returned.
        self._found: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=lag + 1)
        self._num_waiting = 0

    def add(self, probabilities: np.ndarray) -> list[int]:
        """Add the probabilities [K] of the next frame, and return the label that is now known, if there is one."""
        self._found.append(self._search.add(_log(probabilities)))
        scores, starts = self._search.best(self._open)
        self._num_waiting += 1
        if self._num_waiting <= self._lag:
            return []
        class_index = int(scores.argmax())
        label = self._trace(class_index, int(starts[class_index]))[0]
        self._num_waiting -= 1
        return [label]

    def end(self) -> list[int]:
        """Return the labels of the frames that have none yet, as no frames follow: the last segment is over."""
        if not self._num_waiting:
            return []
        class_index = int(self._search.scores.argmax())
        labels = self._trace(class_index, int(self._found[-1][1][class_index]))
        self._num_waiting = 0
        return labels

    def _trace(self, class_index: int, start: int) -> list[int]:
        """Return the labels of the frames without one, from the class and the start of the last segment."""
        stop = self._search.num_frames
        first = stop - self._num_waiting
        kept = stop - len(self._found)  # the first frame of which there is something in `_found`
        labels: list[int] = []
        while True:
            labels = [class_index] * (stop - max(start, first)) + labels
            if start <= first:
                return labels
            stop, class_index = start, int(self._found[start - kept][0][class_index])
            start = int(self._found[stop - 1 - kept][1][class_index])


class _Starts:
    """Finds the start with which a segment of each class is best, by its length.

    Args:
        logs: [K, D], the weighted ln p of the lengths 1 to D.
        slopes: [K], what each frame beyond D adds.
    """

    def __init__(self, logs: np.ndarray, slopes: np.ndarray) -> None:
        self.longest = logs.shape[1]
        self._longest_first = np.ascontiguousarray(logs[:, ::-1])
        self._last, self._slopes = logs[:, -1], slopes
        self._beyond, self._beyond_starts = np.full(len(logs), -np.inf), np.zeros(len(logs), dtype=np.int64)
        self._classes = np.arange(len(logs))

    def best(self, entered: np.ndarray, dropped: np.ndarray, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores [K] and the starts int64 [K] of the segments that reach to the frame `stop`.

        Args:
            entered: [K, D], the score of entering each class at each of the last D frames; -inf before the first.
            dropped: [K], that of the frame before these.
            stop: The number of frames so far. It is called for each of them once.
        """
        found = entered + self._longest_first
        best = found.argmax(axis=1)
        scores, starts = found[self._classes, best], best + (stop - self.longest)
        new = dropped + self._last
        self._beyond_starts[new > self._beyond] = stop - self.longest - 1
        self._beyond = np.maximum(new, self._beyond) + self._slopes
        starts = np.where(self._beyond > scores, self._beyond_starts, starts)
        return np.maximum(self._beyond, scores), starts


class _Search:
    """The forward pass.

    Attributes:
        num_frames: The number of frames so far.
        scores: [K], the best score of these frames where a segment of each class ends with the last of them.
    """

    def __init__(self, model: SegmentModel) -> None:
        self.num_frames = 0
        self.scores = np.zeros(model.num_classes)
        self._first, self._following = model.weight * _log(model.first), _following(model)
        self._ended = _Starts(*_lengths(model))
        # ln p of all frames so far, summed for each class: that of a segment is the difference of two of such sums.
        self._sums = np.zeros(model.num_classes)
        # The best score of the frames before a start, and of entering a class there, relative to the sum of that class.
        self._entered = np.full((model.num_classes, self._ended.longest), -np.inf)
        self._dropped = self._entered[:, 0]
        self._classes = np.arange(model.num_classes)

    def add(self, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add a frame.

        Args:
            logs: [K], ln p of the classes.

        Returns:
            int64 [K], the class that ends where a segment of each class would start with this frame; and int64 [K], the
            start of the best segment of each class that ends with it.
        """
        previous, entering = np.zeros(len(logs), dtype=np.int64), self._first
        if self.num_frames:
            scores = self.scores[:, None] + self._following
            previous = scores.argmax(axis=0)
            entering = scores[previous, self._classes]
        self._dropped = self._entered[:, 0].copy()
        self._entered[:, :-1] = self._entered[:, 1:]
        self._entered[:, -1] = entering - self._sums
        self._sums += logs
        self.num_frames += 1
        self.scores, starts = self.best(self._ended)
        return previous, starts

    def best(self, lengths: _Starts) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores [K] of the frames so far, and the starts int64 [K] of their last segments."""
        scores, starts = lengths.best(self._entered, self._dropped, self.num_frames)
        return scores + self._sums, starts


def _lengths(model: SegmentModel) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted ln p of the lengths 1 to D of each class [K, D], and what each frame beyond D adds [K]."""
    means, spreads = np.array(model.log_frames)[:, None], np.array(model.spreads)[:, None]
    logs = np.log(np.arange(1, _longest(model) + 1))
    found = -0.5 * ((logs - means) / spreads) ** 2 - logs - np.log(spreads * math.sqrt(2 * math.pi))
    found *= model.weight
    return found, np.minimum(found[:, -1] - found[:, -2], 0)


def _lasting(model: SegmentModel) -> tuple[np.ndarray, np.ndarray]:
    """Return as `_lengths` does, but of segments that are as long or longer."""
    from scipy.special import log_ndtr  # labelling of files also imports this module, and does not need scipy

    means, spreads = np.array(model.log_frames)[:, None], np.array(model.spreads)[:, None]
    halves = np.log(np.arange(1, _longest(model) + 1) - 0.5)
    found = model.weight * log_ndtr((means - halves) / spreads)
    return found, np.minimum(found[:, -1] - found[:, -2], 0)


def _longest(model: SegmentModel) -> int:
    """Return D."""
    reach = max(mean + EXACT_SPREADS * spread for mean, spread in zip(model.log_frames, model.spreads, strict=True))
    return max(2, EXACT_FRAMES if reach > math.log(EXACT_FRAMES) else math.ceil(math.exp(reach)))


def _following(model: SegmentModel) -> np.ndarray:
    """Return the weighted ln p of the transitions [K, K], from each class to each other one."""
    found = model.weight * _log(model.following)
    np.fill_diagonal(found, -np.inf)
    return found


def _log(probabilities: ArrayLike) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), SMALLEST_PROBABILITY))
