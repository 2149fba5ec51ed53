"""The pictures show how far gradients reach, what parts weigh, and what is attended to."""

import pytest
import torch
from made_sequences import Last
from matplotlib.figure import Figure

from pipeline.rnn.pictures import draw_attention, draw_gradients, draw_weights, gradients, remembered


def halving() -> Last:
    """A network in which each step back multiplies the gradient by 0.5, as tanh is straight at 0."""
    model = Last("tanh")
    with torch.no_grad():
        for name, weight in model.rnn.named_parameters():
            weight.copy_(0.5 * torch.eye(4) if name.startswith("weight_hh") else torch.zeros_like(weight))
    return model


def test_the_picture_says_how_far_one_percent_of_a_gradient_reaches(capsys):
    model = halving()  # 0.5^6 is the last power above 1%
    flows = gradients({"tanh": model}, lambda model: model(torch.zeros(2, 9, 3)).sum())
    assert remembered(flows["tanh"]) == 6
    axes = Figure().subplots()
    draw_gradients(axes, {"tanh": model}, lambda model: model(torch.zeros(2, 9, 3)).sum(), steps="frames")
    draw_gradients(axes, {"tanh": model}, lambda model: model(torch.zeros(2, 5, 3)).sum(), steps="frames")
    assert capsys.readouterr().out.splitlines() == [
        "tanh: 1% of the gradient or more is left up to 6 frames back",
        "tanh: 1% of the gradient or more is left up to 4 frames back, or further",
    ]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["tanh, 6 frames", "tanh, over 4 frames"]
    assert axes.lines[0].get_ydata()[:3] == pytest.approx([1, 0.5, 0.25])


def test_gradients_are_compared_on_the_same_random_batch():
    lengths = []

    def loss(model):
        lengths.append(int(torch.randint(2, 1000, ())))
        return model(torch.zeros(2, 9, 3)).sum()

    models = {"tanh": halving(), "gru": Last()}
    before = torch.get_rng_state()
    gradients(models, loss)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(set(lengths)) == 1


def test_weights_are_colours_of_words():
    axes = Figure().subplots()
    rows = [[("good", 1.0), ("$5", -4.0)], [("plain", 0.0)]]
    draw_weights(axes, rows, title="weights", full=2, columns=40, gap=1)
    good, money, _ = axes.texts
    assert [text.get_text() for text in axes.texts] == ["good", r"\$5", "plain"]
    assert [text.get_position() for text in axes.texts] == [(0, 0), (5, 0), (0, -1)]
    shades = [text.get_bbox_patch().get_alpha() for text in axes.texts]
    assert shades == [0.5, 0.9, 0]
    assert good.get_bbox_patch().get_facecolor() != money.get_bbox_patch().get_facecolor()


def test_attention_is_a_row_for_each_word_that_was_written():
    axes = Figure().subplots()
    draw_attention(axes, torch.eye(2, 3), ["a", "b", "c"], ["x", "y"])
    assert axes.images[0].get_array().tolist() == [[1, 0, 0], [0, 1, 0]]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["x", "y"]
