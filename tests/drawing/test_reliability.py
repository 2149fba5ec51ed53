"""The reliability diagram shows the bins of each model, and how far off they are."""

import io
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.drawing.reliability import MARKER_AREA, SMALLEST_MARKER, plot_reliability


def bins(**changes):
    values = {
        "probabilities": np.array([0.5, 0.9]),
        "shares": np.array([0.4, 1.0]),
        "counts": np.array([25, 75]),
        "error": 10.0,
    }
    return SimpleNamespace(**values | changes)


def test_each_model_has_its_line_its_error_and_its_share_of_frames():
    figure = plot_reliability({"labeller": bins(), "without RNN": bins(shares=np.array([0.0, 0.5]), error=37.5)})
    axes, counts = figure.axes
    _, *lines = axes.get_lines()
    assert [line.get_xydata().tolist() for line in lines] == [[[0.5, 0.4], [0.9, 1.0]], [[0.5, 0.0], [0.9, 0.5]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["labeller: 10.0%", "without RNN: 37.5%"]
    areas = axes.collections[0].get_sizes()
    assert areas == pytest.approx([SMALLEST_MARKER + MARKER_AREA * share for share in (0.25, 0.75)])
    assert [bar.get_height() for bar in counts.patches] == [0.25, 0.75] * 2
    starts = sorted(bar.get_x() for bar in counts.patches)
    assert np.diff(starts)[[0, 2]] == pytest.approx(counts.patches[0].get_width()), "side by side"
    figure.savefig(io.BytesIO())


def test_where_classes_overlap_it_says_that_it_is_of_classes():
    axes, counts = plot_reliability({"labeller": bins()}, of_labels=False).axes
    assert (counts.get_xlabel(), axes.get_ylabel()) == ("probability of the class", "frames with the class")
