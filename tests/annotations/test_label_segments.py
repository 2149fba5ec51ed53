import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations import segments as module
from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.segments import (
    Segment,
    frames_from_segments,
    presence_from_segments,
    segments_from_frames,
)

SPACE = LabelSpace.independent(("a", "b", "c"))
PRESENCE = st.lists(st.tuples(*[st.integers(0, 1)] * 3), max_size=30).map(
    lambda rows: np.array(rows, np.int8).reshape(-1, 3)
)
LABELS = st.lists(st.sampled_from([IGNORE_INDEX, 0, 1, 2]), max_size=40).map(lambda values: np.array(values, np.int64))


def test_docstring_examples():
    assert doctest.testmod(module).failed == 0


@settings(max_examples=100, deadline=None)
@given(LABELS)
def test_segments_and_labels_are_inverse(labels):
    np.testing.assert_array_equal(frames_from_segments(segments_from_frames(labels), len(labels)), labels)


@settings(max_examples=100, deadline=None)
@given(LABELS)
def test_segments_are_maximal_runs(labels):
    for start, stop, class_index in segments_from_frames(labels):
        assert start < stop
        assert (labels[start:stop] == class_index).all()
        assert start == 0 or labels[start - 1] != class_index
        assert stop == len(labels) or labels[stop] != class_index


@pytest.mark.parametrize(
    "segments",
    [[Segment(0, 3, 0), Segment(2, 4, 0)], [Segment(-1, 2, 0)], [Segment(3, 3, 0)], [Segment(3, 6, 0)]],
    ids=["overlap", "negative", "empty", "beyond"],
)
def test_segments_that_do_not_fit_are_refused(segments):
    with pytest.raises(ValueError, match="Segment"):
        frames_from_segments(segments, 5)


@settings(max_examples=100, deadline=None)
@given(PRESENCE)
def test_overlapping_segments_and_labels_are_inverse(labels):
    segments = segments_from_frames(labels)
    np.testing.assert_array_equal(presence_from_segments(segments, len(labels), SPACE), labels)
    assert segments == sorted(segments)
    for index in range(3):
        alone = [segment for segment in segments_from_frames(labels[:, index]) if segment.class_index]
        assert [segment[:2] for segment in segments if segment.class_index == index] == [run[:2] for run in alone]


def test_overlapping_segments_of_one_group_are_refused():
    space = LabelSpace(("a", "b"), groups=("g", "g"))
    with pytest.raises(ValueError, match="frame 1 has several classes of one group: a, b"):
        presence_from_segments([Segment(0, 2, 0), Segment(1, 3, 1)], 3, space)
    with pytest.raises(ValueError, match="Segment"):
        presence_from_segments([Segment(0, 4, 0)], 3, space)
