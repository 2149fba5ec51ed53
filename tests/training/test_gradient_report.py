"""The report about gradients: its numbers, its warning that names the remedy, and that it does not change training."""

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config.labeller import LabellerSettings
from pipeline.datasets.windows import Batch
from pipeline.models.labeller import Labeller
from pipeline.training.diagnosis import Diagnosis, due_warning, scores_of
from pipeline.training.gradient_report import diagnose


def labeller_of(cell: str, **options: Any) -> Labeller:
    torch.manual_seed(0)
    settings = LabellerSettings(**{"cell": cell, "hidden_size": 6, "dropout": 0.5, **options})
    return Labeller(settings, num_features=3, num_classes=2).eval()


def batch(num_frames: int = 40) -> Batch:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, num_frames, 3, generator=generator)
    return Batch(inputs, torch.tensor([num_frames, num_frames - 3]), (inputs[..., 0] > 0).long())


def diagnosis_of(cell: str, *, scale: float | None = None, num_frames: int = 40, **options: Any) -> Diagnosis:
    labeller = labeller_of(cell, **options)
    if scale is not None:
        with torch.no_grad():
            labeller.rnn.weight_hh_l0.copy_(scale * torch.eye(6))
            labeller.rnn.bias_hh_l0.fill_(1.0)  # so that no unit of relu is always 0
    diagnosis = diagnose(labeller, cell, batch(num_frames))
    assert diagnosis is not None
    return diagnosis


def test_the_diagnosis_has_the_expected_shapes_and_scores() -> None:
    diagnosis = diagnosis_of("gru", num_layers=2, bidirectional=True)
    assert torch.tensor(diagnosis["norms"]).shape == (2, 2, 40)
    assert torch.tensor(diagnosis["radii"]).shape == (2, 2, 3)
    scores = scores_of(diagnosis)
    assert scores.keys() == {"rnn/gradient_factor", "rnn/spectral_radius"}
    assert scores["rnn/spectral_radius"] == np.max(diagnosis["radii"])


def test_without_a_recurrent_network_there_is_no_diagnosis() -> None:
    assert diagnose(labeller_of("none"), "none", batch()) is None


def test_a_many_to_one_model_has_a_diagnosis() -> None:
    labeller = labeller_of("tanh", head="many_to_one")
    assert diagnose(labeller, "tanh", batch()._replace(labels=torch.tensor([0, 1]))) is not None


def test_the_diagnosis_changes_no_gradient_weight_or_random_state() -> None:
    labeller = labeller_of("lstm", num_layers=2)
    before = {name: tensor.clone() for name, tensor in labeller.state_dict().items()}
    random = torch.get_rng_state()
    diagnose(labeller, "lstm", batch())
    assert torch.equal(torch.get_rng_state(), random)
    for name, tensor in labeller.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in labeller.parameters())
    assert not labeller.rnn._forward_hooks


@pytest.mark.parametrize(
    ("cell", "scale", "words"),
    [
        ("tanh", 0.3, ["vanish", "labeller=gru, labeller=lstm", "orthogonal", "cell relu that starts"]),
        ("relu", 0.3, ["vanish", "labeller=gru", "recurrent_init=orthogonal", "the identity as start"]),
        ("relu", 1.5, ["explode", "training.clip_norm", "training.window_frames", "recurrent_init=orthogonal"]),
        ("relu", 1.0, []),
    ],
)
def test_the_warning_names_the_remedy(cell: str, scale: float, words: list[str]) -> None:
    warning = diagnosis_of(cell, scale=scale)["warning"]
    assert bool(warning) == bool(words)
    for word in words:
        assert word in warning


def test_the_warning_does_not_advise_a_gated_cell_to_use_gates() -> None:
    warning = diagnosis_of("gru", num_frames=64)["warning"]
    assert "vanish" in warning
    assert "gated" not in warning


def test_the_warning_is_given_once_after_two_consecutive_epochs() -> None:
    def given(*verdicts: str) -> list[int]:
        diagnoses: list[Any] = [{"verdict": verdict, "warning": f"it is {verdict}"} for verdict in verdicts]
        return [i for i in range(len(diagnoses)) if due_warning(diagnoses[: i + 1])]

    assert given("vanishing", "healthy", "healthy") == []
    assert given("vanishing", "vanishing", "vanishing", "vanishing") == [1]
    assert given("healthy", "vanishing", "exploding", "exploding", "healthy", "vanishing", "vanishing") == [3]
    assert due_warning([]) is None
