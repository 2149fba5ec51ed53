"""The Gluon kernels of this module run the loops of triton_kernels.py for a head whose weights one SM holds.

They take float16 and bfloat16. T frames, B videos, D directions, H hidden units in N heads of K = H / N, G gates; the
arguments are those of triton_kernels.py.

In Gluon a kernel states which thread holds which values. Here everything is transposed, [K, TILE] = [K, K] x [K, TILE].
The weights are the first operand of mma.sync and stay in registers, and a tile of 8 videos fills its narrow side (8),
where the plain kernels fill half of the wide one (16). All other tensors lie as the products leave them, so that what a
step reads and writes does not pass through shared memory. Only the state does, on its way into the next product.

A product leaves a thread with rows that are 8 apart. The unit for which a row stands can be chosen, so rows are given
to units such that those of a thread are neighbours in memory, which are read and written together (`_to_rows`,
`_to_units`: the compiler makes no instruction of them). On an H200 a step of tanh with K=256 had spent more than half
of its time on reads and writes of single values.

tanh and the sigmoid are the approximation of the processor. It has 11 bits, and the operands of a product have 8 or 11.
"""

# mypy: disable-error-code="no-untyped-def"

from typing import Any

import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2

from pipeline.rnn.gpu.cells import gru, gru_backward, larger, lstm, lstm_backward, tanh


@gluon.jit
def _load(pointer, mask):
    return gl.load(pointer, mask=mask, other=0.0)


@gluon.jit
def _store(pointer, value, mask):
    gl.store(pointer, value.to(pointer.dtype.element_ty), mask=mask)


@gluon.jit
def _to_rows(x, LAYOUT: tl.constexpr, NUM_WARPS: tl.constexpr):
    """Bring x [units, C] into the order [rows, C].

    A unit is (warp, row of 8, tile of 16, half), and a row is (tile of 16, warp, half, row of 8).
    """
    tiles: gl.constexpr = x.shape[0] // (16 * NUM_WARPS)
    parts = gl.permute(gl.reshape(x, [NUM_WARPS, 8, tiles, 2, x.shape[1]]), [2, 0, 3, 1, 4])
    return gl.convert_layout(gl.reshape(parts, [x.shape[0], x.shape[1]]), LAYOUT)


@gluon.jit
def _to_units(x, UNITS: tl.constexpr, NUM_WARPS: tl.constexpr):
    """Bring x [rows, C] into the order [units, C]."""
    tiles: gl.constexpr = x.shape[0] // (16 * NUM_WARPS)
    parts = gl.permute(gl.reshape(x, [tiles, NUM_WARPS, 2, 8, x.shape[1]]), [1, 3, 0, 2, 4])
    return gl.convert_layout(gl.reshape(parts, [x.shape[0], x.shape[1]]), UNITS)


@gluon.jit
def _store_rows(pointer, value, live, mask, UNITS: tl.constexpr, NUM_WARPS: tl.constexpr):
    """Store the result of a product, with 0 for videos that have ended."""
    _store(pointer, _to_units(gl.where(live, value, 0.0), UNITS, NUM_WARPS), mask)


@gluon.jit
def _weight(pointer, K, WHOLE: tl.constexpr, TRANSPOSED: tl.constexpr, MMA: tl.constexpr, NUM_WARPS: tl.constexpr):
    """Load the [K, K] of a gate as first operand: rows are its units, or, if TRANSPOSED, the units that it reads."""
    # In memory the units that a unit reads lie side by side.
    READ_ALONG_0: tl.constexpr = gl.BlockedLayout([8, 1], [8, 4], [1, NUM_WARPS], [0, 1])
    READ_ALONG_1: tl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [NUM_WARPS, 1], [1, 0])
    FLAT: tl.constexpr = READ_ALONG_0 if TRANSPOSED else READ_ALONG_1
    unit = gl.arange(0, WHOLE, layout=gl.SliceLayout(1, FLAT))[:, None]
    other = gl.arange(0, WHOLE, layout=gl.SliceLayout(0, FLAT))[None, :]
    offset = other * K + unit if TRANSPOSED else unit * K + other
    weight = gl.load(pointer + offset, mask=(unit < K) & (other < K), other=0.0)
    return _to_rows(weight, gl.DotOperandLayout(0, MMA, 2), NUM_WARPS)


@gluon.jit
def _lengths(lengths, video, num_videos, num_frames, HAS_LENGTHS: tl.constexpr):
    """Return the length of each `video` [TILE]; 0 past the last video."""
    if HAS_LENGTHS:
        return gl.load(lengths + video, mask=video < num_videos, other=0).to(gl.int32)
    return gl.where(video < num_videos, num_frames, 0)


# fmt: off
@gluon.jit(do_not_specialize=["num_videos", "num_frames"])
def _forward_kernel(
    projected, projected_t, projected_b, projected_d,  # each with its strides
    out, out_t, out_b, out_d,
    cells, cells_t, cells_b, cells_d,
    weight_hh, bias_n,
    h_first, c_first, h_last, c_last,  # [D, B, H] float32
    lengths, num_videos, num_frames, num_heads, num_directions, H, K,
    CELL: tl.constexpr, NUM_GATES: tl.constexpr,
    TILE: tl.constexpr, WHOLE: tl.constexpr, NUM_WARPS: tl.constexpr,
    UNITS: tl.constexpr,  # where a [units, TILE] lies: as the products leave it, see `_to_units`
    BACKWARDS: tl.constexpr,  # bit d: direction d
    HAS_LENGTHS: tl.constexpr, HAS_CELLS: tl.constexpr,
):
    # fmt: on
    MMA: tl.constexpr = gl.NVMMADistributedLayout([2, 0], [NUM_WARPS, 1], [16, 8])
    head = gl.program_id(0) % num_heads
    direction = gl.program_id(0) // num_heads % num_directions
    first = gl.program_id(0) // (num_heads * num_directions) * TILE
    videos = first + gl.arange(0, TILE, layout=gl.SliceLayout(0, UNITS))
    lengths_1d = _lengths(lengths, videos, num_videos, num_frames, HAS_LENGTHS)
    num_steps = gl.reduce(lengths_1d, 0, larger)
    video = videos[None, :]
    length = lengths_1d[None, :]
    backwards = (BACKWARDS >> direction) & 1
    sign = 1 - 2 * backwards
    frame = gl.where(backwards == 1, length - 1, 0)
    videos_of_rows = first + gl.arange(0, TILE, layout=gl.SliceLayout(0, MMA))
    length_of_rows = _lengths(lengths, videos_of_rows, num_videos, num_frames, HAS_LENGTHS)[None, :]

    unit = gl.arange(0, WHOLE, layout=gl.SliceLayout(1, UNITS))[:, None]
    own = (unit < K) & (video < num_videos)
    column = head * K + unit
    weight = weight_hh + (direction * NUM_GATES * H + head * K).to(gl.int64) * K
    weight_0 = _weight(weight, K, WHOLE, False, MMA, NUM_WARPS)
    if NUM_GATES > 1:
        weight_1 = _weight(weight + H * K, K, WHOLE, False, MMA, NUM_WARPS)
        weight_2 = _weight(weight + 2 * H * K, K, WHOLE, False, MMA, NUM_WARPS)
    if NUM_GATES > 3:
        weight_3 = _weight(weight + 3 * H * K, K, WHOLE, False, MMA, NUM_WARPS)

    state = (direction * num_videos + video).to(gl.int64) * H + column
    h = _to_rows(_load(h_first + state, own), MMA, NUM_WARPS)
    if CELL == "lstm":
        c = _to_rows(_load(c_first + state, own), MMA, NUM_WARPS)
    if CELL == "gru":
        hidden_bias = _to_rows(_load(bias_n + direction * H + column + video * 0, own).to(gl.float32), MMA, NUM_WARPS)
    exchange = gl.allocate_shared_memory(
        out.dtype.element_ty, [WHOLE, TILE], gl.SwizzledSharedLayout(8, 1, 8, [0, 1])
    )

    # What a step reads of `projected` is loaded during the step before.
    row = projected + video.to(gl.int64) * projected_b + direction * projected_d + column
    slot = row + frame.to(gl.int64) * projected_t
    next_0 = _load(slot, own & (length > 0))
    if NUM_GATES > 1:
        next_1 = _load(slot + H, own & (length > 0))
        next_2 = _load(slot + 2 * H, own & (length > 0))
    if NUM_GATES > 3:
        next_3 = _load(slot + 3 * H, own & (length > 0))

    out_row = out + video.to(gl.int64) * out_b + direction * out_d + column
    if HAS_CELLS:
        cells_row = cells + video.to(gl.int64) * cells_b + direction * cells_d + column
    step = 0
    while step < num_steps:
        live = step < length
        live_rows = step < length_of_rows
        now_0 = _to_rows(next_0, MMA, NUM_WARPS).to(gl.float32)
        slot = row + (frame + sign * (step + 1)).to(gl.int64) * projected_t
        mask = own & (step + 1 < length)
        next_0 = _load(slot, mask)
        if NUM_GATES > 1:
            now_1 = _to_rows(next_1, MMA, NUM_WARPS).to(gl.float32)
            now_2 = _to_rows(next_2, MMA, NUM_WARPS).to(gl.float32)
            next_1 = _load(slot + H, mask)
            next_2 = _load(slot + 2 * H, mask)
        if NUM_GATES > 3:
            now_3 = _to_rows(next_3, MMA, NUM_WARPS).to(gl.float32)
            next_3 = _load(slot + 3 * H, mask)

        exchange.store(_to_units(h.to(out.dtype.element_ty), UNITS, NUM_WARPS))
        operand = exchange.load(gl.DotOperandLayout(1, MMA, 2))
        pre_0 = mma_v2(weight_0, operand, now_0)
        if CELL == "tanh":
            h_new = tanh(pre_0, True)
        if CELL == "relu":
            h_new = gl.where(pre_0 < 0.0, 0.0, pre_0)
        if CELL == "gru":
            pre_1 = mma_v2(weight_1, operand, now_1)
            pre_2 = mma_v2(weight_2, operand, hidden_bias)
            h_new = gru(pre_0, pre_1, now_2, pre_2, h, True)
        if CELL == "lstm":
            pre_1 = mma_v2(weight_1, operand, now_1)
            pre_2 = mma_v2(weight_2, operand, now_2)
            pre_3 = mma_v2(weight_3, operand, now_3)
            h_new, c_new = lstm(pre_0, pre_1, pre_2, pre_3, c, True)

        # A video that has ended keeps its state, and its steps clear the frames past its end.
        position = gl.where(live, frame + sign * step, step).to(gl.int64)
        _store_rows(out_row + position * out_t, h_new, live_rows, own, UNITS, NUM_WARPS)
        h = gl.where(live_rows, h_new, h)
        if CELL == "lstm":
            if HAS_CELLS:
                _store_rows(cells_row + position * cells_t, c_new, live_rows, own, UNITS, NUM_WARPS)
            c = gl.where(live_rows, c_new, c)
        step += 1

    _store(h_last + state, _to_units(h, UNITS, NUM_WARPS), own)
    if CELL == "lstm":
        _store(c_last + state, _to_units(c, UNITS, NUM_WARPS), own)
    nothing = gl.full([WHOLE, TILE], 0.0, gl.float32, layout=UNITS)
    while step < num_frames:
        position = length.to(gl.int64) * 0 + step
        _store(out_row + position * out_t, nothing, own)
        if HAS_CELLS:
            _store(cells_row + position * cells_t, nothing, own)
        step += 1


@gluon.jit
def _exchange(value):
    """Put a [units, TILE] into shared memory, from where it is read as the second operand of a product."""
    return gl.allocate_shared_memory(value.dtype, value.shape, gl.SwizzledSharedLayout(8, 1, 8, [0, 1]), value)


# fmt: off
@gluon.jit(do_not_specialize=["num_videos", "num_frames"])
def _backward_kernel(
    gates, gates_t, gates_b, gates_d,  # each with its strides
    before, before_t, before_b, before_d,
    d_out, d_out_t, d_out_b, d_out_d,
    d_gates, d_gates_t, d_gates_b, d_gates_d,
    weight_hh,
    dh_last, dc_last, dh_first, dc_first,  # [D, B, H] float32
    lengths, num_videos, num_frames, num_heads, num_directions, H, K,
    CELL: tl.constexpr, NUM_GATES: tl.constexpr,
    TILE: tl.constexpr, WHOLE: tl.constexpr, NUM_WARPS: tl.constexpr,
    UNITS: tl.constexpr,  # where a [units, TILE] lies: as the products leave it, see `_to_units`
    BACKWARDS: tl.constexpr,  # bit d: this loop goes backwards in direction d
    HAS_LENGTHS: tl.constexpr,
):
    # fmt: on
    MMA: tl.constexpr = gl.NVMMADistributedLayout([2, 0], [NUM_WARPS, 1], [16, 8])
    OPERAND: tl.constexpr = gl.DotOperandLayout(1, MMA, 2)
    head = gl.program_id(0) % num_heads
    direction = gl.program_id(0) // num_heads % num_directions
    first = gl.program_id(0) // (num_heads * num_directions) * TILE
    videos = first + gl.arange(0, TILE, layout=gl.SliceLayout(0, UNITS))
    lengths_1d = _lengths(lengths, videos, num_videos, num_frames, HAS_LENGTHS)
    num_steps = gl.reduce(lengths_1d, 0, larger)
    video = videos[None, :]
    length = lengths_1d[None, :]
    backwards = (BACKWARDS >> direction) & 1
    sign = 1 - 2 * backwards
    frame = gl.where(backwards == 1, length - 1, 0)
    videos_of_rows = first + gl.arange(0, TILE, layout=gl.SliceLayout(0, MMA))
    length_of_rows = _lengths(lengths, videos_of_rows, num_videos, num_frames, HAS_LENGTHS)[None, :]

    unit = gl.arange(0, WHOLE, layout=gl.SliceLayout(1, UNITS))[:, None]
    own = (unit < K) & (video < num_videos)
    column = head * K + unit
    weight = weight_hh + (direction * NUM_GATES * H + head * K).to(gl.int64) * K
    weight_0 = _weight(weight, K, WHOLE, True, MMA, NUM_WARPS)
    if NUM_GATES > 1:
        weight_1 = _weight(weight + H * K, K, WHOLE, True, MMA, NUM_WARPS)
        weight_2 = _weight(weight + 2 * H * K, K, WHOLE, True, MMA, NUM_WARPS)
    if NUM_GATES > 3:
        weight_3 = _weight(weight + 3 * H * K, K, WHOLE, True, MMA, NUM_WARPS)

    state = (direction * num_videos + video).to(gl.int64) * H + column
    dh = _to_rows(_load(dh_last + state, own), MMA, NUM_WARPS)
    if CELL == "lstm":
        dc = _to_rows(_load(dc_last + state, own), MMA, NUM_WARPS)
    nothing = gl.full([WHOLE, TILE], 0.0, gl.float32, layout=MMA)

    # What a step reads is loaded during the step before.
    video = video.to(gl.int64)
    gates_row = gates + video * gates_b + direction * gates_d + column
    if NUM_GATES > 1:
        before_row = before + video * before_b + direction * before_d + column
    d_out_row = d_out + video * d_out_b + direction * d_out_d + column
    slot = gates_row + frame.to(gl.int64) * gates_t
    mask = own & (length > 0)
    next_0 = _load(slot, mask)
    next_d_out = _load(d_out_row + frame.to(gl.int64) * d_out_t, mask)
    if NUM_GATES > 1:
        next_1 = _load(slot + H, mask)
        next_2 = _load(slot + 2 * H, mask)
        next_3 = _load(slot + 3 * H, mask)
        next_before = _load(before_row + frame.to(gl.int64) * before_t, mask)

    d_gates_row = d_gates + video * d_gates_b + direction * d_gates_d + column
    step = 0
    while step < num_steps:
        live = step < length
        live_rows = step < length_of_rows
        now_0 = _to_rows(next_0, MMA, NUM_WARPS).to(gl.float32)
        d_h = dh + _to_rows(next_d_out, MMA, NUM_WARPS).to(gl.float32)
        position = (frame + sign * (step + 1)).to(gl.int64)
        slot = gates_row + position * gates_t
        mask = own & (step + 1 < length)
        next_0 = _load(slot, mask)
        next_d_out = _load(d_out_row + position * d_out_t, mask)
        if NUM_GATES > 1:
            now_1 = _to_rows(next_1, MMA, NUM_WARPS).to(gl.float32)
            now_2 = _to_rows(next_2, MMA, NUM_WARPS).to(gl.float32)
            now_3 = _to_rows(next_3, MMA, NUM_WARPS).to(gl.float32)
            now_before = _to_rows(next_before, MMA, NUM_WARPS).to(gl.float32)
            next_1 = _load(slot + H, mask)
            next_2 = _load(slot + 2 * H, mask)
            next_3 = _load(slot + 3 * H, mask)
            next_before = _load(before_row + position * before_t, mask)

        carried = nothing
        if CELL == "tanh":
            d_0 = d_h * (1.0 - now_0 * now_0)
        if CELL == "relu":
            d_0 = gl.where(now_0 > 0.0, d_h, 0.0)
        if CELL == "gru":
            d_0, d_1, d_2, d_3, carried = gru_backward(now_0, now_1, now_2, now_3, now_before, d_h, True)
        if CELL == "lstm":
            d_0, d_1, d_2, d_3, dc_new = lstm_backward(now_0, now_1, now_2, now_3, now_before, d_h, dc, True)
            dc = gl.where(live_rows, dc_new, dc)

        # All parts go to shared memory before the first product, so that they share one barrier.
        d_0 = _to_units(d_0.to(weight_0.dtype), UNITS, NUM_WARPS)
        part_0 = _exchange(d_0)
        if NUM_GATES > 1:
            d_1 = _to_units(d_1.to(weight_0.dtype), UNITS, NUM_WARPS)
            d_2 = _to_units(d_2.to(weight_0.dtype), UNITS, NUM_WARPS)
            d_3 = _to_units(d_3.to(weight_0.dtype), UNITS, NUM_WARPS)
            part_1 = _exchange(d_1)
            part_3 = _exchange(d_3)
        if NUM_GATES > 3:
            part_2 = _exchange(d_2)
        carried = mma_v2(weight_0, part_0.load(OPERAND), carried)
        if NUM_GATES > 1:
            carried = mma_v2(weight_1, part_1.load(OPERAND), carried)
        if NUM_GATES == 3:  # the recurrent part of n stands after the input's
            carried = mma_v2(weight_2, part_3.load(OPERAND), carried)
        if NUM_GATES > 3:
            carried = mma_v2(weight_2, part_2.load(OPERAND), carried)
            carried = mma_v2(weight_3, part_3.load(OPERAND), carried)

        # A video that has ended keeps its gradient, and its steps clear the frames past its end.
        position = gl.where(live, frame + sign * step, step).to(gl.int64)
        slot = d_gates_row + position * d_gates_t
        _store(slot, gl.where(live, d_0, 0.0), own)
        if NUM_GATES > 1:
            _store(slot + H, gl.where(live, d_1, 0.0), own)
            _store(slot + 2 * H, gl.where(live, d_2, 0.0), own)
            _store(slot + 3 * H, gl.where(live, d_3, 0.0), own)
        dh = gl.where(live_rows, carried, dh)
        step += 1

    _store(dh_first + state, _to_units(dh, UNITS, NUM_WARPS), own)
    if CELL == "lstm":
        _store(dc_first + state, _to_units(dc, UNITS, NUM_WARPS), own)
    nothing = gl.full([WHOLE, TILE], 0.0, gl.float32, layout=UNITS)
    while step < num_frames:
        slot = d_gates_row + (length.to(gl.int64) * 0 + step) * d_gates_t
        _store(slot, nothing, own)
        if NUM_GATES > 1:
            _store(slot + H, nothing, own)
            _store(slot + 2 * H, nothing, own)
            _store(slot + 3 * H, nothing, own)
        step += 1


def units_layout(num_units: int, tile: int, num_warps: int) -> gl.DistributedLinearLayout:
    """Return the layout of a [units, tile of 8 videos].

    A thread has neighbouring units of two videos. No value leaves its thread between this layout and the rows in which
    a product leaves its result.

    Args:
        num_units: The number of units of a head, padded to a power of 2, at least 16 for each warp.
        tile: The number of videos of a program: 8.
        num_warps: The number of warps of a program.
    """
    neighbours = num_units // (8 * num_warps)

    def powers(first: int, stop: int) -> list[list[int]]:
        return [[1 << bit, 0] for bit in range(first.bit_length() - 1, stop.bit_length() - 1)]

    return gl.DistributedLinearLayout(
        reg_bases=[*powers(1, neighbours), [0, 1]],
        lane_bases=[[0, 2], [0, 4], *powers(neighbours, 8 * neighbours)],
        warp_bases=powers(8 * neighbours, num_units),
        block_bases=[],
        shape=[num_units, tile],
    )


def launch(kind: str, num_groups: int, num_warps: int, **arguments: Any) -> None:
    """Run a kernel for all (tile, direction, head).

    Args:
        kind: forward or backward.
        num_groups: The number of (tile, direction, head).
        num_warps: The maximum number of warps of a program. A warp has at least 16 units, the wide side of mma.sync.
        **arguments: The arguments of the kernel, by name; there may be others too.
    """
    kernel = _forward_kernel if kind == "forward" else _backward_kernel
    arguments["NUM_WARPS"] = min(num_warps, arguments["WHOLE"] // 16)
    arguments["UNITS"] = units_layout(arguments["WHOLE"], arguments["TILE"], arguments["NUM_WARPS"])
    taken = {name: value for name, value in arguments.items() if name in kernel.arg_names}
    kernel[(num_groups,)](**taken, num_warps=arguments["NUM_WARPS"])
