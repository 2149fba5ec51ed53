"""Average precision: how well the probabilities of one class separate the frames that have it from those that do not.

N frames. AP = sum over n of (R_n - R_(n-1)) P_n, with P_n and R_n the precision and the recall of the frames whose
probability reaches the n-th highest of the distinct probabilities, and R_0 = 0: without interpolation, as in
scikit-learn's `average_precision_score`. It is in percent, and needs no threshold. Zhu, "Recall, Precision and Average
Precision" (2004).
"""

import numpy as np


def average_precision(is_present: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Compute the average precision of one class.

    Args:
        is_present: bool [N], whether the frame has the class.
        probabilities: float [N], of the class, or any other number that is the larger the surer. All are finite.

    Returns:
        The average precision in percent; None where no frame has the class.

    >>> round(average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7])), 6)  # of 1 and 2 / 3
    83.333333
    """
    num_present = int(np.count_nonzero(is_present))
    if not num_present:
        return None
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order], np.cumsum(is_present[order])
    is_last_of_equal = np.append(ranked[1:] != ranked[:-1], True)
    (lasts,) = np.nonzero(is_last_of_equal)
    precision = hits[lasts] / (lasts + 1)
    gained = np.diff(hits[lasts], prepend=0)
    return float(100 * (precision * gained).sum() / num_present)
