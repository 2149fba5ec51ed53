"""Workbooks are checked before they are unpacked, and refused in a sentence."""

import io
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import openpyxl
import pytest
from made_exchanges import made_workbook

from pipeline.annotations import workbook
from pipeline.annotations.foreign.tables import peek, read_table
from pipeline.annotations.formats.delimited import iterate_rows
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.workbook import read_sheets

PATH = Path("clip.xlsx")


def made(**sheets: list[list[object]]) -> bytes:
    return made_workbook(io.BytesIO(), **sheets).getvalue()


def zipped(**parts: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name.replace("Types", "[Content_Types].xml"), text)
    return content.getvalue()


def values(content: bytes) -> dict[str, list[tuple[object, ...]]]:
    return {sheet.name: [*map(tuple, sheet.rows)] for sheet in read_sheets(PATH, content)}


def refusal(content: bytes) -> str:
    with pytest.raises(AnnotationError) as refused:
        values(content)
    (problem,) = refused.value.problems
    assert "\n" not in problem.message
    return problem.message


def test_sheets_have_the_values_of_their_cells() -> None:
    content = made(one=[["a", None, 1.5], [], [True]], two=[["=1+1", "b"]])
    assert values(content) == {"one": [("a", None, 1.5), (), (True,)], "two": [(None, "b")]}  # never computed
    first = next(read_sheets(PATH, content))
    assert (first.name, next(first.rows)) == ("one", ("a", None, 1.5))


def test_a_date_that_no_calendar_has_is_an_error_without_a_warning() -> None:
    book = openpyxl.Workbook()
    book.active["A1"] = 1e9
    book.active["A1"].number_format = "yyyy-mm-dd"
    content = io.BytesIO()
    book.save(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert values(content.getvalue()) == {"Sheet": [("#VALUE!",)]}


def test_what_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO(made(one=[["a", "b"]]))
    with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/media/bomb.bin", bytes((200 << 20) + 1))
    assert len(content.getvalue()) < 1 << 20
    assert refusal(content.getvalue()).startswith("unpacks to 200 MB, expected at most 200")
    monkeypatch.setattr(workbook, "MAX_CELLS", 3)
    assert refusal(made(one=[["a", "b"]], two=[["a", "b"]])).startswith("has more than 3 cells")


def with_sheet(sheet: str) -> bytes:
    """Return a workbook whose sheet is this XML."""
    old, new = zipfile.ZipFile(io.BytesIO(made(one=[["a"]]))), io.BytesIO()
    with zipfile.ZipFile(new, "w") as archive:
        for name in old.namelist():
            archive.writestr(name, sheet if name == "xl/worksheets/sheet1.xml" else old.read(name))
    return new.getvalue()


def sheet_of(rows: str, dimension: str = "A1") -> str:
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    dimension = f'<dimension ref="{dimension}"/>'
    return f'<worksheet xmlns="{space}">{dimension}<sheetData>{rows}</sheetData></worksheet>'


def row_of(number: int, *values: object) -> str:
    cells = (
        f'<c r="{chr(65 + index)}{number}" t="inlineStr"><is><t>{value}</t></is></c>'
        for index, value in enumerate(values)
    )
    return f'<row r="{number}">{"".join(cells)}</row>'


@pytest.mark.parametrize("dimension", ["A1:C2", "A1", "A1:XFD1048576"])
def test_all_rows_are_read_whatever_size_the_sheet_states(dimension: str, tmp_path: Path) -> None:
    written = [["start", "stop", "class"], ["0", "5", "walk"], ["5", "9", "rest"], ["9", "12", "walk"]]
    content = with_sheet(sheet_of("".join(row_of(number, *row) for number, row in enumerate(written, 1)), dimension))
    path = tmp_path / "clip.xlsx"
    path.write_bytes(content)
    assert [list(row) for row in values(content)["one"]] == written
    assert [row for _, row in iterate_rows(path, [])] == [row.cells for row in read_table(path).rows] == written


def test_a_row_far_below_and_cells_far_to_the_right_do_not_fill_the_memory(tmp_path: Path) -> None:
    far_below = with_sheet(sheet_of(row_of(1, "a") + row_of(100_000_000, "b")))
    assert refusal(far_below).startswith("has more than 1,048,576 rows")
    far_right = '<row><c r="XFD{0}"><v>1</v></c></row>'
    content = with_sheet(sheet_of("".join(far_right.format(number) for number in range(1, 2000))))
    assert refusal(content).startswith("has more than 20,000,000 cells")
    short = with_sheet(sheet_of(far_right.format(1) + "".join(row_of(number, "a") for number in range(2, 2000))))
    path = tmp_path / "clip.xlsx"
    path.write_bytes(short)
    for read in (lambda: [*iterate_rows(path, [])], lambda: read_table(path)):
        with pytest.raises(AnnotationError, match="has more than 20,000,000 cells, also empty ones"):
            read()
    assert peek(path, "PK") == [[""] * 16_383 + ["1"], *[["a"]] * 79]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"start,stop,class\n", "is not a workbook, expected .xlsx: it is another file with this name, or is damaged"),
        (b"\xd0\xcf\x11\xe0" * 9, "is an old workbook (.xls) or has a password, expected .xlsx or text"),
        (zipped(mimetype="x"), "is an OpenDocument sheet, expected .xlsx"),
        (zipped(a="x"), "is a zip file, expected .xlsx"),
        (zipped(Types="<!DOCTYPE a>"), "has a document type"),
        (zipped(Types="<a/>", b='<?xml version="1.0"?><!\0e\0ntity a "b">'), "has a document type"),
        (zipped(Types="<a/>"), "is not a workbook that can be read, it is damaged or cut off: "),
    ],
)
def test_another_file_is_named(content: bytes, expected: str) -> None:
    assert refusal(content).startswith(expected)


def test_a_damaged_workbook_is_refused_wherever_it_is_damaged() -> None:
    content = made(one=[["start", "stop", "class"], [0, 5, "walk"]])
    for cut in range(0, len(content) - 1, 97):
        assert refusal(content[:cut])
        with suppress(AnnotationError):  # nothing else is raised
            values(content[:cut] + bytes([content[cut] ^ 0xFF]) + content[cut + 1 :])


def test_a_number_of_thousands_of_digits_is_refused_in_own_words() -> None:
    content = with_sheet(sheet_of(f'<row r="1"><c r="A1"><v>{"7" * 6000}</v></c></row>'))
    assert refusal(content).endswith("damaged or cut off: it has a number of more than 4,300 digits")
