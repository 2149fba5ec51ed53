"""The expected calibration error, against the bins one by one."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics import calibration
from pipeline.metrics.calibration import NUM_BINS, calibration_error, reliability


def test_docstring_examples():
    assert doctest.testmod(calibration).failed == 0


@given(st.integers(0, 1000), st.integers(1, 200))
def test_the_calibration_error_equals_the_sum_over_bins(seed, num_frames):
    generator = np.random.default_rng(seed)
    probabilities, correct = generator.random(num_frames), generator.random(num_frames) < 0.5
    expected = 0.0
    for index in range(NUM_BINS):
        inside = (probabilities >= index / NUM_BINS) & (probabilities < (index + 1) / NUM_BINS)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - probabilities[inside].mean())
    assert calibration_error(probabilities, correct) == pytest.approx(100 * expected)


def test_bins_without_frames_are_left_out():
    found = reliability(np.array([0.5, 0.99, 1.0, 0.51]), np.array([True, True, False, False]))
    assert found.probabilities == pytest.approx([0.505, 0.995])
    assert (found.shares.tolist(), found.counts.tolist()) == ([0.5, 0.5], [2, 2])
    assert found.error == pytest.approx(25)


def test_the_calibration_error_of_certain_right_wrong_and_no_predictions():
    assert calibration_error(np.ones(3), np.ones(3, dtype=bool)) == 0
    assert calibration_error(np.ones(3), np.zeros(3, dtype=bool)) == 100
    assert calibration_error(np.ones(0), np.ones(0, dtype=bool)) is None
