"""The length of a chunk changes no result, and the number of threads is restored."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.rnn import GRU, LSTM, RNN
from pipeline.rnn.cpu import layer


@pytest.mark.parametrize("chunk_rows", [1, 7, 10_000])
@pytest.mark.parametrize("network", [RNN(4, 6), GRU(4, 6, num_heads=2), LSTM(4, 6)], ids=lambda n: n.cell)
def test_the_length_of_a_chunk_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, network: nn.Module, chunk_rows: int
) -> None:
    torch.manual_seed(0)
    network.double()
    x, lengths = torch.randn(3, 11, 4).double().requires_grad_(), torch.tensor([4, 11, 7])

    def run() -> list[Tensor]:
        outputs, _ = network(x, None, lengths)
        return [outputs, *torch.autograd.grad(outputs.square().sum(), [x, *network.parameters()])]

    expected = run()
    monkeypatch.setattr(layer, "CHUNK_ROWS", chunk_rows)
    for again, first in zip(run(), expected, strict=True):
        torch.testing.assert_close(again, first, rtol=1e-12, atol=1e-12)


def test_small_steps_take_one_thread_and_restore_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for name in ("run_forward", "run_backward"):
        run = getattr(layer, name)
        monkeypatch.setattr(layer, name, lambda *loop, run=run: seen.append(torch.get_num_threads()) or run(*loop))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for max_multiplications in (0, layer.ONE_THREAD_MULTIPLICATIONS):
            monkeypatch.setattr(layer, "ONE_THREAD_MULTIPLICATIONS", max_multiplications)
            GRU(4, 6)(torch.randn(3, 5, 4))[0].sum().backward()
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [2, 2, 1, 1]
