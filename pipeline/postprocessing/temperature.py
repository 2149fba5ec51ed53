"""Probabilities that say how often the label is right: temperature scaling.

N frames, K classes. Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017, arXiv
1706.04599), section 4.2: softmax(logits / temperature), one number for all classes, which minimizes the cross-entropy
of data that the model was not trained on. The most probable class stays.
"""

from collections.abc import Callable

import numpy as np

from pipeline.annotations.label_space import LabelSpace

LOWEST, HIGHEST = 0.05, 20.0
SMALLEST_PROBABILITY = 1e-12
TOLERANCE = 4e-9  # of the logarithm of a temperature


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """probabilities [N, K] of logits -> those of logits / temperature, of the same dtype.

    >>> tempered(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    if temperature == 1:
        return probabilities
    # In place: those of a day of video are hundreds of megabytes.
    scaled = np.maximum(probabilities, SMALLEST_PROBABILITY)
    np.log(scaled, out=scaled)
    scaled /= temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray, label_space: LabelSpace) -> float:
    """The temperature, between LOWEST and HIGHEST, at which probabilities [N, K] have the least cross-entropy with
    labels int64 [N] of `label_space`; 1 where none is labelled.

    The cross-entropy is convex in 1 / temperature, and its slope there the mean of E[ln p] - ln p_label, E over the
    tempered probabilities: where it changes its sign is found by halving.
    """
    labelled = label_space.is_labelled(labels)
    if not labelled.any():
        return 1.0
    probabilities = probabilities[labelled].astype(np.float64)
    logs = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    reached = np.take_along_axis(logs, labels[labelled][:, None], axis=1).mean()
    return search_temperature(lambda tried: float((tempered(probabilities, tried) * logs).sum(axis=1).mean() - reached))


def search_temperature(surplus: Callable[[float], float]) -> float:
    """The temperature, between LOWEST and HIGHEST, at which `surplus` crosses zero; the nearest of both if it does not.

    Halving is exact to 3e-9 of the temperature. A minimizer of the cross-entropy, which is flat at its minimum, is not:
    `scipy.optimize.minimize_scalar` was 2e-7 off, which shows in the scores.

    Args:
        surplus: falls as the temperature rises, and is positive where the temperature is too low.
    """
    from scipy.optimize import bisect  # labelling imports this module too, and has no use for it

    if surplus(LOWEST) <= 0:
        return LOWEST
    if surplus(HIGHEST) > 0:
        return HIGHEST
    found = bisect(lambda logarithm: surplus(float(np.exp(logarithm))), np.log(LOWEST), np.log(HIGHEST), xtol=TOLERANCE)
    return float(np.exp(found))
