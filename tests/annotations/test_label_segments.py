import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations import segments as module
from pipeline.annotations.label_space import IGNORE_INDEX
from pipeline.annotations.segments import Segment, frames_from_segments, segments_from_frames

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
