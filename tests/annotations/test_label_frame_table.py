"""A table of frames and classes is labels per frame, counted from 0 or from 1, and gaps are named."""

import pytest

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.read import class_names_in, read_annotation, read_predicted

SPACE = LabelSpace(("rest", "walk"))
LABELS = ["rest", "", "walk", "walk"]


def table(separator, header, first=0, labels=LABELS):
    rows = [[str(frame), label] for frame, label in enumerate(labels, first)]
    return "\n".join(separator.join(row) for row in ([header.split()] if header else []) + rows) + "\n"


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("name", "separator", "header"),
    [
        ("clip.csv", ",", "frame class"),
        ("clip.csv", ";", "Frame Behavior"),
        ("clip.tsv", "\t", "Frame Phase"),
        ("clip.txt", "\t", "Frame Phase"),
        ("clip.txt", "\t", ""),
        ("clip.txt", ",", ""),
        ("clip.txt", ",", "frame class"),
    ],
)
def test_each_frame_has_the_class_of_its_row(tmp_path, name, separator, header, first):
    path, notes = tmp_path / name, []
    path.write_text(table(separator, header, first))
    for num_frames in (4, None):
        labels = read_annotation(path, SPACE, num_frames=num_frames, notes=notes)
        assert labels.tolist() == [0, IGNORE_INDEX, 1, 1]
    assert read_predicted(path, SPACE).tolist() == [0, IGNORE_INDEX, 1, 1]
    assert class_names_in(path) == {"rest", "walk"}
    assert [note.message[:31] for note in notes] == ["frames are counted from 1: 1 is"] * 2 * first


def test_classes_that_overlap_are_joined_and_other_columns_passed_over(tmp_path):
    notes = []
    (tmp_path / "clip.csv").write_text("frame,time,label,by\n0,0.0,rest;walk,me\n1,0.04,\n")
    labels = read_annotation(tmp_path / "clip.csv", LabelSpace.independent(SPACE.classes), num_frames=2, notes=notes)
    assert labels.tolist() == [[1, 1], [0, 0]]
    assert [note.message for note in notes] == ["the columns 'time', 'by' are passed over"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("frame,class\n0,rest\n2,walk\n3,walk\n9,walk\n", 3, "got frame 2, expected 1: rows are missing or not in"),
        ("frame,class\n2,rest\n3,walk\n", 2, "got frame 2, expected 0: the first frame is 0"),
        ("frame,class\n0,rest\n25,walk\n50,walk\n", 3, "has a row for every 25th frame, expected one for each frame"),
        ("frame,class\n1,rest\n2,rest\n2,walk\n", 4, "got frame 2, expected 3: rows are missing or not in order"),
        ("frame,class\nimg_0.png,rest\n", 2, "frame 'img_0.png' is not a frame number"),
        ("frame,class\n0,rest,b\n", 2, "got 3 columns, expected the 2 of frame,class"),
        ("frame,class\n0,rest\n", None, "got 1 labels for 4 frames in clip.csv"),
        ("frame,class\n", None, "is empty: expected the label of each frame of the video"),
        ("frame,class\n0,rset\n1,rset\n2,rest\n3,rest\n", 2, "unknown class 'rset' (on 2 lines): did you mean 'rest'?"),
    ],
)
def test_a_table_that_lacks_frames_is_one_problem(tmp_path, text, line, message):
    (tmp_path / "clip.csv").write_text(text)
    with pytest.raises(AnnotationError) as caught:
        read_annotation(tmp_path / "clip.csv", SPACE, num_frames=4)
    problem = caught.value.problems[0]
    assert len(caught.value.problems) == 1 or "columns" in message
    assert problem.line == line
    assert problem.message.startswith(message)
