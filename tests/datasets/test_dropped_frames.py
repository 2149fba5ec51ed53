"""Labels that count the frames which a capture program dropped are refused with that cause."""

import struct
from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.datasets.scan import scan_dataset


def drop_frames(path: Path, *, every: int) -> None:
    """Empty every so many chunks of an avi, as capture programs write a dropped frame."""
    data = path.read_bytes()
    movi, index = data.find(b"movi"), data.rfind(b"idx1")
    at, offset, chunks, entries = movi + 4, 4, b"", b""
    number = 0
    while at + 8 <= index:
        name, length = struct.unpack("<4sI", data[at : at + 8])
        kept = 0 if number % every == every // 2 else length
        chunk = name + struct.pack("<I", kept) + data[at + 8 : at + 8 + kept + kept % 2]
        entries += name + struct.pack("<III", 16, offset, kept)
        chunks += chunk
        offset += len(chunk)
        at += 8 + length + length % 2
        number += 1
    body = b"movi" + chunks
    table = b"idx1" + struct.pack("<I", len(entries)) + entries
    made = data[: movi - 4] + struct.pack("<I", len(body)) + body + table
    path.write_bytes(made[:4] + struct.pack("<I", len(made) - 8) + made[8:])


@pytest.fixture
def dataset(make_video, tmp_path) -> Path:
    video = make_video("clip.avi", codec="mjpeg", pix_fmt="yuvj420p", num_frames=40)
    drop_frames(video, every=10)
    for folder in ("videos", "labels"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    video.rename(tmp_path / "set" / "videos" / "clip.avi")
    (tmp_path / "set" / "classes.txt").write_text("walk\nrest\n")
    return tmp_path / "set"


@pytest.mark.parametrize(("name", "text"), [("clip.txt", "walk\n" * 40), ("clip.csv", "start,stop,class\n0,40,walk\n")])
def test_labels_of_dropped_frames_are_named(dataset, name, text):
    (dataset / "labels" / name).write_text(text)
    (problem,) = scan_dataset(dataset).all_problems()
    cause = "the header of the video says 40, 4 were dropped when it was recorded, and the labels count them"
    assert str(problem).startswith(f"{dataset}/labels/{name}: got 40 labels for 36 frames in {name}: {cause}")


def test_a_doubtful_file_is_a_warning_and_no_problem(dataset, capsys):
    (dataset / "labels" / "clip.csv").write_text("start,stop,class\n0,9,walk\n10,19,rest\n20,35,walk\n")
    assert main(["check", str(dataset)]) == 0
    printed = capsys.readouterr()
    assert f"warning: {dataset}/labels/clip.csv: between all segments lies exactly one frame" in printed.err
    assert "0 problems" in printed.out
