"""The command `framescribe summarize`: its files, its messages and its exit codes."""

import csv
from pathlib import Path

import numpy as np
import pytest
from made_models import write_video
from PIL import Image

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.write import write_frames
from pipeline.cli.main import main

TIMES = np.array([0.0, 0.04, 0.05, 0.3, 1.0, 1.04])
RESULTS = ["budget.csv", "summary.png", "transitions.csv"]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "clip.txt").write_text("rest\nrest\nwalk\nwalk\nrest\nrest\n")
    return folder


def summarize(*arguments: object) -> int:
    return main(["summarize", *map(str, arguments)])


def budget(out: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (out / "budget.csv").open(newline="") as file:
        return {(row["stem"], row["class"]): row for row in csv.DictReader(file)}


def test_times_come_from_the_videos_at_a_variable_frame_rate(labels: Path, tmp_path: Path, capsys) -> None:
    videos, out = tmp_path / "videos", tmp_path / "new" / "out"
    videos.mkdir()
    write_video(videos / "clip.mp4", num_frames=6, times=TIMES)
    assert summarize(labels, "--videos", videos, "--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == RESULTS
    walk = budget(out)["clip", "walk"]
    assert float(walk["total_seconds"]) == pytest.approx(0.95, abs=1e-3)  # from 0.05 to 1.0 s
    assert float(walk["latency_seconds"]) == pytest.approx(0.05, abs=1e-3)
    printed = capsys.readouterr()
    assert printed.out.startswith("all videos  share %  bouts")
    assert printed.err == ""
    with Image.open(out / "summary.png") as picture:
        assert picture.width > 100


def test_without_out_a_table_is_printed_and_without_times_it_is_said(labels: Path, tmp_path: Path, capsys) -> None:
    assert summarize(labels) == 0
    printed = capsys.readouterr()
    assert "1 label file has no times (clip)" in printed.err
    assert "total (frames)" in printed.out
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]


def test_results_are_replaced_and_other_files_are_not(labels: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert summarize(labels, "--out", out) == 0
    (out / "notes.txt").write_text("mine")
    before = (out / "budget.csv").read_bytes()
    (labels / "other.txt").write_text("walk\n")
    assert summarize(labels, "--out", out) == 0
    assert (out / "budget.csv").read_bytes() != before
    for name in RESULTS:
        (out / name).write_text("mine")
    capsys.readouterr()
    assert summarize(labels, "--out", out) == 2
    refused = capsys.readouterr()
    assert refused.err.count("is not a result of `framescribe summarize`: move it away, or write elsewhere") == 3
    assert refused.out == ""
    assert {(out / name).read_text() for name in (*RESULTS, "notes.txt")} == {"mine"}


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_summarized(
    labels: Path, tmp_path: Path, capsys
) -> None:
    (labels.parent / "classes.txt").write_text("rest\nwalk\n")
    (labels / "bad.txt").write_text("runs\n")
    assert summarize(labels, "--out", tmp_path / "out") == 1
    assert "not summarized:" in capsys.readouterr().err
    assert {stem for stem, _ in budget(tmp_path / "out")} == {"", "clip"}


def test_overlapping_classes_and_groups(tmp_path: Path, capsys) -> None:
    space = LabelSpace.independent(("eats", "rears"))
    folder = tmp_path / "labels"
    folder.mkdir()
    for stem in ("a", "b"):
        write_frames(folder / f"{stem}.frames.csv", np.array([[1, 0], [1, 1], [0, 1]], dtype=np.int8),
                     probabilities=np.ones((3, 2)), pts_seconds=np.arange(3) / 10, label_space=space)  # fmt: skip
    (tmp_path / "groups.csv").write_text("stem,group\na,one\nb,two\n")
    assert summarize(folder, "--groups", tmp_path / "groups.csv", "--out", tmp_path / "out") == 0
    with (tmp_path / "out" / "transitions.csv").open() as file:
        assert [row[:5] for row in csv.reader(file)][1:] == [
            [group, stem, "eats", "rears", "1"]
            for group, stem in (("one", ""), ("two", ""), ("one", "a"), ("two", "b"))
        ]
    assert [line.split()[0] for line in capsys.readouterr().out.split("\n\n")] == ["one", "two"]


def test_two_videos_of_one_stem_and_a_missing_folder_are_refused(labels: Path, tmp_path: Path, capsys) -> None:
    assert summarize(labels, "--videos", tmp_path / "nowhere") == 2
    for name in ("clip.mp4", "clip.avi"):
        (labels / name).write_bytes(b"")
    assert summarize(labels, "--videos", labels) == 2
    assert summarize(tmp_path) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [error.partition("framescribe: ")[2].removeprefix(str(tmp_path)) for error in errors] == [
        "/nowhere is not a folder: expected one that holds the videos",
        "/labels: clip.avi and clip.mp4 have one stem: which one do the labels mean?",
        " holds no label files: expected <stem>.frames.csv, <stem>.segments.csv, <stem>.live.csv,"
        " <stem>.csv, <stem>.tsv, <stem>.xlsx, <stem>.txt, <stem>.eaf, <stem>.TextGrid, <stem>.boris, did you mean "
        f"{labels}?",
    ]


def test_results_beside_the_labels_are_no_labels(labels: Path) -> None:
    assert summarize(labels, "--out", labels) == 0
    assert summarize(labels) == 0
