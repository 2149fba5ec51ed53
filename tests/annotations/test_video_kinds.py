"""The shares of the classes in training videos are counted from their labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.video_kinds import MAX_VIDEOS, MIN_SHARE, VideoKinds, fit_video_kinds

SPACE = LabelSpace(("rests", "runs", "jumps"))
VIDEOS = st.lists(
    st.lists(st.sampled_from([IGNORE_INDEX, 0, 1, 2]), min_size=1, max_size=30).map(np.array), min_size=1, max_size=4
).filter(lambda videos: any((labels != IGNORE_INDEX).any() for labels in videos))


def expected_shares(labels: np.ndarray) -> np.ndarray:
    labelled = labels[labels != IGNORE_INDEX]
    shares = np.array([(labelled == index).mean() + MIN_SHARE for index in range(3)])
    return shares / shares.sum()


@settings(max_examples=100, deadline=None)
@given(VIDEOS)
def test_shares_are_those_of_the_labelled_frames(videos):
    kinds = fit_video_kinds(videos, SPACE)
    labelled = [labels for labels in videos if (labels != IGNORE_INDEX).any()]
    np.testing.assert_allclose(kinds.shares, [expected_shares(labels) for labels in labelled])
    np.testing.assert_allclose(kinds.usual, expected_shares(np.concatenate(labelled)))


def test_the_frames_of_two_segments_are_one_observation():
    videos = [np.repeat([0, 1, IGNORE_INDEX, 1], [10, 20, 500, 30]), np.repeat([2], 40), np.full(7, IGNORE_INDEX)]
    assert fit_video_kinds(videos, SPACE).observation_frames == 2 * 100 / 4


def test_of_many_videos_some_are_kept_from_the_first_to_the_last():
    videos = [np.repeat([0, 1], [1 + index, 1000 - index]) for index in range(1000)]
    shares = np.array(fit_video_kinds(videos, SPACE).shares)[:, 0]
    every = np.array([expected_shares(labels)[0] for labels in videos])
    assert len(shares) == MAX_VIDEOS
    assert (shares[0], shares[-1]) == pytest.approx((every[0], every[-1]))
    assert np.diff(shares).max() < 5 * np.diff(every).mean()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shares": ((0.5, 0.5), (1.0,))}, r"got shares of \[1\] classes, expected 2"),
        ({"shares": ()}, "at least 1"),
        ({"shares": ((0.0, 1.0),)}, "greater than 0"),
        ({"usual": (0.0, 1.0)}, "greater than 0"),
        ({"observation_frames": 0.5}, "greater than or equal to 1"),
    ],
)
def test_impossible_values_are_refused(changed, message):
    values = {"shares": ((0.5, 0.5),), "usual": (0.5, 0.5), "observation_frames": 10.0}
    VideoKinds(**values)
    with pytest.raises(ValidationError, match=message):
        VideoKinds(**values | changed)
