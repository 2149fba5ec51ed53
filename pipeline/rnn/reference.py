"""The loop over time in plain PyTorch is the definition that every faster path is tested against.

B videos, T frames, F features, H hidden units, D directions; G gates (1 Elman, 3 GRU, 4 LSTM). Batch first.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from pipeline.rnn.cells import STEPS, LSTMState, Weights

# (projected, state, weight_hh, bias_hh) -> state, as in cells.py. The state is a Tensor, or an LSTMState.
Step = Callable[[Tensor, Any, Tensor, Tensor | None], Any]
# (direction, t, h_t): receives the hidden state [B, H] of every frame, as soon as it is computed.
Observe = Callable[[int, int, Tensor], None]


def frame_mask(lengths: Tensor, num_frames: int, device: torch.device) -> Tensor:
    """Return which frames of a padded batch are valid.

    Args:
        lengths: integer [B], the number of valid frames of each video.
        num_frames: The number of frames of the batch, padding included.
        device: Where the mask is made.

    Returns:
        bool [B, num_frames], True where t < length.
    """
    return torch.arange(num_frames, device=device) < lengths.to(device, non_blocking=True).unsqueeze(1)


def run_layer(
    cell: str,
    x: Tensor,
    weights: Sequence[Weights],
    h: Tensor,
    c: Tensor | None,
    lengths: Tensor | None,
    observe: Observe | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run one layer in one direction or both. Every path has this signature.

    Args:
        cell: tanh, relu, gru or lstm.
        x: [B, T, F], the input.
        weights: The weights of each of the D directions.
        h: [D, B, H], the hidden states before the first step.
        c: [D, B, H], the cell states before the first step, for LSTM only.
        lengths: integer [B] in 1..T, or None for T everywhere.
        observe: Called as observe(direction, t, h_t) with the hidden state [B, H] of every frame, as soon as it is
            computed. The other paths do not have it.

    Returns:
        The outputs [B, T, D*H], forward before reverse, and h and c after the last step of each video, as `h` and `c`.
    """
    outputs, states = [], []
    for direction, weights_d in enumerate(weights):
        state = h[direction] if c is None else LSTMState(h[direction], c[direction])
        observe_d = None if observe is None else partial(observe, direction)
        output, state = unroll(
            STEPS[cell], x, state, weights_d, lengths=lengths, reverse=direction == 1, observe=observe_d
        )
        outputs.append(output)
        states.append(state)
    output = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
    if c is None:
        return output, torch.stack(states), None
    return output, torch.stack([state.h for state in states]), torch.stack([state.c for state in states])


def unroll(
    step: Step,
    x: Tensor,
    state: Any,
    weights: Weights,
    *,
    lengths: Tensor | None = None,
    reverse: bool = False,
    observe: Callable[[int, Tensor], None] | None = None,
) -> tuple[Tensor, Any]:
    """Run one layer in one direction over time.

    What padding holds, NaN included, reaches neither results nor gradients. Under autocast only the input projection is
    in reduced precision, because in the recurrence rounding would build up over the steps.

    Args:
        step: The cell, one of `cells.STEPS`.
        x: [B, T, F], the input.
        state: The state before the first step, [B, H]; for LSTM an LSTMState of two of them.
        weights: The weights of this direction.
        lengths: integer [B] in 1..T, or None for T everywhere.
        reverse: Whether step t reads frame length-1-t. Its output stands at the frame that it has read.
        observe: Called as observe(t, h_t) with the hidden state [B, H] of every frame.

    Returns:
        The outputs [B, T, H], zero at padding, and the state after the last step of each video, as `state`.
    """
    num_frames = x.shape[1]
    shortest, longest = (num_frames, num_frames) if lengths is None else (int(lengths.min()), int(lengths.max()))
    x = x[:, :longest]
    live: tuple[Tensor, ...] = ()
    if lengths is not None and shortest < longest:
        mask = frame_mask(lengths, longest, x.device).unsqueeze(2)
        x = x.masked_fill(~mask, 0)  # before the product: 0 * NaN would poison the gradient of weight_ih
        live = mask.unbind(1)

    projected = linear(x, weights.ih, weights.bias_ih).to(weights.hh.dtype).unbind(1)  # one GEMM for all frames
    outputs: list[Tensor] = []
    with torch.autocast(x.device.type, enabled=False):
        for t in reversed(range(longest)) if reverse else range(longest):
            new = step(projected[t], state, weights.hh, weights.bias_hh)
            # A video that has ended keeps its state. In reverse, padding comes first and keeps the initial state, so
            # that the first step which counts is the one at frame length-1.
            state = new if t < shortest else _where(live[t], new, state)
            outputs.append(state.h if isinstance(state, LSTMState) else state)
            if observe is not None:
                observe(t, outputs[-1])
    output = torch.stack(outputs[::-1] if reverse else outputs, dim=1)
    if live:
        output = output.masked_fill(~mask, 0)
    return pad(output, (0, 0, 0, num_frames - longest)) if longest < num_frames else output, state


def _where(live: Tensor, new: Any, old: Any) -> Any:
    """Return the new state where `live` [B, 1] is True, the old one elsewhere."""
    if isinstance(new, LSTMState):
        return LSTMState(torch.where(live, new.h, old.h), torch.where(live, new.c, old.c))
    return torch.where(live, new, old)
