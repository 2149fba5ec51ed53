import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.annotations.segments import segments_from_frames
from pipeline.postprocessing.smoothing import CausalSmoother, smooth

PROBABILITIES = st.tuples(st.integers(1, 40), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]))
)


def one_hot(labels, num_classes=3):
    return np.eye(num_classes)[labels]


def smooth_by_lists(probabilities, min_segment_frames):
    """The same rule as a list of runs that is searched from the start each time."""
    runs = [[s.class_index, list(range(s.start, s.stop))] for s in segments_from_frames(probabilities.argmax(axis=1))]
    while len(runs) > 1:
        index = min(range(len(runs)), key=lambda i: len(runs[i][1]))
        if len(runs[index][1]) >= min_segment_frames:
            break
        neighbours = [runs[i][0] for i in (index - 1, index + 1) if 0 <= i < len(runs)]
        runs[index][0] = max(neighbours, key=lambda c: sum(float(probabilities[frame, c]) for frame in runs[index][1]))
        joined = []
        for class_index, frames in runs:
            if joined and joined[-1][0] == class_index:
                joined[-1][1] += frames
            else:
                joined.append([class_index, frames])
        runs = joined
    return np.concatenate([np.full(len(frames), class_index) for class_index, frames in runs])


@settings(max_examples=200, deadline=None)
@given(PROBABILITIES, st.integers(1, 8))
def test_smoothing_equals_a_plain_implementation(probabilities, min_segment_frames):
    smoothed = smooth(probabilities, min_segment_frames=min_segment_frames)
    np.testing.assert_array_equal(smoothed, smooth_by_lists(probabilities, min_segment_frames))


@settings(max_examples=200, deadline=None)
@given(PROBABILITIES, st.integers(1, 8))
def test_no_segment_is_too_short_and_smoothing_is_idempotent(probabilities, min_segment_frames):
    labels = smooth(probabilities, min_segment_frames=min_segment_frames)
    segments = segments_from_frames(labels)
    assert len(segments) == 1 or min(s.stop - s.start for s in segments) >= min_segment_frames
    again = smooth(one_hot(labels, probabilities.shape[1]), min_segment_frames=min_segment_frames)
    np.testing.assert_array_equal(again, labels)


@settings(max_examples=50, deadline=None)
@given(PROBABILITIES)
def test_a_minimum_of_one_frame_gives_the_argmax(probabilities):
    np.testing.assert_array_equal(smooth(probabilities, min_segment_frames=1), probabilities.argmax(axis=1))


def test_short_segment_goes_to_the_neighbour_with_more_probability():
    probabilities = one_hot([0, 0, 0, 1, 2, 2, 2])
    probabilities[3] = [0.1, 0.6, 0.3]
    assert smooth(probabilities, min_segment_frames=2).tolist() == [0, 0, 0, 2, 2, 2, 2]
    probabilities[3] = [0.3, 0.6, 0.1]
    assert smooth(probabilities, min_segment_frames=2).tolist() == [0, 0, 0, 0, 2, 2, 2]
    probabilities[3] = [0.2, 0.6, 0.2]
    assert smooth(probabilities, min_segment_frames=2).tolist() == [0, 0, 0, 0, 2, 2, 2]


def test_flicker_within_a_segment_disappears():
    assert smooth(one_hot([0, 0, 1, 0, 0]), min_segment_frames=3).tolist() == [0] * 5


def test_no_frames_are_accepted_and_bad_arguments_are_refused():
    assert smooth(np.zeros((0, 3)), min_segment_frames=5).tolist() == []
    with pytest.raises(ValueError, match=r"\[T, K\]"):
        smooth(np.zeros(3), min_segment_frames=1)
    with pytest.raises(ValueError, match="min_segment_frames 0"):
        smooth(np.zeros((3, 2)), min_segment_frames=0)


# Frame by frame


def settled_by_runs(most_probable, min_segment_frames):
    """The definition: a frame has the class of the last long enough run that has begun, or of the first run."""
    runs = segments_from_frames(np.array(most_probable))
    counting = [run for run in runs if run.start == 0 or run.stop - run.start >= min_segment_frames]
    return [[run.class_index for run in counting if run.start <= frame][-1] for frame in range(len(most_probable))]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 6))
def test_causal_labels_equal_the_definition_and_none_comes_late(most_probable, min_segment_frames):
    smoother, labels = CausalSmoother(min_segment_frames), []
    for frame, best in enumerate(most_probable):
        labels += smoother.add(best)
        assert frame + 1 - len(labels) <= min_segment_frames - 1
        if labels[-1] == best:  # no other segment can have begun
            assert len(labels) == frame + 1
    labels += smoother.end()
    assert smoother.end() == []
    assert labels == settled_by_runs(most_probable, min_segment_frames)
    assert all(s.stop - s.start >= min_segment_frames for s in segments_from_frames(np.array(labels))[1:])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(4, 9)), min_size=1, max_size=6))
def test_causal_labels_equal_those_of_the_whole_video_if_no_run_is_too_short(runs):
    most_probable = [class_index for class_index, num_frames in runs for _ in range(num_frames)]
    smoother = CausalSmoother(4)
    labels = [label for best in most_probable for label in smoother.add(best)] + smoother.end()
    np.testing.assert_array_equal(labels, smooth(one_hot(most_probable), min_segment_frames=4))


def test_a_causal_smoother_accepts_no_frames_and_refuses_bad_arguments():
    assert CausalSmoother(3).end() == []
    with pytest.raises(ValueError, match="got min_segment_frames 0"):
        CausalSmoother(0)
