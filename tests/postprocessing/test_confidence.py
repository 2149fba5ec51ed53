"""The curve of confidence is compared with other curves, and tried on probabilities that are known to be wrong."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.postprocessing import confidence
from pipeline.postprocessing.confidence import calibrate_confidence, fit_confidence


def cross_entropy(probabilities: np.ndarray, correct: np.ndarray) -> float:
    return -np.log(np.where(correct, probabilities, 1 - probabilities)).mean()


def test_docstring_examples():
    assert doctest.testmod(confidence).failed == 0


@given(st.lists(st.floats(0, 1, width=32), min_size=2), st.tuples(st.floats(0, 5), st.floats(0, 5), st.floats(-5, 5)))
def test_no_less_probable_label_becomes_the_more_probable_one(probabilities, curve):
    found = calibrate_confidence(np.sort(np.array(probabilities, np.float32)), curve)
    assert found.dtype == np.float32
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_a_frame_without_a_label_stays_without_a_probability():
    assert np.isnan(calibrate_confidence(np.array([np.nan, 0.5]), (1.0, 2.0, 0.5))).tolist() == [True, False]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_of_many_segments_no_other_curve_fits_better(seed):
    generator = np.random.default_rng(seed)
    probabilities = generator.beta(4, 1, size=400)
    correct = generator.random(400) < calibrate_confidence(probabilities, (0.5, 1.5, 0.3))
    found = fit_confidence(probabilities, correct, num_segments=10**9)
    best = cross_entropy(calibrate_confidence(probabilities, found), correct)
    others = np.array(found) + generator.normal(scale=0.3, size=(200, 3))
    others[:, :2] = np.maximum(others[:, :2], 0)
    assert (
        best <= min(cross_entropy(calibrate_confidence(probabilities, (*other,)), correct) for other in others) + 1e-9
    )


def test_the_curve_that_labels_were_drawn_with_is_found():
    generator = np.random.default_rng(0)
    probabilities = generator.uniform(0.02, 0.98, size=100_000)
    correct = generator.random(100_000) < calibrate_confidence(probabilities, (0.4, 1.3, 0.5))
    assert fit_confidence(probabilities, correct, num_segments=20_000) == pytest.approx((0.4, 1.3, 0.5), abs=0.05)


def test_the_fewer_segments_the_less_is_changed():
    generator = np.random.default_rng(0)
    probabilities = generator.uniform(0.5, 1, size=5000)
    correct = generator.random(5000) < probabilities**3
    distances = [
        np.abs(np.array(fit_confidence(probabilities, correct, num_segments=segments)) - (1, 1, 0)).sum()
        for segments in (0, 10, 100, 1000)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 0.2 < 1 < distances[-1]


def test_where_all_labels_are_right_probabilities_rise_and_stay_below_one():
    curve = fit_confidence(np.full(300, 0.7), np.ones(300, dtype=bool), num_segments=30)
    assert 0.7 < calibrate_confidence(np.array([0.7]), curve)[0] < 1
