"""The probability of the label that a frame got: a curve makes it say how often such labels are right.

Temperature scaling calibrates what a network says of each frame. Labels are decided afterwards, by merging or decoding
segments, so that a frame may get a label that is not its most probable class: such labels are right more often than
their probabilities say. Beta calibration (Kull, Silva Filho, Flach, "Beta calibration: a well-founded and easily
implemented improvement on logistic calibration for binary classifiers", AISTATS 2017, PMLR 54, section 3.2) maps the
probability p of a decided label to

    1 / (1 + exp(-(a ln p - b ln(1 - p) + c))),  a >= 0, b >= 0,

which never puts a less probable label before a more probable one. a = b = 1 and c = 0 change nothing.

Shapes: N frames.
"""

import numpy as np

Curve = tuple[float, float, float]  # a, b and c

SMALLEST_PROBABILITY = 1e-6
PRIOR_SEGMENTS = 5.0  # fitted on fewer segments, the curve stays near to what changes nothing


def calibrate_confidence(probabilities: np.ndarray, curve: Curve) -> np.ndarray:
    """Return how probable it is that labels are right.

    Args:
        probabilities: [N] or a number, those of the labels before, tempered.
        curve: a, b and c.

    Returns:
        [N], of the same dtype.

    >>> calibrate_confidence(np.array([0.2, 0.9]), (1.0, 1.0, 0.0)).round(6).tolist()
    [0.2, 0.9]
    >>> calibrate_confidence(np.array([0.5]), (1.0, 1.0, 1.0)).round(3).tolist()
    [0.731]
    """
    log_p, log_rest = _logarithms(probabilities)
    a, b, c = curve
    return (1 / (1 + np.exp(-(a * log_p - b * log_rest + c)))).astype(probabilities.dtype)


def fit_confidence(probabilities: np.ndarray, correct: np.ndarray, *, num_segments: int) -> Curve:
    """Fit the curve by maximum likelihood, with a Gaussian prior around what changes nothing.

    The frames of a segment are right or wrong together. So the likelihood counts each segment once, however many frames
    it has, and the prior counts as much as PRIOR_SEGMENTS of them.

    Args:
        probabilities: [N], of labels that were given to frames which the model was not trained on.
        correct: bool [N], whether these labels are right.
        num_segments: The number of true segments that the frames come from.
    """
    from scipy.optimize import minimize  # labelling also imports this module, and does not need scipy

    log_p, log_rest = _logarithms(probabilities)
    inputs, signs = np.stack([log_p, -log_rest, np.ones_like(log_p)], axis=1), np.where(correct, 1.0, -1.0)
    unchanged, strength = np.array([1.0, 1.0, 0.0]), PRIOR_SEGMENTS / max(num_segments, 1)

    def loss(curve: np.ndarray) -> tuple[float, np.ndarray]:
        margins, distance = signs * (inputs @ curve), curve - unchanged
        slope = -(inputs * (signs / (1 + np.exp(margins)))[:, None]).mean(0)
        value = np.logaddexp(0, -margins).mean() + strength * (distance**2).sum()
        return float(value), slope + 2 * strength * distance

    bounds = [(0, None), (0, None), (None, None)]
    a, b, c = minimize(loss, unchanged, jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-14}).x.tolist()
    return a, b, c


def _logarithms(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ln p and ln(1 - p), float64 [N]."""
    p = np.clip(probabilities.astype(np.float64), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return np.log(p), np.log1p(-p)
