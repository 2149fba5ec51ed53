"""Whether gradients vanish or explode on their way back through time, made visible.

B videos, T frames, H hidden units in N heads of K = H/N; L layers, D directions, G gates.

The loss of frame t reaches the state k frames earlier through a product of k Jacobians, of a tanh network
    dL_t/dh_(t-k) = J_(t-k+1)^T ... J_t^T dL_t/dh_t        J_j = dh_j/dh_(j-1) = diag(1 - h_j^2) W_hh
so its norm falls or grows about as a power of k (Hochreiter 1991; Bengio, Simard, Frasconi 1994). In a linear network
it goes like rho^k, rho the spectral radius of W_hh: below 1 it must vanish, only above 1 can it explode. The slopes of
tanh and relu are at most 1, so that with them too it must vanish where the largest singular value of W_hh, which is
never below rho, is below 1 (Pascanu, Mikolov, Bengio 2013, arXiv 1211.5063, section 2). Gates are the way around it:
the cell state of an LSTM goes from frame to frame through a product with f alone, whatever W_hh is.

In the sum over all frames none of this shows, for the label of each frame sends a fresh gradient to its state. So there
are two measurements: `Observed.norms` of a whole loss, as training has it, and `Observed.flow` of one frame's share.

What vanishes cannot be learnt from; what was learnt before may stay. A network that holds on to something against all
noise has a vanishing gradient too (Bengio, Simard, Frasconi 1994), as its units are where tanh is flat.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pipeline.rnn import reference
from pipeline.rnn.cells import Weights
from pipeline.rnn.module import GRU, LSTM, RNN

GATES = {"tanh": ("h",), "relu": ("h",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}
# Of float32's 24 bits none is left: added to a summand of 1, such a small one changes nothing.
VANISHED = 2.0**-24
# The farthest frame outweighs the nearest so much that, with the gradient clipped, the nearest is hardly learnt from.
EXPLODED = 1000.0

Verdict = Literal["vanishing", "exploding", "healthy"]


class GradientFlow(NamedTuple):
    """How the gradient of one frame's loss fares on its way back through time, see `Observed.flow`.

    norms            [L, D, k]     of dL/dh at the frame that the loss reads and 1, 2, .. frames from it, for a gradient
                                   of norm 1 at the module's outputs
    factor           [L, D]        by which norms change with each frame: 10 to the slope of a straight line through
                                   their log10 (least squares); inf where a norm is no number
    spectral_radius  [L, D, G, N]  of each gate's and head's block of W_hh
    gates            the names of the G gates, as in `cells`
    """

    norms: Tensor
    factor: Tensor
    spectral_radius: Tensor
    gates: tuple[str, ...]

    @property
    def longest(self) -> float:
        """The factor of the layer and direction on whose way the gradient lasts longest."""
        return self.factor.max().item()

    @property
    def verdict(self) -> Verdict:
        """By what `longest` makes of a gradient over all frames that were measured."""
        left = self.longest ** (self.norms.shape[2] - 1)
        return "vanishing" if left < VANISHED else "exploding" if left > EXPLODED else "healthy"

    @property
    def reach(self) -> float:
        """After how many frames `longest` leaves VANISHED of a gradient; inf where it does not fall."""
        return math.log(VANISHED) / math.log(self.longest) if self.longest < 1 else math.inf


class Observed:
    """The last forward pass of a module within `observe`: its hidden states, which gradients are taken of."""

    def __init__(self, module: RNN | GRU | LSTM) -> None:
        self._module = module
        self._states: list[list[dict[int, Tensor]]] = []  # of layer, direction and frame: h_t [B, H]
        self._outputs = torch.empty(0)
        self._live = torch.empty(0)  # [B, T], whether a frame is one of its video's

    def norms(self, loss: Tensor) -> Tensor:
        """The L2 norm of dL/dh_t over all units and all videos that are live in frame t: [L, D, T].

        `loss` is a scalar that was computed from the module's outputs. dL/dh_t holds both ways that lead from h_t to
        the loss, the output of frame t and the next state, but of an LSTM not the one through c_t. Frames in which no
        video is live have NaN: there is no such state.
        """
        squares = self._squares(torch.autograd.grad(loss, self._all_states(), retain_graph=True, allow_unused=True))
        return squares.sum(2).sqrt().masked_fill(~self._live.any(0), math.nan)

    def flow(self, loss: Tensor) -> GradientFlow:
        """The same of the loss's share in one frame of each video alone: the last one that the loss reads, and of the
        reverse direction the first. With loss = sum_t L_t that is dL_T/dh_(T-k), T the last labelled frame.

        The share is scaled to norm 1 at the module's outputs, for how wrong the network is on that frame says nothing
        of the way back. norms[l, d, k] is then the root mean square, over the videos that have a frame at distance k,
        of the norm over units. Videos that the loss does not read are left out; were it none of them, k is 1 and
        nothing vanishes.
        """
        (d_outputs,) = torch.autograd.grad(loss, self._outputs, retain_graph=True)
        is_read = (d_outputs != 0).any(2) & self._live
        positions = torch.arange(is_read.shape[1], device=is_read.device)
        last = torch.where(is_read, positions, -1).amax(1)
        first = torch.where(is_read, positions, len(positions)).amin(1)
        parts = []
        for direction, start in enumerate((last, first)[: self._module.num_directions]):
            share = d_outputs.double() * (positions == start[:, None]).unsqueeze(2)
            sizes = torch.linalg.vector_norm(share, dim=(1, 2), keepdim=True)
            share = (share / torch.where(sizes > 0, sizes, 1)).to(d_outputs)
            gradients = torch.autograd.grad(
                self._outputs, self._all_states(), share, retain_graph=True, allow_unused=True
            )
            squares = self._squares(gradients)[:, direction]
            distances = start[:, None] - positions if direction == 0 else positions - start[:, None]
            within = (distances >= 0) & self._live & is_read.any(1, keepdim=True)
            parts.append(_by_distance(squares, torch.where(within, distances, -1)))
        num_steps = min(part.shape[1] for part in parts)
        norms = torch.stack([part[:, :num_steps] for part in parts], dim=1).cpu()
        cell = self._module.cell
        return GradientFlow(norms, _factor(norms), spectral_radii(self._module), GATES[cell])

    def _all_states(self) -> list[Tensor]:
        if not self._states:
            raise RuntimeError("the module was not run within `observe`")
        return [h for layer in self._states for direction in layer for h in direction.values()]

    def _squares(self, gradients: Sequence[Tensor | None]) -> Tensor:
        """Of each of `_all_states` -> summed over units [L, D, B, T], zero where a video is not live."""
        num_videos, num_frames = self._outputs.shape[:2]
        shape = (len(self._states), self._module.num_directions, num_videos, num_frames)
        squares = torch.zeros(shape, dtype=torch.float64, device=self._outputs.device)
        remaining = iter(gradients)
        for layer, directions in enumerate(self._states):
            for direction, states in enumerate(directions):
                for t in states:
                    gradient = next(remaining)
                    if gradient is not None:
                        squares[layer, direction, :, t] = gradient.double().square().sum(1)
        return squares * self._live

    def _run(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        self._states = []

        def run_layer(
            cell: str, x: Tensor, weights: Sequence[Weights], h: Tensor, c: Tensor | None, lengths: Tensor | None
        ) -> tuple[Tensor, Tensor, Tensor | None]:
            states: list[dict[int, Tensor]] = [{} for _ in weights]
            self._states.append(states)
            return reference.run_layer(cell, x, weights, h, c, lengths, lambda d, t, h_t: states[d].__setitem__(t, h_t))

        self._outputs, final = self._module.run(x, state, lengths, run_layer)
        ends = torch.full(x.shape[:1], x.shape[1]) if lengths is None else lengths
        self._live = reference.frame_mask(ends, x.shape[1], x.device)
        return self._outputs, final


@contextmanager
def observe(module: RNN | GRU | LSTM) -> Iterator[Observed]:
    """Within it, `module` runs on the reference path and its states are held, wherever in a larger model it sits.

    >>> rnn, head = RNN(3, 4), torch.nn.Linear(4, 2)
    >>> with observe(rnn) as observed:
    ...     outputs, _ = rnn(torch.randn(2, 5, 3))
    >>> observed.norms(head(outputs).square().sum()).shape  # layers, directions, frames
    torch.Size([1, 1, 5])

    No parameter's `.grad` is touched. With dropout between layers call `eval()` before, for else it is drawn twice.
    """
    observed = Observed(module)

    def rerun(_module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _outputs: Any) -> Any:
        return observed._run(*args, **kwargs)

    handle = module.register_forward_hook(rerun, with_kwargs=True)
    try:
        yield observed
    finally:
        handle.remove()


def spectral_radius(weight_hh: Tensor, num_gates: int) -> Tensor:
    """The largest absolute eigenvalue of each gate's and head's square block of weight_hh [G*H, H/N]: [G, N], float64.

    inf where a weight is no number.
    """
    size = weight_hh.shape[1]
    blocks = weight_hh.detach().double().cpu().unflatten(0, (num_gates, -1, size))
    is_finite = blocks.isfinite().all(-1).all(-1)
    radii = torch.linalg.eigvals(blocks.nan_to_num(0, 0, 0)).abs().amax(-1)
    return radii.masked_fill(~is_finite, math.inf)


def spectral_radii(module: RNN | GRU | LSTM) -> Tensor:
    """`spectral_radius` of all layers and directions: [L, D, G, N]."""
    num_gates = len(GATES[module.cell])
    weights = [parameter for name, parameter in module.named_parameters() if name.startswith("weight_hh")]
    radii = torch.stack([spectral_radius(weight, num_gates) for weight in weights])
    return radii.unflatten(0, (module.num_layers, module.num_directions))


def _by_distance(squares: Tensor, distances: Tensor) -> Tensor:
    """squares [L, B, T] at distances [B, T], -1 for none -> root mean square at each distance [L, k], k >= 1."""
    num_steps = max(1, int(distances.max()) + 1)
    is_at = distances[None] == torch.arange(num_steps, device=distances.device)[:, None, None]  # [k, B, T]
    counts = is_at.sum((1, 2)).clamp(min=1)
    sums = torch.stack([torch.where(at, squares, 0).sum((1, 2)) for at in is_at], dim=1)
    return (sums / counts).sqrt()


def _factor(norms: Tensor) -> Tensor:
    """GradientFlow.factor of norms [L, D, k]; 1 where k = 1.

    A norm of 0 counts as the smallest that float32 has, for there the gradient went under.
    """
    num_steps = norms.shape[2]
    k = torch.arange(num_steps, dtype=norms.dtype) - (num_steps - 1) / 2
    log_norms = norms.clamp(min=torch.finfo(torch.float32).tiny).log10()
    slope = (log_norms * k).sum(2) / k.square().sum().clamp(min=1)
    return torch.where(norms.isfinite().all(2), 10**slope, math.inf)
