"""Average precision, against scikit-learn and the definition."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics import detection
from pipeline.metrics.detection import average_precision

# Few distinct probabilities, so that many are equal.
PAIRS = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40)


def test_docstring_examples():
    assert doctest.testmod(detection).failed == 0


@given(PAIRS)
def test_average_precision_equals_the_sum_over_thresholds(pairs):
    present, scores = np.array([p for p, _ in pairs]), np.array([s / 5 for _, s in pairs], dtype=np.float32)
    if not present.any():
        assert average_precision(present, scores) is None
        return
    expected, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= threshold
        hits = (present & chosen).sum()
        expected += (hits / present.sum() - recall) * hits / chosen.sum()
        recall = hits / present.sum()
    assert average_precision(present, scores) == pytest.approx(100 * expected)


@given(PAIRS)
def test_average_precision_equals_that_of_scikit_learn(reference, pairs):
    present, scores = np.array([p for p, _ in pairs]), np.array([s / 5 for _, s in pairs], dtype=np.float32)
    if present.any():
        expected = 100 * reference.average_precision_score(present, scores)
        assert average_precision(present, scores) == pytest.approx(expected, abs=1e-9)


def test_average_precision_of_a_perfect_and_of_a_useless_ranking():
    present = np.array([True, True, False, False])
    assert average_precision(present, np.array([0.9, 0.8, 0.1, 0.0])) == 100
    assert average_precision(present, np.full(4, 0.5)) == 50, "the share of the frames that have the class"
