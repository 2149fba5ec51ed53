"""Durations and transitions are counted from training labels."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.segment_model import MIN_SPREAD, SegmentModel, fit_segment_model

SPACE = LabelSpace(("rests", "runs", "jumps"))
VIDEOS = st.lists(
    st.lists(st.sampled_from([IGNORE_INDEX, 0, 1, 2]), min_size=1, max_size=30).map(np.array), min_size=1, max_size=4
)


def transitions(videos: list[np.ndarray]) -> np.ndarray:
    """Count the changes from one class to another between neighbouring frames."""
    counts = np.zeros((3, 3))
    for labels in videos:
        for before, after in itertools.pairwise(labels):
            if IGNORE_INDEX not in (before, after) and before != after:
                counts[before, after] += 1
    return counts


@settings(max_examples=100, deadline=None)
@given(VIDEOS)
def test_probabilities_are_the_counts_plus_one(videos):
    model = fit_segment_model(videos, SPACE)
    following = transitions(videos) + 1 - np.eye(3)
    np.testing.assert_allclose(model.following, following / following.sum(axis=1, keepdims=True))
    first = np.array([sum(labels[0] == index for labels in videos) for index in range(3)]) + 1
    np.testing.assert_allclose(model.first, first / first.sum())


def test_a_class_of_many_segments_has_its_own_lengths():
    generator = np.random.default_rng(0)
    lengths = np.round(np.exp(generator.normal(np.log([40, 400]), [0.2, 0.5], (300, 2)))).astype(int)
    labels = np.concatenate([np.repeat([0, 1], of_pair) for of_pair in lengths])
    model = fit_segment_model([labels], SPACE)
    logs = np.log(lengths)
    np.testing.assert_allclose(model.log_frames[:2], logs.mean(axis=0))
    np.testing.assert_allclose(model.spreads[:2], logs.std(axis=0), rtol=0.3)
    assert model.log_frames[2] == pytest.approx(logs.mean()), "of a class without a segment: as all"
    assert model.spreads[2] == pytest.approx(logs.std())


def test_a_class_of_one_segment_may_vary_as_much_as_all_do():
    labels = np.repeat([0, 1, 0, 1, 0, 1, 2], [10, 100, 20, 200, 40, 50, 30])
    model = fit_segment_model([labels], SPACE)
    spread = np.log([10, 100, 20, 200, 40, 50, 30]).std()
    assert math.exp(model.log_frames[2]) == pytest.approx(30)
    assert 0.8 * spread < model.spreads[2] <= spread


def test_segments_that_are_all_as_long_keep_a_spread():
    assert fit_segment_model([np.repeat([0, 1, 2], 5)], SPACE).spreads == (MIN_SPREAD,) * 3


def test_one_class_is_followed_by_none():
    model = fit_segment_model([np.zeros(5, int)], LabelSpace(("rests",)))
    assert (model.first, model.following) == ((1.0,), ((0.0,),))


def test_values_of_different_numbers_of_classes_are_refused():
    with pytest.raises(ValidationError, match=r"got values of \[1, 2\] classes"):
        SegmentModel(first=(0.5, 0.5), following=((0.0,),), log_frames=(1.0, 1.0), spreads=(1.0, 1.0))
