"""Lists of problems stay short, and no text file is read without a bound."""

import os
from pathlib import Path

import pytest

from pipeline.annotations import problems
from pipeline.annotations.classes import read_class_list
from pipeline.annotations.problems import MAX_OF_KIND, AnnotationError, Problem, condense, read_lines, read_text


def test_of_each_kind_ten_are_kept_and_one_says_how_many_more():
    path = Path("labels/a.txt")
    unknown = [Problem(path, i, f"unknown class 'it's {i}': did you mean {i % 3}?") for i in range(30)]
    missing = [
        Problem(Path(f"labels/{i}.csv"), None, f"is missing (or .txt): {i}.mp4 has no labels") for i in range(12)
    ]
    others = [Problem(Path("classes.txt"), 1, "class 'walk' is already on line 2")]
    kept = [str(problem) for problem in condense([*unknown, *missing, *others])]
    assert kept == [
        *map(str, unknown[:MAX_OF_KIND]),
        "labels/a.txt: 20 more problems of the same kind",
        *map(str, missing[:MAX_OF_KIND]),
        "labels: 2 more problems of the same kind, in 2 files",
        str(others[0]),
    ]
    assert condense([*missing[:MAX_OF_KIND], *others]) == [*missing[:MAX_OF_KIND], *others]


def test_problems_with_names_that_are_not_quoted_are_of_one_kind_by_their_fault():
    found = [
        Problem(Path("a"), i, f"segment {name} overlaps: a cause", "overlap") for i, name in enumerate("abcdefghijkl")
    ]
    assert len(condense(found)) == MAX_OF_KIND + 1
    assert str(AnnotationError(found)).count("\n") == MAX_OF_KIND
    assert AnnotationError(found).problems == tuple(found)


def test_a_number_of_thousands_of_digits_is_not_repeated_whole():
    found = Problem(Path("a.csv"), 3, f"start '{'7' * 5000}' is not a frame number")
    assert str(found) == f"a.csv:3: start '{'7' * 40}...' is not a frame number"


def test_devices_and_pipes_are_not_read(tmp_path):
    (tmp_path / "classes.txt").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.txt")
    expected = {"classes.txt": "is a pipe or a device", "pipe.txt": "is a pipe or a device", ".": "is a folder"}
    for name, kind in expected.items():
        with pytest.raises(AnnotationError, match=f"{kind}, expected"):
            read_class_list(tmp_path / name)


def test_a_text_file_is_read_up_to_a_bound(tmp_path, monkeypatch):
    path = tmp_path / "classes.txt"
    path.write_bytes(b"a\n" * 4)
    monkeypatch.setattr(problems, "MAX_TEXT_BYTES", 8)
    assert read_lines(path) == ["a"] * 4
    monkeypatch.setattr(problems, "MAX_TEXT_BYTES", 7)
    with pytest.raises(AnnotationError, match="more than any such file"):
        read_lines(path)
    monkeypatch.undo()
    path.write_bytes(bytes(100))
    with pytest.raises(AnnotationError, match="holds zero bytes"):
        read_lines(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_utf_8_or_says_otherwise(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_bytes("läuft".encode(encoding))
    assert read_text(tmp_path / "file.txt") == "läuft"


def test_text_in_an_encoding_that_it_states(tmp_path):
    (tmp_path / "file.txt").write_bytes("läuft".encode("cp1252"))
    assert read_text(tmp_path / "file.txt", encoding="windows-1252") == "läuft"
    (tmp_path / "file.txt").write_bytes(b"\n\x81")
    with pytest.raises(AnnotationError, match=r"file.txt:2: is not WINDOWS-1252 text, as it says itself"):
        read_text(tmp_path / "file.txt", encoding="windows-1252")
