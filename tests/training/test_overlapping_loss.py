"""The loss of classes that overlap is compared with plain loops and with torch's own functions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.models.class_probabilities import class_probabilities
from pipeline.training.losses import balanced_class_weights, focal_factor, masked_cross_entropy
from pipeline.training.objective import balanced_weights, make_objective, summed_cross_entropy
from pipeline.training.overlapping_loss import OverlappingLoss, balanced_group_weights

MIXED = LabelSpace(("a", "b", "c", "d", "e", "f"), groups=("x", "y", "x", "z", "x", "z"))
INDEPENDENT = LabelSpace.independent(("a", "b", "c"))


def made(seed: int, space: LabelSpace, *shape: int, unknown: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and valid labels, some of them unknown."""
    generator = np.random.default_rng(seed)
    labels = np.full((*shape, space.num_classes), ABSENT, dtype=np.int8)
    for members in space.group_members:
        chosen = generator.integers(0, len(members) + 1, shape)
        for position, index in enumerate(members):
            labels[..., index] = np.where(chosen == position, PRESENT, ABSENT)
    labels[generator.random(labels.shape) < unknown] = IGNORE_INDEX
    logits = torch.from_numpy(2 * generator.normal(size=labels.shape)).float()
    return logits, torch.from_numpy(labels)


def by_loops(logits, labels, space, weights=None, smoothing=0.0, gamma=0.0) -> float:
    """The definition, one frame and one group at a time."""
    flat, rows = logits.reshape(-1, space.num_classes).double().tolist(), labels.reshape(-1, space.num_classes).tolist()
    total, count = 0.0, 0.0
    for scores, row in zip(flat, rows, strict=True):
        for group, members in enumerate(space.group_members):
            present = [i for i, index in enumerate(members) if row[index] == PRESENT]
            absent = [i for i, index in enumerate(members) if row[index] == ABSENT]
            if not present and not absent:
                continue
            exponents = [math.exp(scores[index]) for index in members] + [1.0]
            columns = [*members, space.num_classes + group]
            if not present and len(absent) < len(members):  # one of the others, or none
                possible = sum(e for outcome, e in enumerate(exponents) if outcome not in absent) / sum(exponents)
                weight_of_none = 1.0 if weights is None else weights[columns[-1]].item()
                total -= weight_of_none * math.log(possible) * (1 - possible) ** gamma
                count += weight_of_none
                continue
            true = present[0] if present else len(members)
            logs = [math.log(e / sum(exponents)) for e in exponents]
            weight = [1.0 if weights is None else weights[column].item() for column in columns]
            size = len(columns)
            targets = [smoothing / size + (1 - smoothing) * (outcome == true) for outcome in range(size)]
            term = -sum(w * t * log for w, t, log in zip(weight, targets, logs, strict=True))
            total += term * (1 - math.exp(logs[true])) ** gamma
            count += weight[true]
    return total / count


@given(
    seed=st.integers(0, 10_000),
    weighted=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.2]),
    gamma=st.sampled_from([0.0, 0.5, 2.0]),
)
@settings(deadline=None, max_examples=40)
def test_the_loss_is_the_mean_over_frames_and_groups_that_count(seed, weighted, smoothing, gamma):
    logits, labels = made(seed, MIXED, 2, 5)
    weights = torch.rand(9, generator=torch.Generator().manual_seed(seed)) + 0.1 if weighted else None
    objective = make_objective(MIXED, weights=weights, label_smoothing=smoothing, focal_gamma=gamma)
    expected = by_loops(logits, labels, MIXED, weights, smoothing, gamma)
    assert objective(logits, labels).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("positive", [None, torch.tensor([3.0, 0.5, 2.0])])
def test_independent_classes_have_torchs_binary_cross_entropy(positive):
    logits, labels = made(1, INDEPENDENT, 3, 7, unknown=0.3)
    known = labels != IGNORE_INDEX
    terms = functional.binary_cross_entropy_with_logits(
        logits, (labels == PRESENT).float(), pos_weight=positive, reduction="none"
    )
    weights = None if positive is None else torch.cat([positive, torch.ones(3)])
    counts = known.float() if positive is None else torch.where(labels == PRESENT, positive, 1.0)
    expected = terms[known].sum() / counts[known].sum()
    torch.testing.assert_close(make_objective(INDEPENDENT, weights=weights)(logits, labels), expected)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_group_with_none_has_the_loss_of_exclusive_classes_with_a_logit_of_zero(weighted, gamma, smoothing):
    space = LabelSpace(("a", "b", "c"), groups=("x",) * 3)
    logits, labels = made(2, space, 4, 6, unknown=0.0)
    labels[0, :2] = IGNORE_INDEX
    exclusive = torch.where((labels == PRESENT).any(-1), labels.argmax(-1), 3)
    exclusive[0, :2] = IGNORE_INDEX
    weights = torch.tensor([0.5, 2.0, 1.0, 0.25]) if weighted else None
    options = {"label_smoothing": smoothing, "focal_gamma": gamma}
    expected = masked_cross_entropy(torch.cat([logits, torch.zeros(4, 6, 1)], dim=-1), exclusive, weights, **options)
    torch.testing.assert_close(make_objective(space, weights=weights, **options)(logits, labels), expected)


def test_a_group_counts_where_something_is_known_of_one_of_its_classes():
    space = LabelSpace(("a", "b"), groups=("x", "x"))
    rows = [[PRESENT, IGNORE_INDEX], [ABSENT, ABSENT], [ABSENT, IGNORE_INDEX], [IGNORE_INDEX, IGNORE_INDEX]]
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    make_objective(space)(logits, torch.tensor(rows, dtype=torch.int8)).backward()
    assert (logits.grad[:3] != 0).all()
    assert (logits.grad[3] == 0).all()
    assert logits.grad[2, 0] > 0 > logits.grad[2, 1], "not a, and perhaps b"


def test_a_class_that_alone_is_scored_in_its_group_learns_where_it_is_absent():
    """The network that gives the share of frames with the class is the best one."""
    space = LabelSpace(("a", "b"), groups=("x", "x"))
    labels = torch.full((8, 2), IGNORE_INDEX, dtype=torch.int8)
    labels[:2, 0], labels[2:, 0] = PRESENT, ABSENT
    logits = torch.zeros(2, requires_grad=True)
    optimizer, objective = torch.optim.LBFGS([logits], max_iter=100), make_objective(space)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = objective(logits.expand(8, 2), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    probability = class_probabilities(logits.detach()[None], space.group_members)[0, 0]
    assert probability.item() == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("space", [MIXED, INDEPENDENT], ids=["mixed", "independent"])
def test_gradients_are_finite_for_very_sure_logits_and_zero_without_labels(space, gamma):
    logits, labels = made(3, space, 2, 5)
    logits = (60 * logits).requires_grad_()
    objective = make_objective(space, focal_gamma=gamma)
    objective(logits, labels).backward()
    assert torch.isfinite(logits.grad).all()
    logits.grad = None
    loss = objective(logits, torch.full_like(labels, IGNORE_INDEX))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_many_to_one_is_the_loss_of_videos_of_one_frame():
    logits, labels = made(4, MIXED, 6)
    objective = make_objective(MIXED)
    torch.testing.assert_close(objective(logits, labels), objective(logits[:, None], labels[:, None]))


def test_balanced_weights_of_an_independent_class_are_the_ratio_of_absent_to_present():
    labels = torch.tensor([[1, 0, 0], [0, 0, 0], [0, 0, IGNORE_INDEX], [0, 1, 0], [0, 1, 0]], dtype=torch.int8)
    weights = balanced_weights(labels, INDEPENDENT)
    assert weights[0] / weights[3] == 4
    assert weights[1] / weights[4] == 1.5
    assert weights[2] == 0, "it is never present"
    assert weights[5] == 1


def test_balanced_weights_of_a_group_are_those_of_its_classes_and_none():
    logits, labels = made(5, MIXED, 50, unknown=0.0)
    weights = balanced_group_weights(labels, MIXED.group_members)
    of_group = labels[:, [0, 2, 4]]
    exclusive = torch.where((of_group == PRESENT).any(-1), of_group.argmax(-1), 3)
    expected = balanced_class_weights(exclusive, LabelSpace(("a", "c", "e", "none")))
    torch.testing.assert_close(weights[[0, 2, 4, 6]], expected)
    assert make_objective(MIXED, weights=weights)(logits, labels) > 0


# The focal loss of exclusive classes


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_focal_loss_of_exclusive_classes_equals_its_definition_and_is_plain_at_zero(smoothing):
    logits = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 4, (3, 7), generator=torch.Generator().manual_seed(1))
    labels[0, :3] = IGNORE_INDEX
    plain = masked_cross_entropy(logits, labels, label_smoothing=smoothing)
    assert torch.equal(plain, masked_cross_entropy(logits, labels, label_smoothing=smoothing, focal_gamma=0.0))
    known = labels != IGNORE_INDEX
    terms = functional.cross_entropy(logits[known], labels[known], reduction="none", label_smoothing=smoothing)
    chosen = logits.softmax(-1)[known].gather(1, labels[known][:, None])[:, 0]
    expected = ((1 - chosen) ** 1.5 * terms).mean()
    found = masked_cross_entropy(logits, labels, label_smoothing=smoothing, focal_gamma=1.5)
    torch.testing.assert_close(found, expected)


def test_one_exclusive_class_has_a_focal_loss_of_zero_with_a_finite_gradient():
    logits = torch.randn(5, 1, requires_grad=True)
    masked_cross_entropy(logits, torch.zeros(5, dtype=torch.int64), focal_gamma=0.5).backward()
    assert (logits.grad == 0).all()
    assert focal_factor(torch.tensor([0.0, -0.5, -200.0]), 2.0).tolist() == pytest.approx(
        [0, (1 - math.exp(-0.5)) ** 2, 1], abs=1e-6
    )


def test_the_validation_loss_equals_the_training_loss_without_weights():
    logits, labels = made(6, MIXED, 40)
    probabilities = class_probabilities(logits, MIXED.group_members).numpy()
    total, count = summed_cross_entropy(probabilities, labels.numpy(), MIXED)
    assert total / count == pytest.approx(OverlappingLoss(MIXED.group_members)(logits, labels).item(), rel=1e-5)
