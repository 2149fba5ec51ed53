"""This module runs a layer over whole videos on a CPU, forward and backward: all that surrounds the loop over time.

B videos, T frames, F features, H hidden units in N heads of K = H/N, D directions, G gates; n frames of a chunk. Batch
first.

The frames go through the loop in chunks. What a chunk needs is computed when its turn comes, and is still in the cache
when the loop reads it. The loop has the frames first, and with several heads the heads next, [n, B, C*K] or
[n, N, B, C*K], which is called "loop layout" here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pipeline.rnn.cells import NUM_GATES, Weights
from pipeline.rnn.cpu import matmul
from pipeline.rnn.cpu.backward_loop import Kept, run_backward
from pipeline.rnn.cpu.forward_loop import KEPT, Carry, frames_in_order, run_forward

CHUNK_ROWS = 512  # videos times frames of a chunk
# A step with fewer multiplications runs on one thread, because two threads would wait for each other longer than they
# work. Measured on two cores with OMP_WAIT_POLICY=PASSIVE, one thread takes 0.4 of the time of two at 1.6 million
# multiplications (GRU, B=8, H=256), 0.7 at 6 million, and the same time at 50 million.
ONE_THREAD_MULTIPLICATIONS = 8_000_000


@dataclass(frozen=True)
class Direction:
    """One direction of a layer, for videos of given lengths.

    Attributes:
        cell: tanh, relu, gru or lstm.
        weights: The weights of this direction.
        lengths: The number of valid frames of each video, longest first; a length may be 0.
        reverse: Whether the direction runs from the last frame of each video to its first.
    """

    cell: str
    weights: Weights
    lengths: Sequence[int]
    reverse: bool

    def forward(
        self, x: Tensor, h0: Tensor, c0: Tensor | None, out: Tensor, kept: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Run all frames.

        Args:
            x: [B, T, F], the input.
            h0: [B, H], the hidden state before the first step.
            c0: [B, H], the cell state before the first step, for LSTM only.
            out: [B, T, H], the outputs; written where frames are valid.
            kept: [T, .., B, KEPT*K], what the backward pass needs, written likewise; None where no gradient is needed.

        Returns:
            h and c after the last step of each video, [B, H].
        """
        h, c = self._carry(h0), None if c0 is None else self._carry(c0)
        weight = self._weight_to_loop().mT
        bias, bias_n = self._biases()
        project = matmul.by_matrix if kept is None else matmul.by_weight
        size = self._chunk_size()
        out_buffer = x.new_empty(self.loop_shape(size, len(x), 1))
        kept_buffer = x.new_empty(self.kept_shape(size, len(x)) if kept is None else 0)
        for lo, hi in self._chunks():
            projected = project(self._rows(x, lo, hi), self.weights.ih, bias)
            projected = self._to_loop(projected.unflatten(0, (hi - lo, -1)), NUM_GATES[self.cell])
            out_chunk = out_buffer[: hi - lo]
            if self.lengths[-1] < hi:
                out_chunk.zero_()
            kept_chunk = kept_buffer[: hi - lo] if kept is None else kept[lo:hi]
            frames = frames_in_order(self._live(lo, hi), reverse=self.reverse)
            self._run_loop(run_forward, self.cell, projected, weight, bias_n, h, c, out_chunk, kept_chunk, frames)
            out[:, lo:hi] = self._from_loop(out_chunk).transpose(0, 1)
        return self._final(h), None if c is None else self._final(c)

    def backward(
        self,
        x: Tensor,
        h0: Tensor,
        c0: Tensor | None,
        out: Tensor,
        kept: Tensor,
        d_out: Tensor,
        d_h: Tensor,
        d_c: Tensor | None,
        d_x: Tensor | None,
    ) -> tuple[Weights, Tensor, Tensor | None]:
        """Run the backward pass of `forward`.

        Args:
            x: [B, T, F], the input.
            h0: [B, H], the hidden state before the first step.
            c0: [B, H], the cell state before the first step, for LSTM only.
            out: [B, T, H], the outputs that `forward` wrote.
            kept: [T, .., B, KEPT*K], what `forward` kept.
            d_out: [B, T, H], the gradient of the outputs.
            d_h: [B, H], the gradient of h after the last step.
            d_c: [B, H], the gradient of c after the last step, for LSTM only.
            d_x: [B, T, F], the gradient of x; written where frames are valid, unless it is None.

        Returns:
            The gradients of the weights, and of h and c before the first step, [B, H].
        """
        dh, dc = self._carry(d_h), None if d_c is None else self._carry(d_c)
        weight = self._weight_to_loop()
        sums = self.weights.each(torch.zeros_like)
        d_hh = torch.zeros_like(weight)
        bias_n = self._biases()[1]
        size, num_gates = self._chunk_size(), NUM_GATES[self.cell]
        d_recurrent_buffer = x.new_empty(self.loop_shape(size, len(x), num_gates))
        for lo, hi in reversed(list(self._chunks())):
            forward = self._kept_of_chunk(out, kept, h0, c0, lo, hi)
            d_recurrent = d_recurrent_buffer[: hi - lo]
            if self.lengths[-1] < hi:
                d_recurrent.zero_()
            d_states = self._to_loop(self._frames(d_out, lo, hi)).clone(memory_format=torch.contiguous_format)
            frames = frames_in_order(self._live(lo, hi), reverse=not self.reverse)
            d_n = self._run_loop(
                run_backward, self.cell, forward, weight, bias_n, d_states, dh, dc, d_recurrent, frames
            )
            if self.num_heads == 1:
                matmul.add_weight_gradient(d_hh, d_recurrent.flatten(0, 1), forward.h_before.flatten(0, 1))
            else:
                d_hh += _per_head(d_recurrent).mT @ _per_head(forward.h_before)
            d_rows = self._from_loop(d_recurrent, num_gates).flatten(0, 1)
            d_bias = d_rows.sum(0)
            if sums.bias_hh is not None:
                sums.bias_hh.add_(d_bias)
            if d_n is not None:
                d_recurrent.narrow(-1, d_recurrent.shape[-1] - d_n.shape[-1], d_n.shape[-1]).copy_(d_n)
                d_rows = self._from_loop(d_recurrent, num_gates).flatten(0, 1)
                d_bias = d_rows.sum(0)
            if sums.bias_ih is not None:
                sums.bias_ih.add_(d_bias)
            matmul.add_weight_gradient(sums.ih, d_rows, self._rows(x, lo, hi))
            if d_x is not None:
                d_x_rows = matmul.by_weight(d_rows, self.weights.ih.t())
                d_x[:, lo:hi] = d_x_rows.unflatten(0, (hi - lo, -1)).transpose(0, 1)
        sums.hh.copy_(self._weight_from_loop(d_hh))
        return sums, self._final(dh), None if dc is None else self._final(dc)

    def _carry(self, state: Tensor) -> Carry:
        """Return a carry that starts with a state [B, H], or with its gradient."""
        return Carry(self._to_loop(state[None])[0])

    def _final(self, carry: Carry) -> Tensor:
        """Return what a carry holds after all frames, [B, H]."""
        return self._from_loop(carry.finish()[None])[0]

    def _run_loop(self, loop: Callable[..., Any], *arguments: Any) -> Any:
        if len(self.lengths) * self.weights.hh.numel() > ONE_THREAD_MULTIPLICATIONS:
            return loop(*arguments)
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return loop(*arguments)
        finally:
            torch.set_num_threads(num_threads)

    @property
    def num_heads(self) -> int:
        """N, the number of heads."""
        return self.weights.hh.shape[0] // NUM_GATES[self.cell] // self.weights.hh.shape[1]

    def loop_shape(self, num_frames: int, num_videos: int, per_unit: int) -> tuple[int, ...]:
        """Return the shape of a tensor in loop layout with `per_unit` values for each hidden unit."""
        heads = () if self.num_heads == 1 else (self.num_heads,)
        return (num_frames, *heads, num_videos, per_unit * self.weights.hh.shape[1])

    def kept_shape(self, num_frames: int, num_videos: int) -> tuple[int, ...]:
        """Return the shape of what `forward` keeps."""
        return self.loop_shape(num_frames, num_videos, KEPT[self.cell])

    def _chunk_size(self) -> int:
        """Return the number of frames of a chunk."""
        num_chunks = -(-self.lengths[0] * len(self.lengths) // CHUNK_ROWS)
        return max(1, -(-self.lengths[0] // max(1, num_chunks)))

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """Return the frames [lo, hi) of each chunk, in the order of processing."""
        longest, size = self.lengths[0], self._chunk_size()
        chunks = [(lo, min(lo + size, longest)) for lo in range(0, longest, size)]
        return reversed(chunks) if self.reverse else iter(chunks)

    def _live(self, lo: int, hi: int) -> list[int]:
        """Return the number of videos that are live in each of the frames [lo, hi)."""
        if self.lengths[-1] >= hi:
            return [len(self.lengths)] * (hi - lo)
        return [sum(length > t for length in self.lengths) for t in range(lo, hi)]

    def _frames(self, x: Tensor, lo: int, hi: int) -> Tensor:
        """Return the frames [lo, hi) of x [B, T, C] as [n, B, C], zero at padding, whatever x holds there."""
        frames = x[:, lo:hi].transpose(0, 1)
        if self.lengths[-1] >= hi:
            return frames
        ended = torch.arange(lo, hi, device=x.device)[:, None] >= torch.tensor(self.lengths, device=x.device)
        return frames.masked_fill(ended[..., None], 0)

    def _rows(self, x: Tensor, lo: int, hi: int) -> Tensor:
        """Return the frames [lo, hi) of x [B, T, C] as rows [n*B, C]."""
        return self._frames(x, lo, hi).reshape(-1, x.shape[-1])

    def _biases(self) -> tuple[Tensor | None, Tensor | None]:
        """Return the bias [G*H] of the projection, and separately b_hn of GRU in loop layout, [.., 1, K]."""
        bias_ih, bias_hh = self.weights.bias_ih, self.weights.bias_hh
        size = self.weights.hh.shape[0] // NUM_GATES[self.cell]
        if self.cell != "gru":
            return (None if bias_ih is None or bias_hh is None else bias_ih + bias_hh), None
        if bias_ih is None or bias_hh is None:
            return None, self._to_loop(self.weights.hh.new_zeros(1, 1, size))[0]
        bias = torch.cat([bias_ih[: 2 * size] + bias_hh[: 2 * size], bias_ih[2 * size :]])
        return bias, self._to_loop(bias_hh[None, None, 2 * size :])[0]

    def _kept_of_chunk(self, out: Tensor, kept: Tensor, h0: Tensor, c0: Tensor | None, lo: int, hi: int) -> Kept:
        """Collect what `forward` left of the frames [lo, hi)."""

        def h_of(start: int, stop: int) -> Tensor:
            return self._to_loop(self._frames(out, start, stop))

        def c_of(start: int, stop: int) -> Tensor:
            return kept[start:stop].unflatten(-1, (KEPT[self.cell], -1))[..., -1, :]

        h_before = self._before(h_of, self._to_loop(h0[None]), lo, hi).contiguous()
        c_before = None if c0 is None else self._before(c_of, self._to_loop(c0[None]), lo, hi)
        return Kept(h_of(lo, hi), h_before, c_before, kept[lo:hi])

    def _before(self, state_of: Callable[[int, int], Tensor], initial: Tensor, lo: int, hi: int) -> Tensor:
        """Return the state before each of the frames [lo, hi).

        `state_of` returns the states after the frames of a range, and `initial` [1, .., B, K] is the first state.
        """
        if not self.reverse:
            return state_of(lo - 1, hi - 1) if lo else torch.cat([initial, state_of(0, hi - 1)])
        longest = self.lengths[0]
        states = torch.cat([state_of(lo + 1, min(hi + 1, longest)), *([initial] if hi == longest else [])])
        for video, length in enumerate(self.lengths):
            if lo < length <= hi:
                states[length - 1 - lo, ..., video, :] = initial[0, ..., video, :]
        return states

    def _to_loop(self, x: Tensor, per_unit: int = 1) -> Tensor:
        """Bring x [n, B, C*H] into loop layout, where C = per_unit."""
        if self.num_heads == 1:
            return x
        parts = x.unflatten(-1, (per_unit, self.num_heads, -1))
        return parts.permute(0, 3, 1, 2, 4).flatten(-2)

    def _from_loop(self, x: Tensor, per_unit: int = 1) -> Tensor:
        """Bring x from loop layout into [n, B, C*H], where C = per_unit."""
        if self.num_heads == 1:
            return x
        return x.unflatten(-1, (per_unit, -1)).permute(0, 2, 3, 1, 4).flatten(2)

    def _weight_to_loop(self) -> Tensor:
        """Return W_hh as [G*K, K], or [N, G*K, K] with several heads."""
        hh = self.weights.hh
        if self.num_heads == 1:
            return hh
        return hh.unflatten(0, (-1, self.num_heads, hh.shape[1])).transpose(0, 1).flatten(1, 2)

    def _weight_from_loop(self, weight: Tensor) -> Tensor:
        if self.num_heads == 1:
            return weight
        return weight.unflatten(1, (-1, weight.shape[2])).transpose(0, 1).flatten(0, 2)


def _per_head(x: Tensor) -> Tensor:
    """Return x [n, N, B, C] as [N, n*B, C]."""
    return x.transpose(0, 1).flatten(1, 2)


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
    """Run all directions of a layer. All tensors have one dtype, and videos are sorted by length, longest first.

    Args:
        cell: tanh, relu, gru or lstm.
        x: [B, T, F], the input.
        weights: The weights of all directions, stacked: [D, ...] each.
        h: [D, B, H], the hidden states before the first step.
        c: [D, B, H], the cell states before the first step, for LSTM only.
        lengths: The number of valid frames of each video, 0 to T, longest first.
        reverse: Whether each direction runs from the last frame of a video to its first.
        keep: Whether a backward pass will follow.

    Returns:
        The outputs [B, T, D*H], zero at padding; h and c after the last step of each video, as `h` and `c`; and what
        else the backward pass needs, of the shape `kept_shape`, empty without `keep`.
    """
    num_videos, num_frames, size = x.shape[0], x.shape[1], h.shape[2]
    allocate = x.new_empty if lengths[-1] == num_frames else x.new_zeros
    output = allocate(num_videos, num_frames, len(reverse) * size)
    kept = allocate(kept_shape(cell, weights.hh, num_videos, num_frames)) if keep else x.new_empty(0)
    finals = []
    for d, direction in enumerate(_directions(cell, weights, lengths, reverse)):
        out = output[..., d * size : (d + 1) * size]
        finals.append(direction.forward(x, h[d], None if c is None else c[d], out, kept[d] if keep else None))
    c_n = None if c is None else torch.stack([c_d for _, c_d in finals if c_d is not None])
    return output, torch.stack([h_d for h_d, _ in finals]), c_n, kept


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
    """Run the backward pass of `forward`.

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
        d_h: [D, B, H], the gradient of h after the last step.
        d_c: [D, B, H], the gradient of c after the last step, for LSTM only.
        want_d_x: Whether to compute the gradient of x.

    Returns:
        The gradients of x (None without `want_d_x`), of the weights, stacked as `weights`, and of h and c before the
        first step.
    """
    size = h.shape[2]
    d_x, d_weights, d_h0, d_c0 = None, [], [], []
    for d, direction in enumerate(_directions(cell, weights, lengths, reverse)):
        part = slice(d * size, (d + 1) * size)
        c_d, d_c_d = (None, None) if c is None or d_c is None else (c[d], d_c[d])
        d_x_d = (torch.empty_like if lengths[-1] == x.shape[1] else torch.zeros_like)(x) if want_d_x else None
        d_weights_d, d_h0_d, d_c0_d = direction.backward(
            x, h[d], c_d, output[..., part], kept[d], d_output[..., part], d_h[d], d_c_d, d_x_d
        )
        d_x = d_x_d if d_x is None or d_x_d is None else d_x.add_(d_x_d)
        d_weights.append(d_weights_d)
        d_h0.append(d_h0_d)
        d_c0.append(d_c0_d)
    return (
        d_x,
        Weights.stack(d_weights),
        torch.stack(d_h0),
        None if c is None else torch.stack([d for d in d_c0 if d is not None]),
    )


def kept_shape(cell: str, weight_hh: Tensor, num_videos: int, num_frames: int) -> tuple[int, ...]:
    """Return the shape of what `forward` keeps, for weight_hh [D, G*H, K]."""
    weights = Weights(weight_hh[0], weight_hh[0], None, None)
    return (len(weight_hh), *Direction(cell, weights, [], False).kept_shape(num_frames, num_videos))


def _directions(cell: str, weights: Weights, lengths: Sequence[int], reverse: Sequence[bool]) -> Iterator[Direction]:
    for d, reverse_d in enumerate(reverse):
        yield Direction(cell, weights.each(partial(torch.select, dim=0, index=d)), lengths, reverse_d)
