"""Where classes overlap, the timeline has the bars of every class, and tints what is known to be wrong."""

from io import BytesIO

import numpy as np
import pytest

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.segments import segments_from_frames
from pipeline.drawing.plots import plot_timeline

SPACE = LabelSpace.independent(("eats", "rears up"), background="eats")


def spans_of(figure, name: str) -> list[tuple[float, float]]:
    """The first and the last place on the axis of time of each bar with this name."""
    (axes,) = figure.axes
    (bars,) = (bars for bars in axes.collections if bars.get_gid() == name)
    return sorted((float(path.vertices[:, 0].min()), float(path.vertices[:, 0].max())) for path in bars.get_paths())


@pytest.fixture
def labels() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.choice([0, 1, IGNORE_INDEX], (40, 2)).astype(np.int8), rng.integers(0, 2, (40, 2)).astype(np.int8)


def test_each_class_has_the_bars_of_every_row_and_a_tint_where_a_known_label_is_wrong(labels):
    truth, predicted = labels
    figure = plot_timeline(truth, predicted, np.full((40, 2), 0.5), SPACE, more_rows={"without RNN": truth})
    for index, name in enumerate(SPACE.classes):
        for row, of_row in (("truth", truth), ("prediction", predicted), ("without RNN", truth)):
            runs = [run for run in segments_from_frames(of_row[:, index]) if run.class_index == 1]
            assert spans_of(figure, f"{row}/{name}") == [(run.start, run.stop) for run in runs]
        wrong = (truth[:, index] != IGNORE_INDEX) & (truth[:, index] != predicted[:, index])
        runs = [run for run in segments_from_frames(wrong.astype(int)) if run.class_index]
        assert spans_of(figure, f"wrong/{name}") == [(run.start, run.stop) for run in runs]


def test_the_rows_are_named_and_the_axis_is_in_seconds(labels):
    figure = plot_timeline(*labels, np.full((40, 2), 0.5), SPACE, times=np.arange(40) / 4, title="clip")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["truth", "prediction"] * 2
    assert {text.get_text() for text in axes.texts} == set(SPACE.classes)
    assert axes.get_xlim() == (0, 10)
    assert axes.get_xlabel() == "time (s)"
    assert axes.get_title(loc="left") == "clip"


@pytest.mark.parametrize("num_classes", [1, 6, 30])
def test_pictures_of_any_number_of_classes_and_frames_are_drawn(num_classes):
    space = LabelSpace.independent(tuple(f"class {index}" for index in range(num_classes)))
    for num_frames in (1, 2000):
        truth = np.zeros((num_frames, num_classes), np.int8)
        predicted, probabilities = truth.copy(), np.full(truth.shape, 0.1)
        predicted[0], probabilities[0] = IGNORE_INDEX, np.nan  # a frame that was not decoded
        figure = plot_timeline(truth, predicted, probabilities, space)
        figure.savefig(BytesIO(), dpi=20)
