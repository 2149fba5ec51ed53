"""The code of docs/explained/rnn.md runs, its links exist, and each of the five shapes does what the page says."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from import_graph import ROOT
from torch import Tensor

from pipeline.config.labeller import LabellerSettings
from pipeline.config.training import Training
from pipeline.rnn.cells import gru_step
from pipeline.rnn.diagnostics import EXPLODED, VANISHED

PAGE = ROOT / "docs" / "explained" / "rnn.md"


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """Run the code blocks in order as one program, and return all names that they define."""
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 9
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_links_and_pictures_exist() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", PAGE.read_text())
    assert len(targets) > 10
    for target in targets:
        assert (PAGE.parent / target).is_file(), target


def test_settings_exist() -> None:
    sections = {"labeller": LabellerSettings, "training": Training}
    found = re.findall(r"(labeller|training)\.(\w+)=", PAGE.read_text())
    assert len(found) >= 6
    for section, key in found:
        assert key in sections[section].model_fields


def test_the_module_is_the_equation(made: dict[str, Any]) -> None:
    assert made["whole"].shape == (2, 10, 5)
    torch.testing.assert_close(made["whole"][:, -1], made["h"])


def test_chunks_with_carried_state_equal_the_whole(made: dict[str, Any]) -> None:
    torch.testing.assert_close(torch.cat([made["first"], made["second"]], dim=1), made["whole"])


def test_the_gradient_is_measured(made: dict[str, Any]) -> None:
    """The norms are autograd's, of the last frame's share of the loss through steps of the cell."""
    rnn, x, flow = made["rnn"], made["x"], made["flow"]
    states = [torch.zeros(2, 5, requires_grad=True)]
    for t in range(10):
        projected = x[:, t] @ rnn.weight_ih_l0.T + rnn.bias_ih_l0 + rnn.bias_hh_l0
        states.append(torch.tanh(projected + states[-1] @ rnn.weight_hh_l0.T))
    share = states[-1].detach()
    share = share / share.norm(dim=1, keepdim=True)
    gradients = torch.autograd.grad((states[-1] * share).sum(), states[1:])
    norms = torch.stack([gradient.square().sum(1).mean().sqrt() for gradient in reversed(gradients)])
    torch.testing.assert_close(flow.norms[0, 0].float(), norms)
    slope = np.polyfit(np.arange(10), norms.log10().numpy(), 1)[0]
    assert flow.factor.item() == pytest.approx(10**slope, rel=1e-4)
    left = 10 ** (9 * slope)
    assert flow.verdict == ("vanishing" if left < VANISHED else "exploding" if left > EXPLODED else "healthy")


def depends_on(model: Any, features: Tensor, t: int) -> list[int]:
    """Return the frames on which the logits of frame t of a video depend."""
    inputs = features[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(inputs).logits[0, t].square().sum(), inputs)
    return gradient[0].abs().sum(1).nonzero().flatten().tolist()


def test_one_to_one_reads_each_frame_alone(made: dict[str, Any]) -> None:
    assert made["one_to_one"].shape == (2, 10, 3)
    order = torch.randperm(10)
    shuffled = made["frame_by_frame"](made["features"][:, order]).logits
    torch.testing.assert_close(shuffled, made["one_to_one"][:, order])
    assert depends_on(made["frame_by_frame"], made["features"], 4) == [4]


def test_one_to_many_reads_the_words_that_it_wrote(made: dict[str, Any]) -> None:
    """Single steps of the cell give the same words."""
    gru, h = made["gru"], torch.tanh(made["read"](made["features"][:, 0]))
    word = torch.zeros(2, 3)
    assert len(made["one_to_many"]) == 5
    for written in made["one_to_many"]:
        projected = word @ gru.weight_ih_l0.T + gru.bias_ih_l0
        h = gru_step(projected, h, gru.weight_hh_l0, gru.bias_hh_l0)
        word = torch.eye(3)[made["write"](h).argmax(1)]
        assert written.shape == (2, 1, 3)
        assert torch.equal(written[:, 0], word)
    torch.testing.assert_close(made["state"][0], h)


def test_many_to_one_gives_one_class_per_video_and_reads_no_padding(made: dict[str, Any]) -> None:
    model, features = made["whole_video"], made["features"]
    assert made["many_to_one"].shape == (2, 3)
    torch.testing.assert_close(made["many_to_one"][:1], model(features[:1]).logits)
    torch.testing.assert_close(made["many_to_one"][1:], model(features[1:, :7]).logits)


def test_many_to_many_reads_the_frame_and_those_before_it(made: dict[str, Any]) -> None:
    assert made["many_to_many"].shape == (2, 10, 3)
    assert depends_on(made["every_frame"], made["features"], 4) == [0, 1, 2, 3, 4]
    torch.testing.assert_close(made["many_to_many"][1:, :7], made["every_frame"](made["features"][1:, :7]).logits)


def test_bidirectional_reads_all_frames_and_is_two_networks(made: dict[str, Any]) -> None:
    model, features = made["both_ways"], made["features"]
    assert made["bidirectional"].shape == (2, 10, 3)
    assert depends_on(model, features, 4) == list(range(10))
    torch.testing.assert_close(made["bidirectional"][1:, :7], model(features[1:, :7]).logits)
    x = torch.randn(2, 10, 8)
    outputs, _ = model.rnn(x)
    reverse = type(model.rnn)(8, 8)
    weights = {name: tensor for name, tensor in model.rnn.state_dict().items() if name.endswith("_reverse")}
    reverse.load_state_dict({name.removesuffix("_reverse"): tensor for name, tensor in weights.items()})
    torch.testing.assert_close(outputs[..., 8:], reverse(x.flip(1))[0].flip(1))
