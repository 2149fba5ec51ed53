"""What surrounds the Triton loops is compared with the reference path, with the loops in Triton's interpreter."""

from types import ModuleType
from typing import Any

import pytest
import torch
from test_dispatch import CELLS, assert_equal, results
from torch import Tensor

pytest.importorskip("triton")

from interpreter import LOOPS, interpreted, widen_bfloat16_products

from pipeline.rnn import GRU, LSTM, ops
from pipeline.rnn.dispatch import use_path
from pipeline.rnn.gpu import layer


@pytest.fixture(autouse=True)
def bfloat16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    widen_bfloat16_products(monkeypatch)


@pytest.fixture(scope="module")
def loops() -> ModuleType:
    return interpreted(*LOOPS)[-1]


@pytest.fixture(autouse=True)
def on_triton(monkeypatch: pytest.MonkeyPatch, loops: ModuleType) -> None:
    monkeypatch.setattr(layer, "launch", loops)
    monkeypatch.setattr(ops, "_code_for", lambda *call: layer)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        pytest.param({}, None, marks=pytest.mark.slow),
        ({"bidirectional": True}, [3, 6, 1, 4]),
        pytest.param({"num_heads": 2, "bias": False}, [5, 5, 6, 2], marks=pytest.mark.slow),
        pytest.param({"num_heads": 3, "bidirectional": True, "num_layers": 2}, None, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_agrees_with_the_reference(cell: str, options: dict[str, Any], lengths: Any) -> None:
    torch.manual_seed(0)
    network = CELLS[cell](6, 12, **options)
    lengths = None if lengths is None else torch.tensor(lengths)
    expected = results(network, "reference", lengths, num_frames=6)
    assert_equal(results(network, "ours", lengths, num_frames=6), expected, 2e-5)


def test_padding_content_never_matters() -> None:
    torch.manual_seed(0)
    network, x, lengths = LSTM(6, 12, bidirectional=True), torch.randn(3, 6, 6), torch.tensor([2, 6, 4])
    poisoned = x.clone()
    for video, length in enumerate(lengths):
        poisoned[video, length:] = torch.nan
    everything = []
    for given in (x, poisoned):
        given.requires_grad_()
        outputs, _ = network(given, None, lengths)
        everything.append([outputs, *torch.autograd.grad(outputs.square().sum(), [given, *network.parameters()])])
    assert all(torch.equal(a, b) for a, b in zip(*everything, strict=True))


def test_the_gradient_of_a_sum() -> None:
    """That gradient is one number expanded to the whole shape."""
    torch.manual_seed(0)
    network, x = GRU(6, 12), torch.randn(3, 6, 6)

    def gradients() -> list[Tensor]:
        return list(torch.autograd.grad(network(x)[0].sum(), list(network.parameters())))

    with use_path("reference"):
        expected = gradients()
    assert_equal(gradients(), expected, 2e-5)


def test_bfloat16() -> None:
    torch.manual_seed(0)
    network, x = LSTM(6, 16, bidirectional=True).bfloat16(), torch.randn(2, 6, 6).bfloat16()
    outputs, state = network(x)
    gradients = torch.autograd.grad(outputs.float().square().sum(), list(network.parameters()))
    assert outputs.dtype == state.c.dtype == torch.bfloat16
    network.double()
    with use_path("reference"):
        expected, _ = network(x.double())
    expected_gradients = torch.autograd.grad(expected.square().sum(), list(network.parameters()))
    for got, expected_tensor in zip((outputs, *gradients), (expected, *expected_gradients), strict=True):
        assert (got.double() - expected_tensor).norm() / expected_tensor.norm() < 2e-2
