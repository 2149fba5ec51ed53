"""Probabilities of exclusive classes, of independent ones, and of groups that may be empty."""

import numpy as np
import pytest
import torch

from pipeline.config.labeller import LabellerSettings
from pipeline.models.class_probabilities import class_probabilities
from pipeline.models.labeller import Labeller

LOGITS = 3 * torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


def test_exclusive_classes_have_a_softmax_to_the_last_bit():
    assert torch.equal(class_probabilities(LOGITS, None), LOGITS.softmax(-1))


def test_groups_of_one_class_are_independent_sigmoids():
    assert torch.equal(class_probabilities(LOGITS, ((0,), (1,), (2,), (3,), (4,))), LOGITS.sigmoid())


def test_a_group_is_a_softmax_with_a_logit_of_zero():
    found = class_probabilities(LOGITS, ((0, 3), (1,), (2, 4)))
    for members in ([0, 3], [2, 4]):
        with_none = torch.cat([LOGITS[:, members], torch.zeros(7, 1)], dim=1).softmax(-1)
        torch.testing.assert_close(found[:, members], with_none[:, :2])
    torch.testing.assert_close(found[:, 1], LOGITS[:, 1].sigmoid())


@pytest.mark.parametrize("head", ["many_to_many", "many_to_one"])
def test_a_labeller_predicts_the_probabilities_of_its_groups(head):
    torch.manual_seed(0)
    groups = ((0, 2), (1,))
    settings = LabellerSettings(cell="gru", hidden_size=4, head=head)
    labeller = Labeller(settings, num_features=3, num_classes=3, groups=groups).eval()
    features = torch.randn(300, 3)
    with torch.no_grad():
        expected = class_probabilities(labeller(features[None]).logits, groups)[0]
    expected = expected.expand(300, 3) if head == "many_to_one" else expected
    found = labeller.predict(features.split(100))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
