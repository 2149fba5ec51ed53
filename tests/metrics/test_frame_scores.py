import doctest

import numpy as np
import pytest

from pipeline.annotations.label_space import LabelSpace
from pipeline.metrics import frames
from pipeline.metrics.frames import ClassScores, accuracy, class_scores, confusion_matrix, macro_f1

# 10 frames of a (class 0), 5 of b, 3 of c that were never predicted; d is in neither.
CONFUSION = np.array([[8, 2, 0, 0], [1, 4, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]])


def test_docstring_examples():
    assert doctest.testmod(frames).failed == 0


def test_confusion_matrix_counts_labelled_frames():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(-1, 4, 200), rng.integers(0, 4, 200)
    truth[truth == -1] = -100
    expected = np.zeros((4, 4), dtype=int)
    for true, claimed in zip(truth, predicted, strict=True):
        if true != -100:
            expected[true, claimed] += 1
    np.testing.assert_array_equal(confusion_matrix(truth, predicted, LabelSpace(("a", "b", "c", "d"))), expected)


def test_scores_equal_values_computed_by_hand():
    assert accuracy(CONFUSION) == pytest.approx(100 * 12 / 18)
    assert accuracy(CONFUSION, background=0) == pytest.approx(100 * 4 / 8)
    a, b, c, d = class_scores(CONFUSION)
    assert a == pytest.approx((100 * 8 / 12, 80.0, 100 * 16 / 22, 10))
    assert b == pytest.approx((100 * 4 / 6, 80.0, 100 * 8 / 11, 5))
    assert c == ClassScores(0.0, 0.0, 0.0, 3)
    assert d == ClassScores(None, None, None, 0)
    assert macro_f1(CONFUSION) == pytest.approx((100 * 16 / 22 + 100 * 8 / 11 + 0) / 3)
    assert macro_f1(CONFUSION, background=0) == pytest.approx((100 * 8 / 11 + 0) / 2)


def test_scores_without_labelled_frames_are_none():
    empty = np.zeros((2, 2), dtype=int)
    assert accuracy(empty) is None
    assert macro_f1(empty) is None
    assert accuracy(np.array([[5, 0], [0, 0]]), background=0) is None
