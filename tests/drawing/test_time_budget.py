"""The picture of time budgets has a bar for each share, and the matrix of transitions."""

import io
from itertools import pairwise

import numpy as np
import pytest

from pipeline.annotations.label_space import LabelSpace
from pipeline.drawing.time_budget import plot_time_budget

COUNTS = np.array([[0, 3, 1], [2, 0, 0], [0, 0, 0]])


def test_exclusive_shares_follow_one_another_and_fill_the_bar():
    shares = {"control": [0.5, 0.3, 0.2], "treated": [0.1, 0.9, 0.0]}
    upper, lower = plot_time_budget(shares, COUNTS, LabelSpace(("rest", "walk", "eat"))).subfigs
    (axes,) = upper.axes
    bars = sorted((bar.get_y(), bar.get_x(), bar.get_width()) for bar in axes.patches)
    assert [pytest.approx((start, width)) for _, start, width in bars] == [
        (0, 50), (50, 30), (80, 20), (0, 10), (10, 90), (100, 0)
    ]  # fmt: skip
    assert [label.get_text() for label in axes.get_yticklabels()] == ["control", "treated"]
    picture = lower.axes[0].images[0].get_array()
    np.testing.assert_allclose(picture, [[0, 0.75, 0.25], [1, 0, 0], [0, 0, 0]])


def test_overlapping_shares_are_below_one_another():
    space = LabelSpace.independent(("eats", "rears", "walks"))
    upper, _ = plot_time_budget({"clip": [0.5, 0.9, 0.4]}, COUNTS, space).subfigs
    bars = upper.axes[0].patches
    assert [bar.get_x() for bar in bars] == [0, 0, 0]
    assert [bar.get_width() for bar in bars] == pytest.approx([50, 90, 40])
    edges = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in bars]
    assert all(one[1] == pytest.approx(two[0]) for one, two in pairwise(edges))


@pytest.mark.parametrize(("num_bars", "num_classes"), [(1, 1), (40, 12), (2, 60)])
def test_few_and_many_bars_and_classes_are_drawn(num_bars: int, num_classes: int):
    space = LabelSpace(tuple(f"a class with the number {index}" for index in range(num_classes)))
    shares = {f"{index} {'long ' * 20}": [1 / num_classes] * num_classes for index in range(num_bars)}
    figure = plot_time_budget(shares, np.eye(num_classes, dtype=int), space)
    assert all(len(label.get_text()) <= 32 for label in figure.subfigs[0].axes[0].get_yticklabels())
    figure.savefig(io.BytesIO(), dpi=30)
