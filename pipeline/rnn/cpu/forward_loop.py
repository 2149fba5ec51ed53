"""This module runs the forward loop over time without autograd.

Every step writes in place into a buffer that is made before the loop.

n frames in the order of processing, B videos, N heads of K = H/N units; G gates. Tensors of a frame are [B, ...] with
one head and [N, B, ...] with several, written [.., B, ...]: the block-diagonal W_hh makes the heads independent
networks, as the videos are. A video is live in the frames before its end. Videos are sorted by length, longest first,
so that those which are live in a frame are its first rows.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

# The number of values that each unit keeps for the backward pass, in the order in which they lie in a frame's buffer.
KEPT = {"tanh": 0, "relu": 0, "gru": 3, "lstm": 5}  # gru: r, z, n; lstm: i, f, g, o, c


class Carry:
    """What one frame hands to the next for the videos that are live: a state, or in the backward pass its gradient.

    Args:
        initial: [.., B, K], the value with which each video starts.

    Attributes:
        final: [.., B, K], the value with which each video ended, once `finish` has been called.
        value: [.., num_live, K], the value after the current frame; the loop sets it.
    """

    def __init__(self, initial: Tensor) -> None:
        self._initial = initial
        self.final = initial.clone()
        self.value = initial.narrow(-2, 0, 0)

    def take(self, num_live: int) -> Tensor:
        """Return the value for the next frame.

        Videos that have ended leave the last rows, and videos that begin join there.

        Args:
            num_live: The number of videos that are live in the next frame.

        Returns:
            The value, [.., num_live, K].
        """
        rows = self.value.shape[-2]
        if rows > num_live:
            self.final.narrow(-2, num_live, rows - num_live).copy_(self.value.narrow(-2, num_live, rows - num_live))
            self.value = self.value.narrow(-2, 0, num_live)
        elif rows < num_live:
            joining = self._initial.narrow(-2, rows, num_live - rows)
            self.value = torch.cat([self.value, joining], -2) if rows else joining
        return self.value

    def finish(self) -> Tensor:
        """End all videos and return their final values, [.., B, K]."""
        self.take(0)
        return self.final


# (buffer, row_dim=-2) -> the live rows of each of its frames, as views, in the order of processing.
Frames = Callable[..., list[Tensor]]


def frames_in_order(live: Sequence[int], *, reverse: bool) -> Frames:
    """Return a function that splits the buffers of a chunk into frames.

    Args:
        live: The number of live videos in each frame of the chunk.
        reverse: Whether the last frame comes first.

    Returns:
        A function of a buffer [n, ...] and the dimension of its rows. It returns the live rows of each frame as views,
        in the order of processing.
    """

    def frames(buffer: Tensor, row_dim: int = -2) -> list[Tensor]:
        views = list(buffer.unbind(0))
        if live[-1] < buffer.shape[row_dim]:  # The last frame has the fewest live videos.
            views = [view.narrow(row_dim, 0, rows) for view, rows in zip(views, live, strict=True)]
        return views[::-1] if reverse else views

    return frames


def run_forward(
    cell: str,
    projected: Tensor,
    weight: Tensor,
    bias_n: Tensor | None,
    h: Carry,
    c: Carry | None,
    out: Tensor,
    kept: Tensor,
    frames: Frames,
) -> None:
    """Run the frames of one chunk.

    Args:
        cell: tanh, relu, gru or lstm.
        projected: [n, .., B, G*K], W_ih x + b_ih + b_hh, but without b_hh for n of GRU; overwritten.
        weight: [.., K, G*K], W_hh transposed.
        bias_n: [.., 1, K], b_hn of GRU; None for the other cells.
        h: The hidden state, carried in from the previous chunk and on to the next.
        c: The cell state, carried likewise, for LSTM only.
        out: [n, .., B, K], written: h_t. Rows that are not live are not changed.
        kept: [n, .., B, KEPT*K], written: what the backward pass needs.
        frames: Splits a buffer into the live rows of its frames, see `frames_in_order`.
    """
    add_product = Tensor.addmm_ if weight.ndim == 2 else Tensor.baddbmm_  # one head or several
    match cell:
        case "tanh" | "relu":
            activate = torch.tanh if cell == "tanh" else partial(torch.clamp, min=0)
            _elman(activate, add_product, projected, weight, h, out, frames)
        case "gru":
            assert bias_n is not None
            _gru(add_product, projected, weight, bias_n, h, out, kept, frames)
        case "lstm":
            assert c is not None
            _lstm(add_product, projected, weight, h, c, out, kept, frames)
    for carry in (h, c):
        if carry is not None:
            carry.value = carry.value.clone()  # The next chunk may overwrite this one.


def _elman(
    activate: Callable[..., Tensor],
    add_product: Callable[..., Tensor],
    projected: Tensor,
    weight: Tensor,
    h: Carry,
    out: Tensor,
    frames: Frames,
) -> None:
    for projected_t, out_t in zip(frames(projected), frames(out), strict=True):
        h.value = activate(add_product(projected_t, h.take(out_t.shape[-2]), weight), out=out_t)


def _gru(
    add_product: Callable[..., Tensor],
    projected: Tensor,
    weight: Tensor,
    bias_n: Tensor,
    h: Carry,
    out: Tensor,
    kept: Tensor,
    frames: Frames,
) -> None:
    size = out.shape[-1]
    weight_rz, weight_n = weight.split([2 * size, size], -1)
    product = torch.addmm if weight.ndim == 2 else torch.baddbmm
    views = (
        *(frames(part) for part in projected.split([2 * size, size], -1)),
        *(frames(part) for part in (kept[..., : 2 * size], *kept.split(size, -1))),
        frames(out),
    )
    for projected_rz, projected_n, rz, r, z, n, out_t in zip(*views, strict=True):
        before = h.take(out_t.shape[-2])
        torch.sigmoid(add_product(projected_rz, before, weight_rz), out=rz)
        product_n = product(bias_n, before, weight_n)
        torch.addcmul(projected_n, r, product_n, out=n).tanh_()
        h.value = torch.lerp(n, before, z, out=out_t)


def _lstm(
    add_product: Callable[..., Tensor],
    projected: Tensor,
    weight: Tensor,
    h: Carry,
    c: Carry,
    out: Tensor,
    kept: Tensor,
    frames: Frames,
) -> None:
    size = out.shape[-1]
    views = (
        frames(projected),
        *(frames(part) for part in projected.split([2 * size, size, size], -1)),
        *(frames(part) for part in (kept[..., : 2 * size], *kept.split(size, -1))),
        frames(out),
    )
    for a, a_if, a_g, a_o, i_f, i, f, g, o, c_t, out_t in zip(*views, strict=True):
        add_product(a, h.take(out_t.shape[-2]), weight)
        torch.sigmoid(a_if, out=i_f)
        torch.tanh(a_g, out=g)
        torch.sigmoid(a_o, out=o)
        c.value = torch.mul(f, c.take(out_t.shape[-2]), out=c_t).addcmul_(i, g)
        h.value = torch.tanh(c_t, out=out_t).mul_(o)
