"""The cells of the tables of results: which frames are behind them.

T frames, K classes.
"""

from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import PRESENT, LabelSpace
from pipeline.metrics import exclusive
from pipeline.metrics.overlapping_counts import VideoCounts as OverlappingCounts
from pipeline.studio.requests import RefusedError

MISSED, FALSE_ALARM = "missed", "false_alarm"
Counts = exclusive.VideoCounts | OverlappingCounts


class Both(NamedTuple):
    """The labels of both sides: int64 [T], or int8 [T, K]; the given ones only where the model has labels too."""

    true: np.ndarray
    predicted: np.ndarray
    num_left_out: int


class Cell(NamedTuple):
    """A cell of the tables: of exclusive classes a true and a predicted one; otherwise a class and a kind of error.

    Attributes:
        true: The index of the true class, or of the class.
        predicted: The index of the predicted class, or MISSED or FALSE_ALARM.
    """

    true: int
    predicted: int | str

    def check(self, space: LabelSpace) -> None:
        """Check that there is such a cell.

        Raises:
            RefusedError: There is none.
        """
        indices = [self.true, self.predicted] if space.is_exclusive else [self.true]
        is_kind = space.is_exclusive or self.predicted in (MISSED, FALSE_ALARM)
        if not is_kind or not all(isinstance(index, int) and 0 <= index < space.num_classes for index in indices):
            raise RefusedError(404, "there is no such cell: was a class added? Load the page again")

    def count(self, counts: Counts) -> int:
        """Return how many frames of a video are in the cell."""
        if isinstance(counts, exclusive.VideoCounts):
            return int(counts.confusion[self.true, int(self.predicted)])
        of_all = counts.counts
        whole = of_all.num_true if self.predicted == MISSED else of_all.num_predicted
        return int(whole[self.true] - of_all.num_both[self.true])

    def mask(self, both: Both) -> np.ndarray:
        """Return which frames are in the cell: bool [T]."""
        if both.true.ndim == 1:
            return (both.true == self.true) & (both.predicted == self.predicted)
        true, predicted = both.true[:, self.true], both.predicted[:, self.true]
        if self.predicted == MISSED:
            return (true == PRESENT) & (predicted != PRESENT)
        return (predicted == PRESENT) & ~(true == PRESENT) & np.asarray(true >= 0)
