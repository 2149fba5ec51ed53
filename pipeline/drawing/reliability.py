"""The picture of whether probabilities can be trusted: how often labels are right, by how probable they are."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pipeline.drawing.style import FAINT, GRID, INK, make_figure

COLORS = ("#2a639b", "#c2703d", "#5a8f5c")
BAR_WIDTH = 0.022
MARKER_AREA = 250  # of a bin that holds all frames, in points squared
SMALLEST_MARKER = 4


class Bins(Protocol):
    """Frames by the probability of their labels, in B bins: see `metrics.calibration.Reliability`."""

    @property
    def probabilities(self) -> np.ndarray:
        """The mean probability in each bin, [B]."""
        ...

    @property
    def shares(self) -> np.ndarray:
        """The share of right labels in each bin, [B]."""
        ...

    @property
    def counts(self) -> np.ndarray:
        """The number of frames in each bin, [B]."""
        ...

    @property
    def error(self) -> float:
        """The expected calibration error, in percent."""
        ...


def plot_reliability(models: Mapping[str, Bins], *, of_labels: bool = True) -> Figure:
    """Plot a reliability diagram, above the share of frames in each bin.

    The nearer a line is to the diagonal, the more its probabilities can be trusted. Below the diagonal a model is too
    sure, and above it not sure enough. The area of a marker is the share of frames in its bin: small ones say little.

    Args:
        models: The bins of each model, by the name in the legend; at most three.
        of_labels: Whether the probabilities are those of labels; otherwise they are those of all classes.
    """
    figure = make_figure(4.2, 4.6)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    for index, ((name, bins), color) in enumerate(zip(models.items(), COLORS, strict=False)):
        share = bins.counts / bins.counts.sum()
        areas = SMALLEST_MARKER + MARKER_AREA * share
        axes.plot(bins.probabilities, bins.shares, color=color, linewidth=1, label=f"{name}: {bins.error:.1f}%")
        axes.scatter(bins.probabilities, bins.shares, areas, color=color, clip_on=False, zorder=3)
        counts.bar(bins.probabilities + (index - (len(models) - 1) / 2) * BAR_WIDTH, share, BAR_WIDTH, color=color)
    axes.set_ylabel("right labels" if of_labels else "frames with the class", fontsize=8)
    axes.set_title("reliability", loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.legend(title="calibration error", title_fontsize=8, frameon=False, fontsize=8, loc="lower right")
    counts.set_xlabel("probability of the label" if of_labels else "probability of the class", fontsize=8)
    counts.set_ylabel("frames", fontsize=8)
    for panel in (axes, counts):
        panel.set(xlim=(0, 1), ylim=(0, 1))
        panel.xaxis.set_major_formatter(PercentFormatter(1))
        panel.yaxis.set_major_formatter(PercentFormatter(1))
        panel.tick_params(labelsize=8)
        panel.grid(color=GRID)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure
