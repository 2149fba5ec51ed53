"""Stretches of a video that are worth a look, for arbitrary gains."""

import doctest
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.labelling import stretches as module
from pipeline.labelling.doubts import find_doubts
from pipeline.labelling.stretches import find_stretches, frame_gains

GAINS = st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.3, 1.0]), max_size=60).map(lambda values: np.array(values, float))
LENGTHS = st.tuples(st.integers(1, 12), st.integers(1, 12)).map(sorted)

SPACE = LabelSpace(("a", "b", "c", "d"))


def test_docstring_examples():
    assert doctest.testmod(module).failed == 0


@settings(max_examples=300, deadline=None)
@given(GAINS, LENGTHS, st.integers(1, 8))
def test_stretches_are_disjoint_within_the_video_and_of_the_requested_length(gains, lengths, most):
    shortest, longest = lengths
    found = find_stretches(gains, shortest_frames=shortest, longest_frames=longest, most=most)
    assert len(found) <= most
    in_stretch = np.zeros(len(gains), int)
    for start, stop, score in found:
        assert min(shortest, len(gains)) <= stop - start <= longest
        assert 0 <= start < stop <= len(gains)
        assert score == pytest.approx(gains[start:stop].mean())
        assert score > 0
        in_stretch[start:stop] += 1
    assert in_stretch.max(initial=0) <= 1
    scores = [stretch.score for stretch in found]
    assert scores == sorted(scores, reverse=True)


@settings(max_examples=300, deadline=None)
@given(GAINS, LENGTHS)
def test_the_best_window_is_found_and_no_window_with_a_gain_is_missed(gains, lengths):
    shortest, longest = lengths
    window = min(shortest, len(gains))
    windows = [range(start, start + window) for start in range(len(gains) - window + 1)] if window else []
    for most in (1, len(gains) + 1):
        found = find_stretches(gains, shortest_frames=shortest, longest_frames=longest, most=most)
        inside = {frame for start, stop, _ in found for frame in range(start, stop)}
        best = max((gains[frames].mean() for frames in windows), default=0)
        if best > 0:
            assert any(inside.issuperset(frames) for frames in windows if gains[frames].mean() >= best - 1e-9)
    assert not [frames for frames in windows if gains[frames].any() and inside.isdisjoint(frames)]


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_stretch_is_listed_first_with_exact_bounds(seed):
    rng = np.random.default_rng(seed)
    gains = rng.uniform(0, 0.1, 2000)
    gains[700:790] = rng.uniform(0.6, 0.8, 90)
    start, stop, _ = find_stretches(gains, shortest_frames=20, longest_frames=150, most=5)[0]
    assert (start, stop) == (700, 790)


def test_a_short_gap_is_closed_and_a_long_stretch_is_split():
    gains = np.zeros(400)
    gains[100:120] = gains[124:140] = 0.5  # one stretch with a short gap
    first, *others = find_stretches(gains, shortest_frames=10, longest_frames=50, most=9)
    assert not others
    assert (first.start, first.stop) == (100, 140)

    gains[:] = 0
    gains[100:300] = 0.5
    pieces = sorted(find_stretches(gains, shortest_frames=10, longest_frames=50, most=9))
    assert [(start, stop) for start, stop, _ in pieces] == [(100, 150), (150, 200), (200, 250), (250, 300)]


def test_contradictory_lengths_are_refused():
    for shortest, longest in ((0, 5), (6, 5)):
        with pytest.raises(ValueError, match=f"shortest_frames {shortest}"):
            find_stretches(np.ones(9), shortest_frames=shortest, longest_frames=longest, most=1)


@pytest.mark.parametrize("seed", range(3))
def test_the_gain_of_a_frame_equals_its_definition(seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(4, 0.2), 200)
    labels = rng.integers(0, 4, 200)
    given_labels = rng.choice([IGNORE_INDEX, 0, 1, 2, 3], 200)
    gains = frame_gains(probabilities, labels, given_labels, SPACE)
    assert gains.min() >= 0
    assert gains.max() <= 1
    for gain, p, label, given_label in zip(gains, probabilities, labels, given_labels, strict=True):
        if given_label == IGNORE_INDEX:
            assert gain == pytest.approx(1 - p[label])
        elif given_label == label:
            assert gain == 0
        else:
            assert 0.001**gain == pytest.approx(max(p[given_label], 0.001))  # the surprise, undone


@pytest.mark.parametrize("seed", range(5))
def test_a_stretch_is_named_after_the_pair_of_classes_with_the_largest_gain(seed):
    rng = np.random.default_rng(seed)
    gains, labels = rng.uniform(0, 1, 50), rng.integers(0, 3, 50)
    given_labels = rng.choice([IGNORE_INDEX, 0, 1, 2], 50)
    sums: Counter[tuple[int, int]] = Counter()
    for frame in range(10, 40):
        sums[int(labels[frame]), int(given_labels[frame])] += gains[frame]
    (label, given_label), _ = sums.most_common(1)[0]
    inside = slice(10, 40)
    (doubt,) = find_doubts(gains[inside], labels[inside], given_labels[inside], SPACE)
    assert doubt == (label, None if given_label == IGNORE_INDEX else given_label, None)
    expected = (labels[inside] == label) & (given_labels[inside] == given_label)
    np.testing.assert_array_equal(doubt.frames(labels[inside], given_labels[inside]), expected)
