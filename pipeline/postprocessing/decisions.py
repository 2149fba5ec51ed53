"""From probabilities to labels where classes overlap: which of them each frame has.

A class is on where its probability reaches its threshold; in a group of several classes it is the one whose probability
is largest in relation to its threshold. Bouts, and the gaps between them, that are too short are merged in each group
as segments of exclusive classes are (see `smoothing`), where "none" is a class too. What a frame says for a class is
its probability divided by its threshold, and 1 for none. The shortest gap is as long as the shortest bout of the
group's classes.

`decide` is for a whole video, `CausalDecisions` for the frames of a live video, one by one.

Shapes: T frames, K classes, n classes in a group.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

from pipeline.annotations.label_space import ABSENT, PRESENT, LabelSpace
from pipeline.postprocessing.smoothing import CausalSmoother, smooth

DEFAULT_THRESHOLD = 0.5
SMALLEST_THRESHOLD = 1e-12  # of a threshold of 0, by which nothing can be divided


def decide(
    probabilities: np.ndarray,
    label_space: LabelSpace,
    thresholds: Sequence[float],
    min_segment_frames: Sequence[int],
) -> np.ndarray:
    """Decide which classes each frame has.

    Args:
        probabilities: [T, K].
        label_space: The classes, which overlap.
        thresholds: [K], from 0 to 1.
        min_segment_frames: [K], the length in frames of the shortest bout and the shortest gap of each class.

    Returns:
        Labels int8 [T, K], PRESENT or ABSENT.

    Raises:
        ValueError: `probabilities` is not [T, K], or a length is below 1.

    >>> probabilities = np.array([[0.9, 0.6], [0.9, 0.6], [0.4, 0.1]])
    >>> decide(probabilities, LabelSpace.independent(("eats", "rears")), (0.5, 0.5), (2, 1)).tolist()
    [[1, 1], [1, 1], [1, 0]]
    """
    if probabilities.ndim != 2 or probabilities.shape[1] != label_space.num_classes:
        raise ValueError(f"got probabilities of shape {probabilities.shape}, expected [T, {label_space.num_classes}]")
    labels = np.full(probabilities.shape, ABSENT, dtype=np.int8)
    for members in label_space.group_members:
        found = decide_group(
            probabilities[:, members],
            [thresholds[index] for index in members],
            [min_segment_frames[index] for index in members],
        )
        for position, index in enumerate(members):
            labels[found == position, index] = PRESENT
    return labels


def decide_group(
    probabilities: np.ndarray, thresholds: Sequence[float], min_segment_frames: Sequence[int]
) -> np.ndarray:
    """Decide which class of one group each frame has.

    Args:
        probabilities: [T, n], of the classes of the group.
        thresholds: [n], from 0 to 1.
        min_segment_frames: [n], as in `decide`.

    Returns:
        int64 [T], the index within the group; n for none.
    """
    return smooth(_evidence(probabilities, thresholds), min_segment_frames=_with_none(min_segment_frames))


def reached_thresholds(probabilities: np.ndarray, thresholds: Sequence[float], position: int) -> np.ndarray:
    """Return up to which threshold of its own a class of a group is on, those of the other classes being given.

    Args:
        probabilities: [T, n], of the classes of the group.
        thresholds: [n], from 0 to 1; that of the class itself has no influence.
        position: The index of the class within the group.

    Returns:
        float64 [T].
    """
    others = np.delete(_evidence(probabilities, thresholds), position, axis=1)  # the 1 of none among them
    return probabilities[:, position] / others.max(axis=1)


def plain_labels(probabilities: np.ndarray, label_space: LabelSpace) -> np.ndarray:
    """Return the labels of probabilities [T, K] without tuning and smoothing.

    Exclusive: int64 [T], the most probable class. Overlapping: int8 [T, K], the decisions at DEFAULT_THRESHOLD.
    """
    if label_space.is_exclusive:
        return probabilities.argmax(axis=1)
    num_classes = label_space.num_classes
    return decide(probabilities, label_space, [DEFAULT_THRESHOLD] * num_classes, [1] * num_classes)


class CausalDecisions:
    """Decides which classes the frames of a live video have, as `CausalSmoother` does in each group.

    The label of a frame is known when that of every group is: at most the longest of `min_segment_frames` - 1 frames
    later. The gap, or the class, with which a group begins is the only one that may be shorter.

    Args:
        label_space: The classes, which overlap.
        thresholds: [K], as in `decide`.
        min_segment_frames: [K], as in `decide`.

    Raises:
        ValueError: A length is below 1.
    """

    def __init__(self, label_space: LabelSpace, thresholds: Sequence[float], min_segment_frames: Sequence[int]) -> None:
        self._num_classes = label_space.num_classes
        self._groups = [
            _CausalGroup(
                members,
                [thresholds[index] for index in members],
                CausalSmoother(_with_none([min_segment_frames[index] for index in members])),
            )
            for members in label_space.group_members
        ]

    def add(self, probabilities: np.ndarray) -> list[np.ndarray]:
        """Add the probabilities [K] of the next frame; return the labels int8 [K] now known, the oldest first."""
        for group in self._groups:
            group.add(probabilities)
        return self._known()

    def end(self) -> list[np.ndarray]:
        """Return the labels of the frames that have none yet, as no frames follow."""
        for group in self._groups:
            group.end()
        return self._known()

    def _known(self) -> list[np.ndarray]:
        known = []
        while all(group.found for group in self._groups):
            labels = np.full(self._num_classes, ABSENT, dtype=np.int8)
            for group in self._groups:
                position = group.found.popleft()
                if position < len(group.members):
                    labels[group.members[position]] = PRESENT
            known.append(labels)
        return known


class _CausalGroup:
    """One group: `found` has what its frames show, as indices within the group, until all groups know theirs."""

    def __init__(self, members: tuple[int, ...], thresholds: Sequence[float], smoother: CausalSmoother) -> None:
        self.members = members
        self.found: deque[int] = deque()
        self._thresholds = thresholds
        self._smoother = smoother

    def add(self, probabilities: np.ndarray) -> None:
        (best,) = _evidence(probabilities[None, self.members], self._thresholds).argmax(axis=1).tolist()
        self.found += self._smoother.add(best)

    def end(self) -> None:
        self.found += self._smoother.end()


def _evidence(probabilities: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Return float64 [T, n + 1]: p / threshold of the classes of a group, and 1 for none; the largest is the decision.

    A quotient is 1 or more exactly where the probability reaches its threshold, also when it is rounded.
    """
    relative = probabilities / np.maximum(np.asarray(thresholds, dtype=np.float64), SMALLEST_THRESHOLD)
    return np.concatenate([relative, np.ones((len(relative), 1))], axis=1)


def _with_none(min_segment_frames: Sequence[int]) -> list[int]:
    return [*min_segment_frames, min(min_segment_frames)]
