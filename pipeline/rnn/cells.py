"""One step of each recurrent cell: the equations.

B videos, H hidden. Every step is a pure function of
    projected  [B, G*H]    W_ih x_t + b_ih, the input's part of the G gates (`unroll` has it for all frames at once)
    state                  of the step before: h [B, H], or LSTMState(h, c)
    weight_hh  [G*H, H]
    bias_hh    [G*H], or None
and gives the state after it. Gates lie one after another along G*H, in the order of torch.nn.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear


class LSTMState(NamedTuple):
    """Hidden state h and cell state c: each [B, H] in a step, [num_layers * directions, B, H] of a module."""

    h: Tensor
    c: Tensor


def tanh_step(projected: Tensor, h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None) -> Tensor:
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh): G = 1 (Elman 1990, "Finding structure in time")."""
    return torch.tanh(projected + linear(h, weight_hh, bias_hh))


def relu_step(projected: Tensor, h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None) -> Tensor:
    """h_t = max(0, W_ih x_t + b_ih + W_hh h_(t-1) + b_hh): G = 1 (Le, Jaitly, Hinton 2015, arXiv 1504.00941)."""
    return torch.relu(projected + linear(h, weight_hh, bias_hh))


def gru_step(projected: Tensor, h: Tensor, weight_hh: Tensor, bias_hh: Tensor | None) -> Tensor:
    """Gated recurrent unit (Cho et al. 2014, arXiv 1406.1078). G = 3, gates in the order r, z, n.

    r   = sigmoid(W_ir x_t + b_ir + W_hr h_(t-1) + b_hr)        reset
    z   = sigmoid(W_iz x_t + b_iz + W_hz h_(t-1) + b_hz)        update
    n   = tanh(W_in x_t + b_in + r * (W_hn h_(t-1) + b_hn))     new
    h_t = (1 - z) * n + z * h_(t-1)

    As in torch.nn and cuDNN, r multiplies after the product with W_hn, where the paper has it before.
    """
    projected_r, projected_z, projected_n = projected.chunk(3, dim=-1)
    recurrent_r, recurrent_z, recurrent_n = linear(h, weight_hh, bias_hh).chunk(3, dim=-1)
    r = torch.sigmoid(projected_r + recurrent_r)
    z = torch.sigmoid(projected_z + recurrent_z)
    n = torch.tanh(projected_n + r * recurrent_n)
    return torch.lerp(n, h, z)


def lstm_step(projected: Tensor, state: LSTMState, weight_hh: Tensor, bias_hh: Tensor | None) -> LSTMState:
    """Long short-term memory (Hochreiter, Schmidhuber 1997) with the forget gate of Gers et al. 2000.

    G = 4, gates in the order i, f, g, o.

    i   = sigmoid(W_ii x_t + b_ii + W_hi h_(t-1) + b_hi)        input
    f   = sigmoid(W_if x_t + b_if + W_hf h_(t-1) + b_hf)        forget
    g   = tanh(W_ig x_t + b_ig + W_hg h_(t-1) + b_hg)           candidate
    o   = sigmoid(W_io x_t + b_io + W_ho h_(t-1) + b_ho)        output
    c_t = f * c_(t-1) + i * g
    h_t = o * tanh(c_t)
    """
    i, f, g, o = (projected + linear(state.h, weight_hh, bias_hh)).chunk(4, dim=-1)
    c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * torch.tanh(g)
    return LSTMState(torch.sigmoid(o) * torch.tanh(c), c)
