"""Bouts, budgets and transitions, by hand and against a slow count of frames."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.metrics.bouts import bouts_of_classes, count_transitions, pool_bouts, transition_probabilities

REST, WALK, EAT, UNKNOWN = 0, 1, 2, IGNORE_INDEX
SPACE = LabelSpace(("rest", "walk", "eat"))
PAIR = LabelSpace.independent(("a", "b"))
EXCLUSIVE = st.lists(st.sampled_from([REST, WALK, EAT, UNKNOWN]), min_size=1, max_size=40).map(np.array)
OVERLAPPING = st.lists(
    st.lists(st.sampled_from([PRESENT, ABSENT, ABSENT, UNKNOWN]), min_size=2, max_size=2), min_size=1, max_size=30
).map(lambda rows: np.array(rows, dtype=np.int8))


def edges_of(labels: np.ndarray, data: st.DataObject) -> np.ndarray:
    steps = data.draw(st.lists(st.integers(1, 2_000), min_size=len(labels), max_size=len(labels)))
    return np.cumsum([data.draw(st.integers(-500, 500)), *steps]) / 1000


def test_bouts_of_exclusive_classes_by_hand():
    labels = np.array([REST, WALK, WALK, UNKNOWN, WALK, REST])
    edges = np.array([1.0, 1.5, 2.0, 4.0, 5.0, 5.5, 6.0])  # the rate varies, and the video does not start at 0
    rest, walk, eat = bouts_of_classes(labels, SPACE, edges)
    assert walk.frames.tolist() == [2, 1]
    assert walk.seconds.tolist() == [2.5, 0.5]
    assert (walk.labelled_frames, walk.labelled_seconds, walk.share) == (5, 4.0, 0.75)
    assert (walk.latency_frames, walk.latency_seconds, walk.per_minute) == (1, 0.5, 30)
    assert (rest.latency_frames, rest.latency_seconds, rest.share) == (0, 0.0, 0.25)
    assert (eat.num_bouts, eat.latency_frames, eat.latency_seconds, eat.share) == (0, None, None, 0)


def test_bouts_of_overlapping_classes_by_hand():
    labels = np.array([[1, 0], [1, UNKNOWN], [1, 1], [0, 1], [UNKNOWN, UNKNOWN], [0, 1]], dtype=np.int8)
    one, two = bouts_of_classes(labels, PAIR, np.arange(7.0))
    assert (one.frames.tolist(), one.labelled_frames, one.share) == ([3], 5, 0.6)
    assert (two.frames.tolist(), two.labelled_frames, two.share) == ([2, 1], 4, 0.75)
    assert two.latency_seconds == 2


def test_without_times_there_are_frames_only():
    walk = bouts_of_classes(np.array([REST, WALK, WALK, UNKNOWN]), SPACE)[WALK]
    assert (walk.seconds, walk.labelled_seconds, walk.latency_seconds, walk.per_minute) == (None, None, None, None)
    assert (walk.frames.tolist(), walk.latency_frames, walk.share) == ([2], 1, 2 / 3)
    unlabelled = bouts_of_classes(np.array([UNKNOWN]), SPACE, np.array([0.0, 1.0]))[WALK]
    assert (unlabelled.share, unlabelled.per_minute) == (None, None)
    with pytest.raises(ValueError, match="got 2 edges for 2 frames"):
        bouts_of_classes(np.array([REST, REST]), SPACE, np.array([0.0, 1.0]))


def test_pooled_bouts_by_hand():
    edges = np.arange(5.0)
    first = bouts_of_classes(np.array([REST, WALK, WALK, REST]), SPACE, edges)[WALK]
    second = bouts_of_classes(np.array([REST, REST, REST, WALK]), SPACE, 2 * edges)[WALK]
    without = bouts_of_classes(np.array([REST, REST, REST, REST]), SPACE, edges)[WALK]
    pooled = pool_bouts([first, second, without])
    assert pooled.seconds.tolist() == [2, 2]
    assert (pooled.labelled_seconds, pooled.share, pooled.latency_seconds) == (16, 0.25, 3.5)
    assert (pooled.num_videos, pooled.num_videos_with) == (3, 2)
    no_times = pool_bouts([first, bouts_of_classes(np.array([WALK, REST]), SPACE)[WALK]])
    assert (no_times.seconds, no_times.labelled_seconds, no_times.latency_seconds) == (None, None, None)
    assert (no_times.frames.tolist(), no_times.labelled_frames, no_times.latency_frames) == ([2, 1], 6, 0.5)


def test_transitions_of_exclusive_classes_by_hand():
    labels = np.array([REST, WALK, WALK, EAT, UNKNOWN, EAT, WALK, UNKNOWN, UNKNOWN, REST])
    assert count_transitions(labels, SPACE).tolist() == [[0, 1, 0], [0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ([1, 1, 1, 0, 1], [0, 1, 0, 0, 0], [[0, 1], [1, 0]]),  # b starts while a lasts; then a starts again
        ([1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [[2, 0], [0, 0]]),  # a follows a, as nothing starts in between
        ([1, 0, 1], [0, 0, 1], [[1, 1], [0, 0]]),  # both start together, and follow the first a
        ([1, UNKNOWN, 1], [0, UNKNOWN, 1], [[0, 0], [0, 0]]),  # nobody looked in between
        ([1, UNKNOWN, 0], [0, 0, 1], [[0, 1], [0, 0]]),  # one of the classes is known, so the chain goes on
    ],
)
def test_transitions_of_overlapping_classes_by_hand(one: list[int], two: list[int], expected: list[list[int]]):
    assert count_transitions(np.array([one, two], dtype=np.int8).T, PAIR).tolist() == expected


@given(EXCLUSIVE, st.data())
def test_budgets_of_exclusive_classes_add_up_to_the_labelled_time(labels: np.ndarray, data: st.DataObject):
    edges = edges_of(labels, data)
    bouts = bouts_of_classes(labels, SPACE, edges)
    labelled = np.diff(edges)[labels != UNKNOWN].sum()
    assert sum(of_class.seconds.sum() for of_class in bouts) == pytest.approx(labelled)
    assert [of_class.labelled_seconds for of_class in bouts] == pytest.approx([labelled] * 3)
    if (labels != UNKNOWN).any():
        assert sum(of_class.share for of_class in bouts) == pytest.approx(1)


@given(EXCLUSIVE)
def test_there_are_as_many_transitions_as_bouts_less_chains(labels: np.ndarray):
    num_bouts = sum(of_class.num_bouts for of_class in bouts_of_classes(labels, SPACE))
    num_chains = sum(is_labelled for is_labelled, _ in groupby(labels != UNKNOWN))
    counts = count_transitions(labels, SPACE)
    assert counts.sum() == num_bouts - num_chains
    assert not counts.diagonal().any()


@given(EXCLUSIVE)
def test_exclusive_classes_have_the_transitions_of_the_same_classes_that_may_overlap(labels: np.ndarray):
    columns = (labels[:, None] == np.arange(3)).astype(np.int8)
    columns[labels == UNKNOWN] = UNKNOWN
    overlapping = LabelSpace.independent(SPACE.classes)
    assert count_transitions(columns, overlapping).tolist() == count_transitions(labels, SPACE).tolist()


@given(OVERLAPPING)
def test_transitions_of_overlapping_classes_are_those_of_a_slow_count(labels: np.ndarray):
    starts = {
        (frame, index)
        for frame, index in np.argwhere(labels == PRESENT).tolist()
        if frame == 0 or labels[frame - 1, index] != PRESENT
    }
    expected = np.zeros((2, 2), dtype=int)
    for frame, index in starts:
        for later in range(frame + 1, len(labels)):
            if (labels[later] == UNKNOWN).all():
                break
            if following := [other for start, other in starts if start == later]:
                for other in following:
                    expected[index, other] += 1
                break
    assert count_transitions(labels, PAIR).tolist() == expected.tolist()


@given(OVERLAPPING, st.data())
def test_bouts_of_overlapping_classes_are_those_of_a_slow_count(labels: np.ndarray, data: st.DataObject):
    edges = edges_of(labels, data)
    for index, bouts in enumerate(bouts_of_classes(labels, PAIR, edges)):
        column = labels[:, index]
        runs = [len(list(run)) for value, run in groupby(column.tolist()) if value == PRESENT]
        assert bouts.frames.tolist() == runs
        assert bouts.seconds.sum() == pytest.approx(np.diff(edges)[column == PRESENT].sum())
        assert bouts.labelled_seconds == pytest.approx(np.diff(edges)[column != UNKNOWN].sum())


@given(st.lists(st.integers(0, 5), min_size=9, max_size=9).map(lambda counts: np.array(counts).reshape(3, 3)))
def test_probabilities_of_a_class_with_a_transition_add_up_to_one(counts: np.ndarray):
    sums = transition_probabilities(counts).sum(axis=1)
    np.testing.assert_allclose(sums, counts.any(axis=1))
