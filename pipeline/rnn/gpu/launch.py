"""This module plans how a layer is laid over the programs of a GPU, and launches its two loops.

T frames, B videos, D directions (1 or 2), H hidden units in N heads of K = H / N, G gates.
"""

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from pipeline.rnn.cells import NUM_GATES
from pipeline.rnn.gpu.triton_kernels import backward_kernel, forward_kernel
from pipeline.rnn.precision import takes_tf32

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
MAX_WEIGHT_BYTES = 128 * 1024  # One program keeps this much of W_hh: half of the registers of an SM.
# Beside a tile of 16 videos it keeps this much. With more, registers spill (LSTM, K=128, Triton 3.6).
WEIGHT_BYTES_BESIDE_16 = 96 * 1024
MIN_WIDTH = 16  # the smallest side of a product


class Plan(NamedTuple):
    """How a layer is laid over programs.

    Attributes:
        tile: The number of videos of a program.
        slice_width: The number of units of a program.
        whole_width: The number of units of a head, padded to a power of 2.
        num_slices: The number of programs that share a head.
        num_warps: The number of warps of a program.
        precision: How products of float32 are computed, see `_precision`.
        keep: Whether a split kernel has room for its weights in registers.
        gluon: Whether gluon_kernels runs the layer.
    """

    tile: int
    slice_width: int
    whole_width: int
    num_slices: int
    num_warps: int
    precision: str
    keep: bool
    gluon: bool


def _precision(dtype: torch.dtype) -> str:
    """Return how products of float32 are computed: by TF32 where that is allowed, else by "tf32x3".

    "tf32x3" is three products of TF32, which together reach the accuracy of float32. Emulated on the CPU, its relative
    error over K=256 was 2.9e-7, the same as that of float32 itself. "ieee" does not use tensor cores: compiled for
    sm_90, its loop (tanh, K=128) stores 280 and loads 658 spilled registers per step, and the loop of tf32x3 none.
    """
    return "tf32x3" if dtype == torch.float32 and not takes_tf32() else "tf32"


def _plan(cell: str, weight_hh: Tensor, num_videos: int, num_heads: int) -> Plan:
    """Choose the widest slices whose weights fit, and tiles of 8 or 16 videos.

    Tiles have 16 videos where processors are too few and there are enough registers. A tile of 8 takes as many mma.sync
    as one of 16, but half of the activations and loads; in Gluon it takes half of all three.
    """
    num_directions, _, num_units = weight_hh.shape
    whole_width = max(MIN_WIDTH, triton.next_power_of_2(num_units))
    precision = _precision(weight_hh.dtype)
    column_bytes = NUM_GATES[cell] * whole_width * weight_hh.element_size() * (2 if precision == "tf32x3" else 1)
    slice_width = whole_width
    while slice_width > MIN_WIDTH and slice_width * column_bytes > MAX_WEIGHT_BYTES:
        slice_width //= 2
    num_slices = triton.cdiv(num_units, slice_width)
    gluon = num_slices == 1 and gluon_takes(weight_hh)
    num_programs = triton.cdiv(num_videos, 8) * num_directions * num_heads * num_slices
    weight_bytes = slice_width * column_bytes
    is_crowded = num_programs > num_processors(weight_hh.device)
    tile = 16 if is_crowded and not gluon and weight_bytes <= WEIGHT_BYTES_BESIDE_16 else 8
    num_warps = min(8 if weight_bytes > MAX_WEIGHT_BYTES // 4 else 4, slice_width // 8)
    keep = tile == 8 and weight_bytes <= num_warps * MAX_WEIGHT_BYTES // 8
    return Plan(tile, slice_width, whole_width, num_slices, num_warps, precision, keep, gluon)


def gluon_takes(weight_hh: Tensor) -> bool:
    """Return whether gluon_kernels can run a layer whose weights one SM holds, by device, dtype and Triton's version.

    Args:
        weight_hh: [D, G*H, K]; its device and dtype count.
    """
    if weight_hh.device.type != "cuda" or weight_hh.dtype == torch.float32:
        return False
    try:
        import pipeline.rnn.gpu.gluon_kernels  # noqa: F401
    except ImportError:  # Gluon is experimental: its names move.
        return False
    return torch.cuda.get_device_capability(weight_hh.device) >= (8, 0)


def num_processors(device: torch.device) -> int:
    """Return the number of streaming multiprocessors; for the CPU, where only the interpreter runs, that of an H200."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 132


def is_supported(cell: str, weight_hh: Tensor) -> bool:
    """Return whether the loops can run a layer: whether they take its dtype, and all slices of a head run in parallel.

    Args:
        cell: tanh, relu, gru or lstm.
        weight_hh: [D, G*H, K]; its shape, dtype and device count.
    """
    if weight_hh.dtype not in DTYPES:
        return False
    return _plan(cell, weight_hh, 1, 1).num_slices <= num_processors(weight_hh.device)


def _launch(kind: str, plan: Plan, num_groups: int, device: torch.device, **arguments: Any) -> None:
    """Run all groups.

    Programs of a split group wait for each other, so one launch has only as many groups as run in parallel.
    """
    arguments |= {"TILE": plan.tile, "WHOLE": plan.whole_width}
    with torch.cuda.device(device if device.type == "cuda" else -1):  # Triton launches on the current device.
        if plan.gluon:
            from pipeline.rnn.gpu.gluon_kernels import launch

            launch(kind, num_groups, plan.num_warps, **arguments)
            return
        kernel = forward_kernel if kind == "forward" else backward_kernel
        taken = {name: value for name, value in arguments.items() if name in kernel.arg_names}
        split = plan.num_slices > 1
        num_parallel = num_processors(device) // plan.num_slices if split else num_groups
        counters = torch.zeros(num_groups if split else 1, dtype=torch.int32, device=device)
        for first in range(0, num_groups, num_parallel):
            kernel[(min(num_parallel, num_groups - first), plan.num_slices)](
                **taken,
                counters=counters[first:],
                first_group=first,
                SLICE=plan.slice_width,
                NUM_SLICES=plan.num_slices,
                PRECISION=plan.precision,
                KEEP=plan.keep,
                num_warps=plan.num_warps,
                launch_cooperative_grid=split,
            )


def _strides(**tensors: Tensor | None) -> dict[str, Any]:
    """Return each tensor [T, B, D, *] with its first three strides, as the kernels name them.

    The last dimension must be dense.
    """
    arguments: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if tensor is not None and tensor.shape[3] > 1 and tensor.stride(3) != 1:
            raise ValueError(f"{name}: got strides {tensor.stride()}, expected 1 in the last dimension")
        t, b, d = (0, 0, 0) if tensor is None else tensor.stride()[:3]
        arguments |= {name: tensor, f"{name}_t": t, f"{name}_b": b, f"{name}_d": d}
    return arguments


def _shared_arguments(cell: str, weight_hh: Tensor, state: Tensor, lengths: Tensor | None, num_frames: int) -> Any:
    """Return the plan and the arguments that both kernels take; state is [D, B, H]."""
    num_directions, num_videos, num_hidden = state.shape
    num_units = weight_hh.shape[2]
    num_heads = num_hidden // num_units
    if not is_supported(cell, weight_hh):
        raise ValueError(f"weight_hh: got {weight_hh.dtype} {list(weight_hh.shape)}, which no kernel takes")
    plan = _plan(cell, weight_hh, num_videos, num_heads)
    arguments = {
        "weight_hh": weight_hh.contiguous(),
        "lengths": lengths,
        "num_videos": num_videos,
        "num_frames": num_frames,
        "num_heads": num_heads,
        "num_directions": num_directions,
        "H": num_hidden,
        "K": num_units,
        "CELL": cell,
        "NUM_GATES": NUM_GATES[cell],
        "HAS_LENGTHS": lengths is not None,
        "num_groups": triton.cdiv(num_videos, plan.tile) * num_directions * num_heads,
        "device": state.device,
    }
    return plan, arguments


def forward_loop(
    cell: str,
    projected: Tensor,
    weight_hh: Tensor,
    bias_n: Tensor | None,
    h: Tensor,
    c: Tensor | None,
    lengths: Tensor | None,
    reverse: tuple[bool, ...],
    out: Tensor,
    cells: Tensor | None,
) -> None:
    """Run all frames of one layer, in all directions.

    projected, weight_hh and out have one dtype of DTYPES. Products take operands of that dtype and add in float32.
    Everything else is float32.

    Args:
        cell: tanh, relu, gru or lstm.
        projected: [T, B, D, G*H], W_ih x_t + b_ih + b_hh of every gate, but for n of GRU W_in x_t + b_in alone.
        weight_hh: [D, G*H, K]; row g*H + n*K + i, column j leads from unit n*K + j to gate g of unit n*K + i.
        bias_n: [D, H], b_hn of GRU; None for the other cells.
        h: float32 [D, B, H], the hidden state before the first step; overwritten with that after each video's last.
        c: float32 [D, B, H], the cell state likewise, for LSTM only.
        lengths: int64 [B]; frame t of video b is live where t < lengths[b]. None where all frames are live.
        reverse: [D], whether each direction runs over the frames length-1 to 0.
        out: [T, B, D, H], written: h_t, zero at padding.
        cells: float32 [T, B, D, H], written unless it is None: c_t of LSTM, zero at padding.

    Raises:
        ValueError: No kernel takes the dtype or the shape of weight_hh, or the last dimension of a tensor is not dense.
    """
    plan, arguments = _shared_arguments(cell, weight_hh, h, lengths, projected.shape[0])
    h_last = torch.empty(h.shape, dtype=torch.float32, device=h.device)
    c_last = None if c is None else torch.empty_like(h_last)
    _launch(
        "forward",
        plan,
        **arguments,
        **_strides(projected=projected, out=out, cells=cells),
        bias_n=None if bias_n is None else bias_n.contiguous(),
        h_first=h.contiguous(),
        c_first=None if c is None else c.contiguous(),
        h_last=h_last,
        c_last=c_last,
        h_operand=h.to(out.dtype).contiguous(),
        BACKWARDS=sum(1 << d for d, is_reverse in enumerate(reverse) if is_reverse),
        HAS_CELLS=cells is not None,
    )
    h.copy_(h_last)
    if c is not None and c_last is not None:
        c.copy_(c_last)


def backward_loop(
    cell: str,
    gates: Tensor,
    before: Tensor | None,
    weight_hh: Tensor,
    d_out: Tensor,
    dh: Tensor,
    dc: Tensor | None,
    d_gates: Tensor,
    lengths: Tensor | None,
    reverse: tuple[bool, ...],
) -> None:
    """Run the frames of one layer backwards, for the gradients of all pre-activations and of the first state.

    Args:
        cell: As in `forward_loop`, and with the same precision.
        gates: For tanh and relu h_t, [T, B, D, H]. For LSTM the pre-activations of i, f, g, o, [T, B, D, 4*H]. For GRU
            the pre-activations of r and z, W_in x + b_in, and W_hn h + b_hn, [T, B, D, 4*H].
        before: [T, B, D, H], the state before each frame in its direction: h for GRU, c (float32) for LSTM, else None.
        weight_hh: As in `forward_loop`.
        d_out: [T, B, D, H], the gradient of the outputs.
        dh: float32 [D, B, H], the gradient of h after the last step; overwritten with that before the first step.
        dc: float32 [D, B, H], the gradient of c likewise, for LSTM only.
        d_gates: As gates, written: the gradient of what gates holds, but for tanh and relu that of the pre-activation;
            zero at padding.
        lengths: As in `forward_loop`.
        reverse: As in `forward_loop`.

    Raises:
        ValueError: As in `forward_loop`.
    """
    plan, arguments = _shared_arguments(cell, weight_hh, dh, lengths, gates.shape[0])
    dh_first = torch.empty(dh.shape, dtype=torch.float32, device=dh.device)
    dc_first = None if dc is None else torch.empty_like(dh_first)
    _launch(
        "backward",
        plan,
        **arguments,
        **_strides(gates=gates, before=before, d_out=d_out, d_gates=d_gates),
        dh_last=dh.contiguous(),
        dc_last=None if dc is None else dc.contiguous(),
        dh_first=dh_first,
        dc_first=dc_first,
        BACKWARDS=sum(1 << d for d, is_reverse in enumerate(reverse) if not is_reverse),
    )
    if plan.num_slices > 1:
        dh_first += _first_product(cell, weight_hh, d_gates, lengths, reverse)
    dh.copy_(dh_first)
    if dc is not None and dc_first is not None:
        dc.copy_(dc_first)


def _first_product(
    cell: str, weight_hh: Tensor, d_gates: Tensor, lengths: Tensor | None, reverse: tuple[bool, ...]
) -> Tensor:
    """Compute what the first step of each video sends to the state before it, [D, B, H].

    Split kernels leave this out, because it reads the gradients that all slices wrote in the last step of the loop,
    after which the slices do not meet.
    """
    num_frames, num_videos, num_directions, _ = d_gates.shape
    num_units = weight_hh.shape[2]
    num_hidden = weight_hh.shape[1] // NUM_GATES[cell]
    ends = torch.full((num_videos,), num_frames, device=d_gates.device) if lengths is None else lengths
    videos = torch.arange(num_videos, device=d_gates.device)
    products = []
    for direction in range(num_directions):
        frames = (ends - 1).clamp(min=0) if reverse[direction] else torch.zeros_like(ends)
        first = d_gates[frames, videos, direction]
        if cell == "gru":
            first = torch.cat([first[:, : 2 * num_hidden], first[:, 3 * num_hidden :]], dim=1)
        weight = weight_hh[direction].float().view(-1, num_hidden // num_units, num_units, num_units)
        parts = first.float().view(num_videos, *weight.shape[:3])
        products.append(torch.einsum("bgni,gnij->bnj", parts, weight).reshape(num_videos, num_hidden))
    return torch.stack(products)
