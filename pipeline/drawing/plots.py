"""Pictures of results: timelines of labels, training curves, gradients, attention; `matrices` has those of counts.

Every function returns a matplotlib Figure and keeps no state (no pyplot, no window), so it runs in any thread and
without a display. Save a figure with `figure.savefig(path)`.

Shapes: T frames, K classes.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import segments_from_frames
from pipeline.drawing.colors import class_colors, palette
from pipeline.drawing.overlapping_timeline import plot_overlapping_timeline
from pipeline.drawing.style import (
    FAINT,
    GRID,
    INK,
    LEGEND_COLUMNS,
    TIMELINE_WIDTH,
    WRONG,
    Colors,
    frame_edges,
    label_time,
    make_figure,
    plain_colors,
    plain_text,
    probability_steps,
)

ATTENTION_COLUMNS = 7
SHARE_COLORS = LinearSegmentedColormap.from_list("share", ["#ffffff", "#cfe0f0", "#6fa3cf", "#2a639b", "#123a66"])


def plot_timeline(
    truth: np.ndarray,
    predicted: np.ndarray,
    probability: np.ndarray,
    label_space: LabelSpace,
    *,
    times: np.ndarray | None = None,
    title: str = "",
    more_rows: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """Plot labels over time, with one row each for truth, prediction and `more_rows`, above the probability.

    Unlabelled frames are hatched, and the background class is grey. The ground of the probability is tinted where a
    labelled frame is predicted wrongly. For long videos the probability is the mean of neighbouring frames.

    Where classes overlap, each class has these rows, and a probability of its own.

    Args:
        truth: int64 [T], T >= 1; or int8 [T, K] where classes overlap.
        predicted: As `truth`.
        probability: [T], of the predicted labels; or [T, K], of all classes, where they overlap.
        label_space: The classes.
        times: [T], in seconds, for the axis; None for the numbers of the frames.
        title: The title of the figure.
        more_rows: Other labels, as `truth`, by the name of their row.
    """
    if not label_space.is_exclusive:
        rows = {"truth": truth, "prediction": predicted, **(more_rows or {})}
        return plot_overlapping_timeline(rows, probability, label_space, times=times, title=title)
    rows = {"truth": truth, "prediction": predicted, **(more_rows or {})}
    colors = plain_colors(class_colors(label_space))
    present = np.unique(np.concatenate(list(rows.values())))
    is_labelled = label_space.is_labelled(present)
    classes = [plain_text(name) for name in label_space.classes]
    handles = [Patch(facecolor=colors[index], label=classes[index]) for index in present[is_labelled].tolist()]
    if not is_labelled.all():
        handles.append(Patch(facecolor="white", edgecolor=FAINT, hatch="/////", linewidth=0, label="unlabelled"))
    handles.append(Patch(facecolor=WRONG, label="wrong frames"))
    num_legend_rows = -(-len(handles) // LEGEND_COLUMNS)

    figure = make_figure(TIMELINE_WIDTH, 0.34 * len(rows) + 0.75 + 0.18 * num_legend_rows + 0.9)
    row_axes, probability_axes = figure.subplots(2, 1, sharex=True, height_ratios=[0.34 * len(rows), 0.75])
    edges = frame_edges(len(truth), times)
    for row_index, (name, labels) in enumerate(rows.items()):
        _draw_row(row_axes, labels, row_index=row_index, name=name, edges=edges, colors=colors, label_space=label_space)
    row_axes.set_yticks(range(len(rows)), list(rows), fontsize=9)
    row_axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(edges[0], edges[-1]))
    row_axes.set_title(plain_text(title), loc="left", fontsize=10, fontweight="bold", color=INK)
    row_axes.tick_params(length=0, labelbottom=False)
    row_axes.spines[:].set_visible(False)
    wrong = label_space.is_labelled(truth) & (truth != predicted)
    _draw_probability(probability_axes, probability, wrong, edges=edges)
    label_time(probability_axes, seconds=None if times is None else edges[-1] - edges[0])
    figure.legend(handles=handles, loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False, fontsize=8,
                  handlelength=1.1, handleheight=1.0, columnspacing=1.5)  # fmt: skip
    return figure


def plot_curves(history: Sequence[Mapping[str, float | None]], *, best_epoch: int | None = None) -> Figure:
    """Plot training curves.

    train_loss and val_loss share a panel, all other train_ and val_ names are scores in percent and share another, and
    every other name (learning_rate) has its own panel.

    Args:
        history: For each epoch, from 0, its values by name, such as {"train_loss": 2.1, "val_loss": 2.3,
            "val_edit": 31.0}. An epoch may leave out a name.
        best_epoch: The epoch to mark; None marks none.
    """
    panels: dict[str, list[str]] = {"loss": [], "score (%)": []}
    for name in dict.fromkeys(name for scores in history for name in scores):
        of_split = name.startswith(("train_", "val_"))
        panel = ("loss" if name.endswith("loss") else "score (%)") if of_split else name.replace("_", " ")
        panels.setdefault(panel, []).append(name)
    panels = {panel: names for panel, names in panels.items() if names}
    figure = make_figure(3.6 * max(len(panels), 1), 2.9)
    all_axes = figure.subplots(1, max(len(panels), 1), squeeze=False)[0]
    for axes, (panel, names) in zip(all_axes, panels.items(), strict=False):
        if best_epoch is not None:
            axes.axvline(
                best_epoch, color="#8b949e", linewidth=0.9, linestyle=(0, (4, 3)), label="best epoch", zorder=0
            )
        for name, color in zip(names, plain_colors(palette(len(names))), strict=True):
            points = [(epoch, scores[name]) for epoch, scores in enumerate(history) if scores.get(name) is not None]
            marker = "o" if len(points) < 25 else None
            axes.plot(*zip(*points, strict=True), color=color, label=_curve_label(name), marker=marker)
        _finish_panel(axes, panel, x_label="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=8)
    return figure


def plot_gradients(norms: Mapping[int, np.ndarray], radii: np.ndarray, gates: Sequence[str]) -> Figure:
    """Plot how gradients change on their way back through time.

    Each layer and direction has a panel with the norms on a logarithmic axis; later epochs are darker. One more panel
    has the spectral radii, the largest over layers and directions.

    Shapes: E epochs, L layers, D directions, G gates.

    Args:
        norms: For each epoch to draw, [L, D, k]: the norms of dL/dh from 0 to k - 1 frames before the frame that the
            loss reads, relative to the norm there.
        radii: [E, L, D, G], the spectral radius of W_hh in every epoch.
        gates: The names of the G gates.
    """
    num_layers, num_directions = radii.shape[1:3]
    figure = make_figure(3.6 * (num_layers + 1), 2.9 * num_directions)
    all_axes = figure.subplots(num_directions, num_layers + 1, squeeze=False).tolist()
    shades = SHARE_COLORS(np.linspace(0.35, 1, len(norms)))
    for direction, layer in np.ndindex(num_directions, num_layers):
        axes = all_axes[direction][layer]
        for (epoch, values), color in zip(norms.items(), shades, strict=True):
            drawn = values[layer, direction]
            axes.plot(np.where(drawn > 0, drawn, np.nan), color=color, label=f"epoch {epoch}")
        way = ["forward", "reverse"][direction]
        _finish_panel(axes, f"gradient, layer {layer}, {way}", x_label="frames back", y_label="relative norm of dL/dh")
        axes.set_yscale("log")
    all_axes[0][0].legend(frameon=False, fontsize=8)
    axes = all_axes[0][-1]
    axes.axhline(1, color="#8b949e", linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    for gate, values, color in zip(gates, radii.max(axis=(1, 2)).T, plain_colors(palette(len(gates))), strict=True):
        axes.plot(values, color=color, label=gate, marker="o" if len(values) < 25 else None)
    _finish_panel(axes, "spectral radius of W_hh", x_label="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(gates) > 1:
        axes.legend(title="gate", title_fontsize=8, frameon=False, fontsize=8)
    for direction in range(1, num_directions):
        all_axes[direction][-1].set_axis_off()
    return figure


def _finish_panel(axes: Axes, title: str, *, x_label: str, y_label: str = "") -> None:
    """Add title, labels and grid in the style that all curves share."""
    axes.set_xlabel(x_label, fontsize=8)
    axes.set_ylabel(y_label, fontsize=8)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.tick_params(labelsize=8)
    axes.grid(color=GRID)
    axes.spines[["top", "right"]].set_visible(False)


def _curve_label(name: str) -> str:
    return re.sub(r" at (\d+)", r"@\1", name.replace("_", " ")).replace(" f1", " F1").replace("val ", "validation ")


def plot_attention(pixels: np.ndarray, words: Sequence[str], attention: np.ndarray, *, title: str = "") -> Figure:
    """Plot where a captioner looked: the image, and a panel for each word with the attention over the image.

    Shapes: H x W pixels, T words, R = g x g regions.

    Args:
        pixels: uint8 [H, W, 3], RGB, the input of the captioner.
        words: The T words.
        attention: [T, R + 1] over the regions, row by row, and the sentinel. The panel shows the share of the sentinel,
            which is the part that was said without looking, below the word.
        title: The title of the figure.
    """
    columns = min(ATTENTION_COLUMNS, len(words) + 1)
    num_rows = -(-(len(words) + 1) // columns)
    figure = make_figure(1.45 * columns, 1.45 * num_rows * pixels.shape[0] / pixels.shape[1] + 0.45 * num_rows + 0.4)
    panels = figure.subplots(num_rows, columns, squeeze=False).flatten()
    height, width = pixels.shape[:2]
    for axes in panels:
        axes.set_axis_off()
    panels[0].imshow(pixels)
    grid = int((attention.shape[1] - 1) ** 0.5)
    for axes, word, weights in zip(panels[1:], words, attention, strict=False):
        axes.imshow(pixels.mean(axis=2), cmap="gray", alpha=0.55)
        seen = weights[:-1].reshape(grid, grid)
        axes.imshow(
            seen,
            cmap="inferno",
            alpha=0.6,
            extent=(0, width, height, 0),
            interpolation="bicubic",
            vmin=0,
            vmax=seen.max(),
        )
        axes.set_title(f"{plain_text(word)}\n{100 * weights[-1]:.0f}% unseen", fontsize=8, color=INK)
    figure.suptitle(plain_text(title), x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
    return figure


def _draw_row(
    axes: Axes,
    labels: np.ndarray,
    *,
    row_index: int,
    name: str,
    edges: np.ndarray,
    colors: Colors,
    label_space: LabelSpace,
) -> None:
    """Draw a bar for each segment of labels [T] on hatched ground, with the name of the class where there is room."""
    bottom, height = row_index - 0.39, 0.78
    span = [(edges[0], edges[-1] - edges[0])]
    axes.broken_barh(span, (bottom, height), facecolor="white", edgecolor=FAINT, hatch="/////", linewidth=0)
    bars, classes = segments_from_frames(labels), label_space.classes
    for class_index in sorted({bar.class_index for bar in bars}):
        spans = [(edges[b.start], edges[b.stop] - edges[b.start]) for b in bars if b.class_index == class_index]
        drawn = axes.broken_barh(spans, (bottom, height), facecolor=colors[class_index], linewidth=0, antialiased=False)
        drawn.set_gid(f"{name}/{classes[class_index]}")
    for bar in bars:
        text = plain_text(classes[bar.class_index])
        inches = (edges[bar.stop] - edges[bar.start]) / (edges[-1] - edges[0]) * (TIMELINE_WIDTH - 1)
        if inches > 0.075 * len(text) + 0.1:
            middle = (edges[bar.start] + edges[bar.stop]) / 2
            color = INK if _luminance(colors[bar.class_index]) > 0.5 else "white"
            axes.text(
                middle, row_index, plain_text(text), ha="center", va="center", fontsize=7.5, color=color, clip_on=True
            )


def _draw_probability(axes: Axes, probability: np.ndarray, wrong: np.ndarray, *, edges: np.ndarray) -> None:
    """Draw the probability [T] as steps, one per frame, on a ground that is tinted where `wrong`, bool [T]."""
    spans = [(edges[s.start], edges[s.stop] - edges[s.start]) for s in segments_from_frames(wrong) if s.class_index]
    tint = axes.broken_barh(spans, (0, 1), facecolor=WRONG, linewidth=0, antialiased=False)
    tint.set_gid("wrong")
    means, steps = probability_steps(probability, edges)
    axes.stairs(means, steps, fill=True, color="#4a5563", alpha=0.22, linewidth=0)
    axes.stairs(means, steps, color="#3b4652", linewidth=0.9, baseline=None)
    axes.set(ylim=(0, 1), yticks=[0, 0.5, 1])
    axes.set_ylabel("probability", fontsize=8, rotation=0, ha="right", va="center")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _luminance(color: tuple[float, float, float]) -> float:
    return float(np.dot([0.299, 0.587, 0.114], color))
