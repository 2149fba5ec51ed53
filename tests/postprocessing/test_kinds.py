"""A class counts for more in a video that is like training videos where it is frequent."""

import math

import numpy as np
import pytest

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.video_kinds import VideoKinds, fit_video_kinds
from pipeline.postprocessing import kinds as module
from pipeline.postprocessing.kinds import weigh_by_kind

SPACE = LabelSpace(("stirs", "spreads", "pours", "opens"))


def made_kinds(generator: np.random.Generator, *, num_videos: int = 5, num_classes: int = 4) -> VideoKinds:
    shares = generator.dirichlet(np.ones(num_classes), size=num_videos) + 0.01
    shares /= shares.sum(axis=1, keepdims=True)
    return VideoKinds(shares=shares.tolist(), usual=shares.mean(axis=0).tolist(), observation_frames=7.0)


def weighed(probabilities: np.ndarray, kinds: VideoKinds) -> np.ndarray:
    """The formula, number by number."""
    logs = [
        sum(
            math.log(sum(p * share / usual for p, share, usual in zip(frame, shares, kinds.usual, strict=True)))
            for frame in probabilities
        )
        / kinds.observation_frames
        for shares in kinds.shares
    ]
    weights = [math.exp(log - max(logs)) for log in logs]
    video = [
        sum(weight * shares[index] for weight, shares in zip(weights, kinds.shares, strict=True)) / sum(weights)
        for index in range(kinds.num_classes)
    ]
    rows = [
        [p * share / usual for p, share, usual in zip(frame, video, kinds.usual, strict=True)]
        for frame in probabilities
    ]
    return np.array([[value / sum(row) for value in row] for row in rows])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("chunk_frames", [1, 16, 4096])
def test_it_is_the_formula(seed, chunk_frames, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_FRAMES", chunk_frames)
    generator = np.random.default_rng(seed)
    kinds, probabilities = made_kinds(generator), generator.dirichlet(np.ones(4), size=50)
    np.testing.assert_allclose(weigh_by_kind(probabilities, kinds), weighed(probabilities, kinds))


def test_videos_of_one_kind_change_nothing():
    generator = np.random.default_rng(0)
    shares = tuple(generator.dirichlet(np.ones(4)).tolist())
    kinds = VideoKinds(shares=(shares,) * 3, usual=shares, observation_frames=1.0)
    probabilities = generator.dirichlet(np.ones(4), size=50)
    np.testing.assert_allclose(weigh_by_kind(probabilities, kinds), probabilities)
    assert weigh_by_kind(probabilities, None) is probabilities


def test_an_empty_video_stays_empty():
    assert weigh_by_kind(np.zeros((0, 4)), made_kinds(np.random.default_rng(0))).shape == (0, 4)


def test_a_long_video_without_doubt_keeps_finite_probabilities():
    probabilities = np.eye(4)[np.random.default_rng(0).integers(4, size=100_000)]
    np.testing.assert_array_equal(weigh_by_kind(probabilities, made_kinds(np.random.default_rng(1))), probabilities)


def test_classes_that_look_alike_are_told_apart_by_the_kind_of_video():
    """Stirring and spreading look alike; who stirs pours too, and who spreads opens a jar."""
    coffee, sandwich = np.repeat([2, 0], [30, 70]), np.repeat([3, 1], [30, 70])
    kinds = fit_video_kinds([coffee, sandwich] * 3, SPACE)
    for labels, sees in ((coffee, (0.44, 0.46)), (sandwich, (0.46, 0.44))):
        probabilities = np.full((100, 4), 0.04)
        probabilities[np.arange(100), labels] = 0.88
        probabilities[30:] = (*sees, 0.05, 0.05)
        assert (probabilities.argmax(axis=1) != labels).sum() == 70
        assert (weigh_by_kind(probabilities, kinds).argmax(axis=1) == labels).all()
