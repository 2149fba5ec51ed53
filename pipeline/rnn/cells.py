"""This module defines one step of each recurrent cell: the equations of the network.

B videos, F features, H hidden units in N heads, G gates. Every step is a pure function of

    projected  [B, G*H]    W_ih x_t + b_ih, the input's part of all gates (`unroll` computes it for all frames together)
    state                  after the previous step: h [B, H], or LSTMState(h, c)
    weight_hh  [G*H, H/N]  W_hh, which is block-diagonal: unit i of head n reads only the H/N units of head n
    bias_hh    [G*H]       or None

and returns the state after it. The gates lie one after another along G*H, in the order of torch.nn. Within a gate the
units of head 0 come first. With one head, W_hh is the usual dense matrix.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear


class LSTMState(NamedTuple):
    """The state of an LSTM.

    Attributes:
        h: The hidden state, [B, H] in a step, [num_layers * directions, B, H] in a module.
        c: The cell state, of the same shape.
    """

    h: Tensor
    c: Tensor


class Weights(NamedTuple):
    """The weights of one direction of one layer, or their gradients.

    Attributes:
        ih: [G*H, F], W_ih.
        hh: [G*H, H/N], W_hh.
        bias_ih: [G*H], b_ih, or None.
        bias_hh: [G*H], b_hh; None where bias_ih is None.
    """

    ih: Tensor
    hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def each(self, change: Callable[[Tensor], Tensor]) -> "Weights":
        """Apply `change` to each weight; a missing bias stays None."""
        bias_ih, bias_hh = (None if bias is None else change(bias) for bias in self[2:])
        return Weights(change(self.ih), change(self.hh), bias_ih, bias_hh)

    @staticmethod
    def stack(weights: "Sequence[Weights]") -> "Weights":
        """Stack the weights of D directions into one `Weights` of tensors [D, ...]."""
        if len(weights) == 1:
            return weights[0].each(lambda weight: weight.unsqueeze(0))  # without a copy
        ih, hh = torch.stack([w.ih for w in weights]), torch.stack([w.hh for w in weights])
        biases = (
            torch.stack(parts) if parts[0] is not None else None for parts in list(zip(*weights, strict=True))[2:]
        )
        return Weights(ih, hh, *biases)


def recurrent_product(h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None) -> Tensor:
    """Compute W_hh h + b_hh for all gates, block by block where there are several heads.

    Args:
        h: [B, H], the hidden state.
        weight_hh: [G*H, H/N], W_hh.
        bias_hh: [G*H], or None.

    Returns:
        The recurrent part of all gates, [B, G*H].
    """
    num_heads = h.shape[1] // weight_hh.shape[1]
    if num_heads == 1:
        return linear(h, weight_hh, bias_hh)
    heads = h.unflatten(1, (num_heads, -1))
    blocks = weight_hh.unflatten(0, (-1, num_heads, weight_hh.shape[1]))
    product = torch.einsum("bnj,gnij->bgni", heads, blocks).flatten(1)
    return product if bias_hh is None else product + bias_hh


def tanh_step(projected: Tensor, h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None) -> Tensor:
    """Run one step of the Elman network with tanh (Elman 1990, "Finding structure in time"). G = 1.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)

    The module's docstring describes the arguments and the result of every step.
    """
    return torch.tanh(projected + recurrent_product(h, weight_hh, bias_hh))


def relu_step(projected: Tensor, h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None) -> Tensor:
    """Run one step of the Elman network with relu (Le, Jaitly, Hinton 2015, arXiv 1504.00941). G = 1.

    h_t = max(0, W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)
    """
    return torch.relu(projected + recurrent_product(h, weight_hh, bias_hh))


def gru_step(projected: Tensor, h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None) -> Tensor:
    """Run one step of the gated recurrent unit (Cho et al. 2014, arXiv 1406.1078).

    G = 3; the gates have the order r, z, n.

    r   = sigmoid(W_ir x_t + b_ir + W_hr h_(t-1) + b_hr)        reset
    z   = sigmoid(W_iz x_t + b_iz + W_hz h_(t-1) + b_hz)        update
    n   = tanh(W_in x_t + b_in + r * (W_hn h_(t-1) + b_hn))     new
    h_t = (1 - z) * n + z * h_(t-1)

    As in torch.nn and cuDNN, r multiplies after the product with W_hn. In the paper it multiplies before.
    """
    projected_r, projected_z, projected_n = projected.chunk(3, dim=-1)
    recurrent_r, recurrent_z, recurrent_n = recurrent_product(h, weight_hh, bias_hh).chunk(3, dim=-1)
    r = torch.sigmoid(projected_r + recurrent_r)
    z = torch.sigmoid(projected_z + recurrent_z)
    n = torch.tanh(projected_n + r * recurrent_n)
    return torch.lerp(n, h, z)


def lstm_step(projected: Tensor, state: LSTMState, weight_hh: Tensor, bias_hh: Tensor | None) -> LSTMState:
    """Run one step of the LSTM (Hochreiter, Schmidhuber 1997) with the forget gate of Gers et al. 2000.

    LSTM is long short-term memory. G = 4; the gates have the order i, f, g, o.

    i   = sigmoid(W_ii x_t + b_ii + W_hi h_(t-1) + b_hi)        input
    f   = sigmoid(W_if x_t + b_if + W_hf h_(t-1) + b_hf)        forget
    g   = tanh(W_ig x_t + b_ig + W_hg h_(t-1) + b_hg)           candidate
    o   = sigmoid(W_io x_t + b_io + W_ho h_(t-1) + b_ho)        output
    c_t = f * c_(t-1) + i * g
    h_t = o * tanh(c_t)
    """
    i, f, g, o = (projected + recurrent_product(state.h, weight_hh, bias_hh)).chunk(4, dim=-1)
    c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * torch.tanh(g)
    return LSTMState(torch.sigmoid(o) * torch.tanh(c), c)


NUM_GATES = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}
STEPS: dict[str, Callable[..., Any]] = {"tanh": tanh_step, "relu": relu_step, "gru": gru_step, "lstm": lstm_step}
