"""The best sequence of segments, by the probabilities of the frames and by what training labels say of segments.

`smooth` looks at one short segment after the other. The Viterbi algorithm for explicit durations (Rabiner 1989, section
IV.D, equations 68 to 75) finds the labels of a whole video with the highest sum of

- ln p of the class of each frame, and
- `weight` times: ln p of the first class, of each transition, and of the length of each segment,

the last three from a `SegmentModel`. The length has a log-normal density up to EXACT_FRAMES. From there on its
logarithm falls along a straight line, so that the time and the memory for a frame do not grow with the longest segment.

Shapes: T frames, K classes, D lengths.
"""

import math

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
    # ln p of the frames before each frame, summed for each class: that of a segment is the difference of two of them.
    sums = np.zeros((num_classes, num_frames + 1))
    np.cumsum(_log(probabilities).T, axis=1, out=sums[:, 1:])
    classes = np.arange(num_classes)
    following = _following(model)
    lengths, slopes = _lengths(model)
    longest_first = np.ascontiguousarray(lengths[:, ::-1])
    longest = lengths.shape[1]
    # The best score of the frames before `start`, and of entering a class there, relative to the sum of that class.
    entered = np.full((num_classes, num_frames), -np.inf)
    previous = np.zeros((num_frames, num_classes), dtype=np.int32)  # the class that ends where another starts
    starts = np.zeros((num_frames + 1, num_classes), dtype=np.int32)  # of the best segment that ends there
    score = np.zeros(num_classes)
    beyond, beyond_starts = np.full(num_classes, -np.inf), starts[0].copy()  # of segments longer than `longest`
    if num_frames:
        entered[:, 0] = model.weight * _log(model.first)
    for stop in range(1, num_frames + 1):
        start = max(0, stop - longest)
        found = entered[:, start:stop] + longest_first[:, start - stop :]
        best = found.argmax(axis=1)
        score, starts[stop] = found[classes, best], best + start
        if start:
            new = entered[:, start - 1] + lengths[:, -1]
            beyond_starts[new > beyond] = start - 1
            beyond = np.maximum(new, beyond) + slopes
            starts[stop] = np.where(beyond > score, beyond_starts, starts[stop])
            score = np.maximum(beyond, score)
        score = score + sums[:, stop]
        if stop < num_frames:
            entering = score[:, None] + following
            previous[stop] = entering.argmax(axis=0)
            entered[:, stop] = entering[previous[stop], classes] - sums[:, stop]
    return _trace(int(score.argmax()), starts, previous)


def _trace(last: int, starts: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """Follow the best segments from the last one back to the first one, and return the labels int64 [T]."""
    labels = np.zeros(len(previous), dtype=np.int64)
    stop, class_index = len(labels), last
    while stop:
        start = int(starts[stop, class_index])
        labels[start:stop] = class_index
        stop, class_index = start, int(previous[start, class_index])
    return labels


def _lengths(model: SegmentModel) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted ln p of the lengths 1 to D of each class [K, D], and what each frame beyond D adds [K]."""
    means, spreads = np.array(model.log_frames)[:, None], np.array(model.spreads)[:, None]
    reach = float((means + EXACT_SPREADS * spreads).max())
    longest = max(2, EXACT_FRAMES if reach > math.log(EXACT_FRAMES) else math.ceil(math.exp(reach)))
    logs = np.log(np.arange(1, longest + 1))
    found = -0.5 * ((logs - means) / spreads) ** 2 - logs - np.log(spreads * math.sqrt(2 * math.pi))
    found *= model.weight
    return found, np.minimum(found[:, -1] - found[:, -2], 0)


def _following(model: SegmentModel) -> np.ndarray:
    """Return the weighted ln p of the transitions [K, K], from each class to each other one."""
    found = model.weight * _log(model.following)
    np.fill_diagonal(found, -np.inf)
    return found


def _log(probabilities: ArrayLike) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), SMALLEST_PROBABILITY))
