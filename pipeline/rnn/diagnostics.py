"""This module measures whether gradients vanish or explode on their way back through time.

B videos, T frames, H hidden units in N heads of K = H/N; L layers, D directions, G gates.

The loss of frame t reaches the state k frames earlier through a product of k Jacobians. In a tanh network it is
    dL_t/dh_(t-k) = J_(t-k+1)^T ... J_t^T dL_t/dh_t        J_j = dh_j/dh_(j-1) = diag(1 - h_j^2) W_hh
so its norm falls or grows about exponentially in k (Hochreiter 1991; Bengio, Simard, Frasconi 1994). In a linear
network it goes like rho^k, where rho is the spectral radius of W_hh: below 1 it must vanish, and only above 1 can it
explode. The slopes of tanh and relu are at most 1, so that with them too the gradient must vanish where the largest
singular value of W_hh, which is never below rho, is below 1 (Pascanu, Mikolov, Bengio 2013, arXiv 1211.5063, section
2). Gates are the way around it: the cell state of an LSTM goes from frame to frame through a product with f alone,
whatever W_hh is.

The gradient of the sum over all frames does not show this, because the label of each frame sends a fresh gradient to
its state. So there are two measurements: `Observed.norms` of a whole loss, as training has it, and `Observed.flow` of
the share of one frame.

A network cannot learn from a gradient that vanishes, but it may keep what it has learnt before. A network that holds on
to something against all noise has a vanishing gradient too (Bengio, Simard, Frasconi 1994), because its units are where
tanh is flat.
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
# None of float32's 24 bits is left: a number this small, added to 1, changes nothing.
VANISHED = 2.0**-24
# The farthest frame outweighs the nearest so much that, once the gradient is clipped, the network hardly learns from
# the nearest.
EXPLODED = 1000.0

Verdict = Literal["vanishing", "exploding", "healthy"]


class GradientFlow(NamedTuple):
    """How the gradient of the loss of one frame changes on its way back through time, see `Observed.flow`.

    Attributes:
        norms: [L, D, k], the norms of dL/dh at the frame that the loss reads and 1, 2, .. frames from it, for a
            gradient of norm 1 at the outputs of the module.
        factor: [L, D], the factor by which the norms change with each frame: 10 to the slope of a straight line
            through their log10 (least squares); inf where a norm is not finite.
        spectral_radius: [L, D, G, N], the spectral radius of the block of W_hh of each gate and head.
        gates: The names of the G gates, as in `cells`.
    """

    norms: Tensor
    factor: Tensor
    spectral_radius: Tensor
    gates: tuple[str, ...]

    @property
    def longest(self) -> float:
        """The largest factor: that of the layer and direction in which the gradient lasts longest."""
        return self.factor.max().item()

    @property
    def verdict(self) -> Verdict:
        """Whether the gradient vanishes or explodes, by what `longest` makes of it over all frames measured."""
        left = self.longest ** (self.norms.shape[2] - 1)
        return "vanishing" if left < VANISHED else "exploding" if left > EXPLODED else "healthy"

    @property
    def reach(self) -> float:
        """The number of frames after which `longest` leaves VANISHED of a gradient; inf where it does not fall."""
        return math.log(VANISHED) / math.log(self.longest) if self.longest < 1 else math.inf


class Observed:
    """The last forward pass of a module within `observe`, with the hidden states whose gradients are taken.

    Args:
        module: The module that is observed.
    """

    def __init__(self, module: RNN | GRU | LSTM) -> None:
        self._module = module
        self._states: list[list[dict[int, Tensor]]] = []  # by layer, direction and frame: h_t [B, H]
        self._outputs = torch.empty(0)
        self._live = torch.empty(0)  # [B, T], whether a frame is valid

    def norms(self, loss: Tensor) -> Tensor:
        """Compute the L2 norm of dL/dh_t over all units and all videos in which frame t is valid.

        dL/dh_t contains both ways that lead from h_t to the loss, the output of frame t and the next state, but in an
        LSTM it does not contain the way through c_t.

        Args:
            loss: A scalar that was computed from the outputs of the module.

        Returns:
            float64 [L, D, T], NaN in frames that are valid in no video, because there is no such state.

        Raises:
            RuntimeError: The module was not run within `observe`.
        """
        squares = self._squares(torch.autograd.grad(loss, self._all_states(), retain_graph=True, allow_unused=True))
        return squares.sum(2).sqrt().masked_fill(~self._live.any(0), math.nan)

    def flow(self, loss: Tensor) -> GradientFlow:
        """Compute the norms of the gradient that one frame of each video sends back through time.

        The frame is the last one that the loss reads; in the reverse direction it is the first one. With
        loss = sum_t L_t this is dL_T/dh_(T-k), where T is the last labelled frame.

        The share of the frame is scaled to norm 1 at the outputs of the module, because how wrong the network is on
        that frame says nothing about the way back. norms[l, d, k] is then the root mean square, over the videos that
        have a frame at distance k, of the norm over units. Videos that the loss does not read are left out. If it reads
        none of them, there is one distance, and nothing vanishes.

        Args:
            loss: A scalar that was computed from the outputs of the module.

        Returns:
            The norms and what follows from them.

        Raises:
            RuntimeError: The module was not run within `observe`.
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
        """Sum the squares of the gradients of `_all_states` over units: [L, D, B, T], zero at padding."""
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
    """Run `module` on the reference path and hold its states inside the `with` block.

    The module may sit anywhere in a larger model. No parameter's `.grad` is touched. With dropout between layers the
    caller should call `eval()` before, because otherwise dropout is drawn twice.

    >>> rnn, head = RNN(3, 4), torch.nn.Linear(4, 2)
    >>> with observe(rnn) as observed:
    ...     outputs, _ = rnn(torch.randn(2, 5, 3))
    >>> observed.norms(head(outputs).square().sum()).shape  # layers, directions, frames
    torch.Size([1, 1, 5])

    Args:
        module: The module to observe.

    Yields:
        What the last forward pass of the module inside the block left.
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
    """Compute the largest absolute eigenvalue of each square block of W_hh.

    Args:
        weight_hh: [G*H, H/N], W_hh.
        num_gates: G.

    Returns:
        float64 [G, N], the value of the block of each gate and head; inf where a weight is not finite.
    """
    size = weight_hh.shape[1]
    blocks = weight_hh.detach().double().cpu().unflatten(0, (num_gates, -1, size))
    is_finite = blocks.isfinite().all(-1).all(-1)
    radii = torch.linalg.eigvals(blocks.nan_to_num(0, 0, 0)).abs().amax(-1)
    return radii.masked_fill(~is_finite, math.inf)


def spectral_radii(module: RNN | GRU | LSTM) -> Tensor:
    """Compute the spectral radii of all layers and directions of a module: [L, D, G, N], see `spectral_radius`."""
    num_gates = len(GATES[module.cell])
    weights = [parameter for name, parameter in module.named_parameters() if name.startswith("weight_hh")]
    radii = torch.stack([spectral_radius(weight, num_gates) for weight in weights])
    return radii.unflatten(0, (module.num_layers, module.num_directions))


def _by_distance(squares: Tensor, distances: Tensor) -> Tensor:
    """Average squares [L, B, T] by their distances [B, T], -1 for none, to root mean squares [L, k], k >= 1."""
    num_steps = max(1, int(distances.max()) + 1)
    is_at = distances[None] == torch.arange(num_steps, device=distances.device)[:, None, None]  # [k, B, T]
    counts = is_at.sum((1, 2)).clamp(min=1)
    sums = torch.stack([torch.where(at, squares, 0).sum((1, 2)) for at in is_at], dim=1)
    return (sums / counts).sqrt()


def _factor(norms: Tensor) -> Tensor:
    """Compute `GradientFlow.factor` of norms [L, D, k]; it is 1 where k = 1.

    A norm of 0 counts as the smallest normal number of float32, because there the gradient underflowed.
    """
    num_steps = norms.shape[2]
    k = torch.arange(num_steps, dtype=norms.dtype) - (num_steps - 1) / 2
    log_norms = norms.clamp(min=torch.finfo(torch.float32).tiny).log10()
    slope = (log_norms * k).sum(2) / k.square().sum().clamp(min=1)
    return torch.where(norms.isfinite().all(2), 10**slope, math.inf)
