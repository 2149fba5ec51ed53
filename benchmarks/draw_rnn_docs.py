"""Draw the pictures of docs/explained/rnn.md into docs/images: two sketches, and measured gradients.

Run from the repository's root: python benchmarks/draw_rnn_docs.py
"""

import sys
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))
from pipeline.config.labeller import LabellerSettings
from pipeline.models.labeller import Labeller
from pipeline.rnn.diagnostics import GradientFlow

OUT = Path("docs/images")
INK, FAINT, BLUE, RED = "#22272e", "#8b949e", "#2a639b", "#c0392b"
NETWORKS = {
    "tanh": LabellerSettings(hidden_size=32, cell="tanh"),
    "tanh, orthogonal start": LabellerSettings(hidden_size=32, cell="tanh", recurrent_init="orthogonal"),
    "relu, identity start": LabellerSettings(hidden_size=32, cell="relu", recurrent_init="identity"),
    "GRU": LabellerSettings(hidden_size=32, cell="gru"),
    "LSTM": LabellerSettings(hidden_size=32, cell="lstm"),
}
COLORS = ["#c0392b", "#e59866", "#8e6bb0", "#2e8b57", "#2a639b"]
NUM_FRAMES, NUM_STEPS, EVERY = 100, 240, 20


def main() -> None:
    """Draw all pictures."""
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    for name, figure in {"unrolled": draw_unrolled(), "shapes": draw_shapes(), "gradients": draw_gradients()}.items():
        figure.savefig(OUT / f"rnn_{name}.png", dpi=110)


def draw_unrolled() -> Figure:
    """Draw the loop, and the same loop unrolled over four frames, with the two paths of the gradient."""
    figure, axes = _sketch(10, 3.4, x=(-0.6, 10.4), y=(-1.5, 2.35))
    cell(axes, 0.6, 0, "h")
    _arrow(axes, (0.6, -0.85), (0.6, -0.32), "W_ih", side=-1)
    _arrow(axes, (0.6, 0.32), (0.6, 0.95), "W_out", side=-1)
    _text(axes, 0.6, -1.0, "x")
    _text(axes, 0.6, 1.1, "p")
    loop = {"arrowstyle": "-|>", "color": INK, "connectionstyle": "arc3,rad=-1.6", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (0.92, -0.14), (0.92, 0.14), arrowprops=loop)
    _text(axes, 1.5, 0, "W_hh", size=8)
    _text(axes, 2.45, 0, "=", size=20)
    for t in range(4):
        x = 3.6 + 2 * t
        cell(axes, x, 0, f"h$_{t}$")
        _arrow(axes, (x, -0.85), (x, -0.32), "W_ih", side=-1)
        _arrow(axes, (x, 0.32), (x, 0.95), "W_out", side=-1)
        _text(axes, x, -1.0, f"x$_{t}$")
        _text(axes, x, 1.12, f"p$_{t}$")
        _text(axes, x, 1.75, f"$-\\ln p_{t}[c_{t}]$", size=9)
        _arrow(axes, (x, 1.3), (x, 1.58))
        _arrow(axes, (x + 0.16, 0.95), (x + 0.16, 0.34), color=RED)
        if t < 3:
            _arrow(axes, (x + 0.32, 0.06), (x + 1.68, 0.06), "W_hh", side=1)
            _arrow(axes, (x + 1.68, -0.12), (x + 0.32, -0.12), color=RED)
    legend = "black: forward, frame by frame;  red: the gradient, from the frame's own loss and from the frame after it"
    _text(axes, 5.0, -1.38, legend, size=8.5, color=FAINT)
    return figure


def draw_shapes() -> Figure:
    """Draw the frames that are read and the frames that are written, for each of the five shapes."""
    figure, axes = _sketch(10, 2.5, x=(-0.3, 23), y=(-2.1, 2.3))
    shapes = {  # name: frames that are read, frames that are written
        "one-to-one": ([0], [0]),
        "one-to-many": ([0], [0, 1, 2]),
        "many-to-one": ([0, 1, 2], [2]),
        "many-to-many": ([0, 1, 2], [0, 1, 2]),
        "bidirectional": ([0, 1, 2], [0, 1, 2]),
    }
    left = 0.9
    for name, (read, written) in shapes.items():
        reverse = name == "bidirectional"
        num_frames = max(*read, *written) + 1
        _text(axes, left + 0.75 * (num_frames - 1), 2.05, name, size=9.5)
        for t in range(num_frames):
            x = left + 1.5 * t
            cell(axes, x, 0, "", width=0.42)
            if t in read:
                _arrow(axes, (x, -1.25), (x, -0.45))
                _text(axes, x, -1.5, f"x$_{t}$", size=9)
            if t in written:
                _arrow(axes, (x, 0.45), (x, 1.2))
                _text(axes, x, 1.5, f"p$_{t}$", size=9)
            if name == "one-to-many" and t + 1 < num_frames:  # the output is the next input
                axes.plot([x + 0.3, x + 0.75, x + 0.75, x + 1.5], [1.5, 1.5, -1.1, -1.1], color=FAINT, linestyle=":")
                _arrow(axes, (x + 1.5, -1.1), (x + 1.5, -0.45), color=FAINT)
            if t + 1 < num_frames:
                height = 0.15 if reverse else 0.0
                _arrow(axes, (x + 0.45, height), (x + 1.05, height))
                if reverse:
                    _arrow(axes, (x + 1.05, -height), (x + 0.45, -height), color=BLUE)
        left += 1.5 * num_frames + 0.9
    return figure


def draw_gradients() -> Figure:
    """Draw dL/dh of the last frame's loss over the frames back, before and after training, and the accuracy."""
    figure = Figure(figsize=(12, 3.6), facecolor="white", layout="constrained")
    fresh_axes, learning_axes, taught_axes = figure.subplots(1, 3)
    for (name, settings), color in zip(NETWORKS.items(), COLORS, strict=True):
        torch.manual_seed(0)
        labeller = Labeller(settings, num_features=3, num_classes=2)
        fresh = _measure(labeller)
        accuracy = _teach(labeller)
        taught = _measure(labeller)
        print(f"{name}: factor {fresh.longest:.3f} before, {taught.longest:.3f} after; {accuracy[-1]:.1f}% right")
        if settings.cell in ("gru", "lstm"):
            print(f"    units whose z (GRU) or f (LSTM) is over 0.9 on average: {_count_open_gates(labeller)}")
        learning_axes.plot(range(0, NUM_STEPS + 1, EVERY), accuracy, color=color)
        for axes, flow in ((fresh_axes, fresh), (taught_axes, taught)):
            if flow.norms.shape[2] == NUM_FRAMES:
                axes.plot(flow.norms[0, 0], color=color, label=f"{name}: {flow.longest:.2f}")
            else:  # the last frames are left out: their loss is 0 in float32, so there is no gradient to follow
                axes.plot([], color=color, label=f"{name}: loss is 0")
    _finish(fresh_axes, "before training", "frames back from the loss", "norm of dL/dh, relative")
    _finish(learning_axes, "frame 99 named after the mark of frame 0", "training step", "% right")
    _finish(taught_axes, f"after {NUM_STEPS} steps", "frames back from the loss", "norm of dL/dh, relative")
    for axes in (fresh_axes, taught_axes):
        axes.set(yscale="log", ylim=(1e-34, 1e4))
        axes.legend(title="factor a frame", title_fontsize=8, alignment="left", edgecolor="none", fontsize=8, loc=3)
    learning_axes.set(ylim=(40, 102))
    return figure


def _finish(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set_xlabel(x_label, fontsize=8)
    axes.set_ylabel(y_label, fontsize=8)
    axes.grid(color="#eceff3")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _made_videos(seed: int, num_videos: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Make videos whose frame 0 shows one of two marks and all others noise; the label of all frames is the mark."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, 2, (num_videos,), generator=generator)
    x = torch.randn(num_videos, NUM_FRAMES, 3, generator=generator)
    x[:, 0] = 6 * functional.one_hot(classes, 3)
    return x, classes[:, None].expand(-1, NUM_FRAMES)


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


def _measure(labeller: Labeller) -> GradientFlow:
    x, labels = _made_videos(10**6)
    flow = labeller.eval().gradient_flow(x, lambda logits: _loss(logits, labels))
    assert flow is not None
    return flow


def _teach(labeller: Labeller) -> list[float]:
    """Train a labeller.

    Returns:
        Its accuracy in percent on the last frames of new videos, before the training and after every EVERY steps.
    """
    optimizer = torch.optim.Adam(labeller.parameters(), lr=0.003)
    accuracy = [_accuracy(labeller)]
    for step in range(1, NUM_STEPS + 1):
        x, labels = _made_videos(step)
        optimizer.zero_grad()
        _loss(labeller.train()(x).logits, labels).backward()
        torch.nn.utils.clip_grad_norm_(labeller.parameters(), 1.0)
        optimizer.step()
        if step % EVERY == 0:
            accuracy.append(_accuracy(labeller))
    return accuracy


@torch.no_grad()
def _accuracy(labeller: Labeller) -> float:
    x, labels = _made_videos(10**6 + 1, 500)
    return 100 * (labeller.eval()(x).logits[:, -1].argmax(1) == labels[:, -1]).float().mean().item()


@torch.no_grad()
def _count_open_gates(labeller: Labeller) -> int:
    """Count the units whose z (GRU) or f (LSTM) is over 0.9 on average, without the first frames, up to the mark.

    Both z and f are the second of the gates.
    """
    x, _ = _made_videos(10**6 + 1)
    embedded, _ = labeller.eval()._embed(x)
    rnn = labeller.rnn
    assert rnn is not None
    before = functional.pad(rnn(embedded)[0][:, :-1], (0, 0, 1, 0))
    weights = dict(rnn.named_parameters())
    gates = functional.linear(embedded, weights["weight_ih_l0"], weights["bias_ih_l0"])
    gates = gates + functional.linear(before, weights["weight_hh_l0"], weights["bias_hh_l0"])
    return int((gates.split(32, dim=2)[1][:, 5:].sigmoid().mean((0, 1)) > 0.9).sum())


def _sketch(width: float, height: float, *, x: tuple[float, float], y: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=x, ylim=y)
    axes.set_axis_off()
    return figure, axes


def cell(axes: Axes, x: float, y: float, name: str, *, width: float = 0.32) -> None:
    """Draw a box with a name around the point (x, y)."""
    corners = (x - width, y - width), 2 * width, 2 * width
    axes.add_patch(FancyBboxPatch(*corners, "round,pad=0,rounding_size=0.1", facecolor="#dbe7f3", edgecolor=BLUE))
    _text(axes, x, y, name)


def _text(axes: Axes, x: float, y: float, text: str, *, size: float = 11, color: str = INK) -> None:
    axes.text(x, y, text, ha="center", va="center", fontsize=size, color=color)


def _arrow(
    axes: Axes,
    start: tuple[float, float],
    stop: tuple[float, float],
    name: str = "",
    *,
    side: int = 1,
    color: str = INK,
) -> None:
    """Draw an arrow; `name` is above a horizontal arrow (side 1), or to the left of a vertical one (-1)."""
    axes.annotate("", stop, start, arrowprops={"arrowstyle": "-|>", "color": color, "shrinkA": 0, "shrinkB": 0})
    if name:
        x, y = (start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2
        _text(axes, x - 0.36 * (side < 0), y + 0.17 * (side > 0), name, size=8)


if __name__ == "__main__":
    main()
