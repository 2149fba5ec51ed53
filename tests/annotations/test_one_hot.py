"""Tables with a column for each class are read as other programs write them, and each mistake is one line."""

import numpy as np
import pytest

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.read import class_names_in, read_annotation

CLASSES = ("eats", "rears")
SPACE, EXCLUSIVE = LabelSpace.independent(CLASSES), LabelSpace(CLASSES)


def read(path, text, space=SPACE, *, num_frames=None, notes=None):
    path.write_text(text)
    return read_annotation(path, space, num_frames=num_frames, notes=notes).tolist()


def problems_of(path, text, space=SPACE, *, num_frames=None):
    with pytest.raises(AnnotationError) as caught:
        read(path, text, space, num_frames=num_frames)
    return [(problem.line, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("TRUE", "FALSE"), ("yes", "No"), ("1.0", "0.0")])
def test_true_and_yes_are_1_and_minus_1_is_unknown(tmp_path, yes, no):
    text = f"eats,rears\n{yes},{no}\n-1,-1\n{no},-1.0\n"
    expected = [[1, 0], [IGNORE_INDEX] * 2, [0, IGNORE_INDEX]]
    assert read(tmp_path / "clip.csv", text) == expected
    assert class_names_in(tmp_path / "clip.csv") == set(CLASSES)


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "frame", "Frames", "index"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_column_of_frame_numbers_is_followed_from_0_or_from_1(tmp_path, name, first):
    notes = []
    text = f"{name},eats,rears\n{first},1,0\n{first + 1},0,1\n"
    assert read(tmp_path / "clip.csv", text, num_frames=2, notes=notes) == [[1, 0], [0, 1]]
    assert ["counted from 1" in note.message for note in notes] == [True] * first
    ((line, message),) = problems_of(tmp_path / "clip.csv", text.replace(f"\n{first + 1},", "\n7,"), num_frames=7)
    assert line == 3
    assert message == f"got frame 7, expected {first + 1}: rows are missing or not in order"


def test_times_are_passed_over_wherever_they_are(tmp_path):
    text = "time,eats,Time (s),rears\n0.0,1,0.0,0\n0.04,0,0.04,1\n"
    assert read(tmp_path / "clip.csv", text) == [[1, 0], [0, 1]]
    space = LabelSpace.independent((*CLASSES, "time"))
    with pytest.raises(AnnotationError, match=r"got '0\.04' for 'time', expected 1"):
        read(tmp_path / "clip.csv", text, space)


@pytest.mark.parametrize("name", ["background", "None", "other"])
def test_a_column_for_no_class_is_noted_unless_it_is_a_class(tmp_path, name):
    path, text, notes = tmp_path / "clip.csv", f"{name},eats,rears\n1,0,0\n0,1,0\n-1,-1,-1\n", []
    assert read(path, text, EXCLUSIVE, notes=notes) == [IGNORE_INDEX, 0, IGNORE_INDEX]
    assert [note.message for note in notes] == [
        f"the column {name!r} is not in the list of classes: 1 frame with a 1 in it counted as without a label"
    ]
    assert read(path, text, SPACE) == [[0, 0], [1, 0], [IGNORE_INDEX] * 2]
    notes.clear()
    assert read(path, text, LabelSpace((name, *CLASSES)), notes=notes) == [0, 1, IGNORE_INDEX]
    assert notes == []
    ((line, message),) = problems_of(path, text.replace("0,1,0", "1,1,0"), EXCLUSIVE)
    assert line == 3
    assert message.startswith(f"frame 1 has several classes ('eats', '{name}'): a frame has one class")


def test_columns_that_are_no_classes_are_one_line_whatever_is_in_them(tmp_path):
    rows = "".join(f"{i}.5,{i}.7,note {i},1,0\n" for i in range(50))
    ((line, message),) = problems_of(tmp_path / "clip.csv", f"nose_x,nose_y,comment,eats,rears\n{rows}")
    assert line == 1
    assert message.startswith("the columns 'nose_x', 'nose_y', 'comment' are no classes: there are 'eats', 'rears'")
    ((_, one),) = problems_of(tmp_path / "clip.csv", "eat,eats,rears\n1,1,0\n")
    assert one == "the column 'eat' is no class: did you mean 'eats'?"


def test_cells_of_a_column_that_cannot_be_read_are_one_line(tmp_path):
    rows = "".join(f"{i},0\n" for i in range(2, 40))
    ((line, message),) = problems_of(tmp_path / "clip.csv", f"eats,rears\n{rows}")
    assert line == 2
    assert message.startswith("got '2' and others for 'eats' (on 38 lines), expected 1 (present), 0 (absent)")


def test_a_table_without_rows_says_so(tmp_path):
    message = "has no row below the header: expected one for each frame"
    assert problems_of(tmp_path / "clip.csv", "eats,rears\n", num_frames=4) == [(None, message)]


def test_empty_lines_at_the_end_of_a_single_column_are_no_frames(tmp_path):
    space = LabelSpace.independent(("rears",))
    assert read(tmp_path / "clip.csv", "rears\n1\n\n0\n\n\n", space, num_frames=3) == [[1], [IGNORE_INDEX], [0]]
    assert read(tmp_path / "clip.csv", "rears\n1\n\n", space, num_frames=2) == [[1], [IGNORE_INDEX]]


@pytest.mark.slow
def test_real_tables_are_read_as_they_are(real_data):
    paths = sorted((real_data / "annotations" / "banos").rglob("*.csv"))
    assert paths
    for path in paths:
        text = path.read_text().splitlines()
        names = text[0].split(",")
        space = LabelSpace(tuple(name for name in names if name != "other"))
        notes = []
        labels = read_annotation(path, space, num_frames=None, notes=notes)
        assert len(labels) == len(text) - 1
        assert {note.message.split(":")[0] for note in notes} <= {"the column 'other' is not in the list of classes"}
        cells = np.array([[int(cell) for cell in row.split(",")] for row in text[1:]])
        for index, name in enumerate(space.classes):
            np.testing.assert_array_equal(labels == index, cells[:, names.index(name)] == 1)
