"""Tables with a column for each class are read as DeepEthogram, SimBA and BANOS write them."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations.foreign.base import LabelledVideo
from pipeline.annotations.foreign.class_table import FORMAT
from pipeline.annotations.foreign.document import Document, Event, Span
from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.times import FrameTimes

DEEPETHOGRAM = ",background,walk,eat\n0,1,0,0\n1,0,1,1\n2,0,1,0\n3,-1,-1,-1\n"
SIMBA = ",Nose_x,Nose_y,Nose_p,Attack\n0,0,12.25,1.0,0\n1,1,12.5,0.99,1\n2,3.5,12.5,0.98,1\n"


def read(tmp_path: Path, text: str, name: str = "mouse_1.csv") -> Document:
    (tmp_path / name).write_text(text)
    return FORMAT.read(tmp_path / name)


def test_a_table_of_deepethogram_has_a_background_and_unlabelled_frames(tmp_path: Path) -> None:
    document = read(tmp_path, DEEPETHOGRAM, "mouse_1_labels.csv")
    assert (document.classes, document.may_overlap) == (["background", "walk", "eat"], True)
    assert document.background == "background"
    (recording,) = document.recordings
    assert (recording.name, recording.num_frames, recording.scored) == ("mouse_1", 4, [Span(0, 3)])
    assert recording.events == [
        Event(0, 1, "background", place="line 2"),
        Event(1, 2, "eat", place="line 3"),
        Event(1, 3, "walk", place="line 3"),
    ]
    assert (document.losses, document.notes) == ([], [])


def test_the_positions_of_body_parts_in_a_table_of_simba_are_left_out_and_said(tmp_path: Path) -> None:
    document = read(tmp_path, SIMBA)
    assert document.classes == ["Attack"]
    assert document.may_overlap
    assert document.recordings[0].scored is None
    (note,) = document.notes
    assert note.startswith("Columns with other cells than 0, 1 and -1 are left out: ")
    assert "'Nose_x' (it has '3.5' on line 4)" in note
    assert "'Nose_p' (it has '0.99' on line 3)" in note


@pytest.mark.parametrize(
    ("text", "may_overlap", "background"),
    [
        ("walk,other\n1,0\n0,1\n", None, "other"),
        ("walk,rest\n1,0\n0,1\n", None, None),
        ("walk,other\n1,1\n0,1\n", True, None),
        ("walk,eat\n1,1\n0,1\n", True, None),
        ("walk,eat\n0,0\n0,1\n", True, None),
        ("walk,background\n1,0\n1,0\n", None, None),
    ],
)
def test_the_rows_say_whether_classes_overlap(text: str, may_overlap: bool, background: str, tmp_path: Path) -> None:
    document = read(tmp_path, text)
    assert (document.may_overlap, document.background) == (may_overlap, background)


@pytest.mark.parametrize(
    "text", ["walk;rest\r\n1;0\r\n0;1\r\n", "\ufeffwalk\trest\n1.0\t0.0\n0\t1\n\n", " walk , rest,\n1,0,\n0,1,\n"]
)
def test_what_spreadsheets_make_of_a_table_is_read(text: str, tmp_path: Path) -> None:
    document = read(tmp_path, text)
    assert document.classes == ["walk", "rest"]
    assert [(event.start, event.label) for event in document.recordings[0].events] == [(0, "walk"), (1, "rest")]


def test_rows_with_missing_cells_are_unlabelled_and_counted(tmp_path: Path) -> None:
    document = read(tmp_path, "walk,rest\n1,0\n1\n0,1\n")
    assert [(loss.place, loss.kind.split()[0]) for loss in document.losses] == [("line 3", "rows")]
    assert document.recordings[0].scored == [Span(0, 1), Span(2, 3)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("walk,rest\n", "has no column with 0 and 1"),
        ("walk,rest\n2,3\n", "has no column with 0 and 1 for each frame. Columns with other cells"),
        ("frame,walk\n0,1\n2,1\n", ":3: got '2' in the column of frames, expected 1: rows are missing"),
        ("walk,walk\n1,0\n", ":1: names a class twice: 'walk'"),
        ("start,stop,class\n0,5,walk\n", ":1: is a table of segments"),
        ('walk,rest\n1,"0\n', "is not CSV"),
        ("walk,rest,x\n1\n1\n0,1,0\n", "has another number of cells than the 3 of the header on 2 lines of 3"),
    ],
)
def test_another_table_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError) as refused:
        read(tmp_path, text)
    assert expected in str(refused.value)


def write(path: Path, labels: list, space: LabelSpace) -> tuple[str, list[str]]:
    times = FrameTimes(np.arange(len(labels)) / 25, 0.04)
    array = np.array(labels, dtype=np.int64 if space.is_exclusive else np.int8)
    losses = FORMAT.write(path, [LabelledVideo(Path("mouse_1.mp4"), array, space, times, 25.0)])
    return path.read_text(), [loss.what for loss in losses]


def test_exclusive_labels_are_written_as_deepethogram_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "mouse_1_labels.csv"
    plain = ",background,rest,=walk\n0,0,1,0\n1,0,0,1\n2,-1,-1,-1\n".replace("=walk", "'=walk")
    assert write(path, [0, 1, IGNORE_INDEX], LabelSpace(("rest", "=walk"))) == (plain, [])
    renamed = ",background,walk\n0,1,0\n1,0,1\n"
    assert write(path, [0, 1], LabelSpace(("rest", "walk"), "rest")) == (renamed, ["'rest'"])
    assert write(path, [1, 0], LabelSpace(("walk", "background"))) == (renamed, [])


def test_overlapping_labels_are_written_with_a_background_where_all_are_absent(tmp_path: Path) -> None:
    space = LabelSpace.independent(("a", "b"))
    labels = [[0, 0], [1, 1], [1, IGNORE_INDEX], [0, IGNORE_INDEX]]
    expected = ",background,a,b\n0,1,0,0\n1,0,1,1\n2,0,1,-1\n3,-1,0,-1\n"
    assert write(tmp_path / "x_labels.csv", labels, space) == (expected, [])
