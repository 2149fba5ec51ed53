"""The stretches of a video that are worth looking at: those whose labels are likely to be wrong.

T frames, K classes. Every frame has a gain from 0 to 1, which says how much it is worth to look at the frame:

- A frame that nobody labelled: 1 - p(label), the probability that the model's own label is wrong (least confidence:
  Lewis and Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR 1994). So the mean over a stretch is the
  share of its frames that have to be corrected, as far as the probabilities are calibrated.
- A frame with a given label that differs from the model's: log p(given) / log SMALLEST_PROBABILITY, the model's
  surprise. It is 1 where the model rules the given label out, and small where the model merely doubts. p(given) is the
  self-confidence by which confident learning ranks labels (Northcutt, Jiang, Chuang, JAIR 2021, arXiv 1911.00068). Its
  logarithm distinguishes a label that the model rules out from one that it only likes less. This matters where models
  are often wrong.
- A frame with a given label that the model agrees with: 0.

Where classes overlap, the gain of a frame is that of its most doubted class: see `doubts`.

A stretch is as long as a person needs to see what happens. So the one around a few frames with a high gain has other
frames too, also such on which the model and a given label agree; they lower its score.

docs/results/experiments/2026-11.md shows how these gains were chosen.
"""

from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.labelling.doubts import class_gains, surprise


class Stretch(NamedTuple):
    """A stretch of a video.

    Attributes:
        start: The first frame.
        stop: The frame after the last one.
        score: The mean of the gains of its frames, from 0 to 1.
    """

    start: int
    stop: int
    score: float


def frame_gains(
    probabilities: np.ndarray, labels: np.ndarray, given: np.ndarray, label_space: LabelSpace
) -> np.ndarray:
    """Compute the gain of each frame, or of each of its classes where they overlap.

    Args:
        probabilities: [T, K], tempered.
        labels: int64 [T], the labels of the model; or int8 [T, K], where classes overlap.
        given: As `labels`, the labels that people gave; frames that nobody labelled have none.
        label_space: The classes.

    Returns:
        float [T], from 0 to 1; or [T, K], see `class_gains`, where classes overlap.

    >>> probabilities = np.array([[0.7, 0.3], [0.99, 0.01], [0.99, 0.01]])
    >>> space = LabelSpace(("rest", "walk"))
    >>> frame_gains(probabilities, np.array([0, 0, 0]), np.array([-100, 1, 0]), space).round(2).tolist()
    [0.3, 0.67, 0.0]
    """
    if not label_space.is_exclusive:
        return class_gains(probabilities, labels, given, label_space)
    is_given = label_space.is_labelled(given)
    of_given = _chosen(probabilities, np.where(is_given, given, labels))
    return np.where(is_given, np.where(given == labels, 0, surprise(of_given)), 1 - of_given)


def _chosen(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]


def find_stretches(gains: np.ndarray, *, shortest_frames: int, longest_frames: int, most: int) -> list[Stretch]:
    """Find the stretches of one video with the highest gains; none of them overlap.

    The window of `shortest_frames` with the highest mean is found. It grows, at most a window at a time, on the side
    that is worth more, as long as the frames that are added have more than half of that mean; so neighbours that belong
    together are one stretch. Then the next window is found among the frames that are left. A video shorter than
    `shortest_frames` is one stretch. Frames with a gain of 0 make no stretch of their own.

    Args:
        gains: [T], the gain of each frame.
        shortest_frames: The length of the shortest stretch.
        longest_frames: The length of the longest stretch.
        most: The maximum number of stretches.

    Returns:
        The stretches, the best first.

    Raises:
        ValueError: Not 1 <= shortest_frames <= longest_frames.
    """
    if not 1 <= shortest_frames <= longest_frames:
        raise ValueError(f"got shortest_frames {shortest_frames} and longest_frames {longest_frames}")
    window = min(shortest_frames, len(gains))
    sums = np.concatenate([[0.0], np.cumsum(gains, dtype=np.float64)])
    means = (sums[window:] - sums[:-window]) / window if window else np.zeros(0)  # by the first frame of a window
    found: list[Stretch] = []
    while len(found) < most and len(means):
        start = int(means.argmax())
        if means[start] <= 0:
            break
        low = max((other.stop for other in found if other.stop <= start), default=0)
        high = min((other.start for other in found if other.start > start), default=len(gains))
        start, stop = _grown(sums, start, start + window, low, high, longest_frames)
        means[max(0, start - window + 1) : stop] = -np.inf  # all windows that overlap it
        found.append(Stretch(start, stop, float((sums[stop] - sums[start]) / (stop - start))))
    return sorted(found, key=lambda stretch: (-stretch.score, stretch.start))


def _grown(sums: np.ndarray, start: int, stop: int, low: int, high: int, longest_frames: int) -> tuple[int, int]:
    """Grow the window [start, stop) within [low, high) by the frames that are worth adding.

    `sums` [T + 1] are the sums of the gains before each frame. Returns the new start and stop.
    """
    ahead = stop - start
    least = (sums[stop] - sums[start]) / ahead / 2
    while True:
        room = min(ahead, longest_frames - (stop - start))
        before, num_before = _best_part(sums[start] - sums[max(low, start - room) : start][::-1], least)
        after, num_after = _best_part(sums[stop + 1 : min(high, stop + room) + 1] - sums[stop], least)
        if max(before, after) <= 0:
            return start, stop
        if before >= after:
            start -= num_before
        else:
            stop += num_after


def _best_part(gained: np.ndarray, least: float) -> tuple[float, int]:
    """Find the number of first frames that exceed `least` per frame by most: that surplus, and the number of frames.

    `gained` [n] are the sums of the gains of 1, 2, ... frames.
    """
    surplus = gained - least * np.arange(1, len(gained) + 1)
    return (float(surplus.max()), int(surplus.argmax()) + 1) if len(surplus) else (0.0, 0)
