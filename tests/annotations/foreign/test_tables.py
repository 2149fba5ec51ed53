"""Tables are read whatever separates their cells and encodes their text; workbooks within bounds."""

import csv
import datetime
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_exchanges import made_workbook, refusal

from pipeline.annotations.foreign import tables
from pipeline.annotations.foreign.cells import protect, unprotect
from pipeline.annotations.foreign.tables import find_header, peek, read_table, read_tables
from pipeline.annotations.problems import AnnotationError

CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=8)


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return refusal(path, read_table)


@given(
    rows=st.integers(2, 6).flatmap(lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=5)),
    delimiter=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_text_is_read_as_it_was_written(
    rows: list[list[str]], delimiter: str, encoding: str, ending: str, tmp_path: Path
) -> None:
    text = io.StringIO()
    safe = [[protect(cell) for cell in row] for row in rows]
    csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL).writerows(safe)
    (tmp_path / "table").write_bytes(text.getvalue().encode(encoding))
    table = read_table(tmp_path / "table")
    assert [row.cells for row in table.rows] == rows
    assert [row.number for row in table.rows] == [*range(1, len(rows) + 1)]


@given(st.text(alphabet="'=+-@ab\t"))
def test_protection_against_formulas_is_undone_exactly(text: str) -> None:
    assert unprotect(protect(text)) == text
    assert protect(text)[:1] not in {*"=+-@\t"} - {""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Time;a\n0,0;walk\n0,2;walk\n", ";"),
        ("Time;a;b\n0,0;x,y;z\n0,2;x,y;z\n", ";"),
        ("a\tb\n1,5\t2,5\n", "\t"),
        ("a,b\n1,2\n", ","),
        ("Observation id,x,,\n,,,\nTime,a,b,c\n1,2,3,4\n", ","),
        ("one\ntwo\n", "\t"),
    ],
)
def test_the_delimiter_is_found_by_the_content(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert read_table(tmp_path / "a.csv").delimiter == expected


def test_line_numbers_count_the_lines_within_quotation_marks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n"1\n2",x\n3,y\n')
    assert [row.number for row in read_table(tmp_path / "a.csv").rows] == [1, 2, 4]


def test_text_of_an_old_spreadsheet_is_read_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("a,läuft\n1,2\n".encode("cp1252"))
    table = read_table(tmp_path / "a.csv")
    assert table.rows[0].cells == ["a", "läuft"]
    assert "It is not UTF-8 and was read as Windows-1252" in table.notes[0]
    assert refused(tmp_path / "a.csv", b"a,\xff\x81\n").startswith(":1: is not UTF-8 text")


def test_cells_of_a_workbook_are_text(tmp_path: Path) -> None:
    row = ["x ", 1, 1.5, None, True, datetime.datetime(2024, 1, 2, 3, 4), datetime.time(1, 2, 3)]
    path = made_workbook(tmp_path / "a.xlsx", one=[[*row, datetime.timedelta(hours=30, seconds=1.5)]], two=[["=1+1"]])
    expected = ["x", "1", "1.5", "", "TRUE", "2024-01-02 03:04:00", "01:02:03", "30:00:01.500000"]
    assert read_table(path).rows[0].cells == expected
    assert read_table(path, "two").rows[0].cells == [""]  # the formula was never computed
    assert [table.name for table in read_tables(path)] == ["one", "two"]
    assert peek(path, "PK") == [expected, [""]]
    with pytest.raises(AnnotationError, match="has no sheet 'three'"):
        read_table(path, "three")


def test_a_file_that_has_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    assert refused(path, b"PK\x03\x04" * 9).startswith(": is not a workbook that can be read")
    assert peek(path, "PK") == []
    assert refused(path, b"\xd0\xcf\x11\xe0" * 9).startswith(": is an old workbook (.xls) or has a password")
    assert refused(path, b"  \n").startswith(": is empty, expected a table")
    assert refused(path, b'"' + b"a" * 200_000).startswith(":1: is not CSV: field larger than field limit")


def test_a_table_of_more_cells_than_fit_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tables, "MAX_CELLS", 100)
    (tmp_path / "a.csv").write_bytes(b",,,,\n" * 21)
    assert refusal(tmp_path / "a.csv", read_table).startswith(": has more than 100 cells, also empty ones")
    (tmp_path / "a.csv").write_bytes(b",,,,\n" * 20)
    assert len(read_table(tmp_path / "a.csv").rows) == 20


def test_a_header_is_found_below_a_preamble() -> None:
    rows = [["name", "x"], [], ["Time ", "BEHAVIOUR", "time"], ["1", "walk", "2"]]
    header = find_header(rows, ("time",), ("behavior", "behaviour"))
    assert header is not None
    assert (header.position, header.find("time"), header.find("a", "behaviour")) == (2, 0, 1)
    assert find_header(rows, ("time",), ("status",)) is None
