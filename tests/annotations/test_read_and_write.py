import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.formats.predicted_segments import read_spans
from pipeline.annotations.formats.video_labels import read_video_labels
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import Span
from pipeline.annotations.problems import AnnotationError, Problem
from pipeline.annotations.read import (
    class_names_in,
    find_annotation,
    read_annotation,
    read_predicted,
)
from pipeline.annotations.write import write_frames, write_segments

CLASSES = ("rest", "walk", 'say "hi", wave')
SPACE = LabelSpace(CLASSES)


def problems_of(path, *, num_frames=None, read=read_annotation):
    with pytest.raises(AnnotationError) as caught:
        read(path, SPACE, num_frames=num_frames)
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    assert all(problem.path == path for problem in caught.value.problems)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def written(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# One class name per line


@pytest.mark.parametrize("text", ["rest\nwalk\n\nwalk\n", "rest\nwalk\n\nwalk", "\ufeffrest\r\n walk\r\n \r\nwalk\r\n"])
def test_txt_has_one_label_per_frame_and_an_empty_line_is_unlabelled(tmp_path, text):
    path = written(tmp_path / "clip.txt", text)
    assert read_annotation(path, SPACE, num_frames=4).tolist() == [0, 1, -100, 1]
    assert read_annotation(path, SPACE, num_frames=None).dtype == np.int64


def test_txt_of_another_length_is_refused_with_both_numbers_and_a_cause(tmp_path):
    path = written(tmp_path / "clip.txt", "rest\nrest\n\n")
    (problem,) = problems_of(path, num_frames=2)
    assert problem[1].startswith("got 3 labels for 2 frames in clip.txt: an empty line is an unlabelled frame")
    (problem,) = problems_of(path, num_frames=5)
    assert problem[1].startswith("got 3 labels for 5 frames in clip.txt: they were made at another frame rate")


def test_txt_names_each_unknown_class_once_and_the_wrong_length(tmp_path):
    path = written(tmp_path / "clip.txt", "rest\nWlak\nWlak\n7\n")
    length, misspelt, number = problems_of(path, num_frames=3)
    assert "got 4 labels for 3 frames" in length[1]
    assert misspelt == (2, "unknown class 'Wlak' (on 2 lines): did you mean 'walk'?")
    assert number == (4, "unknown class '7': class names are expected, not numbers")


@pytest.mark.parametrize(
    ("row", "header", "cause"),
    [
        ("{} walk", None, "has 2 columns separated by spaces"),
        ("walk;{}", None, "has 2 columns separated by semicolons"),
        ("{0}\t{0}\twalk", None, "segments belong into a .csv"),
        ("{} walk quickly", None, "unknown class"),
    ],
)
def test_txt_that_is_a_table_is_one_problem(tmp_path, row, header, cause):
    rows = [header] * bool(header) + [row.format(frame) for frame in range(300)]
    path = written(tmp_path / "clip.txt", "\n".join(rows) + "\n")
    if cause == "unknown class":  # a class whose name begins with a number
        space = LabelSpace(("walk", *(row.format(frame) for frame in range(300))))
        assert read_annotation(path, space, num_frames=300).tolist() == list(range(1, 301))
        return
    (problem,) = problems_of(path, num_frames=300)
    assert problem[0] is None
    assert cause in problem[1]


@pytest.mark.parametrize(
    ("num_labels", "num_frames", "cause"),
    [
        (121, 120, "another decoder counted otherwise"),
        (118, 120, "another decoder counted otherwise"),
        (117, 120, "at another frame rate or for another video"),
        (3, 5, "at another frame rate or for another video"),
        (40, 1200, "one label for every 30 frames"),
        (41, 1210, "one label for every 30 frames"),
    ],
)
def test_the_cause_of_another_length_is_named(tmp_path, num_labels, num_frames, cause):
    (problem,) = problems_of(written(tmp_path / "clip.txt", "rest\n" * num_labels), num_frames=num_frames)
    assert problem[1].startswith(f"got {num_labels} labels for {num_frames} frames in clip.txt: ")
    assert problem[1].endswith(cause)


def test_whole_numbers_may_have_decimals_of_zero(tmp_path):
    path = written(tmp_path / "clip.csv", "start,stop,class\n0.0,2.0,rest\n3.,4.00,walk\n")
    assert read_annotation(path, SPACE, num_frames=5).tolist() == [0, 0, -100, 1, -100]


def test_empty_txt_is_refused(tmp_path):
    assert problems_of(written(tmp_path / "clip.txt", ""))[0][1].startswith("is empty")


# Segments


def test_csv_segments_in_any_order_leave_gaps_unlabelled(tmp_path):
    text = '\ufeffstart,stop,class\r\n4,5,"say ""hi"", wave"\r\n\r\n 0, 2,walk\r\n,,\r\n'
    path = written(tmp_path / "clip.csv", text)
    assert read_annotation(path, SPACE, num_frames=6).tolist() == [1, 1, -100, -100, 2, -100]
    assert read_annotation(path, SPACE, num_frames=None).tolist() == [1, 1, -100, -100, 2]


def test_csv_reports_every_problem_in_the_order_of_lines(tmp_path):
    rows = [
        "start,stop,class",
        "0,10,rest",
        "1.5,3,walk",
        "-2,3,walk",
        "12,12,walk",
        "20,15,walk",
        "5,11,walk",
        "90,120,rest",
    ]
    path = written(tmp_path / "clip.csv", "\n".join([*rows, "30,40,wakl", "50,60", "60,70,", "70,80,a,b"]) + "\n")
    found = problems_of(path, num_frames=100)
    assert [line for line, _ in found] == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    expected = [
        "start '1.5' is not a frame number: count frames, not seconds",
        "start -2 is negative: the first frame is 0",
        "segment [12, 12) is empty",
        "segment [20, 15) ends before it starts",
        "segment [5, 11) walk overlaps [0, 10) rest of line 2",
        "segment [90, 120) rest goes beyond the 100 frames of the video",
        "unknown class 'wakl': did you mean 'walk'?",
        "got 2 columns, expected the 3 of start,stop,class",
        "no class name",
        "got 4 columns, expected the 3 of start,stop,class (put a class name that holds a comma in double quotes)",
    ]
    for (_, message), start in zip(found, expected, strict=True):
        assert message.startswith(start)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "is empty"),
        ("start,last,class\n0,1,rest\n", 1, "got the header 'start,last,class', expected 'start,stop,class'"),
        ("start,start,stop,class\n0,0,1,rest\n", 1, "got the header 'start,start,stop,class', expected"),
        ("start_ms,stop_ms,class\n0,1,rest\n", 1, "divide milliseconds by 1000, and name the columns start_seconds"),
        ("0,1,rest\n", 1, "the header is missing"),
        ("start,stop,class\n0,999999999999,rest\n", 2, "are these timestamps?"),
        ('start,stop,class\n0,1,"rest\n', 2, "a double quote is left open"),
        (b"start,stop,class\n0,1,caf\xe9\n", 2, "is not UTF-8"),
    ],
)
def test_unusable_csv_is_refused(tmp_path, text, line, message):
    ((found_line, found),) = problems_of(written(tmp_path / "clip.csv", text))
    assert found_line == line
    assert message in found


def test_a_long_segment_overlaps_all_segments_within_it(tmp_path):
    path = written(tmp_path / "clip.csv", "start,stop,class\n0,50,rest\n5,10,walk\n20,30,walk\n50,60,walk\n")
    ((line, message),) = problems_of(path)
    assert line == 3
    assert message.startswith("segment [5, 10) walk overlaps [0, 50) rest of line 2 (and on 1 more line): a frame has")


def test_other_suffixes_and_missing_files_are_refused(tmp_path):
    assert (
        "expected .boris, .TextGrid, .eaf, .txt, .xlsx, .tsv or .csv"
        in problems_of(written(tmp_path / "clip.json", "{}"))[0][1]
    )
    assert "is missing" in problems_of(tmp_path / "clip.csv")[0][1]


def test_the_annotation_of_a_video_is_found(tmp_path):
    assert find_annotation(tmp_path, "clip.one") is None
    path = written(tmp_path / "clip.one.txt", "rest\n")
    assert find_annotation(tmp_path, "clip.one") == path
    written(tmp_path / "clip.one.csv", "start,stop,class\n")
    with pytest.raises(AnnotationError, match=r"clip\.one\.txt both label 'clip\.one'"):
        find_annotation(tmp_path, "clip.one")


def test_a_problem_is_formatted_as_text(tmp_path):
    assert str(Problem(tmp_path, 3, "is odd")) == f"{tmp_path}:3: is odd"
    assert str(Problem(tmp_path, None, "is odd")) == f"{tmp_path}: is odd"


# What `framescribe label` writes


def test_files_are_written_to_the_byte(tmp_path):
    labels, probabilities = np.array([2, 2, 1]), np.array([0.5, 0.75, 1.0], np.float32)
    pts_seconds = np.array([0.0, 1 / 3, 0.5])
    frames, segments = tmp_path / "clip.frames.csv", tmp_path / "clip.segments.csv"
    columns = {"probabilities": probabilities, "pts_seconds": pts_seconds, "label_space": SPACE}
    write_frames(frames, labels, **columns)
    write_segments(segments, labels, **columns, frame_duration_seconds=0.25)
    assert frames.read_bytes().decode() == (
        "frame,time_seconds,label,probability\n"
        '0,0.000000,"say ""hi"", wave",0.5000\n'
        '1,0.333333,"say ""hi"", wave",0.7500\n'
        "2,0.500000,walk,1.0000\n"
    )
    assert segments.read_bytes().decode() == (
        "start,stop,start_seconds,stop_seconds,label,probability\n"
        '0,2,0.000000,0.500000,"say ""hi"", wave",0.6250\n'
        "2,3,0.500000,0.750000,walk,1.0000\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.frames.csv", "clip.segments.csv"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=30))
def test_written_labels_can_be_read_back(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("written")
    labels = np.array(values, dtype=np.int64)
    columns = {"probabilities": np.ones(len(labels)), "pts_seconds": np.arange(len(labels)) / 25, "label_space": SPACE}
    write_frames(folder / "clip.frames.csv", labels, **columns)
    write_segments(folder / "clip.segments.csv", labels, **columns, frame_duration_seconds=0.04)
    for path in folder.iterdir():
        np.testing.assert_array_equal(read_predicted(path, SPACE), labels)
        assert class_names_in(path) == {CLASSES[value] for value in values}


def test_writers_refuse_labels_that_do_not_fit_and_leave_no_file(tmp_path):
    path = tmp_path / "clip.frames.csv"
    one = np.ones(1)
    with pytest.raises(ValueError, match=r"expected \[T\]"):
        write_frames(path, np.zeros(2, np.int64), probabilities=one, pts_seconds=one, label_space=SPACE)
    with pytest.raises(ValueError, match="labels from 3 to 3"):
        write_frames(path, np.array([3]), probabilities=one, pts_seconds=one, label_space=SPACE)
    assert list(tmp_path.iterdir()) == []


def test_predicted_frames_out_of_order_are_refused(tmp_path):
    text = "frame,time_seconds,label,probability\n0,0,rest,1\n2,0.08,rest,1\n3,0.12,rest,1\n"
    path = written(tmp_path / "clip.frames.csv", text)
    assert problems_of(path, read=read_predicted) == [(3, "got frame 2, expected 1: rows are missing or not in order")]


def test_read_predicted_also_reads_the_layout_of_a_data_set(tmp_path):
    assert read_predicted(written(tmp_path / "clip.txt", "walk\n"), SPACE).tolist() == [1]
    assert class_names_in(written(tmp_path / "other.txt", "walk\n\nrest\n")) == {"walk", "rest"}


SEGMENTS_CSV = "start,stop,start_seconds,stop_seconds,label,probability\n"


def test_spans_are_the_times_of_the_written_segments(tmp_path):
    labels, pts_seconds = np.array([0, 0, 1]), np.array([0.5, 0.75, 1.25])
    write_segments(
        tmp_path / "clip.segments.csv",
        labels,
        probabilities=np.ones(3),
        pts_seconds=pts_seconds,
        label_space=SPACE,
        frame_duration_seconds=0.25,
    )
    assert read_spans(tmp_path / "clip.segments.csv") == [Span(0.5, 1.25, CLASSES[0]), Span(1.25, 1.5, CLASSES[1])]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("", [(None, "has no segment")]),
        (
            "0,1,,,rest,1\n",
            [(2, f"{name}_seconds '' is not a time in seconds: it was written for") for name in ("start", "stop")],
        ),
        ("0,1,nan,1e999,rest,1\n", [(2, "start_seconds 'nan' is not"), (2, "stop_seconds '1e999' is not")]),
        ("0,1,2,1,rest,1\n", [(2, "the segment ends at 1.0 s, before it starts at 2.0 s")]),
        ("0,2,0,2,rest,1\n1,3,1,3,walk,1\n", [(3, "starts at 1.0 s, before the last one ends at 2.0 s")]),
    ],
)
def test_every_problem_of_spans_is_reported(rows, expected, tmp_path):
    path = written(tmp_path / "clip.segments.csv", SEGMENTS_CSV + rows)
    with pytest.raises(AnnotationError) as refused:
        read_spans(path)
    problems = refused.value.problems
    assert [problem.line for problem in problems] == [line for line, _ in expected]
    for problem, (_, sentence) in zip(problems, expected, strict=True):
        assert sentence in problem.message


# One class per video


def test_labels_of_videos_give_class_and_line(tmp_path):
    path = written(tmp_path / "labels.csv", '\ufeffstem,class\r\nb,walk\r\n\r\n a ,"say ""hi"", wave"\r\n')
    assert read_video_labels(path, SPACE) == {"b": (1, 2), "a": (2, 4)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [(None, "is empty: expected the header 'stem,class'")]),
        ("a,walk\n", [(1, "got the header 'a,walk', expected 'stem,class'")]),
        ("stem,class\n,walk\n", [(2, "names no video: expected a stem and its class")]),
        ("stem,class\na,\n", [(2, "no class name: there are 'rest', 'walk', 'say \"hi\", wave'")]),
        ("stem,class\na,wlak\nb,wlak\n", [(2, "unknown class 'wlak' (on 2 lines): did you mean 'walk'?")]),
        ("stem,class\na,walk\na,walk\n", [(3, "'a' is already on line 2: a video has one class")]),
        ("stem,class\na\n", [(2, "got 1 columns, expected the 2 of stem,class")]),
    ],
)
def test_faults_in_labels_of_videos_are_reported_with_their_lines(tmp_path, text, expected):
    path = written(tmp_path / "labels.csv", text)
    assert problems_of(path, read=lambda path, space, num_frames: read_video_labels(path, space)) == expected
