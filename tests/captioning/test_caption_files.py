"""Caption files are correct to the byte, and appear completely or not at all."""

import csv
import json

import pytest

from pipeline.captioning.files import CaptionRow, write_captions, write_video_captions
from pipeline.captioning.summary import VideoCaption

ROWS = [
    CaptionRow("a, b.jpg", None, None, None, "a dog's ball", 0.25),
    CaptionRow("clip.mp4", 0.0, 1 / 3, 'say "hi"', "zwei Männer", 1.234567e-7),
]


def test_csv_is_written_to_the_byte(tmp_path):
    write_captions(tmp_path / "out.CSV", ROWS)
    assert (tmp_path / "out.CSV").read_bytes().decode() == (
        "path,start_seconds,stop_seconds,label,caption,probability\n"
        '"a, b.jpg",,,,a dog\'s ball,0.25\n'
        'clip.mp4,0.000000,0.333333,"say ""hi""",zwei Männer,1.235e-07\n'
    )


def test_json_lines_are_written_to_the_byte(tmp_path):
    write_captions(tmp_path / "out.jsonl", ROWS)
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines[0] == (
        '{"path": "a, b.jpg", "start_seconds": null, "stop_seconds": null, "label": null,'
        ' "caption": "a dog\'s ball", "probability": 0.25}'
    )
    assert "zwei Männer" in lines[1]
    assert [CaptionRow(**json.loads(line)) for line in lines] == ROWS


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_a_path_that_is_not_valid_text_is_also_written(name, tmp_path):
    odd = ROWS[0]._replace(path=b"caf\xe9.jpg".decode("utf-8", errors="surrogateescape"))
    write_captions(tmp_path / name, [odd])
    assert r"caf\udce9.jpg" in (tmp_path / name).read_text(encoding="utf-8")
    if name.endswith("jsonl"):
        assert json.loads((tmp_path / name).read_text(encoding="utf-8"))["path"] == odd.path


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_an_earlier_file_stays_until_the_last_row_and_if_there_is_no_row(name, tmp_path):
    path = tmp_path / name
    path.write_text("earlier")
    write_captions(path, [])
    assert path.read_text() == "earlier"

    def broken():
        yield ROWS[0]
        assert path.read_text() == "earlier"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_captions(path, broken())
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_text() == "earlier"
    write_captions(path, ROWS)
    assert "zwei" in path.read_text(encoding="utf-8")


def test_rows_are_written_immediately(tmp_path):
    def rows():
        for index in range(2000):
            if index == 1999:
                (partial,) = tmp_path.iterdir()
                assert partial.stat().st_size > 10_000
            yield ROWS[0]

    write_captions(tmp_path / "out.csv", rows())
    with (tmp_path / "out.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 2001


def test_the_files_of_a_video_are_written_to_the_byte(tmp_path):
    captions = [VideoCaption(-0.04, 1.5, "run", "a dog's ball", 0.1), VideoCaption(1.5, 2, "run", "two men", 0.1)]
    write_video_captions(tmp_path, "clip.one", captions)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "clip.one.captions.vtt": (
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\na dog's ball\n\n00:00:01.500 --> 00:00:02.000\ntwo men\n"
        ),
        "clip.one.captions.srt": (
            "1\n00:00:00,000 --> 00:00:01,500\na dog's ball\n\n2\n00:00:01,500 --> 00:00:02,000\ntwo men\n"
        ),
        "clip.one.summary.txt": (
            "The video is 2 seconds long. All of it is labelled run. At first a dog's ball; at the end, from 0:01,"
            " two men.\n"
        ),
    }
