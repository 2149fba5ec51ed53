"""The loss of classes that overlap: a cross-entropy for each group, masked where nobody has said what the group has.

The n classes of a group and "none" exclude each other; the logit of none is 0. For a group of one class the
cross-entropy is the binary cross-entropy of its logit. A group counts in a frame where something is known of one of its
classes. Where a class is known to be PRESENT, or all of them are known to be ABSENT, that is what the group has. Where
only some are known to be ABSENT, the group has one of the other classes, or none: its term is -ln of the sum of their
probabilities.

B videos, T frames, K classes, G groups, n classes in a group.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT
from pipeline.training.losses import WholeWeight, alone, focal_factor

Groups = Sequence[Sequence[int]]


class _SameSize(NamedTuple):
    """The g groups of n classes each, which are computed as one.

    Attributes:
        columns: n times int64 [g], the first class of each group, the second one and so on.
        weights: n + 1 times [g, 1], those of these classes and of none; None where all weigh the same.
    """

    columns: list[Tensor]
    weights: list[Tensor] | None


class _Outcomes(NamedTuple):
    """What groups have: n + 1 times float32 [g, N], 1 at the class that is PRESENT, or at none, which is the last."""

    of_classes: list[Tensor]
    none: Tensor

    def all(self) -> list[Tensor]:
        return [*self.of_classes, self.none]


class OverlappingLoss:
    """The mean cross-entropy of all frames and groups that count; with weights, their weighted mean.

    Args:
        groups: The indices of the classes of each group.
        weights: [K + G], the weight of each class where it is PRESENT, then that of none in each group; None where all
            weigh the same.
        label_smoothing: This share of what a group has is spread over its classes and none, as `masked_cross_entropy`
            spreads a label.
        focal_gamma: See `focal_factor`.
        whole_weight: See `WholeWeight`.
    """

    def __init__(
        self,
        groups: Groups,
        *,
        weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
        whole_weight: WholeWeight = alone,
    ) -> None:
        self._whole_weight = whole_weight
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
        # Classes first, so that what belongs to one class lies together: several times as fast on a CPU.
        of_classes = logits.flatten(0, -2).float().T.contiguous()
        labels_of_classes = labels.flatten(0, -2).T.contiguous()
        sums = [self._sum(of_classes, labels_of_classes, same) for same in self._sizes]
        total, count = (torch.stack(parts).sum() for parts in zip(*sums, strict=True))
        return total / self._whole_weight(count).clamp(min=torch.finfo(torch.float32).tiny)

    def _sum(self, logits: Tensor, labels: Tensor, same: _SameSize) -> tuple[Tensor, Tensor]:
        """Return the sum of the cross-entropies of groups of one size, from [K, N], and that of their weights.

        With targets t and logits z, of which that of none is 0, a cross-entropy is sum(t) ln sum(exp z) - sum(t z).
        """
        columns = [column.to(logits.device) for column in same.columns]
        z = [logits.index_select(0, column) for column in columns]
        normalizer = functional.softplus(z[0])
        for other in z[1:]:
            normalizer = torch.logaddexp(normalizer, other)
        labels_of_group = [labels.index_select(0, column) for column in columns]
        outcomes = _outcomes(labels_of_group)
        weighted = _weighted(outcomes.all(), same.weights)
        targets = _weighted(self._smoothed(outcomes.all()), same.weights)
        terms = _added(targets) * normalizer - _dot(targets, z)
        if self._focal_gamma:
            log_probability = _dot(outcomes.of_classes, z) - _added(outcomes.all()) * normalizer
            terms = terms * focal_factor(log_probability, self._focal_gamma)
        total, count = terms.sum(), torch.stack([part.sum() for part in weighted]).sum()
        is_partly_known = _is_partly_known(labels_of_group)
        if is_partly_known.any():
            more_total, more_count = self._sum_of_rest(labels_of_group, is_partly_known, z, normalizer, same)
            total, count = total + more_total, count + more_count
        return total, count

    def _sum_of_rest(
        self, labels: list[Tensor], is_partly_known: Tensor, z: list[Tensor], normalizer: Tensor, same: _SameSize
    ) -> tuple[Tensor, Tensor]:
        """Return the sums as `_sum` does, of the frames in which a group has one of the classes that are left, or none.

        They weigh as much as frames in which the group has none.
        """
        is_excluded = [of_class == ABSENT for of_class in labels]
        possible = [of_class.masked_fill(out, -torch.inf) for of_class, out in zip(z, is_excluded, strict=True)]
        log_probability = torch.stack([torch.zeros_like(z[0]), *possible]).logsumexp(0) - normalizer
        weight = is_partly_known.float()
        if same.weights is not None:
            weight = weight * same.weights[-1].to(weight.device)
        terms = -weight * log_probability
        if self._focal_gamma:
            terms = terms * focal_factor(log_probability, self._focal_gamma)
        return terms.sum(), weight.sum()

    def _smoothed(self, outcomes: list[Tensor]) -> list[Tensor]:
        if not self._label_smoothing:
            return outcomes
        shared = _added(outcomes) * (self._label_smoothing / len(outcomes))
        return [(1 - self._label_smoothing) * outcome + shared for outcome in outcomes]


def _of_size(size: int, groups: Groups, weights: Tensor | None) -> _SameSize:
    indices = [index for index, members in enumerate(groups) if len(members) == size]
    columns = list(torch.tensor([list(groups[index]) for index in indices]).T)
    if weights is None:
        return _SameSize(columns, None)
    num_classes = sum(map(len, groups))
    weighed = [*columns, num_classes + torch.tensor(indices)]
    return _SameSize(columns, [weights[column.to(weights.device), None] for column in weighed])


def _outcomes(labels: Sequence[Tensor]) -> _Outcomes:
    """Return what each group has, from labels int8 [g, N] of its n classes: 0 everywhere where that is not known."""
    none = labels[0] == ABSENT
    for other in labels[1:]:
        none = none & (other == ABSENT)
    return _Outcomes([(of_class == PRESENT).float() for of_class in labels], none.float())


def _is_partly_known(labels: Sequence[Tensor]) -> Tensor:
    """Return bool [g, N]: where some of the n classes of a group are ABSENT, and the others unknown."""
    smallest, largest = labels[0], labels[0]
    for other in labels[1:]:
        smallest, largest = torch.minimum(smallest, other), torch.maximum(largest, other)
    return (smallest == IGNORE_INDEX) & (largest == ABSENT)  # -100 < 0 < 1


def _weighted(parts: list[Tensor], weights: list[Tensor] | None) -> list[Tensor]:
    if weights is None:
        return parts
    return [part * weight.to(part.device) for part, weight in zip(parts, weights, strict=True)]


def _added(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _dot(factors: Sequence[Tensor], z: Sequence[Tensor]) -> Tensor:
    """Return the sum of the products; a factor for none has no partner, as its logit is 0."""
    return _added([factor * of_class for factor, of_class in zip(factors, z, strict=False)])


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
        counts = torch.stack([outcome.sum() for outcome in _outcomes(flat[:, columns].unbind(1)).all()])
        weights = torch.where(counts > 0, counts.sum() / ((counts > 0).sum() * counts.clamp(min=1)), 0.0)
        of_classes[columns], of_none[index] = weights[:-1], weights[-1]
    return torch.cat([of_classes, of_none])
