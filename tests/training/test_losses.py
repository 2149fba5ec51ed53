"""The masked loss is compared with an explicit sum and with torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.training.losses import balanced_class_weights, masked_cross_entropy


@given(seed=st.integers(0, 10_000), weighted=st.booleans())
@settings(deadline=None, max_examples=50)
def test_the_loss_is_the_mean_over_labelled_frames(seed, weighted):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 7, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (3, 7), generator=generator)
    labels[torch.rand(3, 7, generator=generator) < 0.4] = IGNORE_INDEX
    labels[0, 0] = 1
    weights = torch.rand(4, generator=generator) + 0.1 if weighted else torch.ones(4)
    total, count = 0.0, 0.0
    for b, t in np.ndindex(3, 7):
        if labels[b, t] != IGNORE_INDEX:
            weight = weights[labels[b, t]].item()
            total -= weight * logits[b, t].float().log_softmax(-1)[labels[b, t]].item()
            count += weight
    loss = masked_cross_entropy(logits, labels, weights if weighted else None)
    assert loss.item() == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_smoothed_labels_are_shared_with_all_classes(weighted):
    logits, labels = torch.randn(2, 5, 4), torch.tensor([[0, 1, 2, 3, 0], [1, 1, 1, 2, 3]])
    weights = torch.rand(4) + 0.1 if weighted else torch.ones(4)
    targets = 0.8 * functional.one_hot(labels, 4) + 0.2 / 4
    expected = -(weights * targets * logits.log_softmax(-1)).sum() / weights[labels].sum()
    loss = masked_cross_entropy(logits, labels, weights if weighted else None, label_smoothing=0.2)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_unlabelled_frames_get_no_gradient(smoothing):
    logits = torch.randn(2, 5, 3, requires_grad=True)
    labels = torch.tensor([[0, IGNORE_INDEX, 1, 2, IGNORE_INDEX], [IGNORE_INDEX] * 5])
    masked_cross_entropy(logits, labels, label_smoothing=smoothing).backward()
    assert (logits.grad[labels == IGNORE_INDEX] == 0).all()
    assert (logits.grad[labels != IGNORE_INDEX] != 0).any(dim=-1).all()


def test_a_batch_without_labels_has_loss_and_gradient_zero():
    logits = torch.randn(2, 5, 3, requires_grad=True)
    loss = masked_cross_entropy(logits, torch.full((2, 5), IGNORE_INDEX))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_many_to_one_is_plain_cross_entropy():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    assert torch.allclose(masked_cross_entropy(logits, labels), functional.cross_entropy(logits, labels))


def test_balanced_weights_give_each_class_the_same_share():
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 2, 2, IGNORE_INDEX])
    weights = balanced_class_weights(labels, LabelSpace(("a", "b", "c", "d")))
    assert (weights * torch.tensor([6, 0, 2, 0])).tolist() == [4, 0, 4, 0]
    assert weights[1] == weights[3] == 0
