"""How unlike the training frames a frame is: the distance of its features from theirs.

The features of the training frames are standardized, projected onto D random directions and whitened there. The
distance of a frame is then the Mahalanobis distance (Lee et al., "A Simple Unified Framework for Detecting
Out-of-Distribution Samples and Adversarial Attacks", NeurIPS 2018, arXiv 1807.03888, without its classes), divided by
the square root of D, so that it is about 1 for training frames. Random projections keep distances (Johnson,
Lindenstrauss 1984) and make the covariance of thousands of features small enough to be estimated.

Probabilities and the energy of logits were tried and are worse: docs/results/experiments/2026-11.md.

Shapes: n frames, F features of a frame, f of these that are read, D directions.
"""

import torch
from torch import Tensor, nn

MAX_READ_FEATURES = 4096  # of a frame, of which random ones are read where it has more
MAX_DIRECTIONS = 128
SHRINKAGE = 1e-3  # of the mean variance, which is added to each, so that directions without any do not count endlessly
SMALLEST = 1e-6  # a spread, where all frames are the same


class Novelty(nn.Module):
    """Distances from the training frames.

    Args:
        num_features: F.
        num_read: f.
        num_directions: D.
    """

    def __init__(self, num_features: int, num_read: int, num_directions: int) -> None:
        super().__init__()
        self.num_features, self.num_directions = num_features, num_directions
        self.chosen: Tensor
        self.mean: Tensor
        self.directions: Tensor
        self.register_buffer("chosen", torch.zeros(num_read, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(num_read))
        self.register_buffer("directions", torch.zeros(num_read, num_directions))

    def forward(self, features: Tensor) -> Tensor:
        """Compute the distances [n] of features [n, F]."""
        return self.of_read(features[:, self.chosen])

    def of_read(self, read: Tensor) -> Tensor:
        """Compute the distances [n] of the features that are read, [n, f]."""
        return ((read - self.mean) @ self.directions).square().mean(1).sqrt()


def choose_features(num_features: int, generator: torch.Generator) -> Tensor:
    """Choose the features that are read, int64 [f], ascending."""
    return torch.randperm(num_features, generator=generator)[:MAX_READ_FEATURES].sort().values


def fit_novelty(sample: Tensor, chosen: Tensor, num_features: int, generator: torch.Generator) -> Novelty:
    """Fit the distances to training frames.

    Args:
        sample: [n, f], the features that are read of a sample of the training frames.
        chosen: int64 [f], which these are.
        num_features: F.
        generator: It draws the directions.
    """
    num_directions = min(len(chosen), MAX_DIRECTIONS)
    novelty = Novelty(num_features, len(chosen), num_directions)
    mean, spread = sample.mean(0), sample.std(0, correction=0)
    # A feature that hardly changes in training would otherwise decide everything.
    spread = spread + SHRINKAGE * spread.mean() + SMALLEST
    drawn = torch.randn(len(chosen), num_directions, generator=generator) / spread[:, None]
    within = ((sample - mean) @ drawn).double()
    covariance = within.T @ within / len(sample)
    covariance.diagonal().add_(SHRINKAGE * covariance.diagonal().mean() + SMALLEST)
    values, vectors = torch.linalg.eigh(covariance)
    novelty.chosen, novelty.mean = chosen, mean
    novelty.directions = drawn @ (vectors / values.sqrt()).float()
    return novelty
