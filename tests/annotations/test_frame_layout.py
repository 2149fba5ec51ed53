"""The layout of predicted frames of exclusive classes and of classes that overlap."""

import doctest

import numpy as np
import pytest

from pipeline.annotations import frame_layout as module
from pipeline.annotations.frame_layout import frame_layout
from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace

CLASSES = ("eats", "rears")
EXCLUSIVE, OVERLAPPING = LabelSpace(CLASSES), LabelSpace.independent(CLASSES)
FRAMES = {
    "exclusive": (EXCLUSIVE, [(1, 0.12345), (IGNORE_INDEX, np.nan)]),
    "overlapping": (
        OVERLAPPING,
        [
            (np.array([1, 1], np.int8), np.array([0.9, 0.12345678])),
            (np.array([0, 0], np.int8), np.array([0.1, 0.2])),
            (np.full(2, IGNORE_INDEX, np.int8), np.full(2, np.nan)),
        ],
    ),
}


def test_docstring_examples():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("kind", FRAMES)
def test_every_frame_has_a_cell_for_each_column_and_a_value_for_each_field(kind):
    space, frames = FRAMES[kind]
    layout = frame_layout(space)
    assert layout.may_overlap is not space.is_exclusive
    for label, probability in frames:
        cells, values = layout.cells(label, probability), layout.values(label, probability)
        assert len(cells) == len(layout.header) - 2
        assert len(values) == len(layout.fields)
        assert any(cells) == (values[1] is not None), "an unlabelled frame has neither"
        shown = [values[1]] if space.is_exclusive else list((values[1] or {}).values())
        assert [float(cell) for cell in cells[1:] if cell] == pytest.approx(
            [value for value in shown if value is not None]
        )


def test_a_row_says_of_all_classes_or_of_none_whether_a_frame_has_them():
    with pytest.raises(ValueError, match="frame 1 is labelled for some classes only"):
        frame_layout(OVERLAPPING).check(np.array([[0, 1], [0, IGNORE_INDEX]], np.int8))
