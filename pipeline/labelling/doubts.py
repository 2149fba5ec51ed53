"""Which labels of a stretch are doubted, and where classes overlap, how much each class of a frame is.

Shapes: T frames, K classes, n frames of a stretch.
"""

from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import IGNORE_INDEX, PRESENT, LabelSpace

SMALLEST_PROBABILITY = 1e-3  # of a given label: below it the surprise grows no more


class Doubt(NamedTuple):
    """The label for which a stretch is listed.

    Attributes:
        label: The label of the model: the index of a class; where classes overlap, PRESENT or ABSENT.
        given: The given label; None where nobody gave one.
        class_index: The class that is doubted, where classes overlap; None where they are exclusive.
    """

    label: int
    given: int | None
    class_index: int | None = None

    def frames(self, labels: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Return bool [n]: the frames of a stretch with this label and this given label.

        Args:
            labels: [n] or [n, K], the labels of the model.
            given: [n] or [n, K], the labels that people gave.
        """
        column = ... if self.class_index is None else (slice(None), self.class_index)
        given_label = IGNORE_INDEX if self.given is None else self.given
        return (labels[column] == self.label) & (given[column] == given_label)


def surprise(of_given: np.ndarray) -> np.ndarray:
    """Return the surprise, from 0 to 1, about given labels that have these probabilities."""
    return np.log(np.maximum(of_given, SMALLEST_PROBABILITY)) / np.log(SMALLEST_PROBABILITY)


def class_gains(
    probabilities: np.ndarray, labels: np.ndarray, given: np.ndarray, label_space: LabelSpace
) -> np.ndarray:
    """Compute how much each class of each frame is doubted, where classes overlap.

    Args:
        probabilities: [T, K], tempered.
        labels: int8 [T, K], the labels of the model.
        given: int8 [T, K], the labels that people gave.
        label_space: The classes.

    Returns:
        float [T, K]: the smaller one of p and 1 - p where nobody labelled the class, at most 0.5; 0 where both labels
        agree; otherwise the surprise about the given label.

    >>> probabilities = np.array([[0.75, 0.9], [0.2, 0.9]])
    >>> labels, given = np.array([[1, 1], [0, 1]]), np.array([[-100, 0], [0, -100]])
    >>> class_gains(probabilities, labels, given, LabelSpace.independent(("eats", "rears"))).round(2).tolist()
    [[0.25, 0.33], [0.0, 0.1]]
    """
    unsure = np.minimum(probabilities, 1 - probabilities)
    of_given = np.where(given == PRESENT, probabilities, 1 - probabilities)
    contradicted = np.where(given == labels, 0, surprise(of_given))
    return np.where(label_space.is_labelled(given), contradicted, unsure)


def find_doubts(gains: np.ndarray, labels: np.ndarray, given: np.ndarray, label_space: LabelSpace) -> list[Doubt]:
    """Find the labels for which a stretch is listed: of all pairs with a given label, that whose gains sum up to most.

    Args:
        gains: float [n], or [n, K] where classes overlap, those of the stretch.
        labels: int64 [n] or int8 [n, K], the labels of the model.
        given: As `labels`, those that people gave.
        label_space: The classes.

    Returns:
        The pair; where classes overlap, those of the class whose gains sum up to most, and of each other one with more
        than half of that sum, in this order.
    """
    if label_space.is_exclusive:
        return [_largest_pair(gains, labels, given)]
    sums = gains.sum(axis=0)
    order = np.argsort(-sums, kind="stable")
    doubted = [order[0], *(index for index in order[1:] if sums[index] > sums[order[0]] / 2)]
    return [
        _largest_pair(gains[:, index], labels[:, index], given[:, index])._replace(class_index=index)
        for index in map(int, doubted)
    ]


def _largest_pair(gains: np.ndarray, labels: np.ndarray, given: np.ndarray) -> Doubt:
    pairs, pair_indices = np.unique(np.stack([labels, given]), axis=1, return_inverse=True)
    label, given_label = pairs[:, np.bincount(pair_indices.ravel(), gains).argmax()].tolist()
    return Doubt(label, None if given_label == IGNORE_INDEX else given_label)
