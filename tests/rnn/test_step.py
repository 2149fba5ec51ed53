"""One step as a module equals the network it comes from, also in ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from pipeline.rnn import GRU, LSTM, RNN
from pipeline.rnn.step import Step

NETWORKS = [
    lambda: RNN(5, 6, num_layers=2),
    lambda: RNN(5, 6, nonlinearity="relu"),
    lambda: GRU(5, 6, num_layers=2, num_heads=3),
    lambda: LSTM(5, 6, num_layers=2),
]


def zero_state(network: RNN | GRU | LSTM, num_videos: int) -> tuple[Tensor, ...]:
    return tuple(torch.zeros(network.num_layers, num_videos, 6) for _ in range(2 if isinstance(network, LSTM) else 1))


@pytest.mark.parametrize("make", NETWORKS)
def test_steps_equal_the_network(make) -> None:
    network, x = make(), torch.randn(3, 8, 5)
    step, state, outputs = Step(network), zero_state(network, 3), []
    for t in range(8):
        output, *state = step(x[:, t], *state)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs, 1), network(x)[0], rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("make", NETWORKS)
def test_onnx_runtime_gives_the_same(make, tmp_path: Path) -> None:
    network = make().eval()
    step, state = Step(network).eval(), zero_state(network, 3)
    torch.onnx.export(step, (torch.zeros(3, 5), *state), dynamo=True, verbose=False).save(tmp_path / "step.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "step.onnx")
    names = [node.name for node in session.get_inputs()]
    there = [part.numpy() for part in state]
    for x in torch.randn(20, 3, 5):
        output, *state = step(x, *state)
        output_there, *there = session.run(None, dict(zip(names, [x.numpy(), *there], strict=True)))
        np.testing.assert_allclose(output_there, output.detach(), rtol=0, atol=1e-5)


def test_a_network_that_looks_ahead_is_refused() -> None:
    with pytest.raises(ValueError, match="got a bidirectional network"):
        Step(GRU(5, 6, bidirectional=True))
