"""Pictures of matrices of counts: which classes are taken for which, and which classes occur together.

Shapes: K classes.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from pipeline.annotations.label_space import LabelSpace
from pipeline.drawing.plots import SHARE_COLORS
from pipeline.drawing.style import FAINT, GRID, INK, make_figure, plain_text

MAX_COUNTED = 25  # classes; of more, the cells are too small for their counts
ITSELF = "#eceff3"  # the ground of a class beside itself


def plot_confusion(matrix: np.ndarray, label_space: LabelSpace) -> Figure:
    """Plot a confusion matrix; the colour is the share of the row.

    With up to 25 classes, each cell that is not 0 shows its number of frames.

    Args:
        matrix: [K, K], numbers of frames; a row for each true class, a column for each predicted class.
        label_space: The classes.
    """
    cell, names = cell_sizes(label_space)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    width = cell * label_space.num_classes + names
    figure = make_figure(width + 1.4, width + 0.5)
    axes = figure.subplots()
    picture = draw_matrix(axes, matrix, shares, label_space)
    axes.set(xlabel="predicted", ylabel="truth")
    add_bar(figure, picture, axes, "share of the true class's frames")
    return figure


def plot_co_occurrence(truth: np.ndarray, predicted: np.ndarray, label_space: LabelSpace) -> Figure:
    """Plot which classes occur together, in the truth and beside it in the prediction.

    The colour of a cell is the share of the frames of the row's class that also have the column's class. The diagonal
    is the number of frames of each class. With up to 25 classes, each cell that is not 0 shows its number of frames.

    Args:
        truth: [K, K], the numbers of true frames that have the classes of both row and column.
        predicted: [K, K], those of the prediction.
        label_space: The classes.
    """
    cell, names = cell_sizes(label_space)
    width = cell * label_space.num_classes
    figure = make_figure(max(2 * width + names + 1.8, 3.2), max(width + names + 0.8, 2.2))
    panels = figure.subplots(1, 2).tolist()
    for axes, matrix, title in zip(panels, (truth, predicted), ("truth", "prediction"), strict=True):
        shares = matrix / np.maximum(matrix.diagonal()[:, None], 1)
        np.fill_diagonal(shares, np.nan)
        picture = draw_matrix(axes, matrix, shares, label_space)
        axes.set_facecolor(ITSELF)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    panels[1].tick_params(labelleft=False)  # the names are beside the left panel
    add_bar(figure, picture, panels, "share of the row's frames")
    return figure


def cell_sizes(label_space: LabelSpace) -> tuple[float, float]:
    """Return the size of a cell and the length of the longest name, in inches."""
    cell = min(0.46, max(0.17, 7.5 / label_space.num_classes))
    return cell, _font_size(cell) / 72 * 0.55 * max(len(name) for name in label_space.classes)


def _font_size(cell: float) -> float:
    return min(9.0, cell * 40)


def draw_matrix(axes: Axes, counts: np.ndarray, shares: np.ndarray, label_space: LabelSpace) -> AxesImage:
    """Draw [K, K] shares as colours, with the counts that are not 0; a share of NaN has no colour."""
    num_classes, classes = label_space.num_classes, [plain_text(name) for name in label_space.classes]
    font_size = _font_size(cell_sizes(label_space)[0])
    picture = axes.imshow(shares, cmap=SHARE_COLORS, vmin=0, vmax=1)
    axes.set_xticks(range(num_classes), classes, rotation=90, fontsize=font_size)
    axes.set_yticks(range(num_classes), classes, fontsize=font_size)
    axes.set_xticks(np.arange(num_classes + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(num_classes + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_color(FAINT)
    for row, column in zip(*np.nonzero(counts), strict=True) if num_classes <= MAX_COUNTED else ():
        color = "white" if shares[row, column] > 0.5 else INK
        count = _short_count(int(counts[row, column]))
        axes.text(column, row, count, ha="center", va="center", color=color, fontsize=font_size * 0.8)
    return picture


def add_bar(figure: Figure, picture: AxesImage, panels: Axes | list[Axes], label: str) -> None:
    """Add the bar that says which share each colour of a matrix is."""
    bar = figure.colorbar(picture, ax=panels, fraction=0.05, aspect=30, pad=0.02)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.outline.set_visible(False)


def _short_count(count: int) -> str:
    """Format a number so that it fits into a cell: 950, 1.2k, 35k, 1.2M."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if count >= size:
            scaled = count / size
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return str(count)
