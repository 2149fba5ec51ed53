import io

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.drawing.matrices import plot_co_occurrence, plot_confusion

SPACE = LabelSpace(("rest", "walk", "jump"))


def test_the_confusion_matrix_shows_shares_of_rows_and_counts():
    figure = plot_confusion(np.array([[3, 1, 0], [0, 1500, 0], [0, 0, 0]]), SPACE)
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])
    assert {t.get_position(): t.get_text() for t in axes.texts} == {(0, 0): "3", (1, 0): "1", (1, 1): "1.5k"}
    figure.savefig(io.BytesIO())


def test_the_confusion_matrix_of_many_classes_names_them_all_without_counts():
    names = [f"class {index}" for index in range(60)]
    axes = plot_confusion(np.eye(60, dtype=int), LabelSpace(tuple(names))).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert not axes.texts


def test_the_co_occurrence_shows_shares_of_the_frames_of_a_row_and_counts_in_truth_and_prediction():
    truth, predicted = np.array([[4, 1], [1, 2]]), np.array([[1500, 0], [0, 0]])
    figure = plot_co_occurrence(truth, predicted, LabelSpace.independent(("eats", "rears")))
    left, right = figure.axes[:2]
    np.testing.assert_array_equal(left.images[0].get_array().filled(-1), [[-1, 0.25], [0.5, -1]])
    counts = [{t.get_position(): t.get_text() for t in axes.texts} for axes in (left, right)]
    assert counts == [{(0, 0): "4", (1, 0): "1", (0, 1): "1", (1, 1): "2"}, {(0, 0): "1.5k"}]
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["truth", "prediction"]
    figure.savefig(io.BytesIO())


def test_the_co_occurrence_of_a_single_class_and_of_many_classes_is_drawn():
    for num_classes in (1, 60):
        matrix = np.eye(num_classes, dtype=int)
        figure = plot_co_occurrence(matrix, matrix, LabelSpace.independent(tuple(map(str, range(num_classes)))))
        assert len(figure.axes[0].texts) == (num_classes if num_classes == 1 else 0)
        figure.savefig(io.BytesIO(), dpi=30)
