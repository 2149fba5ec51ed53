"""This module runs a layer on a GPU, forward and backward: all that surrounds the loops of `launch`.

It is to a GPU what `cpu.layer` is to a CPU. B videos, T frames, F features, H hidden units in N heads of K = H/N, D
directions, G gates. Each loop runs all frames and directions in one launch. Before and after it, everything is one
product of matrices over all frames. The loops take the frames first; they get views, so that nothing is copied.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.rnn.cells import NUM_GATES, Weights
from pipeline.rnn.gpu import launch
from pipeline.rnn.reference import frame_mask

is_supported = launch.is_supported


def kept_shape(cell: str, weight_hh: Tensor, num_videos: int, num_frames: int) -> tuple[int, ...]:
    """Return the shape of what `forward` keeps.

    Args:
        cell: tanh, relu, gru or lstm.
        weight_hh: [D, G*H, K]; its shape counts.
        num_videos: B.
        num_frames: T.

    Returns:
        The shape [T, B, D, H] of the float32 cell states for LSTM; [0] for the other cells.
    """
    size = weight_hh.shape[1] // NUM_GATES[cell]
    return (num_frames, num_videos, len(weight_hh), size) if cell == "lstm" else (0,)


def forward(
    cell: str,
    x: Tensor,
    weights: Weights,
    h: Tensor,
    c: Tensor | None,
    lengths: Sequence[int],
    reverse: Sequence[bool],
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Run all directions of a layer, as `cpu.layer.forward`.

    Args:
        cell: tanh, relu, gru or lstm.
        x: [B, T, F], the input, in one dtype of launch.DTYPES.
        weights: The weights of all directions, stacked: [D, ...] each, in the dtype of x.
        h: float32 [D, B, H], the hidden states before the first step.
        c: float32 [D, B, H], the cell states before the first step, for LSTM only.
        lengths: The number of valid frames of each video, 0 to T, longest first.
        reverse: Whether each direction runs from the last frame of a video to its first.
        keep: Whether a backward pass will follow.

    Returns:
        The outputs [B, T, D*H], zero at padding; h and c after the last step of each video, as `h` and `c`; and what
        else the backward pass needs, of the shape `kept_shape`, empty without `keep`.
    """
    num_videos, num_frames, size = x.shape[0], x.shape[1], h.shape[2]
    ends = _ends(lengths, x)
    output = x.new_empty(num_videos, num_frames, len(reverse), size)
    kept = h.new_empty(kept_shape(cell, weights.hh, num_videos, num_frames) if keep else 0)
    h_n, c_n = h.clone(), None if c is None else c.clone()
    launch.forward_loop(
        cell,
        _project(cell, _zero_padding(x, ends), weights).transpose(0, 1),
        weights.hh,
        _bias_n(cell, weights, x),
        h_n,
        c_n,
        ends,
        tuple(reverse),
        output.transpose(0, 1),
        kept if kept.numel() else None,
    )
    return output.flatten(2), h_n, c_n, kept


def backward(
    cell: str,
    x: Tensor,
    weights: Weights,
    h: Tensor,
    c: Tensor | None,
    lengths: Sequence[int],
    reverse: Sequence[bool],
    output: Tensor,
    kept: Tensor,
    d_output: Tensor,
    d_h: Tensor,
    d_c: Tensor | None,
    want_d_x: bool,
) -> tuple[Tensor | None, Weights, Tensor, Tensor | None]:
    """Run the backward pass of `forward`, as `cpu.layer.backward`.

    The pre-activations of the gates are computed again, in one product over all frames.

    Args:
        cell: As in `forward`.
        x: As in `forward`.
        weights: As in `forward`.
        h: As in `forward`.
        c: As in `forward`.
        lengths: As in `forward`.
        reverse: As in `forward`.
        output: [B, T, D*H], the outputs that `forward` returned.
        kept: What `forward` kept.
        d_output: [B, T, D*H], the gradient of the outputs.
        d_h: float32 [D, B, H], the gradient of h after the last step.
        d_c: float32 [D, B, H], the gradient of c after the last step, for LSTM only.
        want_d_x: Whether to compute the gradient of x.

    Returns:
        The gradients of x (None without `want_d_x`), of the weights, stacked as `weights`, and of h and c before the
        first step.
    """
    ends = _ends(lengths, x)
    x = _zero_padding(x, ends)
    # The gradient of a sum is one number expanded to the whole shape. The loops need it stored in full.
    output, d_output = (t.contiguous().unflatten(2, (len(reverse), -1)) for t in (output, d_output))
    h_before = states_before(output, h.to(output.dtype), ends, reverse)
    gates, before = output, None
    if cell in ("gru", "lstm"):
        gates = _gates(cell, x, weights, h_before)
        before = h_before if c is None else states_before(kept.transpose(0, 1), c, ends, reverse)
    d_gates = torch.empty_like(gates)
    d_h0, d_c0 = d_h.clone(), None if d_c is None else d_c.clone()
    launch.backward_loop(
        cell,
        gates.transpose(0, 1),
        None if before is None else before.transpose(0, 1),
        weights.hh,
        d_output.transpose(0, 1),
        d_h0,
        d_c0,
        d_gates.transpose(0, 1),
        ends,
        tuple(reverse),
    )
    d_input = d_recurrent = d_gates
    if cell == "gru":  # r, z, the input's part of n, the recurrent part of n
        r_z, n, s = d_gates.split([2 * h.shape[2], h.shape[2], h.shape[2]], -1)
        d_input, d_recurrent = torch.cat([r_z, n], -1), torch.cat([r_z, s], -1)
    d_x, d_weights = _weight_gradients(x, weights, h_before, d_input, d_recurrent, want_d_x)
    return d_x, d_weights, d_h0, d_c0


def _ends(lengths: Sequence[int], x: Tensor) -> Tensor | None:
    """Return the lengths [B] on the device of x; None where all frames of all videos are valid."""
    if lengths[-1] == x.shape[1]:
        return None
    return torch.tensor(lengths, device="cpu").to(x.device, non_blocking=True)


def _zero_padding(x: Tensor, ends: Tensor | None) -> Tensor:
    """Set the padding of x to zero, because NaN in it would reach the gradients of the weights by a product."""
    if ends is None:
        return x
    return x.masked_fill(~frame_mask(ends, x.shape[1], x.device)[..., None], 0)


def _project(cell: str, x: Tensor, weights: Weights) -> Tensor:
    """Compute W_ih x + b_ih + b_hh, but without b_hn for GRU: [B, T, D, G*H], in one product over all frames."""
    bias = None
    if weights.bias_ih is not None and weights.bias_hh is not None:
        bias_hh = weights.bias_hh
        if cell == "gru":
            size = bias_hh.shape[1] // 3
            bias_hh = torch.cat([bias_hh[:, : 2 * size], torch.zeros_like(bias_hh[:, 2 * size :])], 1)
        bias = (weights.bias_ih + bias_hh).flatten()
    projected = torch.nn.functional.linear(x, weights.ih.flatten(0, 1), bias)
    return projected.unflatten(2, (len(weights.ih), -1))


def _bias_n(cell: str, weights: Weights, x: Tensor) -> Tensor | None:
    """Return b_hn [D, H] of GRU, zeros without biases; None for the other cells."""
    if cell != "gru":
        return None
    num_directions, rows, _ = weights.hh.shape
    if weights.bias_hh is None:
        return x.new_zeros(num_directions, rows // 3)
    return weights.bias_hh[:, 2 * rows // 3 :]


def _gates(cell: str, x: Tensor, weights: Weights, h_before: Tensor) -> Tensor:
    """Compute the pre-activations [B, T, D, 4*H] that `launch.backward_loop` takes."""
    recurrent = recurrent_product(h_before, weights.hh)
    projected = _project(cell, x, weights)
    if cell == "lstm":
        return projected.add_(recurrent)
    size = h_before.shape[-1]
    bias_n = _bias_n(cell, weights, x)
    assert bias_n is not None
    r_z = projected[..., : 2 * size] + recurrent[..., : 2 * size]
    return torch.cat([r_z, projected[..., 2 * size :], recurrent[..., 2 * size :] + bias_n], -1)


def recurrent_product(h_before: Tensor, weight_hh: Tensor) -> Tensor:
    """Compute W_hh h_(t-1) for all frames in one product.

    Args:
        h_before: [B, T, D, H], the hidden state before each frame.
        weight_hh: [D, G*H, K], W_hh.

    Returns:
        [B, T, D, G*H].
    """
    heads = h_before.unflatten(3, (-1, weight_hh.shape[2]))
    blocks = weight_hh.unflatten(1, (-1, *heads.shape[3:]))
    return torch.einsum("btdnj,dgnij->btdgni", heads, blocks).flatten(3)


def states_before(states: Tensor, first: Tensor, ends: Tensor | None, reverse: Sequence[bool]) -> Tensor:
    """Return the state before each frame, in the order in which a direction reads the frames.

    Args:
        states: [B, T, D, H], the state after each frame.
        first: [D, B, H], the state before the first step.
        ends: integer [B], the number of valid frames of each video; None where all T are valid.
        reverse: Whether each direction runs from the last frame of a video to its first.

    Returns:
        [B, T, D, H].
    """
    before = torch.empty_like(states)
    for d, reverse_d in enumerate(reverse):
        if not reverse_d:
            before[:, 1:, d], before[:, 0, d] = states[:, :-1, d], first[d]
            continue
        before[:, :-1, d], before[:, -1, d] = states[:, 1:, d], first[d]
        if ends is not None:
            videos = torch.arange(len(ends), device=ends.device)
            before[videos, (ends - 1).clamp(min=0), d] = first[d]
    return before


def _weight_gradients(
    x: Tensor, weights: Weights, h_before: Tensor, d_input: Tensor, d_recurrent: Tensor, want_d_x: bool
) -> tuple[Tensor | None, Weights]:
    """Compute the sums over time, each as one product: d_input, d_recurrent [B, T, D, G*H], h_before [B, T, D, H]."""
    rows = d_input.flatten(0, 1).flatten(1)
    d_ih = (rows.t() @ x.flatten(0, 1)).unflatten(0, (len(weights.ih), -1))
    d_x = (rows @ weights.ih.flatten(0, 1)).unflatten(0, x.shape[:2]) if want_d_x else None
    d_hh = recurrent_weight_gradient(h_before, d_recurrent, weights.hh)
    if weights.bias_ih is None:
        return d_x, Weights(d_ih, d_hh, None, None)
    d_bias_ih, d_bias_hh = (d.sum((0, 1), dtype=torch.float32) for d in (d_input, d_recurrent))
    return d_x, Weights(d_ih, d_hh, d_bias_ih, d_bias_hh)


def recurrent_weight_gradient(h_before: Tensor, d_recurrent: Tensor, weight_hh: Tensor) -> Tensor:
    """Compute dL/dW_hh, the sum over all frames and videos.

    Args:
        h_before: [B, T, D, H], the hidden state before each frame.
        d_recurrent: [B, T, D, G*H], the gradient of W_hh h_(t-1).
        weight_hh: [D, G*H, K]; its shape counts.

    Returns:
        [D, G*H, K].
    """
    heads = h_before.unflatten(3, (-1, weight_hh.shape[2]))
    d_gates = d_recurrent.unflatten(3, (-1, *heads.shape[3:]))
    return torch.einsum("btdgni,btdnj->dgnij", d_gates, heads).flatten(1, 3)
