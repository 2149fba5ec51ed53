"""The calibration of probabilities: whether they say how often labels are right.

N frames. The expected calibration error of Guo et al. 2017 (arXiv 1706.04599), section 2, is in percent, and 0 is
perfect. Frames are put into NUM_BINS bins of equal width by the probability of their label. In each bin the share of
right labels is compared with the mean probability, and the differences are averaged, weighted by how many frames a bin
holds. Where classes overlap, it is the probability of a class, and the share of frames that have the class.
"""

import numpy as np

NUM_BINS = 15


def calibration_error(probabilities: np.ndarray, correct: np.ndarray) -> float | None:
    """Compute the expected calibration error.

    Args:
        probabilities: [N], of the labels that were given; or of a class that may overlap others.
        correct: bool [N], whether these labels are right; or whether the class is there.

    Returns:
        The error in percent; None where there is no frame.

    >>> round(calibration_error(np.array([0.9, 0.9, 0.5, 0.5]), np.array([True, True, True, False])), 6)  # of 0.1 and 0
    5.0
    """
    if len(probabilities) == 0:
        return None
    bins = np.minimum((probabilities * NUM_BINS).astype(int), NUM_BINS - 1)
    surplus = np.bincount(bins, probabilities - correct, minlength=NUM_BINS)
    return float(100 * np.abs(surplus).sum() / len(probabilities))
