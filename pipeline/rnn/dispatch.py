"""This module decides which code runs a layer.

Every path gives the same results; they differ in time and memory. B videos, T frames, F features, H hidden units in N
heads, D directions. The paths are:

reference  the loop of `reference`, differentiated by autograd: for any device and any dtype, slow
torch      torch's own kernels (ATen and oneDNN on CPU, cuDNN on CUDA): for one head
ours       the operators of `ops`: for every layer, and the only path that compiles and exports
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from pipeline.rnn import ops, reference
from pipeline.rnn.cells import Weights
from pipeline.rnn.precision import precision_of_products

PathName = Literal["reference", "torch", "ours"]
# A layer over more frames runs in segments of this many. Training keeps the states between them and runs each segment
# again in the backward pass, so that what it holds for the recurrence does not grow with the video.
SEGMENT_FRAMES = 8192
# cuDNN copies weights that do not lie in one block, which ours do not, and warns in every call. The copy is small.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
# These are the cases in which torch's kernels were measured to be as fast or faster, for videos of equal length in
# float32 on a CPU: see docs/results/benchmarks/recurrent_network.md, and benchmarks/rnn.py --sweep, which repeats the
# measurement. Videos of different lengths, which torch needs packed, take ours; that was not measured.
TORCH_ON_CPU = {
    "forward": {"tanh", "relu", "gru", "lstm"},
    "forward+backward": {"lstm"},
}
# On CUDA in 16 bits, ours were measured to be slower for 32 frames and faster for 1024, so faster from about 64 frames
# on, by the line between the two. In float32 cuDNN's kernels are mostly faster, with its TF32; without TF32 they were
# not compared.
OURS_ON_CUDA_FRAMES = 64

_forced: PathName | None = None


@contextmanager
def use_path(path: PathName) -> Iterator[None]:
    """Run every layer on one path inside the `with` block, for tests and measurements.

    A layer that the path cannot run raises a ValueError.

    Args:
        path: reference, torch or ours.
    """
    global _forced
    before, _forced = _forced, path
    try:
        yield
    finally:
        _forced = before


def run_layer(
    cell: str, x: Tensor, weights: Sequence[Weights], h: Tensor, c: Tensor | None, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run one layer on the path that is fastest for it.

    Args:
        cell: tanh, relu, gru or lstm.
        x: [B, T, F], the input.
        weights: The weights of each of the D directions.
        h: [D, B, H], the hidden states before the first step.
        c: [D, B, H], the cell states before the first step, for LSTM only.
        lengths: integer [B] in 1..T, or None for T everywhere.

    Returns:
        The outputs [B, T, D*H], forward before reverse, and h and c after the last step of each video, as `h` and `c`.
    """
    match _forced or fastest_path(cell, x, weights, h, lengths):
        case "reference":
            return reference.run_layer(cell, x, weights, h, c, lengths)
        case "torch":
            with precision_of_products(x):
                return _run_torch(cell, x, weights, h, c, lengths)
        case _:
            return _run_in_segments(cell, x, weights, h, c, lengths)


def fastest_path(cell: str, x: Tensor, weights: Sequence[Weights], h: Tensor, lengths: Tensor | None) -> PathName:
    """Choose the path of a layer by what was measured. The arguments are those of `run_layer`."""
    if torch.compiler.is_compiling() or _num_heads(weights, h) > 1:
        return "ours"
    training = torch.is_grad_enabled() and (x.requires_grad or weights[0].hh.requires_grad)
    is_long = training and x.shape[1] > SEGMENT_FRAMES  # torch would keep the gates of every frame
    if x.device.type == "cuda":
        is_faster = x.shape[1] >= OURS_ON_CUDA_FRAMES and _operand_dtype(x) in ops.LOW_PRECISION
        return "ours" if (is_long or is_faster) and ops.has_kernels(cell, x, weights[0].hh[None]) else "torch"
    if x.device.type != "cpu":
        return "torch"
    if is_long or lengths is not None or _operand_dtype(x) != torch.float32:
        return "ours"
    return "torch" if cell in TORCH_ON_CPU["forward+backward" if training else "forward"] else "ours"


def _operand_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of the operands of products: that of x, or that of autocast."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def _num_heads(weights: Sequence[Weights], h: Tensor) -> int:
    return h.shape[2] // weights[0].hh.shape[1]


def _run_torch(
    cell: str, x: Tensor, weights: Sequence[Weights], h: Tensor, c: Tensor | None, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    if _num_heads(weights, h) > 1:
        raise ValueError(f"path torch: got {_num_heads(weights, h)} heads, expected 1")
    kernel: Any = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu, "gru": torch.gru, "lstm": torch.lstm}[cell]
    flat = [w for weights_d in weights for w in weights_d if w is not None]
    has_bias, bidirectional = weights[0].bias_ih is not None, len(weights) == 2
    options = (has_bias, 1, 0.0, torch.is_grad_enabled(), bidirectional)  # 1 layer, no dropout
    if lengths is None:
        output, *states = kernel(x, h if c is None else (h, c), flat, *options, True)
        return output, states[0], None if c is None else states[1]
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    before = [state[:, packed.sorted_indices] for state in (h, c) if state is not None]
    state = before[0] if c is None else before
    output, *states = kernel(packed.data, packed.batch_sizes, state, flat, *options)
    output, _ = pad_packed_sequence(packed._replace(data=output), batch_first=True, total_length=x.shape[1])
    states = [state[:, packed.unsorted_indices] for state in states]
    return output, states[0], None if c is None else states[1]


def _run_in_segments(
    cell: str, x: Tensor, weights: Sequence[Weights], h: Tensor, c: Tensor | None, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    if x.shape[1] <= SEGMENT_FRAMES:
        return ops.run_layer(cell, x, weights, h, c, lengths)
    directions = [
        _run_direction(cell, x, weights[d], h[d : d + 1], None if c is None else c[d : d + 1], lengths, reverse=d == 1)
        for d in range(len(weights))
    ]
    outputs, h_n, c_n = zip(*directions, strict=True)
    return torch.cat(outputs, 2), torch.cat(h_n), None if c is None else torch.cat(c_n)


def _run_direction(
    cell: str, x: Tensor, weights: Weights, h: Tensor, c: Tensor | None, lengths: Tensor | None, *, reverse: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    bounds = [(lo, min(lo + SEGMENT_FRAMES, x.shape[1])) for lo in range(0, x.shape[1], SEGMENT_FRAMES)]
    outputs = []
    for lo, hi in reversed(bounds) if reverse else bounds:
        lengths_here = None if lengths is None else (lengths - lo).clamp(0, hi - lo)
        output, h, c = checkpoint(
            ops.run_layer,
            *(cell, x[:, lo:hi], [weights], h, c, lengths_here),
            reverse=[reverse],
            use_reentrant=False,
            preserve_rng_state=False,
        )
        outputs.append(output)
    return torch.cat(outputs[::-1] if reverse else outputs, 1), h, c
