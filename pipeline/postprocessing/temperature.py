"""Temperature scaling: it calibrates probabilities so that they match how often the labels are right.

Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017, arXiv 1706.04599), section 4.2:
softmax(logits / temperature), with one number for all classes, which minimizes the cross-entropy on data that the model
was not trained on. The most probable class stays the same.

Where classes overlap, each group has a temperature of its own, for the softmax of its classes and none: for a group of
one class that is sigmoid(logit / temperature).

Shapes: N frames, K classes.
"""

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.postprocessing.groups import group_probabilities

LOWEST, HIGHEST = 0.05, 20.0
SMALLEST_PROBABILITY = 1e-12
TOLERANCE = 4e-9  # for the logarithm of a temperature


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities of logits / temperature.

    Args:
        probabilities: [N, K], those of the logits.
        temperature: The temperature, above 0. With 1 the same array is returned.

    Returns:
        [N, K], of the same dtype.

    >>> tempered(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    if temperature == 1:
        return probabilities
    # In place: the probabilities of a day of video are hundreds of megabytes.
    scaled = np.maximum(probabilities, SMALLEST_PROBABILITY)
    np.log(scaled, out=scaled)
    scaled /= temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


def tempered_groups(probabilities: np.ndarray, label_space: LabelSpace, temperatures: Sequence[float]) -> np.ndarray:
    """Return the probabilities of logits / temperature, where classes overlap.

    Args:
        probabilities: [N, K], those of the logits.
        label_space: The classes, which overlap.
        temperatures: [K], above 0; those of the classes of one group are equal.

    Returns:
        [N, K], of the same dtype. A class of temperature 1 keeps its probabilities.

    >>> tempered_groups(np.array([[0.8, 0.2]]), LabelSpace.independent(("a", "b")), (2.0, 1.0)).round(3).tolist()
    [[0.667, 0.2]]
    """
    scaled = probabilities.copy()
    for members in label_space.group_members:
        temperature = temperatures[members[0]]
        if temperature != 1:
            scaled[:, members] = tempered(group_probabilities(probabilities, members), temperature)[:, :-1]
    return scaled


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray, label_space: LabelSpace) -> float:
    """Fit the temperature at which probabilities have the smallest cross-entropy with labels.

    The cross-entropy is convex in 1 / temperature. Its slope there is the mean of E[ln p] - ln p_label, where E is over
    the tempered probabilities, and bisection finds where the slope changes its sign.

    Args:
        probabilities: [N, K].
        labels: int64 [N]; unlabelled frames are ignored.
        label_space: The classes.

    Returns:
        The temperature, between LOWEST and HIGHEST; 1 where no frame is labelled.
    """
    return fit_common_temperature([(probabilities, labels)], label_space)


def fit_common_temperature(problems: Sequence[tuple[np.ndarray, np.ndarray]], label_space: LabelSpace) -> float:
    """Fit one temperature at which several problems together have the smallest cross-entropy, as `fit_temperature`.

    Args:
        problems: Of each, probabilities [N, K'] and labels int64 [N]; unlabelled frames are ignored.
        label_space: The classes.

    Returns:
        The temperature, between LOWEST and HIGHEST; 1 where no frame is labelled.
    """
    known = []
    for probabilities, labels in problems:
        labelled = label_space.is_labelled(labels)
        if labelled.any():
            found = probabilities[labelled].astype(np.float64)
            logs = np.log(np.maximum(found, SMALLEST_PROBABILITY))
            known.append((found, logs, np.take_along_axis(logs, labels[labelled][:, None], axis=1).mean()))
    if not known:
        return 1.0

    def surplus(tried: float) -> float:
        return sum(
            len(logs) * float((tempered(found, tried) * logs).sum(axis=1).mean() - reached)
            for found, logs, reached in known
        )

    return search_temperature(surplus)


def search_temperature(surplus: Callable[[float], float]) -> float:
    """Find the temperature at which a function crosses zero.

    Bisection is exact to 3e-9 of the temperature. Minimizing the cross-entropy, which is flat at its minimum, is not:
    `scipy.optimize.minimize_scalar` was 2e-7 off, which is visible in the scores.

    Args:
        surplus: It falls as the temperature rises, and is positive where the temperature is too low.

    Returns:
        The temperature, between LOWEST and HIGHEST; where there is no crossing, the limit that is nearer to zero.
    """
    from scipy.optimize import bisect  # labelling also imports this module, and does not need scipy

    def surplus_at(logarithm: float) -> float:
        return surplus(float(np.exp(logarithm)))

    # The limits are tried as the bisection tries them: exp(log(HIGHEST)) is not HIGHEST to the last bit.
    low, high = np.log(LOWEST), np.log(HIGHEST)
    if surplus_at(low) <= 0:
        return LOWEST
    if surplus_at(high) >= 0:
        return HIGHEST
    return float(np.exp(bisect(surplus_at, low, high, xtol=TOLERANCE)))
