import doctest
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import LabelSpace
from pipeline.metrics import segments
from pipeline.metrics.segments import (
    EditCount,
    MatchCount,
    count_edits,
    count_matches,
    edit_distance,
    edit_score,
    f1_score,
    scored_segments,
    total_edits,
    total_matches,
)

SPACE = LabelSpace(("a", "b", "c"))
SEQUENCES = st.lists(st.integers(0, 2), max_size=7)
# Runs instead of independent frames, since otherwise nearly every segment has one frame.
LABELS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6)), min_size=1, max_size=8).map(
    lambda runs: np.repeat([c for c, _ in runs], [n for _, n in runs])
)
PAIRS = st.tuples(LABELS, LABELS).map(lambda pair: tuple(side[: min(map(len, pair))] for side in pair))
THRESHOLDS = st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0])
quick = settings(max_examples=150, deadline=None)


def edit_and_f1(truth, predicted, min_iou=0.5, background=None):
    both = scored_segments(truth, predicted, SPACE, background=background)
    return edit_score(count_edits(*both)), f1_score(count_matches(*both, min_iou=min_iou))


def matches_by_sets(truth, predicted, min_iou):
    """The definition in the head of the module, with sets of frames and a list of the matched true segments."""
    true_segments, predicted_segments = scored_segments(truth, predicted, SPACE)
    hit, false_positives = [], 0
    for claim in predicted_segments:
        best, best_iou = None, 0.0
        for candidate in true_segments:
            a, b = set(range(claim.start, claim.stop)), set(range(candidate.start, candidate.stop))
            iou = len(a & b) / len(a | b)
            if candidate.class_index == claim.class_index and iou > best_iou:
                best, best_iou = candidate, iou
        if best is not None and best_iou >= min_iou and best not in hit:
            hit.append(best)
        else:
            false_positives += 1
    return MatchCount(len(hit), false_positives, len(true_segments) - len(hit))


def test_docstring_examples():
    assert doctest.testmod(segments).failed == 0


@quick
@given(SEQUENCES, SEQUENCES)
def test_edit_distance_equals_the_definition(first, second):
    @cache
    def distance(i, j):
        if i == 0 or j == 0:
            return i + j
        return min(
            distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        )

    assert edit_distance(first, second) == distance(len(first), len(second))


@quick
@given(PAIRS, THRESHOLDS)
def test_matches_equal_the_definition(pair, min_iou):
    assert count_matches(*scored_segments(*pair, SPACE), min_iou=min_iou) == matches_by_sets(*pair, min_iou)


@quick
@given(PAIRS, st.sampled_from([None, 0]))
def test_swapping_truth_and_prediction_does_not_change_the_scores(pair, background):
    # From a threshold of one half on, a segment has one possible partner, so that F1 is symmetric too.
    assert edit_and_f1(*pair, background=background) == edit_and_f1(*pair[::-1], background=background)


@quick
@given(PAIRS, THRESHOLDS, st.integers(2, 4))
def test_a_higher_frame_rate_does_not_change_the_scores(pair, min_iou, repeats):
    slower = edit_and_f1(*pair, min_iou)
    assert edit_and_f1(*(np.repeat(side, repeats) for side in pair), min_iou) == slower


@quick
@given(PAIRS, THRESHOLDS, st.permutations(range(3)))
def test_names_of_classes_do_not_matter(pair, min_iou, order):
    assert edit_and_f1(*(np.array(order)[side] for side in pair), min_iou) == edit_and_f1(*pair, min_iou)


@quick
@given(LABELS, THRESHOLDS)
def test_a_perfect_prediction_scores_100(labels, min_iou):
    assert edit_and_f1(labels, labels, min_iou) == (100.0, 100.0)


@quick
@given(PAIRS)
def test_f1_falls_as_the_threshold_rises(pair):
    scores = [edit_and_f1(*pair, min_iou)[1] for min_iou in (0.1, 0.25, 0.5, 0.75, 1.0)]
    assert scores == sorted(scores, reverse=True)


def test_scores_equal_values_computed_by_hand():
    truth = np.repeat([0, 1, 0, 2], [10, 10, 5, 5])
    predicted = np.repeat([0, 1, 0, 1, 2], [8, 5, 1, 6, 10])
    both = scored_segments(truth, predicted, SPACE)
    # 0 1 0 2 and 0 1 0 1 2 differ by one insertion.
    assert count_edits(*both) == EditCount(distance=1, length=5)
    # IoU: 8/10; 3/12 with the one 1; 0; 6/10 with the same 1, which at 0.25 is already hit; 5/10.
    assert count_matches(*both, min_iou=0.25) == MatchCount(3, 2, 1)
    assert count_matches(*both, min_iou=0.5) == MatchCount(3, 2, 1)
    assert count_matches(*both, min_iou=0.6) == MatchCount(2, 3, 2)
    assert f1_score(MatchCount(3, 2, 1)) == pytest.approx(200 * 3 / 9)


def test_background_is_left_out_after_splitting_into_segments():
    truth, predicted = np.repeat([1, 0, 1], 4), np.repeat([1], 12)
    true_segments, predicted_segments = scored_segments(truth, predicted, SPACE, background=0)
    assert [s.class_index for s in true_segments] == [1, 1]
    assert len(predicted_segments) == 1
    assert edit_score(count_edits(true_segments, predicted_segments)) == 50.0


def test_unlabelled_frames_are_removed_before_splitting_into_segments():
    truth, predicted = np.array([1, 1, -100, -100, 1, 2]), np.array([1, 1, 0, 2, 1, 2])
    assert edit_and_f1(truth, predicted, 1.0) == (100.0, 100.0)
    assert [len(side) for side in scored_segments(truth, predicted, SPACE)] == [2, 2]


def test_scores_without_segments_are_defined():
    only_background, action = np.zeros(4, dtype=int), np.ones(4, dtype=int)
    assert edit_and_f1(only_background, only_background, background=0) == (100.0, 100.0)
    assert edit_and_f1(only_background, action, background=0) == (0.0, 0.0)
    assert edit_and_f1(action, only_background, background=0) == (0.0, 0.0)


def test_totals_add_up_and_thresholds_are_shares():
    assert total_edits([EditCount(1, 5), EditCount(2, 3)]) == EditCount(3, 8)
    assert total_matches([MatchCount(1, 2, 3), MatchCount(4, 5, 6)]) == MatchCount(5, 7, 9)
    for min_iou in (0, 50):
        with pytest.raises(ValueError, match=f"got min_iou {min_iou}"):
            count_matches([], [], min_iou=min_iou)
