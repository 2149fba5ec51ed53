import numpy as np
import pytest

from pipeline.annotations.label_space import LabelSpace
from pipeline.drawing.colors import BACKGROUND, class_colors, palette


@pytest.mark.parametrize("num_classes", [3, 11, 20, 70])
def test_colours_differ_and_do_not_depend_on_the_number_of_classes(num_classes):
    colors = palette(num_classes).astype(int)
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 1000 * np.eye(num_classes)
    assert distances.min() > (30 if num_classes <= 20 else 8)
    np.testing.assert_array_equal(colors, palette(100)[:num_classes])


def test_only_the_background_turns_grey():
    names = ("a", "b", "c", "d", "e")
    plain, colors = class_colors(LabelSpace(names)), class_colors(LabelSpace(names, "b"))
    assert tuple(colors[1].tolist()) == BACKGROUND
    np.testing.assert_array_equal(np.delete(colors, 1, axis=0), np.delete(plain, 1, axis=0))
