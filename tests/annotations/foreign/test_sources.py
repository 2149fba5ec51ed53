"""Files of other programs are read within bounds, and what cannot be read is one sentence with its place."""

from pathlib import Path

import pytest
from made_exchanges import refusal

from pipeline.annotations.foreign.document import Media
from pipeline.annotations.foreign.sources import read_json, read_xml

BOMB = '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">]><lolz>&lol;</lolz>'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ": is empty, expected JSON"),
        (b'{"a": [1, 2', ":1: is not JSON at column 12: the file is cut off"),
        (b'{"a": "b', ":1: is not JSON at column 7: the file is cut off"),
        (b'{"a":\n 1,,}', ":2: is not JSON at column 4"),
        (b'{"a": NaN}', ": is not JSON: got NaN, expected a number"),
        (b"[" * 100_000, ": is nested too deeply"),
        (b'{"a": ' + b"7" * 6000 + b"}", ": has a number of more than 4,300 digits: is it another file?"),
        ('{\n"a": "ä"}'.encode("cp1252"), ":2: is not UTF-8 text"),
        (b"{\0}", ": holds zero bytes"),
    ],
)
def test_bad_json_is_one_sentence(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_bytes(content)
    assert refusal(tmp_path / "file.json", read_json).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ": is empty, expected XML"),
        (BOMB, ": has a document type"),
        (BOMB.encode("utf-16"), ": has a document type"),
        ("<a><b>", ":1: is not XML at column 7: the file is cut off"),
        ("<a>" * 101 + "</a>" * 101, ": is nested too deeply"),
        ("<a>" * 100_000, ": is nested too deeply"),
        ('<?xml version="1.0" encoding="utf-7"?><a/>', ":1: is in the encoding 'utf-7'"),
        ("frame,class\n0,walk\n", ":1: is not XML at column 1"),
    ],
)
def test_bad_xml_is_one_sentence(text: str | bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "file.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert refusal(tmp_path / "file.xml", read_xml).startswith(expected)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252"])
def test_xml_is_read_in_the_encoding_that_it_declares(encoding: str, tmp_path: Path) -> None:
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    content = f'<?xml version="1.0" encoding="{declared}"?>\n<a><b>läuft</b></a>'
    (tmp_path / "file.xml").write_bytes(content.encode(encoding))
    assert [element.text for element in read_xml(tmp_path / "file.xml")] == ["läuft"]


@pytest.mark.parametrize(
    "name", ["clip 1.mp4", "/home/me/clip 1.mp4", r"C:\me\clip 1.mp4", r"\\host\me\clip 1.mp4", "./a/clip 1.mp4"]
)
def test_the_file_name_is_the_last_part_of_a_path_of_any_system(name: str) -> None:
    assert Media(name).file_name == "clip 1.mp4"
    assert Media("file:///C:/me/clip%201.mp4").file_name == "clip 1.mp4"
    assert Media("file:///me/clip #[1.mp4").file_name == "clip #[1.mp4"


@pytest.mark.parametrize(("name", "read"), [("file.json", read_json), ("file.xml", read_xml)])
def test_a_file_that_would_fill_the_memory_is_refused(
    name: str, read, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    path = tmp_path / name
    path.write_text("<a/>")
    monkeypatch.setattr("pipeline.annotations.foreign.sources.json.loads", fail)
    monkeypatch.setattr("pipeline.annotations.foreign.sources.ElementTree.iterparse", fail)
    assert refusal(path, read) == ": cannot be read: it does not fit the memory"
    monkeypatch.setattr("pipeline.annotations.foreign.sources.MAX_BYTES", 3 << 20)
    path.write_bytes(b" " * ((3 << 20) + 1))
    assert refusal(path, read).startswith(": has more than 3 MB, more than any such file")
