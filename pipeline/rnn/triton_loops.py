"""The two time loops of a recurrent layer as Triton kernels: one launch runs all frames.

T frames, B videos, D directions (1 or 2), H hidden units in N heads of K = H / N (W_hh is block-diagonal: a head reads
only itself), G gates (tanh and relu 1, GRU 3: r, z, n, LSTM 4: i, f, g, o; equations in cells.py). Time-major.

A program owns TILE videos of one (direction, head) for all steps. Two decisions make the loop short:
  - Products are [TILE, K] x [K, K], one for each gate, so that no gate has to be cut out of a wider result. With the
    videos along M the compiler takes mma.sync; with the units along M it takes wgmma and reads all of W_hh from shared
    memory at each step.
  - The loops are `while`, not `for`: Triton sinks the load of a product's operand (shared memory -> registers) into a
    `for`, and leaves it before a `while`, so that W_hh stays in registers. Compiled for sm_90 (Triton 3.9, tanh, K=256,
    bfloat16, tile 8): 9 LDSM a step, with `for` 41.

W_hh of one head beyond MAX_WEIGHT_BYTES is cut into slices of units, one program (and SM) each. They meet at one
barrier a step and pass the state of all units through `out` (backward: the gradients through `d_gates`), which hold a
slot for every frame, so that nothing is overwritten before it is read. Weights kept on chip over all steps, and
programs that meet at each, are from Diamos et al. 2016, "Persistent RNNs".

Where a head is not split and operands have 16 bits, gluon_loops.py runs the same loops on CUDA, with half of the
products and two barriers a step. What a step takes on a GPU: docs/benchmarks.md.

Steps: at step s a video is at frame s, or at length-1-s where the loop runs backwards. It is live while s < length.
"""

# mypy: disable-error-code="no-untyped-def"
# (Kernels have no types that Python knows; everything below them is typed.)

from typing import Any, NamedTuple

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from pipeline.rnn.cells import NUM_GATES
from pipeline.rnn.precision import takes_tf32

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
MAX_WEIGHT_BYTES = 128 * 1024  # of W_hh that one program keeps: half of the registers of an SM
WEIGHT_BYTES_BESIDE_16 = 96 * 1024  # beside a tile of 16 videos: more, and registers spill (LSTM, K=128, Triton 3.6)
MIN_WIDTH = 16  # of a side of a product


@triton.jit
def _sigmoid(x, FAST: tl.constexpr):
    if FAST:
        return 0.5 + 0.5 * _tanh(0.5 * x, FAST)
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _tanh(x, FAST: tl.constexpr):
    """By exp, since the interpreter lacks libdevice: the absolute error is about 1e-7. FAST: the processor's own, of
    11 bits and a quarter of the instructions."""
    if FAST:
        return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)
    return 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0


@triton.jit
def _larger(a, b):
    return tl.where(a > b, a, b)


@triton.jit
def _load(pointer, mask):
    return tl.load(pointer, mask=mask, other=0.0)


@triton.jit
def _load_fresh(pointer, mask, KEEP: tl.constexpr):
    """What another program may have written: past the cache of this SM, which may be stale.

    Where a product's operand comes straight from a load, Triton 3.9 moves the reading of the other one, the weights,
    behind it and so into the loop. KEEP prevents that by a sum, and the weights stay in registers: tanh, K=512, tile 8
    then has 16 LDSM a step in place of 48.
    """
    value = tl.load(pointer, mask=mask, other=0.0, cache_modifier=".cg")
    return value + 0.0 if KEEP else value


@triton.jit
def _store(pointer, value, mask):
    tl.store(pointer, value.to(pointer.dtype.element_ty), mask=mask)


@triton.jit
def _product(operand, weight, total, PRECISION: tl.constexpr):
    """total + operand x weight, the operand rounded to the weight's dtype."""
    return tl.dot(operand.to(weight.dtype), weight, acc=total, input_precision=PRECISION, out_dtype=tl.float32)


@triton.jit
def _meet(counter, num_arrivals):
    """Wait until the programs that share `counter` have arrived `num_arrivals` times in all; each sees what all wrote.

    The first barrier puts all threads' writes before the release, the second one their reads after the acquire.
    """
    tl.debug_barrier()
    tl.atomic_add(counter, 1, sem="release", scope="gpu")
    while tl.atomic_add(counter, 0, sem="acquire", scope="gpu") < num_arrivals:
        pass
    tl.debug_barrier()


@triton.jit
def _lstm(pre_i, pre_f, pre_g, pre_o, c, FAST: tl.constexpr):
    c = _sigmoid(pre_f, FAST) * c + _sigmoid(pre_i, FAST) * _tanh(pre_g, FAST)
    return _sigmoid(pre_o, FAST) * _tanh(c, FAST), c


@triton.jit
def _gru(pre_r, pre_z, new_in, new_hidden, h, FAST: tl.constexpr):
    n = _tanh(new_in + _sigmoid(pre_r, FAST) * new_hidden, FAST)
    return n + _sigmoid(pre_z, FAST) * (h - n)


@triton.jit
def _lstm_backward(pre_i, pre_f, pre_g, pre_o, c_before, d_h, d_c, FAST: tl.constexpr):
    """Gradients of the four pre-activations, and of c_before."""
    i = _sigmoid(pre_i, FAST)
    f = _sigmoid(pre_f, FAST)
    g = _tanh(pre_g, FAST)
    o = _sigmoid(pre_o, FAST)
    tanh_c = _tanh(f * c_before + i * g, FAST)
    d_c = d_c + d_h * o * (1.0 - tanh_c * tanh_c)
    d_i = d_c * g * i * (1.0 - i)
    d_f = d_c * c_before * f * (1.0 - f)
    d_g = d_c * i * (1.0 - g * g)
    d_o = d_h * tanh_c * o * (1.0 - o)
    return d_i, d_f, d_g, d_o, d_c * f


@triton.jit
def _gru_backward(pre_r, pre_z, new_in, new_hidden, h_before, d_h, FAST: tl.constexpr):
    """Gradients of the four parts of `gates`, and of h_before by way of z alone."""
    r = _sigmoid(pre_r, FAST)
    z = _sigmoid(pre_z, FAST)
    n = _tanh(new_in + r * new_hidden, FAST)
    d_new_in = d_h * (1.0 - z) * (1.0 - n * n)
    d_r = d_new_in * new_hidden * r * (1.0 - r)
    d_z = d_h * (h_before - n) * z * (1.0 - z)
    return d_r, d_z, d_new_in, d_new_in * r, d_h * z


@triton.jit
def _place(first_group, num_heads, num_directions, TILE: tl.constexpr):
    """(direction, head, videos [TILE, 1]) of a program. Grid: a group for each (tile, direction, head), slices."""
    group = first_group + tl.program_id(0)
    tile = group // (num_heads * num_directions)
    return group // num_heads % num_directions, group % num_heads, tile * TILE + tl.arange(0, TILE)[:, None]


@triton.jit
def _lengths(lengths, video, num_videos, num_frames, HAS_LENGTHS: tl.constexpr):
    """Of `video` [TILE, 1]; 0 past the last one."""
    if HAS_LENGTHS:
        return tl.load(lengths + video, mask=video < num_videos, other=0).to(tl.int32)
    return tl.where(video < num_videos, num_frames, 0)


# fmt: off
@triton.jit(do_not_specialize=["num_videos", "num_frames", "first_group"])
def _forward_kernel(
    projected, projected_t, projected_b, projected_d,  # each with its strides
    out, out_t, out_b, out_d,
    cells, cells_t, cells_b, cells_d,
    weight_hh, bias_n,
    h_first, c_first, h_last, c_last,  # [D, B, H] float32
    h_operand,  # h_first in the dtype of `out`
    lengths, num_videos, num_frames, num_heads, num_directions, H, K,
    counters, first_group,  # counters [groups]: 0
    CELL: tl.constexpr, NUM_GATES: tl.constexpr,
    TILE: tl.constexpr, SLICE: tl.constexpr, WHOLE: tl.constexpr, NUM_SLICES: tl.constexpr,
    BACKWARDS: tl.constexpr,  # bit d: direction d
    HAS_LENGTHS: tl.constexpr, HAS_CELLS: tl.constexpr, PRECISION: tl.constexpr, KEEP: tl.constexpr,
):
    # fmt: on
    direction, head, video = _place(first_group, num_heads, num_directions, TILE)
    length = _lengths(lengths, video, num_videos, num_frames, HAS_LENGTHS)
    num_steps = tl.reduce(length, None, _larger)
    backwards = (BACKWARDS >> direction) & 1
    sign = 1 - 2 * backwards
    frame = tl.where(backwards == 1, length - 1, 0)

    unit = tl.program_id(1) * SLICE + tl.arange(0, SLICE)[None, :]  # this program's own
    other = tl.arange(0, WHOLE)  # all of the head
    own = (unit < K) & (video < num_videos)
    column = head * K + unit
    weight = weight_hh + (direction * NUM_GATES * H + column).to(tl.int64) * K + other[:, None]
    weight_mask = (unit < K) & (other < K)[:, None]
    weight_0 = _load(weight, weight_mask)
    if NUM_GATES > 1:
        weight_1 = _load(weight + H * K, weight_mask)
        weight_2 = _load(weight + 2 * H * K, weight_mask)
    if NUM_GATES > 3:
        weight_3 = _load(weight + 3 * H * K, weight_mask)

    state = (direction * num_videos + video).to(tl.int64) * H + column
    h = _load(h_first + state, own)
    if CELL == "lstm":
        c = _load(c_first + state, own)
    if CELL == "gru":
        hidden_bias = tl.load(bias_n + direction * H + column, mask=unit < K, other=0.0).to(tl.float32)
        hidden_bias += tl.full([TILE, SLICE], 0.0, tl.float32)

    # What a step reads of `projected` is loaded during the step before.
    row = projected + video.to(tl.int64) * projected_b + direction * projected_d + column
    slot = row + frame.to(tl.int64) * projected_t
    next_0 = _load(slot, own & (length > 0))
    if NUM_GATES > 1:
        next_1 = _load(slot + H, own & (length > 0))
        next_2 = _load(slot + 2 * H, own & (length > 0))
    if NUM_GATES > 3:
        next_3 = _load(slot + 3 * H, own & (length > 0))

    out_row = out + video.to(tl.int64) * out_b + direction * out_d + head * K
    if HAS_CELLS:
        cells_row = cells + video.to(tl.int64) * cells_b + direction * cells_d + column
    step = 0
    while step < num_steps:
        live = step < length
        now_0 = next_0.to(tl.float32)
        slot = row + (frame + sign * (step + 1)).to(tl.int64) * projected_t
        mask = own & (step + 1 < length)
        next_0 = _load(slot, mask)
        if NUM_GATES > 1:
            now_1 = next_1.to(tl.float32)
            now_2 = next_2.to(tl.float32)
            next_1 = _load(slot + H, mask)
            next_2 = _load(slot + 2 * H, mask)
        if NUM_GATES > 3:
            now_3 = next_3.to(tl.float32)
            next_3 = _load(slot + 3 * H, mask)

        operand = h
        if NUM_SLICES > 1:
            first = h_operand + (direction * num_videos + video).to(tl.int64) * H + head * K
            before = out_row + (frame + sign * (step - 1)).to(tl.int64) * out_t
            source = tl.where(step == 0, first, before) + other[None, :]
            operand = _load_fresh(source, live & (other < K)[None, :], KEEP)
        pre_0 = _product(operand, weight_0, now_0, PRECISION)
        if CELL == "tanh":
            h_new = _tanh(pre_0, False)
        if CELL == "relu":
            h_new = tl.where(pre_0 < 0.0, 0.0, pre_0)
        if CELL == "gru":
            pre_1 = _product(operand, weight_1, now_1, PRECISION)
            pre_2 = _product(operand, weight_2, hidden_bias, PRECISION)
            h_new = _gru(pre_0, pre_1, now_2, pre_2, h, False)
        if CELL == "lstm":
            pre_1 = _product(operand, weight_1, now_1, PRECISION)
            pre_2 = _product(operand, weight_2, now_2, PRECISION)
            pre_3 = _product(operand, weight_3, now_3, PRECISION)
            h_new, c_new = _lstm(pre_0, pre_1, pre_2, pre_3, c, False)

        # A video that has ended keeps its state, and its steps clear the frames past its end.
        position = tl.where(live, frame + sign * step, step).to(tl.int64)
        _store(out_row + position * out_t + unit, tl.where(live, h_new, 0.0), own)
        h = tl.where(live, h_new, h)
        if CELL == "lstm":
            if HAS_CELLS:
                _store(cells_row + position * cells_t, tl.where(live, c_new, 0.0), own)
            c = tl.where(live, c_new, c)
        step += 1
        if NUM_SLICES > 1:  # noqa: SIM102, the outer `if` is of constants
            if step < num_steps:
                _meet(counters + tl.program_id(0), step * NUM_SLICES)

    _store(h_last + state, h, own)
    if CELL == "lstm":
        _store(c_last + state, c, own)
    nothing = tl.full([TILE, SLICE], 0.0, tl.float32)
    while step < num_frames:
        position = tl.full([TILE, 1], 0, tl.int64) + step
        _store(out_row + position * out_t + unit, nothing, own)
        if HAS_CELLS:
            _store(cells_row + position * cells_t, nothing, own)
        step += 1


# fmt: off
@triton.jit(do_not_specialize=["num_videos", "num_frames", "first_group"])
def _backward_kernel(
    gates, gates_t, gates_b, gates_d,  # each with its strides
    before, before_t, before_b, before_d,
    d_out, d_out_t, d_out_b, d_out_d,
    d_gates, d_gates_t, d_gates_b, d_gates_d,
    weight_hh,
    dh_last, dc_last, dh_first, dc_first,  # [D, B, H] float32
    lengths, num_videos, num_frames, num_heads, num_directions, H, K,
    counters, first_group,  # counters [groups]: 0
    CELL: tl.constexpr, NUM_GATES: tl.constexpr,
    TILE: tl.constexpr, SLICE: tl.constexpr, WHOLE: tl.constexpr, NUM_SLICES: tl.constexpr,
    BACKWARDS: tl.constexpr,  # bit d: this loop goes backwards in direction d
    HAS_LENGTHS: tl.constexpr, PRECISION: tl.constexpr, KEEP: tl.constexpr,
):
    # fmt: on
    direction, head, video = _place(first_group, num_heads, num_directions, TILE)
    length = _lengths(lengths, video, num_videos, num_frames, HAS_LENGTHS)
    num_steps = tl.reduce(length, None, _larger)
    backwards = (BACKWARDS >> direction) & 1
    sign = 1 - 2 * backwards
    frame = tl.where(backwards == 1, length - 1, 0)

    unit = tl.program_id(1) * SLICE + tl.arange(0, SLICE)[None, :]  # this program's own
    other = tl.arange(0, WHOLE)  # all of the head
    own = (unit < K) & (video < num_videos)
    column = head * K + unit
    weight = weight_hh + (direction * NUM_GATES * H + head * K + other[:, None]).to(tl.int64) * K + unit
    weight_mask = (unit < K) & (other < K)[:, None]
    weight_0 = _load(weight, weight_mask)
    if NUM_GATES > 1:
        weight_1 = _load(weight + H * K, weight_mask)
        weight_2 = _load(weight + 2 * H * K, weight_mask)
    if NUM_GATES > 3:
        weight_3 = _load(weight + 3 * H * K, weight_mask)

    state = (direction * num_videos + video).to(tl.int64) * H + column
    dh = _load(dh_last + state, own)
    if CELL == "lstm":
        dc = _load(dc_last + state, own)

    # What a step reads is loaded during the step before.
    video = video.to(tl.int64)
    gates_row = gates + video * gates_b + direction * gates_d + column
    if NUM_GATES > 1:
        before_row = before + video * before_b + direction * before_d + column
    d_out_row = d_out + video * d_out_b + direction * d_out_d + column
    slot = gates_row + frame.to(tl.int64) * gates_t
    mask = own & (length > 0)
    next_0 = _load(slot, mask)
    next_d_out = _load(d_out_row + frame.to(tl.int64) * d_out_t, mask)
    if NUM_GATES > 1:
        next_1 = _load(slot + H, mask)
        next_2 = _load(slot + 2 * H, mask)
        next_3 = _load(slot + 3 * H, mask)
        next_before = _load(before_row + frame.to(tl.int64) * before_t, mask)

    d_gates_row = d_gates + video * d_gates_b + direction * d_gates_d + head * K
    step = 0
    while step < num_steps:
        live = step < length
        now_0 = next_0.to(tl.float32)
        d_h = dh + next_d_out.to(tl.float32)
        position = (frame + sign * (step + 1)).to(tl.int64)
        slot = gates_row + position * gates_t
        mask = own & (step + 1 < length)
        next_0 = _load(slot, mask)
        next_d_out = _load(d_out_row + position * d_out_t, mask)
        if NUM_GATES > 1:
            now_1 = next_1.to(tl.float32)
            now_2 = next_2.to(tl.float32)
            now_3 = next_3.to(tl.float32)
            now_before = next_before.to(tl.float32)
            next_1 = _load(slot + H, mask)
            next_2 = _load(slot + 2 * H, mask)
            next_3 = _load(slot + 3 * H, mask)
            next_before = _load(before_row + position * before_t, mask)

        if NUM_SLICES > 1:  # the product of the step before, whose gradients are all there now
            earlier = d_gates_row + (frame + sign * (step - 1)).to(tl.int64) * d_gates_t + other[None, :]
            reached = live & (frame + sign * step != frame) & (other < K)[None, :]  # none at step 0
            d_h = _product(_load_fresh(earlier, reached, KEEP), weight_0, d_h, PRECISION)
            if NUM_GATES > 1:
                d_h = _product(_load_fresh(earlier + H, reached, KEEP), weight_1, d_h, PRECISION)
                if NUM_GATES == 3:  # the recurrent part of n stands after the input's
                    d_h = _product(_load_fresh(earlier + 3 * H, reached, KEEP), weight_2, d_h, PRECISION)
            if NUM_GATES > 3:
                d_h = _product(_load_fresh(earlier + 2 * H, reached, KEEP), weight_2, d_h, PRECISION)
                d_h = _product(_load_fresh(earlier + 3 * H, reached, KEEP), weight_3, d_h, PRECISION)

        carried = tl.full([TILE, SLICE], 0.0, tl.float32)
        if CELL == "tanh":
            d_0 = d_h * (1.0 - now_0 * now_0)
        if CELL == "relu":
            d_0 = tl.where(now_0 > 0.0, d_h, 0.0)
        if CELL == "gru":
            d_0, d_1, d_2, d_3, carried = _gru_backward(now_0, now_1, now_2, now_3, now_before, d_h, False)
        if CELL == "lstm":
            d_0, d_1, d_2, d_3, dc_new = _lstm_backward(now_0, now_1, now_2, now_3, now_before, d_h, dc, False)
            dc = tl.where(live, dc_new, dc)

        # A video that has ended keeps its gradient, and its steps clear the frames past its end.
        position = tl.where(live, frame + sign * step, step).to(tl.int64)
        slot = d_gates_row + position * d_gates_t + unit
        _store(slot, tl.where(live, d_0, 0.0), own)
        if NUM_GATES > 1:
            _store(slot + H, tl.where(live, d_1, 0.0), own)
            _store(slot + 2 * H, tl.where(live, d_2, 0.0), own)
            _store(slot + 3 * H, tl.where(live, d_3, 0.0), own)

        step += 1
        if NUM_SLICES > 1:
            if step < num_steps:
                _meet(counters + tl.program_id(0), step * NUM_SLICES)
        else:
            carried = _product(d_0, weight_0, carried, PRECISION)
            if NUM_GATES > 1:
                carried = _product(d_1, weight_1, carried, PRECISION)
            if NUM_GATES == 3:
                carried = _product(d_3, weight_2, carried, PRECISION)
            if NUM_GATES > 3:
                carried = _product(d_2, weight_2, carried, PRECISION)
                carried = _product(d_3, weight_3, carried, PRECISION)
        dh = tl.where(live, carried, dh)

    _store(dh_first + state, dh, own)
    if CELL == "lstm":
        _store(dc_first + state, dc, own)
    nothing = tl.full([TILE, SLICE], 0.0, tl.float32)
    while step < num_frames:
        slot = d_gates_row + (tl.full([TILE, 1], 0, tl.int64) + step) * d_gates_t + unit
        _store(slot, nothing, own)
        if NUM_GATES > 1:
            _store(slot + H, nothing, own)
            _store(slot + 2 * H, nothing, own)
            _store(slot + 3 * H, nothing, own)
        step += 1


class Plan(NamedTuple):
    """How a layer is laid over programs."""

    tile: int  # videos of a program
    slice_width: int  # units of a program
    whole_width: int  # units of a head, padded
    num_slices: int
    num_warps: int
    precision: str
    keep: bool  # whether a split kernel has room for its weights in registers
    gluon: bool  # whether gluon_loops runs it


def _precision(dtype: torch.dtype) -> str:
    """Of products of float32: TF32 where allowed, else "tf32x3", three such, which come to float32's accuracy.

    Emulated on the CPU, its relative error over K=256 was 2.9e-7, as that of float32 itself. "ieee" has no tensor core:
    compiled for sm_90 its loop (tanh, K=128) stores 280 and loads 658 spilled registers a step, tf32x3's none.
    """
    return "tf32x3" if dtype == torch.float32 and not takes_tf32() else "tf32"


def _plan(cell: str, weight_hh: Tensor, num_videos: int, num_heads: int) -> Plan:
    """The widest slices whose weights fit; tiles of 8 videos, or 16 where processors are too few and registers are not.

    A tile of 8 takes as many mma.sync as one of 16, but half of the activations and loads; in Gluon half of all.
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
    """Whether gluon_loops runs on this device, in this dtype and with this Triton, where one SM holds the weights."""
    if weight_hh.device.type != "cuda" or weight_hh.dtype == torch.float32:
        return False
    try:
        import pipeline.rnn.gluon_loops  # noqa: F401
    except ImportError:  # Gluon is experimental: its names move
        return False
    return torch.cuda.get_device_capability(weight_hh.device) >= (8, 0)


def num_processors(device: torch.device) -> int:
    """Streaming multiprocessors; on the CPU, where only the interpreter runs, those of an H200."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 132


def is_supported(cell: str, weight_hh: Tensor) -> bool:
    """Whether the loops take a layer: its dtype, and whether all slices of a head run at once."""
    if weight_hh.dtype not in DTYPES:
        return False
    return _plan(cell, weight_hh, 1, 1).num_slices <= num_processors(weight_hh.device)


def _launch(kind: str, plan: Plan, num_groups: int, device: torch.device, **arguments: Any) -> None:
    """Run all groups; where they are split, only as many at a time as run at once, for they wait for each other."""
    arguments |= {"TILE": plan.tile, "WHOLE": plan.whole_width}
    with torch.cuda.device(device if device.type == "cuda" else -1):  # Triton launches on the current one
        if plan.gluon:
            from pipeline.rnn.gluon_loops import launch

            launch(kind, num_groups, plan.num_warps, **arguments)
            return
        kernel = _forward_kernel if kind == "forward" else _backward_kernel
        taken = {name: value for name, value in arguments.items() if name in kernel.arg_names}
        split = plan.num_slices > 1
        at_once = num_processors(device) // plan.num_slices if split else num_groups
        counters = torch.zeros(num_groups if split else 1, dtype=torch.int32, device=device)
        for first in range(0, num_groups, at_once):
            kernel[(min(at_once, num_groups - first), plan.num_slices)](
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
    """Each tensor [T, B, D, *] with its first three strides, as the kernels name them; the last dimension is dense."""
    arguments: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if tensor is not None and tensor.shape[3] > 1 and tensor.stride(3) != 1:
            raise ValueError(f"{name}: got strides {tensor.stride()}, expected 1 in the last dimension")
        t, b, d = (0, 0, 0) if tensor is None else tensor.stride()[:3]
        arguments |= {name: tensor, f"{name}_t": t, f"{name}_b": b, f"{name}_d": d}
    return arguments


def _shared_arguments(cell: str, weight_hh: Tensor, state: Tensor, lengths: Tensor | None, num_frames: int) -> Any:
    """(plan, arguments): what both kernels take; state [D, B, H]."""
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

    cell       "tanh", "relu", "gru" or "lstm"
    projected  [T, B, D, G*H]  W_ih x_t + b_ih + b_hh of every gate, but of GRU's n W_in x_t + b_in alone
    weight_hh  [D, G*H, K]     row g*H + n*K + i, column j: from unit n*K + j to gate g of unit n*K + i
    bias_n     [D, H]          b_hn of GRU, else None
    h, c       [D, B, H]       float32, in place: the state before the first step -> after each video's last
    lengths    [B]             int64; frame t of video b is live iff t < lengths[b]. None: all are
    reverse    [D]             whether a direction runs over frames length-1 .. 0
    out        [T, B, D, H]    written: h_t, zero at padding
    cells      [T, B, D, H]    written where given, float32: c_t of LSTM, zero at padding

    projected, weight_hh and out have one dtype of DTYPES. Products take operands of that dtype and sum in float32;
    everything else is float32.
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
    """Run the frames of one layer backwards: gradients of all pre-activations and of the first state.

    gates    tanh, relu: h_t [T, B, D, H]; LSTM: pre-activations of i, f, g, o [T, B, D, 4*H]; GRU: [T, B, D, 4*H],
             pre-activations of r and z, W_in x + b_in, W_hn h + b_hn
    before   [T, B, D, H]  the state before each frame in that direction: h of GRU, c (float32) of LSTM, else None
    d_out    [T, B, D, H]  gradients of the outputs
    dh, dc   [D, B, H]     float32, in place: gradient of the state after the last step -> before the first
    d_gates  as gates      written: gradients of what gates holds (tanh, relu: of the pre-activation); zero at padding

    weight_hh, lengths, reverse and precision as in `forward_loop`.
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
    """[D, B, H], what each video's first step sends to the state before it; split kernels leave it out.

    It reads the gradients that all slices wrote in the last step of the loop, after which they do not meet.
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
