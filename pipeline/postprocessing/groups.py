"""A group of classes that may be empty, seen as a problem of its own: its n classes and "none" exclude each other.

So what there is for exclusive classes (a temperature, smoothing) serves each group. "None" is the last, of index n.

Shapes: T frames, K classes, n classes in a group.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT

# Half the distance from 1 to the next smaller number of float32: probabilities of a group do not tell a smaller one of
# none from 0.
SMALLEST_NONE = 2.0**-25


def group_probabilities(probabilities: np.ndarray, members: Sequence[int]) -> np.ndarray:
    """Return the probabilities of the classes of a group and of none.

    Args:
        probabilities: [T, K], those of all classes.
        members: The indices of the n classes of the group.

    Returns:
        float64 [T, n + 1].

    >>> group_probabilities(np.array([[0.2, 0.5, 0.25]]), (1, 2)).tolist()
    [[0.5, 0.25, 0.25]]
    """
    of_classes = probabilities[:, members].astype(np.float64)
    none = np.maximum(1 - of_classes.sum(axis=1, keepdims=True), SMALLEST_NONE)
    return np.concatenate([of_classes, none], axis=1)


def group_labels(labels: np.ndarray, members: Sequence[int]) -> np.ndarray:
    """Return which of the classes of a group each frame has, or none of them.

    Args:
        labels: int8 [T, K].
        members: The indices of the n classes of the group.

    Returns:
        int64 [T]: the index within the group where a class is known to be PRESENT, n where all are known to be ABSENT,
        otherwise IGNORE_INDEX.

    >>> group_labels(np.array([[1, 0], [0, 0], [0, -100], [1, -100]], dtype=np.int8), (0, 1)).tolist()
    [0, 2, -100, 0]
    """
    of_group = labels[:, members]
    is_present = of_group == PRESENT
    without = np.where((of_group == ABSENT).all(axis=1), len(members), IGNORE_INDEX)
    return np.where(is_present.any(axis=1), is_present.argmax(axis=1), without)


def possible_outcomes(labels: np.ndarray, members: Sequence[int]) -> np.ndarray:
    """Return which of the classes of a group each frame may have, or none of them, by what is known.

    Args:
        labels: int8 [T, K].
        members: The indices of the n classes of the group.

    Returns:
        bool [T, n + 1]: all True where nothing is known.

    >>> possible_outcomes(np.array([[1, -100], [0, -100], [0, 0]], dtype=np.int8), (0, 1)).tolist()
    [[True, False, False], [False, True, True], [False, False, True]]
    """
    of_group = labels[:, members]
    is_present = of_group == PRESENT
    has_present = is_present.any(axis=1, keepdims=True)
    return np.concatenate([np.where(has_present, is_present, of_group != ABSENT), ~has_present], axis=1)
