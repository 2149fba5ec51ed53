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
