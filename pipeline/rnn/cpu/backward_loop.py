"""This module does backpropagation through time by hand.

The source is Werbos 1990, "Backpropagation through time: what it does and how to do it". Shapes are as in
`forward_loop`, whose forward pass keeps what is needed here.

A recurrent network unrolled over T frames is a feed-forward network of T layers that all have the same weights. With
    a_t = W_ih x_t + W_hh h_(t-1) + b      h_t = tanh(a_t)      p_t = softmax(W_out h_t)      L = sum_t -ln p_t[c_t]
the gradient of the loss reaches h_t on two ways, through the label of its own frame and through the next frame:
    dL/dh_t = (what the output of frame t sends)  +  W_hh^T dL/da_(t+1)
    dL/da_t = dL/dh_t * (1 - h_t^2)
so it is computed from the last frame to the first. Only this part is sequential. The weights are the same in every
frame, so their gradients are sums over time, each of which is one product of matrices:
    dL/dW_hh = sum_t dL/da_t h_(t-1)^T       dL/dW_ih = sum_t dL/da_t x_t^T       dL/db = sum_t dL/da_t
The gated cells differ only in what lies between dL/dh_t and dL/da_t. All of it that does not depend on a later frame is
computed for many frames together, before the loop.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.rnn.cpu.forward_loop import Carry, Frames

# Of y = tanh(a) or sigmoid(a): (dL/dy, y) -> dL/da.
tanh_backward = torch.ops.aten.tanh_backward
sigmoid_backward = torch.ops.aten.sigmoid_backward


class Kept(NamedTuple):
    """What the forward pass left of the frames of a chunk.

    Attributes:
        h: [n, .., B, K], the hidden state after each frame.
        h_before: [n, .., B, K], the hidden state before each frame.
        c_before: [n, .., B, K], the cell state before each frame, for LSTM only.
        kept: [n, .., B, KEPT*K], what `run_forward` kept.
    """

    h: Tensor
    h_before: Tensor
    c_before: Tensor | None
    kept: Tensor


def run_backward(
    cell: str,
    forward: Kept,
    weight: Tensor,
    bias_n: Tensor | None,
    d_out: Tensor,
    dh: Carry,
    dc: Carry | None,
    d_recurrent: Tensor,
    frames: Frames,
) -> Tensor | None:
    """Go back through the frames of one chunk.

    Args:
        cell: tanh, relu, gru or lstm.
        forward: What the forward pass left of the chunk.
        weight: [.., G*K, K], W_hh.
        bias_n: [.., 1, K], b_hn of GRU; None for the other cells.
        d_out: [n, .., B, K], the gradient of the outputs; overwritten with dL/dh_t.
        dh: The gradient of the hidden state, carried in from the chunk after it in time and on to the one before it.
        dc: The gradient of the cell state, carried likewise, for LSTM only.
        d_recurrent: [n, .., B, G*K], written where rows are live: dL/d(W_hh h_(t-1) + b_hh), the gradient of the
            recurrent part of the gates.
        frames: Splits a buffer into the live rows of its frames, from the last frame to the first.

    Returns:
        dL/da_n [n, .., B, K] for GRU, whose reset gate stands between the recurrent part and a_n; else None. For all
        other gates and cells the gradient of the input's part, W_ih x_t + b_ih, is that of the recurrent part.
    """
    match cell:
        case "tanh" | "relu":
            one = d_out.new_ones(())
            slope = tanh_backward(one, forward.h) if cell == "tanh" else (forward.h > 0).to(d_out.dtype)
            _elman(slope, weight, d_out, dh, d_recurrent, frames)
        case "gru":
            assert bias_n is not None
            return _gru(forward, weight, bias_n, d_out, dh, d_recurrent, frames)
        case _:
            assert dc is not None
            _lstm(forward, weight, d_out, dh, dc, d_recurrent, frames)
    return None


def _elman(slope: Tensor, weight: Tensor, d_out: Tensor, dh: Carry, d_recurrent: Tensor, frames: Frames) -> None:
    """Go back through the frames of an Elman network.

    dL/da_t = dL/dh_t * slope_t         dL/dh_(t-1) += W_hh^T dL/da_t
    """
    product = _product(weight)
    for d_out_t, slope_t, d_a_t in zip(frames(d_out), frames(slope), frames(d_recurrent), strict=True):
        d_out_t += dh.take(d_out_t.shape[-2])
        dh.value = product(torch.mul(d_out_t, slope_t, out=d_a_t), weight)


def _gru(
    forward: Kept,
    weight: Tensor,
    bias_n: Tensor,
    d_out: Tensor,
    dh: Carry,
    d_recurrent: Tensor,
    frames: Frames,
) -> Tensor:
    """Go back through the frames of a GRU (see cells.gru_step).

    All of dL/da is dL/dh_t times what the forward pass knows. With s = W_hn h_(t-1) + b_hn:

    dL/dn = dL/dh (1 - z)           dL/da_n = dL/dn (1 - n^2)         dL/ds   = dL/da_n r
    dL/dz = dL/dh (h_(t-1) - n)     dL/da_z = dL/dz z (1 - z)         dL/da_r = dL/da_n s r (1 - r)
    dL/dh_(t-1) = dL/dh z + W_hh^T [dL/da_r, dL/da_z, dL/ds]
    """
    size = d_out.shape[-1]
    r, z, n = forward.kept.split(size, -1)
    s = torch.matmul(forward.h_before, weight.narrow(-2, 2 * size, size).mT).add_(bias_n)
    by_n = tanh_backward(1 - z, n)  # dL/da_n for a dL/dh of 1
    factors = by_n.new_empty(*by_n.shape[:-1], 3, size)
    sigmoid_backward.grad_input(s.mul_(by_n), r, grad_input=factors[..., 0, :])
    sigmoid_backward.grad_input(forward.h_before - n, z, grad_input=factors[..., 1, :])
    torch.mul(by_n, r, out=factors[..., 2, :])
    product = _product(weight)
    views = (
        frames(d_out),
        frames(d_out.unsqueeze(-2), -3),
        frames(factors, -3),
        frames(z),
        frames(d_recurrent),
        frames(d_recurrent.unflatten(-1, (3, size)), -3),
    )
    for dh_t, dh_t_for_all, factors_t, z_t, d_a_t, d_gates_t in zip(*views, strict=True):
        dh_t += dh.take(dh_t.shape[-2])
        torch.mul(dh_t_for_all, factors_t, out=d_gates_t)
        dh.value = product(d_a_t, weight).addcmul_(dh_t, z_t)
    return by_n.mul_(d_out)


def _lstm(
    forward: Kept, weight: Tensor, d_out: Tensor, dh: Carry, dc: Carry, d_recurrent: Tensor, frames: Frames
) -> None:
    """Go back through the frames of an LSTM (see cells.lstm_step).

    The gradient of the cell state has a way back of its own, past all gates except f:

    dL/dc_t = (dL/dc_t from the next frame)  + dL/dh_t o (1 - tanh(c_t)^2)       dL/dc_(t-1) = dL/dc_t f
    dL/da_i = dL/dc g i (1 - i)         dL/da_f = dL/dc c_(t-1) f (1 - f)        dL/da_g = dL/dc i (1 - g^2)
    dL/da_o = dL/dh tanh(c) o (1 - o)   dL/dh_(t-1) = W_hh^T [dL/da_i, dL/da_f, dL/da_g, dL/da_o]
    """
    size = d_out.shape[-1]
    assert forward.c_before is not None
    i, f, g, o, c = forward.kept.split(size, -1)
    tanh_c = torch.tanh(c)
    by_c = tanh_backward(o, tanh_c)
    by_o = sigmoid_backward(tanh_c, o)
    factors = by_c.new_empty(*by_c.shape[:-1], 3, size)
    sigmoid_backward.grad_input(g, i, grad_input=factors[..., 0, :])
    sigmoid_backward.grad_input(forward.c_before, f, grad_input=factors[..., 1, :])
    tanh_backward.grad_input(i, g, grad_input=factors[..., 2, :])
    product = _product(weight)
    d_a = d_recurrent.unflatten(-1, (4, size))
    of_c = (frames(factors, -3), frames(by_c), frames(f), frames(d_a[..., :3, :], -3))
    of_h = (frames(d_out), frames(by_o), frames(d_a[..., 3, :]), frames(d_recurrent))
    for factors_t, by_c_t, f_t, d_ifg_t, dh_t, by_o_t, d_o_t, d_a_t in zip(*of_c, *of_h, strict=True):
        dh_t += dh.take(dh_t.shape[-2])
        dc_t = torch.addcmul(dc.take(dh_t.shape[-2]), dh_t, by_c_t)
        torch.mul(dc_t.unsqueeze(-2), factors_t, out=d_ifg_t)
        torch.mul(dh_t, by_o_t, out=d_o_t)
        dc.value = dc_t.mul_(f_t)
        dh.value = product(d_a_t, weight)


def _product(weight: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function (d, weight) -> d @ weight for one head or several."""
    return torch.mm if weight.ndim == 2 else torch.bmm
