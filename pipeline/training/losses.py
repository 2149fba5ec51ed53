"""Masked losses. B videos, T frames, K classes."""

from collections.abc import Callable

import torch
from torch.nn import functional

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace

LARGEST_LOG_PROBABILITY = -1e-7
# A loss is a sum over frames, divided by their weight, such as the number of those that are labelled. Where several
# processes share a batch, each divides by the weight of the whole batch, which this function returns for that of its
# own frames: so each has its part of the loss.
WholeWeight = Callable[[torch.Tensor], torch.Tensor]


def alone(weight: torch.Tensor) -> torch.Tensor:
    """Return the weight as it is: the frames are the whole batch."""
    return weight


def masked_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    class_weights: torch.Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    whole_weight: WholeWeight = alone,
) -> torch.Tensor:
    """Compute the cross-entropy of the labelled frames.

    It is -ln p_c, summed over the labelled frames and divided by their count; with weights, by the sum of their
    weights.

    Args:
        logits: [B, T, K], or [B, K] for many-to-one.
        labels: int64 [B, T], or [B]; IGNORE_INDEX is left out.
        class_weights: [K], each frame counts as much as its class's weight; None where all count the same.
        label_smoothing: This share of a frame's label is spread over all classes (Szegedy et al. 2016, arXiv
            1512.00567, section 7), so that the network grows less sure (Müller et al. 2019, arXiv 1906.02629).
        focal_gamma: Each frame's term is multiplied by (1 - p_c)^gamma, see `focal_factor`; 0 multiplies by nothing.
        whole_weight: See `WholeWeight`.

    Returns:
        A scalar; 0 (with a gradient of 0) where no frame is labelled.
    """
    flat, target = logits.flatten(0, -2).float(), labels.flatten()
    total = functional.cross_entropy(
        flat,
        target,
        weight=class_weights,
        ignore_index=IGNORE_INDEX,
        reduction="none" if focal_gamma else "sum",
        label_smoothing=label_smoothing,
    )
    if focal_gamma:
        log_probability = flat.log_softmax(-1).gather(1, target.clamp(min=0)[:, None])[:, 0]
        total = (total * focal_factor(log_probability, focal_gamma)).sum()
    is_labelled = target != IGNORE_INDEX
    weights = is_labelled if class_weights is None else class_weights[target.clamp(min=0)] * is_labelled
    return total / whole_weight(weights.sum().to(total)).clamp(min=torch.finfo(torch.float32).tiny)


def focal_factor(log_probability: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return (1 - p)^gamma of what is true: what the network is sure of counts less.

    Lin et al. 2017, "Focal Loss for Dense Object Detection", arXiv 1708.02002, equation 4.

    Args:
        log_probability: ln p, of any shape.
        gamma: Above 0.

    Returns:
        Of the same shape.
    """
    # 1 - p is at least 1e-7, about what float32 can tell: below it, gradients of a gamma below 1 would be infinite.
    others = -torch.expm1(log_probability.clamp(max=LARGEST_LOG_PROBABILITY))
    return (gamma * others.log()).exp()


def balanced_class_weights(labels: torch.Tensor, label_space: LabelSpace) -> torch.Tensor:
    """Compute weights that are inverse to how often a class is labelled.

    The weight is N / (K' n_k), with n_k labelled frames of the class and K' the number of classes present.

    Args:
        labels: int64 of any shape, N of them labelled.
        label_space: The K classes.

    Returns:
        [K], the weights; a class without a labelled frame weighs 0.
    """
    counts = torch.bincount(
        labels[label_space.is_labelled(labels)].flatten(), minlength=label_space.num_classes
    ).float()
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)
