"""Decisions where classes overlap are compared with their definition, for whole videos and frame by frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.annotations.segments import segments_from_frames
from pipeline.postprocessing.decisions import CausalDecisions, decide, plain_labels, reached_thresholds
from pipeline.postprocessing.groups import group_labels, group_probabilities
from pipeline.postprocessing.smoothing import smooth
from pipeline.postprocessing.temperature import fit_common_temperature, fit_temperature, tempered, tempered_groups

MIXED = LabelSpace(("a", "b", "c", "d"), groups=("x", "y", "x", "z"))
ALONE = LabelSpace.independent(("a",))
THRESHOLDS = st.lists(st.sampled_from([0.0, 0.2, 0.3, 0.5, 0.7, 1.0]), min_size=4, max_size=4)
LENGTHS = st.lists(st.integers(1, 5), min_size=4, max_size=4)


def made(seed: int, num_frames: int = 40) -> np.ndarray:
    """Probabilities that change slowly, those of a and c together at most 1."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(size=(num_frames, 4)).cumsum(axis=0)
    probabilities = 1 / (1 + np.exp(-steps))
    probabilities[:, [0, 2]] /= 1 + probabilities[:, [0, 2]].sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32)


def frame_by_the_rule(row: np.ndarray, thresholds: list[float]) -> list[int]:
    labels = [ABSENT] * 4
    for members in MIXED.group_members:
        on = [index for index in members if row[index] >= thresholds[index]]
        if on:
            labels[max(on, key=lambda index: row[index] / max(thresholds[index], 1e-12))] = PRESENT
    return labels


def runs(column: np.ndarray) -> list:
    """The runs of a class and the gaps between them."""
    return segments_from_frames(column.astype(np.int64))


@given(st.integers(0, 10_000), THRESHOLDS)
@settings(deadline=None, max_examples=100)
def test_without_merging_each_frame_follows_the_rule(seed: int, thresholds: list[float]) -> None:
    probabilities = made(seed)
    found = decide(probabilities, MIXED, thresholds, [1] * 4)
    assert found.dtype == np.int8
    assert found.tolist() == [frame_by_the_rule(row, thresholds) for row in probabilities]
    MIXED.check(found)


@given(st.integers(0, 10_000), THRESHOLDS, LENGTHS)
@settings(deadline=None, max_examples=100)
def test_no_bout_and_no_gap_is_too_short(seed: int, thresholds: list[float], lengths: list[int]) -> None:
    found = decide(made(seed), MIXED, thresholds, lengths)
    MIXED.check(found)
    for index in range(4):
        of_class = runs(found[:, index])
        bouts = [run for run in of_class if run.class_index == PRESENT]
        assert len(of_class) == 1 or all(run.stop - run.start >= lengths[index] for run in bouts)
    for index in (1, 3):  # alone in their groups: their gaps are as long as their bouts
        of_class = runs(found[:, index])
        assert len(of_class) == 1 or all(run.stop - run.start >= lengths[index] for run in of_class)


@given(st.integers(0, 10_000), st.floats(0.1, 0.9), st.integers(1, 6))
@settings(deadline=None, max_examples=50)
def test_a_class_alone_is_smoothed_as_two_exclusive_classes(seed: int, threshold: float, length: int) -> None:
    probabilities = made(seed)[:, 1:2]
    evidence = np.concatenate([probabilities / threshold, np.ones_like(probabilities)], axis=1)
    expected = smooth(evidence, min_segment_frames=length) == 0
    np.testing.assert_array_equal(decide(probabilities, ALONE, [threshold], [length])[:, 0] == PRESENT, expected)


def test_each_class_has_its_own_length():
    probabilities = np.array([[0.9, 0.9]] * 3 + [[0.1, 0.1]] * 2 + [[0.9, 0.9]] * 3)
    found = decide(probabilities, LabelSpace.independent(("a", "b")), (0.5, 0.5), (1, 3))
    assert found[:, 0].tolist() == [1, 1, 1, 0, 0, 1, 1, 1]
    assert found[:, 1].tolist() == [1] * 8


@given(st.integers(0, 10_000), THRESHOLDS, st.sampled_from([0, 2]))
@settings(deadline=None, max_examples=50)
def test_a_class_is_on_up_to_the_threshold_that_it_reaches(seed: int, thresholds: list[float], index: int) -> None:
    probabilities, members = made(seed), (0, 2)
    position = members.index(index)
    reached = reached_thresholds(probabilities[:, members], [thresholds[m] for m in members], position)
    for own in (0.05, 0.25, 0.6):
        tried = [own if other == index else thresholds[other] for other in range(4)]
        on = decide(probabilities, MIXED, tried, [1] * 4)[:, index] == PRESENT
        np.testing.assert_array_equal(on, reached >= own)


def test_plain_labels_are_the_most_probable_classes_or_those_from_a_half():
    probabilities = made(0)
    np.testing.assert_array_equal(plain_labels(probabilities, LabelSpace(tuple("abcd"))), probabilities.argmax(axis=1))
    expected = decide(probabilities, MIXED, [0.5] * 4, [1] * 4)
    np.testing.assert_array_equal(plain_labels(probabilities, MIXED), expected)


def test_no_frames_are_accepted_and_bad_arguments_are_refused():
    assert decide(np.zeros((0, 4)), MIXED, [0.5] * 4, [3] * 4).shape == (0, 4)
    with pytest.raises(ValueError, match=r"expected \[T, 4\]"):
        decide(np.zeros((5, 3)), MIXED, [0.5] * 4, [1] * 4)
    with pytest.raises(ValueError, match="expected 1 or more"):
        decide(np.zeros((5, 4)), MIXED, [0.5] * 4, [1, 0, 1, 1])


# Frame by frame


def causal_by_runs(codes: np.ndarray, lengths: list[int]) -> np.ndarray:
    """The definition: a frame has what the last long enough run shows that has begun, or the first run."""
    counting = [run for run in runs(codes) if run.start == 0 or run.stop - run.start >= lengths[run.class_index]]
    return np.array([[run.class_index for run in counting if run.start <= frame][-1] for frame in range(len(codes))])


@given(st.integers(0, 10_000), THRESHOLDS, LENGTHS)
@settings(deadline=None, max_examples=100)
def test_causal_decisions_equal_the_definition_and_none_comes_late(
    seed: int, thresholds: list[float], lengths: list[int]
) -> None:
    probabilities = made(seed)
    decisions, found = CausalDecisions(MIXED, thresholds, lengths), []
    for frame, row in enumerate(probabilities):
        found += decisions.add(row)
        assert frame + 1 - len(found) <= max(lengths) - 1
    found += decisions.end()
    assert decisions.end() == []
    plain = decide(probabilities, MIXED, thresholds, [1] * 4)
    expected = np.full_like(plain, ABSENT)
    for members in MIXED.group_members:
        of_group = [lengths[index] for index in members]
        codes = causal_by_runs(group_labels(plain, members), [*of_group, min(of_group)])
        for position, index in enumerate(members):
            expected[codes == position, index] = PRESENT
    np.testing.assert_array_equal(np.array(found), expected)


# Temperatures


def test_the_temperature_of_a_class_alone_divides_its_logit():
    logits = np.linspace(-6, 6, 25)[:, None]
    found = tempered_groups(1 / (1 + np.exp(-logits)), ALONE, [2.5])
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits / 2.5)), rtol=1e-6)


def test_the_temperature_of_a_group_divides_the_logits_of_its_softmax_with_none():
    logits = np.random.default_rng(0).normal(size=(9, 4))
    columns = [0, 2]
    with_none = np.exp(np.concatenate([logits[:, columns], np.zeros((9, 1))], axis=1))
    probabilities = 1 / (1 + np.exp(-logits))
    probabilities[:, columns] = (with_none / with_none.sum(axis=1, keepdims=True))[:, :2]
    found = tempered_groups(probabilities, MIXED, [3.0, 1.0, 3.0, 1.0])
    cooler = with_none ** (1 / 3)
    np.testing.assert_allclose(found[:, columns], (cooler / cooler.sum(axis=1, keepdims=True))[:, :2], rtol=1e-6)
    np.testing.assert_array_equal(found[:, [1, 3]], probabilities[:, [1, 3]])
    assert tempered_groups(probabilities.astype(np.float32), MIXED, [3.0] * 4).dtype == np.float32


def test_the_temperature_of_one_problem_is_that_of_exclusive_classes():
    generator = np.random.default_rng(0)
    labels = np.where(generator.random(200) < 0.1, IGNORE_INDEX, generator.integers(0, 3, 200))
    probabilities = 0.4 * np.eye(3)[np.maximum(labels, 0)] + 0.6 * generator.dirichlet(np.ones(3), 200)
    sharp, space = tempered(probabilities, 0.3), LabelSpace(("a", "b", "c"))
    expected = fit_temperature(sharp, labels, space)
    assert fit_common_temperature([(sharp, labels)], space) == pytest.approx(expected, rel=1e-7)
    parts = [(sharp[:80], labels[:80]), (sharp[80:], labels[80:])]
    assert fit_common_temperature(parts, space) == pytest.approx(expected, rel=1e-7)
    assert fit_common_temperature([(sharp, np.full(200, IGNORE_INDEX))], space) == 1


def test_the_probability_of_none_is_what_is_left_and_never_zero():
    of_group = group_probabilities(np.array([[1.0, 0, 0, 0], [0.5, 0, 0.25, 0]], np.float32), (0, 2))
    assert of_group[1].tolist() == [0.5, 0.25, 0.25]
    assert of_group[0, 2] > 0
