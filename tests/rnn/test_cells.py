"""Each cell is compared with its equation, computed by hand on one number."""

import math

import pytest
import torch

from pipeline.rnn.cells import LSTMState, gru_step, lstm_step, relu_step, tanh_step


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def column(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64).unsqueeze(1)


def test_tanh_by_hand() -> None:
    h = tanh_step(column(0.3), column(0.5), column(2.0), torch.tensor([0.1], dtype=torch.float64))
    assert h.item() == pytest.approx(math.tanh(0.3 + 2.0 * 0.5 + 0.1), abs=1e-12)


@pytest.mark.parametrize(("projected", "expected"), [(0.3, 1.4), (-3.0, 0.0)])
def test_relu_by_hand(projected: float, expected: float) -> None:
    h = relu_step(column(projected), column(0.5), column(2.0), torch.tensor([0.1], dtype=torch.float64))
    assert h.item() == pytest.approx(expected, abs=1e-12)


def test_gru_by_hand() -> None:
    h = gru_step(column(0.2, -0.4, 0.6).T, column(0.5), column(1.0, 2.0, 3.0), None)
    r, z = sigmoid(0.2 + 1.0 * 0.5), sigmoid(-0.4 + 2.0 * 0.5)
    n = math.tanh(0.6 + r * (3.0 * 0.5))
    assert h.item() == pytest.approx((1 - z) * n + z * 0.5, abs=1e-12)


def test_lstm_by_hand() -> None:
    before = LSTMState(column(0.5), column(-0.7))
    after = lstm_step(column(0.2, -0.4, 0.6, 0.8).T, before, column(1.0, 2.0, 3.0, 4.0), None)
    i, f = sigmoid(0.2 + 1.0 * 0.5), sigmoid(-0.4 + 2.0 * 0.5)
    g, o = math.tanh(0.6 + 3.0 * 0.5), sigmoid(0.8 + 4.0 * 0.5)
    c = f * -0.7 + i * g
    assert after.c.item() == pytest.approx(c, abs=1e-12)
    assert after.h.item() == pytest.approx(o * math.tanh(c), abs=1e-12)
