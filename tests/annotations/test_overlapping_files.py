"""Every layout of label files carries the labels of classes that overlap, and every mistake in one is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.formats.scored import keep_scored, read_scored
from pipeline.annotations.formats.video_labels import read_video_labels
from pipeline.annotations.frame_layout import frame_layout
from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.annotations.problems import AnnotationError, condense
from pipeline.annotations.read import class_names_in, read_annotation, read_predicted, read_probabilities
from pipeline.annotations.segments import segments_from_frames

CLASSES = ("eats", "sleeps", "rears")
SPACE = LabelSpace(CLASSES, groups=("state", "state", "posture"))
EXCLUSIVE = LabelSpace(CLASSES)
QUESTION = (
    "a frame has one class; should these classes be independent? write classes.csv with groups, or set"
    " dataset.independent_classes (framescribe check and evaluate: --independent)"
)

# frames of which each class is present, absent or unknown, and no two of one group are present
known_rows = st.sampled_from([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1)])
rows = st.tuples(known_rows, st.tuples(*[st.booleans()] * 3)).map(
    lambda row: tuple(IGNORE_INDEX if unknown else label for label, unknown in zip(*row, strict=True))
)


def as_labels(frames):
    return np.array(frames, dtype=np.int8).reshape(-1, len(CLASSES))


def written(path, text):
    path.write_text(text)
    return path


def problems_of(path, space=SPACE, *, num_frames=None, read=read_annotation):
    with pytest.raises(AnnotationError) as caught:
        read(path, space, num_frames=num_frames)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def one_hot(labels, columns=CLASSES, *, index=None):
    """The text of a table with a column for each class, with numbered frames below the header `index`."""
    cells = {PRESENT: "1", ABSENT: "0", IGNORE_INDEX: ""}
    order = [CLASSES.index(name) for name in columns]
    header = [] if index is None else [index]
    lines = [",".join([*header, *columns])]
    for frame, row in enumerate(labels):
        number = [] if index is None else [str(frame)]
        lines.append(",".join([*number, *(cells[row[i]] for i in order)]))
    return "\n".join(lines) + "\n"


# A column for each class


@settings(deadline=None)
@given(
    frames=st.lists(rows, min_size=1, max_size=20),
    columns=st.permutations(CLASSES),
    index=st.sampled_from([None, "", "frame", "Frame"]),
)
def test_a_column_for_each_class_gives_back_its_labels(tmp_path_factory, frames, columns, index):
    labels = as_labels(frames)
    path = written(tmp_path_factory.mktemp("one_hot") / "clip.csv", one_hot(labels, columns, index=index))
    for num_frames in (len(labels), None):
        np.testing.assert_array_equal(read_annotation(path, SPACE, num_frames=num_frames), labels, strict=True)
    if (labels[0] != IGNORE_INDEX).any():
        assert class_names_in(path) == set(CLASSES)


@settings(deadline=None)
@given(labels=st.lists(st.sampled_from([IGNORE_INDEX, 0, 1, 2]), min_size=1, max_size=20))
def test_a_column_for_each_exclusive_class_gives_back_its_labels(tmp_path_factory, labels):
    cells = [[IGNORE_INDEX if label < 0 else int(label == k) for k in range(3)] for label in labels]
    path = written(tmp_path_factory.mktemp("one_hot") / "clip.csv", one_hot(cells))
    found = read_annotation(path, EXCLUSIVE, num_frames=len(labels))
    np.testing.assert_array_equal(found, np.array(labels, dtype=np.int64), strict=True)


@settings(deadline=None)
@given(frames=st.lists(known_rows, min_size=1, max_size=20))
def test_segments_names_and_columns_are_the_same_labels(tmp_path_factory, frames):
    folder, labels = tmp_path_factory.mktemp("layouts"), as_labels(frames)
    segments = (f"{start},{stop},{CLASSES[index]}\n" for start, stop, index in segments_from_frames(labels))
    table = written(folder / "segments.csv", "start,stop,class\n" + "".join(segments))
    names = written(folder / "names.txt", "".join(";".join(names) + "\n" for names in SPACE.class_names(labels)))
    columns = written(folder / "columns.csv", one_hot(labels))
    for path in (table, names, columns):
        np.testing.assert_array_equal(read_annotation(path, SPACE, num_frames=len(labels)), labels, strict=True)


def test_floats_count_as_cells_and_a_single_class_may_be_empty(tmp_path):
    space = LabelSpace.independent(("rears",))
    path = written(tmp_path / "clip.csv", "rears\n0.0\n1.0\n\n1\n")
    assert read_annotation(path, space, num_frames=4).tolist() == [[0], [1], [IGNORE_INDEX], [1]]


def test_every_mistake_in_the_columns_is_named_at_once_and_each_once(tmp_path):
    good = "".join(f"{frame},1,0,0,2\n" for frame in range(50))
    text = f"frame,eats,eat,eats,rears\n{good}50,nan,0,0,0\n51,0\n99,0,0,0,0\n100,0,0,0,0\n"
    expected = "expected 1 (present), 0 (absent) or an empty cell (nobody looked)"
    assert problems_of(written(tmp_path / "clip.csv", text), num_frames=54) == [
        (1, "the column 'eat' is no class: did you mean 'eats'?"),
        (1, "the class 'eats' has two columns: delete one of them"),
        (1, "there is no column for 'sleeps': expected one for each class"),
        (2, f"got '2' for 'rears' (on 50 lines), {expected}"),
        (52, f"got 'nan' for 'eats', {expected}"),
        (53, "got 2 columns, expected the 5 of the header"),
        (54, "got frame 99, expected 52: rows are missing or not in order"),
    ]


def test_another_number_of_rows_is_named_and_missing_rows_are_named_instead_of_it(tmp_path):
    text = "frame,eats,sleeps,rears\n1,0,0,0\n2,0,0,0\n"
    (length,) = problems_of(written(tmp_path / "clip.csv", text), num_frames=40)
    assert length[0] is None
    assert length[1].startswith("got 2 labels for 40 frames in clip.csv: they were made at another frame rate")
    path = written(tmp_path / "clip.csv", text.replace("2,0", "3,0"))
    assert problems_of(path, num_frames=3) == [(3, "got frame 3, expected 2: rows are missing or not in order")]


def test_a_long_table_that_is_wrong_in_every_cell_takes_few_lines(tmp_path):
    text = "eats,sleeps,rears\n" + "".join(f"{i},{i + 1},x\n" for i in range(2, 5000))
    with pytest.raises(AnnotationError) as caught:
        read_annotation(written(tmp_path / "clip.csv", text), SPACE, num_frames=None)
    assert len(condense(caught.value.problems)) < 15
    assert str(caught.value).count("\n") < 15


def test_exclusive_classes_have_exactly_one_1_in_a_row(tmp_path):
    path = written(tmp_path / "clip.csv", "eats,sleeps,rears\n1,0,0\n1,0,1\n0,0,0\n0,1,1\n,,\n0,0,\n")
    several, none = problems_of(path, EXCLUSIVE)
    assert several[0] == 3
    assert several[1].startswith(f"frame 1 has several classes ('eats', 'rears'), as 1 more have: {QUESTION}")
    assert none[0] == 4
    assert none[1].startswith(f"frame 2 has no class, as 1 more have: {QUESTION}")


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("clip.csv", "eats,sleeps,rears\n0,0,1\n1,1,0\n1,1,1\n", 3),
        ("clip.txt", "rears\neats; sleeps\neats;sleeps;rears\n", 2),
        ("clip.frames.csv", "frame,time_seconds,labels,eats,sleeps,rears\n0,,,0,0,0\n1,,eats;sleeps,1,1,0\n"
         "2,,eats;sleeps,1,1,0\n", 3),
    ],
)  # fmt: skip
def test_two_classes_of_one_group_are_named_once(tmp_path, name, text, line):
    expected = (
        "has 'eats' and 'sleeps' (and 1 more frames have several): classes of the group 'state' exclude each other"
    )
    (problem,) = problems_of(written(tmp_path / name, text), read=read_predicted)
    assert problem[0] == line
    assert problem[1].startswith(f"frame 1 {expected}, see classes.csv")


@pytest.mark.parametrize("header", ["0,120,eats", "start,stop,class", "stem,class", "start,label"])
def test_what_has_no_column_for_each_class_is_read_as_segments(tmp_path, header):
    path = written(tmp_path / "clip.csv", f"{header}\n5,9,eats\n")
    if header == "start,stop,class":
        assert read_annotation(path, EXCLUSIVE, num_frames=9).tolist() == [IGNORE_INDEX] * 5 + [0] * 4
    else:
        assert "'start,stop,class'" in problems_of(path, EXCLUSIVE)[0][1]


# Segments


def test_segments_of_different_groups_may_overlap_and_frames_in_no_row_have_no_class(tmp_path):
    path = written(tmp_path / "clip.csv", "start,stop,class\n1,3,rears\n0,2,eats\n2,4,sleeps\n")
    labels = read_annotation(path, SPACE, num_frames=5)
    assert labels.tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert len(read_annotation(path, SPACE, num_frames=None)) == 4
    assert not read_annotation(written(path, "start,stop,class\n"), SPACE, num_frames=5).any(), "scored, and without"


def test_overlaps_of_a_class_and_of_a_group_are_named_with_both_lines(tmp_path):
    path = written(
        tmp_path / "clip.csv", "start,stop,class\n0,10,eats\n5,20,eats\n8,12,sleeps\n0,50,rears\n3,4,rear\n40,60,eats\n"
    )
    assert problems_of(path, num_frames=50) == [
        (3, "segment [5, 20) eats overlaps [0, 10) eats of line 2: a frame has a class once, make one row of the two"),
        (4, "segment [8, 12) sleeps overlaps [5, 20) eats of line 3: classes of the group 'state' exclude each other,"
         " see classes.csv"),
        (6, "unknown class 'rear': did you mean 'rears'?"),
        (7, "segment [40, 60) eats goes beyond the 50 frames of the video: it was labelled at another frame rate, in"
         " another video, or counting from 1"),
    ]  # fmt: skip


def test_overlaps_in_an_exclusive_data_set_ask_whether_they_are_meant_so(tmp_path):
    path = written(tmp_path / "clip.csv", "start,stop,class\n0,10,eats\n5,20,rears\n15,30,rears\n")
    other, same = problems_of(path, EXCLUSIVE, num_frames=30)
    assert other == (3, f"segment [5, 20) rears overlaps [0, 10) eats of line 2: {QUESTION}")
    assert same == (4, "segment [15, 30) rears overlaps [5, 20) rears of line 3: a frame has one class")


# Joined names


def test_joined_names_that_are_wrong_are_named_once(tmp_path):
    path = written(tmp_path / "clip.txt", "rears;rears\neats;raers\nraers\neats;\n\n")
    assert problems_of(path, num_frames=5) == [
        (1, "got 'rears;rears': expected each class once"),
        (2, "unknown class 'raers' (on 2 lines): did you mean 'rears'?"),
        (4, "no class name: there are 'eats', 'sleeps', 'rears'"),
    ]
    (length,) = problems_of(written(path, "eats\n\n\n"), num_frames=1)
    assert length[1].endswith("an empty line is a frame without a class, delete those at the end")


def test_joined_names_in_an_exclusive_data_set_ask_whether_they_are_meant_so(tmp_path):
    path = written(tmp_path / "clip.txt", "eats;rears\neats\neats;rears\nsleeps;rears\n")
    (problem,) = problems_of(path, EXCLUSIVE)
    assert problem == (1, f"got 'eats;rears', several classes (as 2 more lines do): {QUESTION}")


def test_numbered_frames_are_read_as_a_table(tmp_path):
    path = written(tmp_path / "clip.txt", "".join(f"{i}\teats;rears\n" for i in range(9)))
    assert read_annotation(path, SPACE, num_frames=9).tolist() == [[1, 0, 1]] * 9


# Classes of whole videos


def test_a_video_has_a_row_for_each_of_its_classes(tmp_path):
    path = written(tmp_path / "labels.csv", "stem,class\na,eats\nb,\na,rears\n")
    found = read_video_labels(path, SPACE)
    assert {stem: (labels.tolist(), line) for stem, (labels, line) in found.items()} == {
        "a": ([1, 0, 1], 2),
        "b": ([0, 0, 0], 3),
    }
    assert class_names_in(path) == {"eats", "rears"}


def test_rows_of_a_video_that_contradict_each_other_are_named(tmp_path):
    text = "stem,class\na,eats\na,sleeps\nb,rears\nb,rears\nc,\nc,eats\n,eats\nd,raers\n"
    path = written(tmp_path / "labels.csv", text)
    assert problems_of(path, read=lambda path, space, num_frames: read_video_labels(path, space)) == [
        (3, "'a' is already 'eats' on line 2: classes of the group 'state' exclude each other, see classes.csv"),
        (5, "'b' is already 'rears' on line 4: delete one row"),
        (
            6,
            "gives 'c' no class, and other rows give it one: a row without a class is that of a video with none of"
            " them",
        ),
        (8, "names no video: expected a stem and its class"),
        (9, "unknown class 'raers': did you mean 'rears'?"),
    ]


# What people looked at


def test_what_nobody_looked_at_is_unknown_class_by_class(tmp_path):
    path = written(tmp_path / "scored.csv", "stem,start,stop,class\na,0,2,\na,1,4,rears\nb,0,9,eats\n")
    ranges = read_scored(path, SPACE)
    assert set(ranges) == {"a", "b"}
    kept = keep_scored(path, np.ones((5, 3), dtype=np.int8), ranges["a"], SPACE)
    unknown = IGNORE_INDEX
    assert kept.tolist() == [[1, 1, 1], [1, 1, 1], [unknown, unknown, 1], [unknown, unknown, 1], [unknown] * 3]
    labels = np.zeros((5, 3), dtype=np.int8)
    assert keep_scored(path, labels, [], SPACE) is labels, "a video without a row was looked at as a whole"
    with pytest.raises(AnnotationError, match=r"scored\.csv:4: range \[0, 9\) goes beyond the 5 frames of the video"):
        keep_scored(path, labels, ranges["b"], SPACE)


def test_what_nobody_looked_at_is_unlabelled_in_an_exclusive_data_set(tmp_path):
    path = written(tmp_path / "scored.csv", "stem,start,stop\na,1,3\n")
    (ranges,) = read_scored(path, EXCLUSIVE).values()
    assert keep_scored(path, np.array([0, 1, 2, 0]), ranges, EXCLUSIVE).tolist() == [IGNORE_INDEX, 1, 2, IGNORE_INDEX]


def test_every_mistake_in_what_people_looked_at_is_named(tmp_path):
    text = "stem,start,stop,class\n,0,5,\na,5,5,\na,x,5,\na,0,5,raers\n"
    path = written(tmp_path / "scored.csv", text)
    read = lambda path, space, num_frames: read_scored(path, space)  # noqa: E731
    assert problems_of(path, read=read) == [
        (2, "names no video: expected a stem and its frames"),
        (3, "segment [5, 5) is empty: stop is the frame after the last one"),
        (4, "start 'x' is not a frame number"),
        (5, "unknown class 'raers': did you mean 'rears'?"),
    ]
    path = written(tmp_path / "scored.csv", "stem,start,stop,class\na,0,5,eats\nb,0,5,eats\n")
    (problem,) = problems_of(path, EXCLUSIVE, read=read)
    assert problem[0] == 2
    assert problem[1].startswith("names the class 'eats' (on 2 lines): a frame has one class")


# What `framescribe label` writes


def predicted(labels, probabilities, classes=CLASSES):
    """The text of a .frames.csv; a frame whose probabilities are NaN was not decoded."""
    header = ",".join(frame_layout(LabelSpace.independent(classes)).header)
    lines = [header]
    for frame, (names, row) in enumerate(zip(SPACE.class_names(labels), probabilities, strict=True)):
        cells = [f"{row[CLASSES.index(name)]:.6f}".replace("nan", "") for name in classes]
        lines.append(f"{frame},{frame / 25:.6f},{';'.join(names)},{','.join(cells)}")
    return "\n".join(lines) + "\n"


@settings(deadline=None)
@given(
    frames=st.lists(known_rows | st.just((IGNORE_INDEX,) * 3), min_size=1, max_size=12),
    columns=st.permutations(CLASSES),
    data=st.data(),
)
def test_predicted_frames_give_back_their_labels_and_probabilities(tmp_path_factory, frames, columns, data):
    labels = as_labels(frames)
    values = data.draw(st.lists(st.tuples(*[st.integers(0, 10_000)] * 3), min_size=len(frames), max_size=len(frames)))
    probabilities = np.array(values, dtype=np.float32) / np.float32(10_000)
    probabilities[~SPACE.labelled_frames(labels)] = np.nan
    path = tmp_path_factory.mktemp("predicted") / "clip.frames.csv"
    written(path, predicted(labels, probabilities, tuple(columns)))
    np.testing.assert_array_equal(read_predicted(path, SPACE), labels, strict=True)
    found = read_probabilities(path, SPACE)
    np.testing.assert_allclose(found, probabilities, atol=1e-6)
    assert found.dtype == np.float32
    assert class_names_in(path) == set(CLASSES)


def test_only_predicted_frames_of_overlapping_classes_have_probabilities(tmp_path):
    assert read_probabilities(written(tmp_path / "clip.segments.csv", ""), SPACE) is None
    assert read_probabilities(written(tmp_path / "clip.frames.csv", ""), EXCLUSIVE) is None


def test_every_mistake_in_predicted_frames_is_named(tmp_path):
    path = tmp_path / "clip.frames.csv"
    written(path, "frame,time_seconds,labels,eats,sleeps,rear\n0,,eats,1.5,x,0\n1,,eats,1.5,0,0\n2,,\n4,,eats,1,0,0\n")
    columns = [
        (1, "the column 'rear' is no class: did you mean 'rears'?"),
        (1, "there is no column for 'rears': expected one for each class"),
    ]
    rows = [
        (4, "got 3 columns, expected the 6 of the header"),
        (5, "got frame 4, expected 3: rows are missing or not in order"),
    ]
    assert problems_of(path, read=read_predicted) == columns + rows
    cells = [
        (2, "got '1.5' for 'eats' (on 2 lines), expected a probability from 0 to 1"),
        (2, "got 'x' for 'sleeps', expected a probability from 0 to 1"),
    ]
    read = lambda path, space, num_frames: read_probabilities(path, space)  # noqa: E731
    assert problems_of(path, read=read) == columns + cells + rows


def test_a_decoded_frame_has_every_probability(tmp_path):
    path = tmp_path / "clip.frames.csv"
    written(path, "frame,time_seconds,labels,eats,sleeps,rears\n0,,eats,.9,,0\n1,,,,,\n2,,,.1,,0\n3,,eats,.9,0,\n")
    read = lambda path, space, num_frames: read_probabilities(path, space)  # noqa: E731
    assert problems_of(path, read=read) == [
        (2, "got '' for 'sleeps' (on 2 lines), expected a probability from 0 to 1"),
        (5, "got '' for 'rears', expected a probability from 0 to 1"),
    ]


def test_predicted_frames_of_the_other_kind_of_classes_are_named_as_such(tmp_path):
    path = written(tmp_path / "clip.frames.csv", "frame,time_seconds,label,probability\n0,0,eats,1\n")
    ((line, message),) = problems_of(path, read=read_predicted)
    assert line == 1
    assert message.endswith("a model whose classes exclude each other wrote it, and those that are expected overlap")
    written(path, "frame,time_seconds,labels,eats,sleeps,rears\n0,0,eats,1,0,0\n")
    ((line, message),) = problems_of(path, EXCLUSIVE, read=read_predicted)
    assert line == 1
    assert message.endswith(": the classes of these labels overlap, and those that are expected exclude each other")
    assert problems_of(written(path, ""), read=read_predicted)[0][1].startswith("is empty: expected a header")


def test_predicted_segments_may_overlap(tmp_path):
    text = "start,stop,start_seconds,stop_seconds,label,probability\n0,3,0,3,eats,0.9\n1,5,1,5,rears,0.8\n"
    path = written(tmp_path / "clip.segments.csv", text)
    assert read_predicted(path, SPACE, num_frames=6).tolist() == [
        [1, 0, 0],
        *[[1, 0, 1]] * 2,
        *[[0, 0, 1]] * 2,
        [0, 0, 0],
    ]
