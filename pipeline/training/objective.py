"""What training minimizes: the loss of a label space, and the weights in it.

B videos, T frames, K classes, G groups.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from pipeline.annotations.label_space import LabelSpace
from pipeline.postprocessing.groups import group_probabilities, possible_outcomes
from pipeline.training.losses import WholeWeight, alone, balanced_class_weights, masked_cross_entropy
from pipeline.training.overlapping_loss import OverlappingLoss, balanced_group_weights

SMALLEST_PROBABILITY = 1e-12
Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (logits, labels) -> a scalar


def make_objective(
    label_space: LabelSpace,
    *,
    weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    whole_weight: WholeWeight = alone,
) -> Objective:
    """Make the loss of logits [B, T, K], or [B, K] for many-to-one, and labels of the form of the label space.

    Args:
        label_space: The classes.
        weights: Those of `balanced_weights`, or others of this shape; None where all weigh the same.
        label_smoothing: See `masked_cross_entropy`, and `OverlappingLoss` where classes overlap.
        focal_gamma: See `focal_factor`.
        whole_weight: See `WholeWeight`.
    """
    if label_space.is_exclusive:
        return partial(
            masked_cross_entropy,
            class_weights=weights,
            label_smoothing=label_smoothing,
            focal_gamma=focal_gamma,
            whole_weight=whole_weight,
        )
    return OverlappingLoss(
        label_space.group_members,
        weights=weights,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
        whole_weight=whole_weight,
    )


def balanced_weights(labels: torch.Tensor, label_space: LabelSpace) -> torch.Tensor:
    """Compute weights that are inverse to how often a class is labelled.

    Args:
        labels: All labels of the training, int64 [N], or int8 [N, K] where classes overlap.
        label_space: The classes.

    Returns:
        [K], see `balanced_class_weights`; or [K + G] where classes overlap, see `balanced_group_weights`.
    """
    if label_space.is_exclusive:
        return balanced_class_weights(labels, label_space)
    return balanced_group_weights(labels, label_space.group_members)


def summed_cross_entropy(probabilities: np.ndarray, labels: np.ndarray, label_space: LabelSpace) -> tuple[float, int]:
    """Compute the cross-entropy of the labelled frames of a video, without weights.

    Args:
        probabilities: [T, K].
        labels: int64 [T], or int8 [T, K] where classes overlap.
        label_space: The classes.

    Returns:
        The sum, and how many labelled frames it is of; where classes overlap, how many pairs of a frame and a group.
    """
    if label_space.is_exclusive:
        labelled = label_space.is_labelled(labels)
        chosen = probabilities[labelled, labels[labelled]]
        return -float(np.log(np.maximum(chosen, SMALLEST_PROBABILITY)).sum()), int(labelled.sum())
    total, count = 0.0, 0
    for members in label_space.group_members:
        possible = possible_outcomes(labels, members)
        known = ~possible.all(axis=1)
        of_possible = (group_probabilities(probabilities[known], members) * possible[known]).sum(axis=1)
        total -= float(np.log(np.maximum(of_possible, SMALLEST_PROBABILITY)).sum())
        count += int(known.sum())
    return total, count
