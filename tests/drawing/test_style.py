"""Names that the font of the pictures cannot show are drawn without a warning."""

import doctest
import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.annotations.label_space import LabelSpace
from pipeline.drawing import style
from pipeline.drawing.matrices import plot_co_occurrence, plot_confusion
from pipeline.drawing.plots import plot_attention, plot_timeline
from pipeline.drawing.style import plain_text

NAMES = ("r\N{DOG FACE}ars", "\N{CJK UNIFIED IDEOGRAPH-72D7}", "$a^$ und $b^$")
LABELS = np.repeat(np.arange(3), 40)
ONE_HOT = np.eye(3, dtype=np.int8)[LABELS]
SPACE, OVERLAPPING = LabelSpace(NAMES), LabelSpace.independent(NAMES)
FIGURES = {
    "confusion": lambda: plot_confusion(np.eye(3, dtype=int), SPACE),
    "co-occurrence": lambda: plot_co_occurrence(np.eye(3, dtype=int), np.eye(3, dtype=int), OVERLAPPING),
    "timeline": lambda: plot_timeline(LABELS, LABELS, np.ones(120), SPACE, title=NAMES[0]),
    "rows": lambda: plot_timeline(ONE_HOT, ONE_HOT, ONE_HOT * 1.0, OVERLAPPING, title=NAMES[1]),
    "attention": lambda: plot_attention(np.zeros((8, 8, 3), np.uint8), NAMES, np.full((3, 5), 0.2), title=NAMES[0]),
}


@pytest.mark.parametrize("kind", FIGURES)
def test_any_name_is_drawn_without_a_warning(kind):
    figure: Figure = FIGURES[kind]()
    figure.savefig(io.BytesIO(), dpi=40)  # warnings are errors


def test_what_the_font_lacks_is_a_box_and_the_rest_stays():
    assert doctest.testmod(style).failed == 0
    assert plain_text("r\N{LATIN SMALL LETTER E WITH ACUTE} \N{CYRILLIC SMALL LETTER ZHE}\n1") == "ré ж\n1"
