"""The Triton kernels of this module run the two time loops of a recurrent layer, all frames in one launch.

T frames, B videos, D directions (1 or 2), H hidden units in N heads of K = H / N (W_hh is block-diagonal: a head reads
only itself), G gates (1 for tanh and relu; 3 for GRU: r, z, n; 4 for LSTM: i, f, g, o; equations in cells.py).
Time-major. At step s a video is at frame s, or at frame length-1-s where the loop runs backwards. It is live while
s < length.

A program owns TILE videos of one (direction, head) for all steps. Two decisions make the loop short:
  - Products are [TILE, K] x [K, K], one for each gate, so that no gate has to be cut out of a wider result. With the
    videos along M the compiler takes mma.sync. With the units along M it takes wgmma, and reads all of W_hh from shared
    memory at each step.
  - The loops are `while`, not `for`. Triton sinks the load of a product's operand (shared memory -> registers) into a
    `for`, but leaves it before a `while`, so that W_hh stays in registers. Compiled for sm_90 (Triton 3.9, tanh, K=256,
    bfloat16, tile 8), a step has 9 LDSM, and with `for` 41.

If W_hh of one head is larger than MAX_WEIGHT_BYTES, it is cut into slices of units, one program (and SM) for each. The
programs meet at one barrier per step. They pass the state of all units through `out` (in the backward pass the
gradients through `d_gates`), which has a slot for every frame, so that nothing is overwritten before it is read. Diamos
et al. 2016, "Persistent RNNs", is the source of both ideas: weights that stay on chip over all steps, and programs that
meet at each step.

Where a head is not split and operands have 16 bits, gluon_kernels.py runs the same loops on CUDA, with half of the
products and two barriers per step. The page
docs/results/benchmarks/recurrent_network_gpu.md has the time of a step on a GPU.
"""

# mypy: disable-error-code="no-untyped-def"
# (Kernels have no types that Python knows.)

import triton
import triton.language as tl

from pipeline.rnn.gpu.cells import gru, gru_backward, larger, lstm, lstm_backward, tanh


@triton.jit
def _load(pointer, mask):
    return tl.load(pointer, mask=mask, other=0.0)


@triton.jit
def _load_fresh(pointer, mask, KEEP: tl.constexpr):
    """Load what another program may have written, past the cache of this SM, which may be stale.

    Where an operand of a product comes straight from a load, Triton 3.9 moves the reading of the other operand, the
    weights, behind that load and so into the loop. KEEP prevents this by a sum, so that the weights stay in registers:
    with it, tanh (K=512, tile 8) has 16 LDSM per step instead of 48.
    """
    value = tl.load(pointer, mask=mask, other=0.0, cache_modifier=".cg")
    return value + 0.0 if KEEP else value


@triton.jit
def _store(pointer, value, mask):
    tl.store(pointer, value.to(pointer.dtype.element_ty), mask=mask)


@triton.jit
def _product(operand, weight, total, PRECISION: tl.constexpr):
    """Return total + operand x weight, with the operand rounded to the dtype of the weight."""
    return tl.dot(operand.to(weight.dtype), weight, acc=total, input_precision=PRECISION, out_dtype=tl.float32)


@triton.jit
def _meet(counter, num_arrivals):
    """Wait until the programs that share `counter` have arrived `num_arrivals` times in all.

    Each of them then sees what all have written. The first barrier puts the writes of all threads before the release,
    and the second one puts their reads after the acquire.
    """
    tl.debug_barrier()
    tl.atomic_add(counter, 1, sem="release", scope="gpu")
    while tl.atomic_add(counter, 0, sem="acquire", scope="gpu") < num_arrivals:
        pass
    tl.debug_barrier()


@triton.jit
def _place(first_group, num_heads, num_directions, TILE: tl.constexpr):
    """Return the direction, the head and the videos [TILE, 1] of a program.

    The grid has a group for each (tile, direction, head), and the slices of each group.
    """
    group = first_group + tl.program_id(0)
    tile = group // (num_heads * num_directions)
    return group // num_heads % num_directions, group % num_heads, tile * TILE + tl.arange(0, TILE)[:, None]


@triton.jit
def _lengths(lengths, video, num_videos, num_frames, HAS_LENGTHS: tl.constexpr):
    """Return the length of each `video` [TILE, 1]; 0 past the last video."""
    if HAS_LENGTHS:
        return tl.load(lengths + video, mask=video < num_videos, other=0).to(tl.int32)
    return tl.where(video < num_videos, num_frames, 0)


# fmt: off
@triton.jit(do_not_specialize=["num_videos", "num_frames", "first_group"])
def forward_kernel(
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
    """Run the forward loop. `launch.forward_loop` describes the tensors, `launch.Plan` the constants."""
    direction, head, video = _place(first_group, num_heads, num_directions, TILE)
    length = _lengths(lengths, video, num_videos, num_frames, HAS_LENGTHS)
    num_steps = tl.reduce(length, None, larger)
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
            h_new = tanh(pre_0, False)
        if CELL == "relu":
            h_new = tl.where(pre_0 < 0.0, 0.0, pre_0)
        if CELL == "gru":
            pre_1 = _product(operand, weight_1, now_1, PRECISION)
            pre_2 = _product(operand, weight_2, hidden_bias, PRECISION)
            h_new = gru(pre_0, pre_1, now_2, pre_2, h, False)
        if CELL == "lstm":
            pre_1 = _product(operand, weight_1, now_1, PRECISION)
            pre_2 = _product(operand, weight_2, now_2, PRECISION)
            pre_3 = _product(operand, weight_3, now_3, PRECISION)
            h_new, c_new = lstm(pre_0, pre_1, pre_2, pre_3, c, False)

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
def backward_kernel(
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
    """Run the backward loop. `launch.backward_loop` describes the tensors, `launch.Plan` the constants."""
    direction, head, video = _place(first_group, num_heads, num_directions, TILE)
    length = _lengths(lengths, video, num_videos, num_frames, HAS_LENGTHS)
    num_steps = tl.reduce(length, None, larger)
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

        if NUM_SLICES > 1:  # This is the product of the previous step, whose gradients all slices have written now.
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
            d_0, d_1, d_2, d_3, carried = gru_backward(now_0, now_1, now_2, now_3, now_before, d_h, False)
        if CELL == "lstm":
            d_0, d_1, d_2, d_3, dc_new = lstm_backward(now_0, now_1, now_2, now_3, now_before, d_h, dc, False)
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
