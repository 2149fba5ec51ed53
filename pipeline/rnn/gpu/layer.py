"""One layer on a GPU, forward and backward: what `layer` is for the CPU, around the loops of `launch`.

B videos, T frames, F features, H hidden units in N heads of K = H/N, D directions, G gates. The loops run all frames
and directions in one launch each; before and after them everything is one product of matrices over all frames. The
loops take the frames first: as views, nothing is copied.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.rnn.cells import NUM_GATES, Weights
from pipeline.rnn.gpu import launch
from pipeline.rnn.reference import frame_mask

is_supported = launch.is_supported


def kept_shape(cell: str, weight_hh: Tensor, num_videos: int, num_frames: int) -> tuple[int, ...]:
    """The shape of what `forward` keeps: LSTM's cell states, float32 [T, B, D, H]; for the others nothing."""
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
    """As `layer.forward`; x and weights of one dtype of launch.DTYPES, states float32."""
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
    """As `layer.backward`. What the gates were is worked out again, in one product over all frames."""
    ends = _ends(lengths, x)
    x = _zero_padding(x, ends)
    # The gradient of a sum is one number seen as many: the loops want it written out.
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
    """[B] on the device; None where all videos have all frames."""
    if lengths[-1] == x.shape[1]:
        return None
    return torch.tensor(lengths, device="cpu").to(x.device, non_blocking=True)


def _zero_padding(x: Tensor, ends: Tensor | None) -> Tensor:
    """A product with what padding holds, NaN maybe, would reach the gradients of the weights."""
    if ends is None:
        return x
    return x.masked_fill(~frame_mask(ends, x.shape[1], x.device)[..., None], 0)


def _project(cell: str, x: Tensor, weights: Weights) -> Tensor:
    """W_ih x + b_ih + b_hh, but without b_hn for GRU: [B, T, D, G*H], one product for all frames and directions."""
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
    """GRU's b_hn [D, H], zeros without biases; None for the others."""
    if cell != "gru":
        return None
    num_directions, rows, _ = weights.hh.shape
    if weights.bias_hh is None:
        return x.new_zeros(num_directions, rows // 3)
    return weights.bias_hh[:, 2 * rows // 3 :]


def _gates(cell: str, x: Tensor, weights: Weights, h_before: Tensor) -> Tensor:
    """The pre-activations [B, T, D, 4*H] that `launch.backward_loop` wants, from what they were made of."""
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
    """W_hh h_(t-1) of all frames: h_before [B, T, D, H], weight_hh [D, G*H, K] -> [B, T, D, G*H]."""
    heads = h_before.unflatten(3, (-1, weight_hh.shape[2]))
    blocks = weight_hh.unflatten(1, (-1, *heads.shape[3:]))
    return torch.einsum("btdnj,dgnij->btdgni", heads, blocks).flatten(3)


def states_before(states: Tensor, first: Tensor, ends: Tensor | None, reverse: Sequence[bool]) -> Tensor:
    """The state before each frame in its direction, from those after it [B, T, D, H] and the first ones [D, B, H]."""
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
    """The sums over time, each as one product: d_input, d_recurrent [B, T, D, G*H], h_before [B, T, D, H]."""
    rows = d_input.flatten(0, 1).flatten(1)
    d_ih = (rows.t() @ x.flatten(0, 1)).unflatten(0, (len(weights.ih), -1))
    d_x = (rows @ weights.ih.flatten(0, 1)).unflatten(0, x.shape[:2]) if want_d_x else None
    d_hh = recurrent_weight_gradient(h_before, d_recurrent, weights.hh)
    if weights.bias_ih is None:
        return d_x, Weights(d_ih, d_hh, None, None)
    d_bias_ih, d_bias_hh = (d.sum((0, 1), dtype=torch.float32) for d in (d_input, d_recurrent))
    return d_x, Weights(d_ih, d_hh, d_bias_ih, d_bias_hh)


def recurrent_weight_gradient(h_before: Tensor, d_recurrent: Tensor, weight_hh: Tensor) -> Tensor:
    """dL/dW_hh [D, G*H, K], the sum over all frames and videos."""
    heads = h_before.unflatten(3, (-1, weight_hh.shape[2]))
    d_gates = d_recurrent.unflatten(3, (-1, *heads.shape[3:]))
    return torch.einsum("btdgni,btdnj->dgnij", d_gates, heads).flatten(1, 3)
