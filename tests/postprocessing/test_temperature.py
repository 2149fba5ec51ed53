"""Temperature scaling is compared with a search over many temperatures, and tried on a known temperature."""

import doctest

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.postprocessing import temperature
from pipeline.postprocessing.temperature import HIGHEST, LOWEST, fit_temperature, search_temperature, tempered


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


def test_docstring_examples():
    assert doctest.testmod(temperature).failed == 0


@given(st.integers(0, 1000), st.floats(0.2, 5))
def test_tempered_probabilities_are_the_softmax_of_divided_logits(seed, factor):
    logits = np.random.default_rng(seed).normal(size=(7, 4))
    np.testing.assert_allclose(tempered(softmax(logits), factor), softmax(logits / factor), atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_no_other_temperature_has_a_lower_cross_entropy(seed):
    generator = np.random.default_rng(seed)
    probabilities = softmax(3 * generator.normal(size=(40, 4)))
    labels = np.where(generator.random(40) < 0.5, probabilities.argmax(axis=1), generator.integers(0, 4, 40))
    found = cross_entropy(
        tempered(probabilities, fit_temperature(probabilities, labels, LabelSpace(tuple("abcd")))), labels
    )
    others = [cross_entropy(tempered(probabilities, t), labels) for t in np.geomspace(0.05, 20, 300)]
    assert found <= min(others) + 1e-9


def test_the_temperature_that_labels_were_drawn_with_is_found():
    generator = np.random.default_rng(0)
    logits = 3 * generator.normal(size=(20_000, 5))
    labels = (softmax(logits / 2).cumsum(axis=1) > generator.random((20_000, 1))).argmax(axis=1)
    labels_and_gaps = np.where(generator.random(20_000) < 0.1, IGNORE_INDEX, labels)
    assert fit_temperature(softmax(logits), labels_and_gaps, LabelSpace(tuple("abcde"))) == pytest.approx(2, rel=0.05)


@given(st.floats(1e-3, 1e3))
@example(HIGHEST)
@example(LOWEST)
def test_the_zero_crossing_or_the_nearest_bound_is_found(crossing):
    found = search_temperature(lambda tried: crossing - tried)
    assert found == pytest.approx(min(max(crossing, LOWEST), HIGHEST), rel=4e-9)


def test_the_temperature_is_1_without_labels_and_has_an_upper_bound():
    probabilities, space = np.array([[0.9, 0.1], [0.9, 0.1]]), LabelSpace(("a", "b"))
    assert fit_temperature(probabilities, np.full(2, IGNORE_INDEX), space) == 1
    assert fit_temperature(probabilities, np.array([0, 1]), space) == HIGHEST
