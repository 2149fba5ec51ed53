"""The picture of `framescribe summarize`: how the time is divided among the classes, and which class follows which.

Shapes: N bars, K classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pipeline.annotations.label_space import LabelSpace
from pipeline.drawing.colors import class_colors
from pipeline.drawing.matrices import add_bar, cell_sizes, draw_matrix
from pipeline.drawing.style import GRID, INK, Colors, make_figure, plain_colors

WIDTH = 8.0  # inches, at least
ROW, THIN_ROW = 0.3, 0.11  # inches of a bar
MAX_NAME = 32  # characters beside a bar
LEGEND_LETTERS = 100  # of all names in a line of the legend, with their patches


def plot_time_budget(shares: Mapping[str, Sequence[float]], transitions: np.ndarray, label_space: LabelSpace) -> Figure:
    """Plot time budgets as bars, and below them the transitions as a matrix.

    Where classes exclude each other, the classes of a bar follow one another and fill it. Where they overlap, their
    shares do not add up, and each class has a bar of its own, one below the other.

    Args:
        shares: For each of the N videos or groups, the share of the labelled time of each of the K classes.
        transitions: int64 [K, K], a row for each class, a column for each class that follows it.
        label_space: The classes.
    """
    classes, colors = label_space.classes, plain_colors(class_colors(label_space))
    cell, names = cell_sizes(label_space)
    matrix = cell * len(classes) + names
    row = ROW if label_space.is_exclusive else max(ROW, THIN_ROW * len(classes) + 0.08)
    columns = max(1, LEGEND_LETTERS // (max(map(len, classes)) + 6))
    legend = 0.2 * -(-len(classes) // columns)
    bars = row * len(shares) + 0.7 + legend
    used = matrix + names + 1.3
    figure = make_figure(max(WIDTH, used + 0.3), bars + matrix + 0.9)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[bars, matrix + 0.9])[:, 0].tolist()
    axes = upper.subplots()
    (_draw_stacked if label_space.is_exclusive else _draw_beside)(axes, np.array([*shares.values()]), colors)
    _finish(axes, [*shares])
    handles = [Patch(facecolor=color, label=name) for color, name in zip(colors, classes, strict=True)]
    upper.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8,
                 handlelength=1.1, handleheight=1.0, columnspacing=1.5)  # fmt: skip
    below, beside = lower.subplots(1, 2, width_ratios=[used, max(WIDTH - used, 0.01)]).tolist()
    beside.set_axis_off()  # the matrix is as wide as its cells need
    picture = draw_matrix(below, transitions, transitions / np.maximum(transitions.sum(axis=1, keepdims=True), 1),
                          label_space)  # fmt: skip
    below.set_xlabel("next bout", fontsize=8)
    below.set_ylabel("bout", fontsize=8)
    below.set_title("transitions of all videos", loc="left", fontsize=10, fontweight="bold", color=INK)
    add_bar(lower, picture, below, "share of the row's transitions")
    return figure


def _draw_stacked(axes: Axes, shares: np.ndarray, colors: Colors) -> None:
    """Draw shares [N, K] after one another, in percent."""
    ends = 100 * np.cumsum(shares, axis=1)
    for index, color in enumerate(colors):
        left = ends[:, index] - 100 * shares[:, index]
        axes.barh(range(len(shares)), 100 * shares[:, index], left=left, height=0.78, color=color, linewidth=0)


def _draw_beside(axes: Axes, shares: np.ndarray, colors: Colors) -> None:
    """Draw shares [N, K] one below the other, in percent."""
    height = 0.84 / len(colors)
    for index, color in enumerate(colors):
        rows = np.arange(len(shares)) - 0.42 + (index + 0.5) * height
        axes.barh(rows, 100 * shares[:, index], height=height, color=color, linewidth=0)


def _finish(axes: Axes, names: Sequence[str]) -> None:
    short = [name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}..." for name in names]
    axes.set_yticks(range(len(names)), short, fontsize=8)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 100))
    axes.set_xlabel("share of the labelled time (%)", fontsize=8)
    axes.set_title("time budget", loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.tick_params(labelsize=8, left=False)
    axes.grid(axis="x", color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
