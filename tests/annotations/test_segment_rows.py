"""Tables of segments are read as spreadsheets leave them, and what is wrong with one is a line for each kind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.read import class_names_in, read_annotation

SPACE = LabelSpace(("rest", "walk"))
EXPECTED = [1, 1, IGNORE_INDEX, 0, 0, IGNORE_INDEX]


def read(path, text, notes=None, num_frames=6):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_annotation(path, SPACE, num_frames=num_frames, notes=notes).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "start,stop,class\n0,2,walk\n3,5,rest\n",
        "start;stop;class\n0;2;walk\n3;5;rest\n",
        "start\tstop\tclass\n0\t2\twalk\n3\t5\trest\n",
        "Label,End Frame,Start Frame\nwalk,2.0,0.0\nrest,5.0,3.0\n",
        "start;stop;class\n0,0;2,0;walk\n3,00;5;rest\n",
        "start,stop,class,,\n0,2,walk,,\n,,,,\n3,5,rest,,\n\n\n",
        "\ufeffstart;stop;class\r\n0;2;walk\r\n3;5;rest\r\n;;\r\n",
        "sep=;\nstart;stop;class\n0;2;walk\n3;5;rest\n",
        "start,stop,start_seconds,stop_seconds,label,probability\n0,2,,,walk,1\n3,5,,,rest,1\n",
        "start\tstop\tclass\r\n0\t2\twalk\r\n3\t5\trest\r\n".encode("utf-16"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_what_a_spreadsheet_leaves_is_read_without_a_note(tmp_path, text, suffix):
    notes = []
    assert read(tmp_path / f"clip{suffix}", text, notes) == EXPECTED
    assert class_names_in(tmp_path / f"clip{suffix}") == {"rest", "walk"}
    assert notes == []


def test_other_columns_are_passed_over_with_a_note_and_may_be_short(tmp_path):
    notes = []
    text = "who,start,stop,class,,comment\nme,0,2,walk\nme,3,5,rest,,fine\n"
    assert read(tmp_path / "clip.csv", text, notes) == EXPECTED
    (note,) = notes
    assert (note.path, note.line) == (tmp_path / "clip.csv", 1)
    assert note.message == "the columns 'who', 'comment' are passed over"


def problems_of(path, text, num_frames=100):
    with pytest.raises(AnnotationError) as caught:
        read(path, text, num_frames=num_frames)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_each_kind_of_problem_is_one_line_with_a_count(tmp_path):
    kinds = ["{0},{1}.5,walk", "-{1},{1},walk", "{1},{1},walk", "9{1},9{0},walk", "9{0},999,walk", "{0},{1}"]
    rows = [kind.format(i, i + 1) for kind in kinds for i in range(1, 5)]
    found = problems_of(tmp_path / "clip.csv", "\n".join(["start,stop,class", *rows]) + "\n")
    assert [line for line, _ in found] == [2, 6, 10, 14, 18, 19, 22]
    assert found[0][1] == (
        "stop '2.5' is not a frame number (and on 3 more lines): count frames, not seconds; or name the columns"
        " start_seconds and stop_seconds"
    )
    assert all("(and on 3 more lines)" in message for line, message in found if line != 19)
    assert "(and on 2 more lines)" in found[5][1], "the segments beyond the end overlap each other too"


@settings(deadline=None, max_examples=20)
@given(num_rows=st.integers(2, 1000))
def test_a_file_that_is_wrong_in_all_rows_takes_few_lines(tmp_path_factory, num_rows):
    text = "start,stop,class\n" + "".join(f"{i}.25,{i}.75,walk\n" for i in range(num_rows))
    for line, message in problems_of(tmp_path_factory.mktemp("rows") / "clip.csv", text):  # of starts, and of stops
        assert line == 2
        assert f"(and on {num_rows - 1:,} more line" in message


def test_old_names_of_files_read_as_before(tmp_path):
    assert read(tmp_path / "clip.frames.csv", "start,stop,class\n0,2,walk\n3,5,rest\n") == EXPECTED
    np.testing.assert_array_equal(read(tmp_path / "clip.segments.csv", "start,stop,class\n0,6,walk\n"), [1] * 6)
