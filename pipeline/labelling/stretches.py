"""Which stretches of a video are worth looking at: those whose labels are likely to be wrong.

T frames, K classes. Every frame has a gain from 0 to 1, what a look at it is worth:

- One that nobody labelled: 1 - p(label), the probability that the model's own label is wrong (least confidence: Lewis
  and Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR 1994). So the mean over a stretch is the share
  of its frames that have to be corrected, as far as the probabilities are calibrated.
- One with a given label that differs from the model's: log p(given) / log SMALLEST_PROBABILITY, the model's surprise.
  Where nothing speaks for the given label it is 1, a doubt is worth little. p(given) is the self-confidence by which
  confident learning ranks labels (Northcutt, Jiang, Chuang, JAIR 2021, arXiv 1911.00068); its logarithm tells a label
  that is out of the question from one that the model only likes less, which matters where models are often wrong.
- One with a given label that the model agrees with: 0.

docs/results/experiments/2026-11.md shows from what these were chosen.
"""

from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace

SMALLEST_PROBABILITY = 1e-3  # of a given label: below it, the model cannot be surprised more


class Stretch(NamedTuple):
    """The frames start, start + 1, ..., stop - 1; score: the mean of their gains, from 0 to 1."""

    start: int
    stop: int
    score: float


def frame_gains(
    probabilities: np.ndarray, labels: np.ndarray, given: np.ndarray, label_space: LabelSpace
) -> np.ndarray:
    """The gain float [T] of each frame, of its tempered probabilities [T, K] and its label int64 [T].

    `given` int64 [T] are the labels that people gave; frames that nobody labelled have none.

    >>> probabilities = np.array([[0.7, 0.3], [0.99, 0.01], [0.99, 0.01]])
    >>> space = LabelSpace(("rest", "walk"))
    >>> frame_gains(probabilities, np.array([0, 0, 0]), np.array([-100, 1, 0]), space).round(2).tolist()
    [0.3, 0.67, 0.0]
    """
    is_given = label_space.is_labelled(given)
    of_given = _chosen(probabilities, np.where(is_given, given, labels))
    surprise = np.log(np.maximum(of_given, SMALLEST_PROBABILITY)) / np.log(SMALLEST_PROBABILITY)
    return np.where(is_given, np.where(given == labels, 0, surprise), 1 - of_given)


def _chosen(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]


def find_stretches(gains: np.ndarray, *, shortest_frames: int, longest_frames: int, most: int) -> list[Stretch]:
    """Up to `most` stretches of one video with the highest gains [T], none of which overlap, the best first.

    The window of `shortest_frames` with the highest mean is found, and grows, at most a window at a time, on the side
    that is worth more, as long as the frames that are added have more than half of that mean; so neighbours that belong
    together are one stretch, of `longest_frames` at most. Then the next window is found among the frames that are left.
    A video shorter than `shortest_frames` is one stretch. Frames of which nothing is to be gained are in none.

    Raises ValueError where not 1 <= shortest_frames <= longest_frames.
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
        means[max(0, start - window + 1) : stop] = -np.inf  # whatever overlaps it
        found.append(Stretch(start, stop, float((sums[stop] - sums[start]) / (stop - start))))
    return sorted(found, key=lambda stretch: (-stretch.score, stretch.start))


def _grown(sums: np.ndarray, start: int, stop: int, low: int, high: int, longest_frames: int) -> tuple[int, int]:
    """The window [start, stop) with what is worth adding, within [low, high); sums [T + 1] of the gains before each."""
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
    """By how much the first frames can exceed `least` each, and how many these are; gained [n]: of 1, 2, ... frames."""
    surplus = gained - least * np.arange(1, len(gained) + 1)
    return (float(surplus.max()), int(surplus.argmax()) + 1) if len(surplus) else (0.0, 0)


def name_stretch(
    stretch: Stretch, gains: np.ndarray, labels: np.ndarray, given: np.ndarray, label_space: LabelSpace
) -> tuple[int, int | None]:
    """What a stretch is listed for: the label and the given label (None: nobody gave one) of the frames with most gain.

    gains float [T], labels and given int64 [T] of the whole video; of all pairs in the stretch, the one whose gains sum
    up to most.
    """
    inside = slice(stretch.start, stretch.stop)
    pairs, pair_indices = np.unique(np.stack([labels[inside], given[inside]]), axis=1, return_inverse=True)
    label, given_label = pairs[:, np.bincount(pair_indices.ravel(), gains[inside]).argmax()].tolist()
    return label, None if label_space.name(given_label) is None else given_label
