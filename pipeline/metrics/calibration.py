"""The calibration of probabilities: whether they say how often labels are right.

N frames. The expected calibration error of Guo et al. 2017 (arXiv 1706.04599), section 2, is in percent, and 0 is
perfect. Frames are put into NUM_BINS bins of equal width by the probability of their label. In each bin the share of
right labels is compared with the mean probability, and the differences are averaged, weighted by how many frames a bin
holds. Where classes overlap, it is the probability of a class, and the share of frames that have the class.
"""

from typing import NamedTuple

import numpy as np

NUM_BINS = 15


class Reliability(NamedTuple):
    """The bins that hold frames, from the least probable labels to the most probable ones.

    Attributes:
        probabilities: float64 [B], the mean probability in each bin.
        shares: float64 [B], the share of right labels in each bin.
        counts: int64 [B], the number of frames in each bin.
    """

    probabilities: np.ndarray
    shares: np.ndarray
    counts: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error, in percent."""
        return float(100 * (np.abs(self.probabilities - self.shares) * self.counts).sum() / self.counts.sum())


def reliability(probabilities: np.ndarray, correct: np.ndarray) -> Reliability:
    """Compute what a reliability diagram shows (Guo et al. 2017, section 2).

    Args:
        probabilities: [N], of the labels that were given; or of a class that may overlap others.
        correct: bool [N], whether these labels are right; or whether the class is there.
    """
    bins = np.minimum((probabilities * NUM_BINS).astype(int), NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    held = counts > 0
    sums = (np.bincount(bins, values, minlength=NUM_BINS)[held] for values in (probabilities, correct))
    means, shares = (total / counts[held] for total in sums)
    return Reliability(means, shares, counts[held])


def calibration_error(probabilities: np.ndarray, correct: np.ndarray) -> float | None:
    """Compute the expected calibration error.

    Args:
        probabilities: As in `reliability`.
        correct: As in `reliability`.

    Returns:
        The error in percent; None where there is no frame.

    >>> round(calibration_error(np.array([0.9, 0.9, 0.5, 0.5]), np.array([True, True, True, False])), 6)  # of 0.1 and 0
    5.0
    """
    return reliability(probabilities, correct).error if len(probabilities) else None
