"""Backpropagation through time by hand: a whole network with its loss against autograd."""

import pytest
import torch
from torch import nn

from pipeline.rnn import GRU, LSTM, RNN
from pipeline.rnn.cells import Weights
from pipeline.rnn.cpu import layer


@pytest.mark.parametrize("network", [RNN(4, 6), GRU(4, 6), LSTM(4, 6)], ids=lambda n: n.cell)
def test_the_gradients_of_a_labeller_by_hand(network: nn.Module) -> None:
    """The labeller is x -> recurrent network -> W_out -> softmax -> sum over frames of -ln p_c."""
    torch.manual_seed(0)
    network.double()
    x, labels, w_out = torch.randn(2, 9, 4).double(), torch.randint(3, (2, 9)), torch.randn(3, 6).double()
    weights = Weights(*(p.detach().unsqueeze(0) for p in network.parameters()))
    zeros = torch.zeros(1, 2, 6, dtype=torch.float64)
    c = zeros if network.cell == "lstm" else None

    output, h_n, _, kept = layer.forward(network.cell, x, weights, zeros, c, [9, 9], [False], True)
    probabilities = (output @ w_out.T).softmax(-1)
    d_logits = probabilities - nn.functional.one_hot(labels, 3)  # the gradient of -ln p_c is p - 1_c
    d_output = d_logits @ w_out
    _, by_hand, _, _ = layer.backward(
        *(network.cell, x, weights, zeros, c, [9, 9], [False], output, kept),
        *(d_output, torch.zeros_like(h_n), c, False),
    )

    logits = network(x)[0] @ w_out.T
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
    for gradient, expected in zip(by_hand, torch.autograd.grad(loss, list(network.parameters())), strict=True):
        torch.testing.assert_close(gradient[0], expected, rtol=1e-10, atol=1e-10)
