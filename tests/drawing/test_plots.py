import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.annotations.label_space import LabelSpace
from pipeline.drawing.plots import plot_attention, plot_curves, plot_gradients, plot_timeline

SPACE = LabelSpace(("rest", "walk", "jump"))
TRUTH = np.array([0, 0, 1, 1, -100, -100, 2, 0])
PREDICTED = np.array([0, 1, 1, 1, 1, 1, 2, 2])


def bars(figure: Figure, gid: str) -> list[tuple[float, float]]:
    """(start, stop) on the time axis of the bars drawn under `gid`, in order."""
    (drawn,) = (c for axes in figure.axes for c in axes.collections if c.get_gid() == gid)
    extents = [path.get_extents() for path in drawn.get_paths()]
    return [(round(extent.x0, 6), round(extent.x1, 6)) for extent in extents]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_timeline_draws_the_segments_of_each_row_and_the_wrong_frames():
    more_rows = {"without RNN": np.zeros(8, dtype=int)}
    figure = plot_timeline(TRUTH, PREDICTED, np.full(8, 0.5), SPACE, title="clip", more_rows=more_rows)
    assert bars(figure, "truth/rest") == [(0, 2), (7, 8)]
    assert bars(figure, "truth/walk") == [(2, 4)]
    assert bars(figure, "prediction/walk") == [(1, 6)]
    assert bars(figure, "without RNN/rest") == [(0, 8)]
    assert bars(figure, "wrong") == [(1, 2), (7, 8)]  # not the unlabelled frames
    assert legend(figure) == ["rest", "walk", "jump", "unlabelled", "wrong frames"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["truth", "prediction", "without RNN"]
    figure.savefig(io.BytesIO())


def test_timeline_follows_the_time_of_each_frame():
    times = np.array([0, 1, 2, 4, 8, 9, 10, 11]) * 20.0
    figure = plot_timeline(TRUTH, PREDICTED, np.full(8, 0.5), SPACE, times=times)
    assert bars(figure, "truth/walk") == [(40, 160)]
    assert bars(figure, "truth/rest")[1] == (220, 240)
    assert figure.axes[1].get_xlabel() == "time (min:s)"


def test_the_probability_curve_of_a_long_video_is_averaged():
    probability = np.tile([0.2, 0.6], 3000)
    labels = np.zeros(6000, dtype=int)
    figure = plot_timeline(labels, labels, probability, SPACE)
    values, edges, _ = figure.axes[1].patches[0].get_data()
    assert len(values) == 600
    np.testing.assert_allclose(values, 0.4)
    assert (edges[0], edges[-1]) == (0, 6000)


def test_curves_have_a_panel_for_losses_one_for_scores_and_one_per_other_name():
    history = [
        {"train_loss": 2.0, "learning_rate": 0.1, "val_loss": 3.0, "val_f1_at_50": 10.0},
        {"train_loss": 1.0, "learning_rate": 0.2},
        {"train_loss": 0.5, "learning_rate": 0.1, "val_loss": 2.0, "val_f1_at_50": 30.0},
    ]
    figure = plot_curves(history, best_epoch=2)
    drawn = {axes.get_title(loc="left"): {line.get_label(): line for line in axes.lines} for axes in figure.axes}
    assert {title: set(lines) for title, lines in drawn.items()} == {
        "loss": {"best epoch", "train loss", "validation loss"},
        "score (%)": {"best epoch", "validation F1@50"},
        "learning rate": {"best epoch", "learning rate"},
    }
    np.testing.assert_array_equal(drawn["score (%)"]["validation F1@50"].get_xydata(), [[0, 10], [2, 30]])
    assert drawn["loss"]["best epoch"].get_xdata()[0] == 2
    plot_curves([]).savefig(io.BytesIO())


def test_gradients_have_a_panel_per_layer_and_direction_and_one_for_the_radii():
    norms = {epoch: np.full((2, 2, 5), 10.0**-epoch) for epoch in (0, 3)}
    norms[3][1, 1, 4] = 0  # underflowed to 0, whose logarithm cannot be drawn
    radii = np.arange(4 * 2 * 2 * 3, dtype=float).reshape(4, 2, 2, 3)
    figure = plot_gradients(norms, radii, ("r", "z", "n"))
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.axison}
    ways = [f"gradient, layer {layer}, {way}" for way in ("forward", "reverse") for layer in (0, 1)]
    assert set(panels) == {*ways, "spectral radius of W_hh"}
    lines = panels["gradient, layer 1, reverse"].lines
    np.testing.assert_array_equal(lines[1].get_ydata(), [1e-3] * 4 + [np.nan])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["epoch 0", "epoch 3"]
    of_z = next(line for line in panels["spectral radius of W_hh"].lines if line.get_label() == "z")
    np.testing.assert_array_equal(of_z.get_ydata(), [10, 22, 34, 46])
    figure.savefig(io.BytesIO())


@pytest.mark.parametrize("num_words", [0, 1, 6, 7, 20])
@pytest.mark.parametrize("size", [(30, 80), (80, 30)])
def test_attention_maps_have_the_image_and_a_panel_per_word(num_words, size):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
    attention = generator.dirichlet(np.ones(10), num_words)
    words = [f"word{index}" for index in range(num_words)]
    figure = plot_attention(pixels, words, attention, title="a dog runs")
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == num_words + 1
    np.testing.assert_array_equal(drawn[0].images[0].get_array(), pixels)
    titles = [axes.get_title().splitlines() for axes in drawn[1:]]
    assert titles == [[word, f"{100 * row[-1]:.0f}% unseen"] for word, row in zip(words, attention, strict=True)]
    for axes, row in zip(drawn[1:], attention, strict=True):
        seen = axes.images[1]
        np.testing.assert_allclose(seen.get_array(), row[:-1].reshape(3, 3))
        assert seen.get_extent() == [0, size[1], size[0], 0], "the map covers the whole image"
        assert seen.get_clim() == (0, pytest.approx(row[:-1].max()))
    assert figure.get_suptitle() == "a dog runs"
    assert not any(axes.axison for axes in figure.axes)
    figure.savefig(io.BytesIO())


def test_attention_only_on_the_sentinel_is_drawn():
    attention = np.array([[0.0, 0.0, 0.0, 0.0, 1.0]])
    figure = plot_attention(np.zeros((20, 20, 3), np.uint8), ["a"], attention)
    assert figure.axes[1].get_title() == "a\n100% unseen"
    figure.savefig(io.BytesIO())
