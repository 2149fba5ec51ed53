"""Labels over time where classes overlap: for each class its rows of labels, above its probability.

Shapes: T frames, K classes.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.segments import Segment, segments_from_frames
from pipeline.drawing.colors import class_colors
from pipeline.drawing.style import (
    FAINT,
    GRID,
    INK,
    TIMELINE_WIDTH,
    WRONG,
    frame_edges,
    label_time,
    make_figure,
    plain_colors,
    plain_text,
    probability_steps,
)

ROW, CURVE, GAP = 0.13, 0.26, 0.1  # inches: a row of labels, the probability of a class, the gap below it
BAR = 0.84  # the part of a row that its bars fill
LETTER = 4.3  # points: the width of a letter of the names of the rows, on the average


def plot_overlapping_timeline(
    rows: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
    label_space: LabelSpace,
    *,
    times: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Plot labels over time, with a block for each class: a row for each of `rows` above the probability.

    Unknown labels are hatched. The ground of the probability is tinted where a known label is predicted wrongly. For
    long videos the probability is the mean of neighbouring frames.

    Args:
        rows: Labels int8 [T, K], T >= 1, by the name of their row: first the truth, then the prediction, then others.
        probabilities: [T, K], of all classes.
        label_space: The classes, which overlap.
        times: [T], in seconds, for the axis; None for the numbers of the frames.
        title: The title of the figure.
    """
    truth, predicted, *_ = rows.values()
    edges = frame_edges(len(truth), times)
    block = ROW * len(rows) + CURVE + GAP
    num_classes = label_space.num_classes
    figure = make_figure(TIMELINE_WIDTH, block * num_classes + 0.9)
    axes = figure.subplots()
    left = LETTER * max(map(len, rows)) + 14
    wrong = label_space.is_labelled(truth) & (truth != predicted)
    for index, color in enumerate(plain_colors(class_colors(label_space))):
        top, name = block * index, label_space.classes[index]
        for position, (row, labels) in enumerate(rows.items()):
            place = (top + ROW * position, ROW * BAR)
            _draw_labels(axes, labels[:, index], place=place, edges=edges, color=color, name=f"{row}/{name}")
        _draw_curve(axes, probabilities[:, index], wrong[:, index], top + ROW * len(rows), edges=edges, name=name)
        place = (0, top + (block - GAP) / 2)
        axes.annotate(plain_text(name), place, xycoords=("axes fraction", "data"), xytext=(-left, 0),
                      textcoords="offset points", ha="right", va="center", fontsize=9, color=INK)  # fmt: skip
    ticks = np.add.outer(block * np.arange(num_classes), ROW * (np.arange(len(rows)) + BAR / 2))
    axes.set_yticks(ticks.ravel(), [*rows] * num_classes, fontsize=6.5, color=INK)
    axes.set(ylim=(block * num_classes, -GAP), xlim=(edges[0], edges[-1]))
    axes.set_title(plain_text(title), loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["left", "top", "right"]].set_visible(False)
    label_time(axes, seconds=None if times is None else edges[-1] - edges[0])
    _add_legend(figure, is_unknown_shown=not all(label_space.is_labelled(labels).all() for labels in rows.values()))
    return figure


def _spans(segments: list[Segment], edges: np.ndarray) -> list[tuple[float, float]]:
    return [(edges[segment.start], edges[segment.stop] - edges[segment.start]) for segment in segments]


def _draw_labels(
    axes: Axes,
    labels: np.ndarray,
    *,
    place: tuple[float, float],
    edges: np.ndarray,
    color: tuple[float, float, float],
    name: str,
) -> None:
    """Draw labels int8 [T] of one class as bars on pale ground, which is hatched where they are unknown."""
    bars = segments_from_frames(labels)
    is_known = segments_from_frames((labels != IGNORE_INDEX).astype(np.int8))
    axes.broken_barh([(edges[0], edges[-1] - edges[0])], place, facecolor="white", edgecolor=FAINT, hatch="/////",
                     linewidth=0)  # fmt: skip
    known = [run for run in is_known if run.class_index]
    axes.broken_barh(_spans(known, edges), place, facecolor=GRID, linewidth=0, antialiased=False)
    drawn = axes.broken_barh(
        _spans([bar for bar in bars if bar.class_index], edges), place, facecolor=color, linewidth=0, antialiased=False
    )
    drawn.set_gid(name)


def _draw_curve(
    axes: Axes, probability: np.ndarray, wrong: np.ndarray, top: float, *, edges: np.ndarray, name: str
) -> None:
    """Draw the probability [T] of one class as steps, on a ground that is tinted where `wrong`, bool [T]."""
    runs = [run for run in segments_from_frames(wrong.astype(np.int8)) if run.class_index]
    tint = axes.broken_barh(_spans(runs, edges), (top, CURVE), facecolor=WRONG, linewidth=0, antialiased=False)
    tint.set_gid(f"wrong/{name}")
    means, steps = probability_steps(probability, edges)
    bottom = top + CURVE
    for level in (top, bottom):
        axes.axhline(level, color=GRID, linewidth=0.6, zorder=0)
    axes.stairs(bottom - CURVE * means, steps, baseline=bottom, fill=True, color="#4a5563", alpha=0.22, linewidth=0)
    axes.stairs(bottom - CURVE * means, steps, baseline=None, color="#3b4652", linewidth=0.8)


def _add_legend(figure: Figure, *, is_unknown_shown: bool) -> None:
    handles = [Patch(facecolor="#4a5563", alpha=0.4, label="probability, from 0 to 1")]
    handles.append(Patch(facecolor=WRONG, label="wrong frames"))
    if is_unknown_shown:
        handles.append(Patch(facecolor="white", edgecolor=FAINT, hatch="/////", linewidth=0, label="unknown"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8,
                  handlelength=1.1, handleheight=1.0, columnspacing=1.5)  # fmt: skip
