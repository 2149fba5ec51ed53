"""The loss of classes that overlap: a cross-entropy for each group, masked where nobody has said what the group has.

The n classes of a group and "none" exclude each other; the logit of none is 0. For a group of one class the
cross-entropy is the binary cross-entropy of its logit. A group counts in a frame where one of its classes is known to
be PRESENT, or all of them are known to be ABSENT.

B videos, T frames, K classes, G groups, n classes in a group.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.annotations.label_space import ABSENT, PRESENT
from pipeline.training.losses import focal_factor

Groups = Sequence[Sequence[int]]


class _SameSize(NamedTuple):
    """The g groups of the same size, which are computed as one.

    Attributes:
        members: int64 [g, n], the classes of each.
        weights: [g, n + 1], those of the classes and of none; None where all weigh the same.
    """

    members: Tensor
    weights: Tensor | None


class OverlappingLoss:
    """The mean cross-entropy of all frames and groups that count; with weights, their weighted mean.

    Args:
        groups: The indices of the classes of each group.
        weights: [K + G], the weight of each class where it is PRESENT, then that of none in each group; None where all
            weigh the same.
        label_smoothing: This share of what a group has is spread over its classes and none, as `masked_cross_entropy`
            spreads a label.
        focal_gamma: See `focal_factor`.
    """

    def __init__(
        self,
        groups: Groups,
        *,
        weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
    ) -> None:
        self._label_smoothing = label_smoothing
        self._focal_gamma = focal_gamma
        self._sizes = [_of_size(size, groups, weights) for size in sorted({len(members) for members in groups})]

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: [B, T, K], or [B, K] for many-to-one.
            labels: int8, of the same shape: PRESENT, ABSENT or IGNORE_INDEX.

        Returns:
            A scalar; 0 (with a gradient of 0) where nothing counts.
        """
        flat, flat_labels = logits.flatten(0, -2).float(), labels.flatten(0, -2)
        sums = [self._sum(flat, flat_labels, same) for same in self._sizes]
        total, count = (torch.stack(parts).sum() for parts in zip(*sums, strict=True))
        return total / count.clamp(min=torch.finfo(torch.float32).tiny)

    def _sum(self, logits: Tensor, labels: Tensor, same: _SameSize) -> tuple[Tensor, Tensor]:
        """Return the sum of the cross-entropies of groups of one size over frames [N, K], and that of their weights."""
        members = same.members.to(logits.device)
        logs, outcomes = _log_probabilities(logits[:, members]), _outcomes(labels[:, members])
        weighted = outcomes if same.weights is None else outcomes * same.weights.to(logits.device)
        targets = weighted
        if self._label_smoothing:
            counts, share = outcomes.sum(-1, keepdim=True), self._label_smoothing / outcomes.shape[-1]
            targets = (1 - self._label_smoothing) * outcomes + share * counts
            targets = targets if same.weights is None else targets * same.weights.to(logits.device)
        terms = -targets * logs
        if self._focal_gamma:
            terms = terms.sum(-1) * focal_factor(logs, outcomes.bool(), self._focal_gamma)
        return terms.sum(), weighted.sum()


def _of_size(size: int, groups: Groups, weights: Tensor | None) -> _SameSize:
    indices = [index for index, members in enumerate(groups) if len(members) == size]
    members = torch.tensor([list(groups[index]) for index in indices])
    if weights is None:
        return _SameSize(members, None)
    num_classes = sum(map(len, groups))
    columns = torch.cat([members, num_classes + torch.tensor(indices)[:, None]], dim=1)
    return _SameSize(members, weights[columns.to(weights.device)])


def _log_probabilities(logits: Tensor) -> Tensor:
    """Return [N, g, n + 1], ln p of the classes of each group and of none, from logits [N, g, n]."""
    if logits.shape[-1] == 1:
        present = functional.logsigmoid(logits)
        return torch.cat([present, present - logits], dim=-1)
    return torch.cat([logits, torch.zeros_like(logits[..., :1])], dim=-1).log_softmax(-1)


def _outcomes(labels: Tensor) -> Tensor:
    """Return float32 [N, g, n + 1] from labels [N, g, n]: 1 at what each group has, all 0 where it does not count."""
    none = (labels == ABSENT).all(-1, keepdim=True)
    return torch.cat([labels == PRESENT, none], dim=-1).float()


def balanced_group_weights(labels: Tensor, groups: Groups) -> Tensor:
    """Compute weights that are inverse to how often each group has a class, or none, as `balanced_class_weights` does.

    For a group of one class, PRESENT then weighs num_absent / num_present times as much as ABSENT.

    Args:
        labels: int8 [..., K].
        groups: The indices of the classes of each group.

    Returns:
        [K + G], as `OverlappingLoss` takes them. What a group never has weighs 0.
    """
    flat = labels.flatten(0, -2)
    of_classes, of_none = torch.zeros(flat.shape[1]), torch.zeros(len(groups))
    for index, members in enumerate(groups):
        columns = torch.tensor(list(members))
        counts = _outcomes(flat[:, columns]).sum(0)
        weights = torch.where(counts > 0, counts.sum() / ((counts > 0).sum() * counts.clamp(min=1)), 0.0)
        of_classes[columns], of_none[index] = weights[:-1], weights[-1]
    return torch.cat([of_classes, of_none])
