"""Scores of single frames: accuracy, confusion matrix, precision, recall and F1 of each class.

T frames, K classes. Conventions:

- Every score is in percent, 100 being perfect, as the literature prints it. Counts are counts.
- Frames without a label in the truth are left out, whatever was predicted for them.
- All scores are functions of the confusion matrix. *Pooled* over videos is the score of the sum of their matrices (each
  frame counts the same); *averaged over videos* is the mean of their scores (each video counts the same).
- Without background: the accuracy of the frames whose truth is not background; the macro F1 over the other classes.
- Empty: the accuracy of no frames is None. A class in neither truth nor prediction has no precision, recall or F1
  (None), and is left out of the macro F1. A class that is only in the truth, or only predicted, has 0 in all three.

Precision, recall and F1 as in C. J. van Rijsbergen, Information Retrieval, 2nd ed., 1979, chapter 7.
"""

from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace


class ClassScores(NamedTuple):
    """Scores of one class in percent; None where the class is in neither truth nor prediction.

    Attributes:
        precision: The share of the frames with this prediction that are right.
        recall: The share of the frames of this class that are predicted so.
        f1: The harmonic mean of both.
        support: The number of its true frames.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, label_space: LabelSpace) -> np.ndarray:
    """Count the labelled frames by true and predicted class.

    Args:
        truth: int64 [T], the true labels.
        predicted: int64 [T], the predicted labels.
        label_space: The classes.

    Returns:
        int64 [K, K], row = truth, column = predicted.

    >>> confusion_matrix(np.array([0, 0, 1, -100]), np.array([0, 1, 1, 0]), LabelSpace(("a", "b"))).tolist()
    [[1, 1], [0, 1]]
    """
    labelled, num_classes = label_space.is_labelled(truth), label_space.num_classes
    cells = truth[labelled] * num_classes + predicted[labelled]
    return np.bincount(cells, minlength=num_classes * num_classes).reshape(num_classes, num_classes)


def accuracy(confusion: np.ndarray, *, background: int | None = None) -> float | None:
    """Compute the percentage of frames that are right.

    Args:
        confusion: [K, K], see `confusion_matrix`.
        background: Frames whose truth is this class do not count; None counts all.

    Returns:
        The percentage; None where no frame counts.
    """
    rows = np.arange(len(confusion)) != background
    num_frames = int(confusion[rows].sum())
    return 100.0 * int(confusion.diagonal()[rows].sum()) / num_frames if num_frames else None


def class_scores(confusion: np.ndarray) -> list[ClassScores]:
    """Compute precision, recall, F1 and support of each of the K classes of a confusion matrix [K, K]."""
    counts = (confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0))
    return [scores_of_counts(*of_class) for of_class in zip(*(count.tolist() for count in counts), strict=True)]


def scores_of_counts(num_right: int, num_true: int, num_predicted: int) -> ClassScores:
    """Compute precision, recall, F1 and support.

    Args:
        num_right: The number of frames that have the class and are predicted so.
        num_true: The number of frames that have the class.
        num_predicted: The number of frames that are predicted so.
    """
    if num_true + num_predicted == 0:
        return ClassScores(None, None, None, 0)
    precision, recall = 100.0 * num_right / max(num_predicted, 1), 100.0 * num_right / max(num_true, 1)
    return ClassScores(precision, recall, 200.0 * num_right / (num_true + num_predicted), num_true)


def macro_f1(confusion: np.ndarray, *, background: int | None = None) -> float | None:
    """Compute the mean F1 of the classes that are in truth or prediction.

    Args:
        confusion: [K, K], see `confusion_matrix`.
        background: This class is left out; None leaves out none.

    Returns:
        The mean in percent; None where there is no such class.
    """
    scores = enumerate(class_scores(confusion))
    present = [score.f1 for index, score in scores if score.f1 is not None and index != background]
    return sum(present) / len(present) if present else None
