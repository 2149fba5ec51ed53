"""What the pictures of results share: their style, the axis of time, and how labels and probabilities become bars."""

from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter, MultipleLocator

Colors = list[tuple[float, float, float]]

INK, FAINT, GRID, WRONG = "#22272e", "#b9c0c9", "#eceff3", "#f4c7c3"
TIMELINE_WIDTH = 10.0  # inches
LEGEND_COLUMNS = 7
BOX = "\N{WHITE SQUARE}"
MAX_STEPS = 600  # of the probability: more steps look like a solid block


def plain_colors(colors: np.ndarray) -> Colors:
    """Convert colours uint8 [K, 3] to those of matplotlib, in [0, 1]."""
    return [tuple(color) for color in (colors / 255).tolist()]


def make_figure(width: float, height: float) -> Figure:
    """Make an empty white figure, with sizes in inches, in the style that all pictures share."""
    return Figure(figsize=(width, height), dpi=150, facecolor="white", layout="constrained")


@cache
def plain_text(text: str) -> str:
    """Return a text of people, such as the name of a class, as matplotlib draws it without a warning.

    A character that the font lacks becomes a box: matplotlib would warn of it each time, and draw a box. Dollar signs
    are escaped, as two of them would enclose a formula.

    >>> plain_text("rear \N{DOG FACE}") == "rear " + BOX
    True
    """
    fonts = [get_font(findfont(FontProperties(weight=weight))) for weight in ("normal", "bold")]
    return "".join(
        character if character.isspace() or all(font.get_char_index(ord(character)) for font in fonts) else BOX
        for character in text
    ).replace("$", r"\$")


def frame_edges(num_frames: int, times: np.ndarray | None) -> np.ndarray:
    """Return where each frame begins on the axis, and where the last one ends: [T + 1]."""
    if times is None:
        return np.arange(num_frames + 1, dtype=np.float64)
    duration = float(np.median(np.diff(times))) if num_frames > 1 else 1.0
    return np.append(times, times[-1] + duration)


def label_time(axes: Axes, *, seconds: float | None) -> None:
    """Set ticks in frames, in seconds, or from two minutes on as minutes:seconds."""
    axes.set_xlabel("frame" if seconds is None else "time (s)" if seconds < 120 else "time (min:s)", fontsize=8)
    if seconds is not None and seconds >= 120:
        step = next((step for step in (15, 30, 60, 120, 300, 600, 1800) if seconds / step <= 14), 3600)
        axes.xaxis.set_major_locator(MultipleLocator(step))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda t, _: f"{int(t) // 60}:{int(t) % 60:02d}"))


def probability_steps(probability: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most MAX_STEPS means [n] of neighbouring frames of a probability [T], and their edges [n + 1]."""
    firsts = np.unique(np.linspace(0, len(probability), MAX_STEPS + 1).astype(int)[:-1])
    means = np.add.reduceat(probability, firsts) / np.diff(firsts, append=len(probability))
    return means, np.append(edges[firsts], edges[-1])
