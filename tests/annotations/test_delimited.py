"""A table has the same rows, whatever a spreadsheet makes of it."""

import csv
import doctest
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_exchanges import made_workbook

from pipeline.annotations.formats import delimited, workbook
from pipeline.annotations.formats.delimited import iterate_rows
from pipeline.annotations.problems import AnnotationError

cells = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8)
tables = st.integers(2, 5).flatmap(
    lambda width: st.lists(
        st.lists(cells, min_size=width - 1, max_size=width - 1).map(lambda row: ["x", *row]), min_size=1, max_size=6
    )
)


def as_text(rows, separator):
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


def rows_of(path):
    problems = []
    rows = list(iterate_rows(path, problems))
    assert problems == []
    return rows


@settings(deadline=None)
@given(
    rows=tables,
    separator=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    empty=st.integers(0, 3),
)
def test_separators_encodings_and_empty_ends_make_no_difference(tmp_path_factory, rows, separator, encoding, empty):
    rows = [["start", *(f"column {i}" for i in range(1, len(rows[0])))], *rows]
    path = tmp_path_factory.mktemp("tables") / "clip.csv"
    path.write_bytes(as_text([[*row, *[""] * empty] for row in rows], separator).encode(encoding))
    assert [row for _, row in rows_of(path)] == rows


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("start;stop;class\n0,5;2,5;walk\n", ["0,5", "2,5", "walk"]),
        ("start;stop;class;note\n0;5;walk;a, b\n", ["0", "5", "walk", "a, b"]),
        ("a;b,c;d;e\n1,0\n", ["1", "0"]),
        ("start;stop;class\n0;5\n", ["0", "5"]),
        ("sep=;\nstart;stop,class\n0;5\n", ["0", "5"]),
        ("walk\n1\n", ["1"]),
    ],
)
def test_the_separator_is_what_gives_all_rows_as_many_columns(tmp_path, text, row):
    (tmp_path / "clip.csv").write_text(text)
    assert rows_of(tmp_path / "clip.csv")[1][1] == row


def test_a_line_is_counted_in_the_file_also_below_a_stated_separator(tmp_path):
    (tmp_path / "clip.csv").write_text("sep=;\na;b\n\n1;2\n")
    assert [line for line, _ in rows_of(tmp_path / "clip.csv")] == [2, 3, 4]


def test_the_first_sheet_of_a_workbook_is_a_table(tmp_path):
    rows = [["start", "stop", "class", None], [0, 87.0, " walk "], [None, None, None], [0.25, True, "3", None]]
    path = made_workbook(tmp_path / "clip.xlsx", one=rows, two=[["other"]])
    expected = [["start", "stop", "class"], ["0", "87", "walk"], [], ["0.25", "1", "3"]]
    assert rows_of(path) == list(enumerate(expected, 1))
    (note,) = workbook.sheet_notes(path)
    assert note.message.startswith("has 2 sheets: the first one is read")
    assert workbook.sheet_notes(made_workbook(path, one=rows)) == []


def problem_of(path):
    with pytest.raises(AnnotationError) as caught:
        list(iterate_rows(path, []))
    (problem,) = caught.value.problems
    assert problem.path == path
    return problem.message


def test_a_workbook_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "clip.xlsx"
    assert "is missing" in problem_of(path)
    path.write_text("start,stop,class\n")
    assert problem_of(path).startswith("is not a workbook, expected .xlsx: it is another file with this name")
    path.write_bytes(b"\xd0\xcf\x11\xe0" * 9)
    assert problem_of(path).startswith("is an old workbook (.xls) or has a password, expected .xlsx or text")


def test_rows_are_as_wide_as_the_header_whatever_size_a_sheet_states(tmp_path):
    path = made_workbook(tmp_path / "clip.xlsx", one=[["a", "b", "c"], ["1"], [None, "2"]])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for stated in (b'<dimension ref="A1:A1" />', b'<dimension ref="A1:XFD1048576" />', b""):
        sheet = parts["xl/worksheets/sheet1.xml"].replace(b'<dimension ref="A1:C3" />', stated)
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in (parts | {"xl/worksheets/sheet1.xml": sheet}).items():
                archive.writestr(name, part)
        assert [row for _, row in rows_of(path)] == [["a", "b", "c"], ["1", "", ""], ["", "2", ""]]


def test_docstring_examples():
    assert doctest.testmod(delimited).failed == 0
