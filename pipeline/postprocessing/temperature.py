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
    return search_temperature(lambda tried: (tempered(probabilities, tried) * logs).sum(axis=1).mean() > reached)


def search_temperature(is_too_low: Callable[[float], bool]) -> float:
    """The temperature, between LOWEST and HIGHEST, up to which `is_too_low` holds, by halving."""
    low, high = np.log(LOWEST), np.log(HIGHEST)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_low(float(np.exp(middle))) else (low, middle)
    return float(np.exp((low + high) / 2))
