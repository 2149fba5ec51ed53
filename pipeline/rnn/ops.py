"""This module makes a layer an operator of torch, so that the fast paths differentiate, compile, export and autocast.

B videos, T frames, F features, H hidden units in N heads of K = H/N, D directions, G gates. Batch first. Between the
products, the kernels behind the operators compute in float32 (in float64 for operands of float64), whatever the dtype
of their operands is.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.library import Library, custom_op

from pipeline.rnn.cells import Weights
from pipeline.rnn.cpu import layer

NAMESPACE = "framescribe"
LOW_PRECISION = (torch.bfloat16, torch.float16)


def run_layer(
    cell: str,
    x: Tensor,
    weights: Sequence[Weights],
    h: Tensor,
    c: Tensor | None,
    lengths: Tensor | None,
    *,
    reverse: Sequence[bool] = (False, True),
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run one layer by the operator.

    Args:
        cell: tanh, relu, gru or lstm.
        x: [B, T, F], the input.
        weights: The weights of each of the D directions.
        h: [D, B, H], the hidden states before the first step.
        c: [D, B, H], the cell states before the first step, for LSTM only.
        lengths: integer [B] in 0..T, or None for T everywhere. A video of 0 frames keeps its state.
        reverse: Whether each direction runs from the last frame of a video to its first.

    Returns:
        The outputs [B, T, D*H], zero at padding, and h and c after the last step of each video, as `h` and `c`.
    """
    stacked = Weights.stack(weights)
    wants_gradient = any(tensor is not None and tensor.requires_grad for tensor in (x, *stacked, h, c))
    keep = torch.is_grad_enabled() and wants_gradient
    output, h_n, c_n, _ = recurrent_layer(x, *stacked, h, c, lengths, cell, list(reverse[: len(weights)]), keep)
    return output, h_n, None if c is None else c_n


def describe_outside(lengths: Tensor, num_frames: int) -> list[str]:
    """Describe the lengths [B] outside of 1..num_frames in one sentence, if there are any."""
    outside = [length for length in lengths.tolist() if not 1 <= length <= num_frames]
    return [f"lengths: got {outside}, expected 1 to {num_frames}, the number of frames of x"] if outside else []


@custom_op(f"{NAMESPACE}::checked_lengths", mutates_args=())
def checked_lengths(lengths: Tensor, num_frames: int) -> Tensor:
    """Check the lengths inside a compiled module, when it runs.

    Args:
        lengths: integer [B], the number of valid frames of each video.
        num_frames: The number of frames of the batch, padding included.

    Returns:
        A copy of the lengths.

    Raises:
        ValueError: A length is outside of 1..num_frames.
    """
    problems = describe_outside(lengths, num_frames)
    if problems:
        raise ValueError(problems[0])
    return lengths.clone()


@checked_lengths.register_fake
def _checked_lengths_fake(lengths: Tensor, num_frames: int) -> Tensor:
    return torch.empty_like(lengths)


@custom_op(f"{NAMESPACE}::recurrent_layer", mutates_args=())
def recurrent_layer(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h: Tensor,
    c: Tensor | None,
    lengths: Tensor | None,
    cell: str,
    reverse: list[bool],
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run a layer.

    Args:
        x: [B, T, F], the input.
        weight_ih: [D, G*H, F], W_ih.
        weight_hh: [D, G*H, K], W_hh.
        bias_ih: [D, G*H], or None.
        bias_hh: [D, G*H]; None where bias_ih is None.
        h: [D, B, H], the hidden states before the first step.
        c: [D, B, H], the cell states before the first step, for LSTM only.
        lengths: integer [B] in 0..T, on any device, or None for T everywhere. A video of 0 frames keeps its state.
        cell: tanh, relu, gru or lstm.
        reverse: Whether each direction runs from the last frame of a video to its first.
        keep: Whether a backward pass will follow.

    Returns:
        The outputs [B, T, D*H], zero at padding; h and c after the last step of each video, where c is empty for every
        cell but LSTM; and what else the backward pass needs, empty without `keep`.

    Raises:
        ValueError: The lengths are not B numbers from 0 to T.
    """
    call = _Call(cell, x, weight_hh, lengths)
    weights = call.weights(Weights(weight_ih, weight_hh, bias_ih, bias_hh))
    output, h_n, c_n, kept = call.code.forward(
        cell, call.operand(x), weights, call.state(h), call.state(c), call.lengths, reverse, keep
    )
    c_n = x.new_empty(0) if c_n is None else call.give(c_n, h.dtype, 1)
    return call.give(output, x.dtype), call.give(h_n, h.dtype, 1), c_n, kept


@recurrent_layer.register_fake
def _recurrent_layer_fake(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h: Tensor,
    c: Tensor | None,
    lengths: Tensor | None,
    cell: str,
    reverse: list[bool],
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    num_videos, num_frames = x.shape[:2]
    kept = x.new_empty(0, dtype=torch.float32 if x.dtype in LOW_PRECISION else x.dtype)
    if keep:
        kept = kept.new_empty(_code_for(cell, x, weight_hh).kept_shape(cell, weight_hh, num_videos, num_frames))
    c_n = x.new_empty(0) if c is None else torch.empty_like(h)
    return x.new_empty(num_videos, num_frames, len(reverse) * h.shape[2]), torch.empty_like(h), c_n, kept


@custom_op(f"{NAMESPACE}::recurrent_layer_backward", mutates_args=())
def recurrent_layer_backward(
    d_output: Tensor,
    d_h: Tensor,
    d_c: Tensor | None,
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h: Tensor,
    c: Tensor | None,
    lengths: Tensor | None,
    output: Tensor,
    kept: Tensor,
    cell: str,
    reverse: list[bool],
    want_d_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run the backward pass of `recurrent_layer`.

    Args:
        d_output: [B, T, D*H], the gradient of the outputs.
        d_h: [D, B, H], the gradient of h after the last step.
        d_c: [D, B, H], the gradient of c after the last step, for LSTM only.
        x: As in `recurrent_layer`.
        weight_ih: As in `recurrent_layer`.
        weight_hh: As in `recurrent_layer`.
        bias_ih: As in `recurrent_layer`.
        bias_hh: As in `recurrent_layer`.
        h: As in `recurrent_layer`.
        c: As in `recurrent_layer`.
        lengths: As in `recurrent_layer`.
        output: The outputs that `recurrent_layer` returned.
        kept: The last result of `recurrent_layer`, called with `keep`.
        cell: As in `recurrent_layer`.
        reverse: As in `recurrent_layer`.
        want_d_x: Whether to compute the gradient of x.

    Returns:
        The gradients of x, of the four weights, and of h and c before the first step. A gradient is empty where there
        is none: of the biases without biases, of c without c, and of x without `want_d_x`.
    """
    call = _Call(cell, x, weight_hh, lengths)
    d_x, d_weights, d_h0, d_c0 = call.code.backward(
        cell,
        call.operand(x),
        call.weights(Weights(weight_ih, weight_hh, bias_ih, bias_hh)),
        call.state(h),
        call.state(c),
        call.lengths,
        reverse,
        call.operand(output),
        kept,
        call.operand(d_output),
        call.state(d_h),
        call.state(d_c),
        want_d_x,
    )
    empty = x.new_empty(0)
    return (
        empty if d_x is None else call.give(d_x, x.dtype),
        *(empty.clone() if d is None else d.to(weight_ih.dtype) for d in d_weights),  # type: ignore[return-value]
        call.give(d_h0, h.dtype, 1),
        empty.clone() if d_c0 is None else call.give(d_c0, h.dtype, 1),
    )


@recurrent_layer_backward.register_fake
def _recurrent_layer_backward_fake(
    d_output: Tensor,
    d_h: Tensor,
    d_c: Tensor | None,
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h: Tensor,
    c: Tensor | None,
    lengths: Tensor | None,
    output: Tensor,
    kept: Tensor,
    cell: str,
    reverse: list[bool],
    want_d_x: bool,
) -> tuple[Tensor, ...]:
    needed = (x if want_d_x else None, weight_ih, weight_hh, bias_ih, bias_hh, h, c)
    return tuple(x.new_empty(0) if t is None else t.new_empty(t.shape) for t in needed)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.cell, ctx.reverse, keep = inputs
    if not keep:
        raise ValueError("recurrent_layer: got keep=False in a call that is differentiated, expected keep=True")
    ctx.set_materialize_grads(False)  # Otherwise `kept` would get a gradient of zeros, as large as itself.
    ctx.save_for_backward(*tensors, output[0], output[3])


def _backward(ctx: Any, d_output: Tensor, d_h: Tensor, d_c: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    x, weight_ih, weight_hh, bias_ih, bias_hh, h, c, lengths, output, kept = ctx.saved_tensors
    d_x, *rest = recurrent_layer_backward(
        torch.zeros_like(output) if d_output is None else d_output,
        torch.zeros_like(h) if d_h is None else d_h,
        None if c is None else torch.zeros_like(c) if d_c is None else d_c,
        *(x, weight_ih, weight_hh, bias_ih, bias_hh, h, c, lengths, output, kept),
        ctx.cell,
        ctx.reverse,
        ctx.needs_input_grad[0],
    )
    d_ih, d_hh, d_bias_ih, d_bias_hh, d_h0, d_c0 = rest
    d_biases = (None, None) if bias_ih is None else (d_bias_ih, d_bias_hh)
    d_x = d_x if ctx.needs_input_grad[0] else None
    return d_x, d_ih, d_hh, *d_biases, d_h0, None if c is None else d_c0, None, None, None, None


recurrent_layer.register_autograd(_backward, setup_context=_setup_context)


def _autocast(device: str) -> Any:
    """Return the operator under autocast: it casts x and the weights, as torch.nn does.

    The states keep their dtype, because rounding would add up in them.
    """

    def cast_and_run(x: Tensor, *others: Any) -> Any:
        dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            weights = (None if w is None else w.to(dtype) for w in others[:4])
            return recurrent_layer(x.to(dtype), *weights, *others[4:])

    return cast_and_run


_library = Library(NAMESPACE, "FRAGMENT")
for _device, _key in (("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA")):
    _library.impl("recurrent_layer", _autocast(_device), _key)


def has_kernels(cell: str, x: Tensor, weight_hh: Tensor) -> bool:
    """Return whether Triton is installed and has kernels for a layer on the GPU of x.

    Args:
        cell: tanh, relu, gru or lstm.
        x: The input; its device counts.
        weight_hh: [D, G*H, K]; its shape and dtype count.
    """
    return _code_for(cell, x, weight_hh) is not layer


def _code_for(cell: str, x: Tensor, weight_hh: Tensor) -> ModuleType:
    """Return the module that runs a layer: `gpu.layer` on a GPU where Triton has kernels for it, else `cpu.layer`."""
    if x.device.type == "cuda" and find_spec("triton"):
        # This imports Triton, which most machines without a GPU do not need.
        from pipeline.rnn.gpu import layer as gpu_layer

        if gpu_layer.is_supported(cell, weight_hh):
            return gpu_layer
    return layer


class _Call:
    """A call as the loops need it: videos sorted by length, longest first; operands and states in the loops' dtypes."""

    def __init__(self, cell: str, x: Tensor, weight_hh: Tensor, lengths: Tensor | None) -> None:
        given = [x.shape[1]] * x.shape[0] if lengths is None else lengths.tolist()
        if len(given) != x.shape[0] or not all(0 <= length <= x.shape[1] for length in given):
            raise ValueError(f"lengths: got {given}, expected {x.shape[0]} numbers from 0 to {x.shape[1]}")
        self.lengths = sorted(given, reverse=True)
        self.code = _code_for(cell, x, weight_hh)
        self._order: Tensor | None = None
        if given != self.lengths:
            self._order = torch.tensor(sorted(range(len(given)), key=lambda video: -given[video]), device=x.device)
        self._state_dtype = torch.float32 if x.dtype in LOW_PRECISION else x.dtype
        self._operand_dtype = self._state_dtype if self.code is layer else x.dtype

    def operand(self, tensor: Tensor) -> Tensor:
        """Convert a tensor [B, ...] of the caller to the order and dtype of the loops."""
        return self._sorted(tensor.to(self._operand_dtype), 0)

    def weights(self, weights: Weights) -> Weights:
        """Convert the weights to the dtype of the loops."""
        return weights.each(lambda weight: weight.to(self._operand_dtype))

    def state(self, state: Any) -> Any:
        """Convert a state [D, B, H] of the caller to the order and dtype of the loops; None stays None."""
        return None if state is None else self._sorted(state.to(self._state_dtype), 1)

    def give(self, tensor: Tensor, dtype: torch.dtype, video_dim: int = 0) -> Tensor:
        """Convert a result of the loops to the order and a dtype of the caller."""
        if self._order is not None:
            tensor = torch.empty_like(tensor).index_copy_(video_dim, self._order, tensor)
        return tensor.to(dtype)

    def _sorted(self, tensor: Tensor, video_dim: int) -> Tensor:
        return tensor if self._order is None else tensor.index_select(video_dim, self._order)
