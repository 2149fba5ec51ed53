"""Pictures of a network on sequences: how far its gradients reach, what parts weigh, and what it attends to."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.rnn.diagnostics import GradientFlow, observe
from pipeline.rnn.module import GRU, LSTM, RNN
from pipeline.rnn.sequences import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RED, GREEN, BLUE = "#c0392b", "#2e8b57", "#2a639b"
COLORS = {"tanh": RED, "gru": GREEN, "lstm": BLUE}
LEFT = 0.01  # of a gradient: what lies further back has no part in what is learnt


def gradients(models: Mapping[str, Model], loss: Callable[[Model], Tensor]) -> dict[str, GradientFlow]:
    """Measure how the gradient of the last step that a loss reads goes back through time, see `Observed.flow`.

    A loss that draws a batch at random draws the same one for each model.

    Args:
        models: Models by cell, each of which has its recurrent network as `rnn`.
        loss: Runs a model, and returns a loss of it.

    Returns:
        The measurement of each model.
    """
    flows = {}
    for cell, model in models.items():
        assert isinstance(model.rnn, RNN | GRU | LSTM)
        with torch.random.fork_rng(devices=[]), observe(model.rnn) as observed:
            torch.manual_seed(0)
            flows[cell] = observed.flow(loss(model))
    return flows


def draw_gradients(
    axes: "Axes", models: Mapping[str, Model], loss: Callable[[Model], Tensor], *, steps: str = "steps"
) -> None:
    """Draw how much of a gradient is left on its way back through time, and print how far 1% of it reaches.

    Of each network it is the layer and direction in which the gradient lasts longest.

    Args:
        axes: Where to draw.
        models: As in `gradients`.
        loss: As in `gradients`.
        steps: What the steps of the sequences are, in the plural.
    """
    for cell, flow in gradients(models, loss).items():
        norms = _longest(flow)
        last = remembered(flow)
        is_more = last == len(norms) - 1
        axes.semilogy(norms / norms[0], color=COLORS[cell], label=f"{cell}, {'over ' * is_more}{last} {steps}")
        print(f"{cell}: {LEFT:.0%} of the gradient or more is left up to {last} {steps} back{', or further' * is_more}")
    axes.axhline(LEFT, color="#b9c0c9", linewidth=0.9, linestyle="--")
    axes.set(xlabel=f"{steps} back", ylabel="what is left of dL/dh", title=f"gradient, and how far {LEFT:.0%} reaches")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def remembered(flow: GradientFlow) -> int:
    """Return the last step back at which 1% of a gradient or more is left, where it lasts longest."""
    norms = _longest(flow)
    return int((norms >= LEFT * norms[0]).nonzero().max())


def _longest(flow: GradientFlow) -> Tensor:
    """Return the norms of the layer and direction in which the gradient lasts longest, float [T]."""
    return flow.norms.flatten(0, 1)[flow.factor.argmax()]


def draw_weights(
    axes: "Axes",
    rows: Sequence[Sequence[tuple[str, float]]],
    *,
    title: str,
    full: float,
    columns: int,
    gap: int = 0,
) -> None:
    """Draw rows of text whose parts are coloured by their weights: blue for positive ones, red for negative ones.

    Args:
        axes: Where to draw.
        rows: The parts of each row, with their weights.
        title: What the weights are.
        full: The weight at which the colour is full.
        columns: How many letters fit into a row.
        gap: Letters between two parts.
    """
    for y, row in enumerate(rows):
        x = 0
        for part, weight in row:
            alpha = min(0.9, abs(weight) / full)
            box = {"fc": BLUE if weight > 0 else RED, "alpha": alpha, "lw": 0, "pad": 1.5}
            axes.text(x, -y, part.replace("$", r"\$"), family="monospace", fontsize=8, bbox=box)
            x += len(part) + gap
    axes.set(xlim=(0, columns), ylim=(-len(rows), 1), title=title)
    axes.set_axis_off()


def draw_attention(axes: "Axes", attention: Tensor, read: Sequence[str], written: Sequence[str]) -> None:
    """Draw what each word that was written attended to: the darker, the more.

    Args:
        axes: Where to draw.
        attention: [T, S], from 0 to 1.
        read: The S words that were read.
        written: The T words that were written.
    """
    axes.imshow(attention.tolist(), cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(read)), read, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(written)), written, fontsize=8)
    axes.set(title="what each word that was written (left) attended to in the words that were read (below)")
