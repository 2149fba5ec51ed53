"""Distances to training frames are compared with the Mahalanobis distance, and with those of other frames."""

import numpy as np
import pytest
import torch

from pipeline.models import novelty
from pipeline.models.novelty import Novelty, choose_features, fit_novelty


def fitted(sample: torch.Tensor, seed: int = 0) -> Novelty:
    generator = torch.Generator().manual_seed(seed)
    chosen = choose_features(sample.shape[1], generator)
    return fit_novelty(sample[:, chosen], chosen, sample.shape[1], generator)


def correlated(num_frames: int, num_features: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(num_features, num_features, generator=torch.Generator().manual_seed(99))
    return torch.randn(num_frames, num_features, generator=generator) @ mixing + 3


def test_of_few_features_it_is_the_mahalanobis_distance(monkeypatch):
    monkeypatch.setattr(novelty, "SHRINKAGE", 1e-7)
    sample, others = correlated(500, 12, 0), correlated(40, 12, 1) + 1
    centred = others.numpy().astype(np.float64) - sample.numpy().mean(0, dtype=np.float64)
    inverse = np.linalg.inv(np.cov(sample.numpy().astype(np.float64).T, bias=True))
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, inverse, centred) / 12)
    np.testing.assert_allclose(fitted(sample)(others).numpy(), expected, rtol=1e-2)


def test_frames_like_those_of_training_are_at_one_and_others_are_further():
    measure = fitted(correlated(4000, 300, 0))
    like, unlike = measure(correlated(500, 300, 1)), measure(torch.randn(500, 300) * 100)
    assert float(like.square().mean()) == pytest.approx(1, abs=0.1)
    assert like.max() < unlike.median()


def test_of_many_features_random_ones_are_read(monkeypatch):
    monkeypatch.setattr(novelty, "MAX_READ_FEATURES", 50)
    measure = fitted(correlated(1000, 200, 0))
    assert measure.chosen.tolist() == sorted(set(measure.chosen.tolist()))
    assert len(measure.chosen) == len(measure.mean) == 50
    frames = correlated(5, 200, 1)
    torch.testing.assert_close(measure(frames), measure.of_read(frames[:, measure.chosen]))


def test_features_that_never_change_do_not_decide():
    """Features of a ReLU may be 0 in all of training; what is a little above 0 is not endlessly far."""
    sample = torch.cat([correlated(1000, 40, 0), torch.zeros(1000, 40)], dim=1)
    measure = fitted(sample)
    near = sample[:10].clone()
    near[:, 40:] = 1e-6
    assert measure(near).max() < 3
    assert fitted(torch.ones(10, 8))(torch.ones(2, 8)).tolist() == [0, 0], "and nothing is divided by 0"


def test_the_same_seed_gives_the_same_distances():
    sample, frames = correlated(300, 200, 0), correlated(10, 200, 1)
    torch.testing.assert_close(fitted(sample, 5)(frames), fitted(sample, 5)(frames), rtol=0, atol=0)
    assert not torch.equal(fitted(sample, 5)(frames), fitted(sample, 6)(frames))
