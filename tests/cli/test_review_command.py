"""The command `framescribe review`: its files, its messages and its exit codes."""

import csv
from pathlib import Path

import numpy as np
import pytest
from made_models import CLASSES, write_video

from pipeline.cli.main import main


def run(*inputs: Path, model: Path, out: Path, more: tuple[object, ...] = ()) -> int:
    return main(["review", *map(str, inputs), "--model", str(model), "--out", str(out), *map(str, more)])


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "review.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_videos_are_listed_with_pictures_and_broken_videos_are_reported(video_model, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "new" / "out"
    folder.mkdir()
    for i in range(3):
        write_video(folder / f"clip{i}.mp4", num_frames=40 + i)
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "clip1.csv").write_text("start,stop,class\n0,15,left\n15,30,right\n")
    more = ("--labels", labels, "--top", 4, "--per-video", 3, "--shortest", 0.2, "--longest", 0.4)
    assert run(folder, model=video_model, out=out, more=more) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("4 stretches of ")
    assert printed.out.strip().endswith(str(out / "review.html"))
    rows = rows_of(out)
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert {row["predicted"] for row in rows} <= set(CLASSES)
    assert [float(row["score"]) for row in rows] == sorted((float(row["score"]) for row in rows), reverse=True)
    page = (out / "review.html").read_text()
    for row in rows:
        assert (row["given"] != "") == (row["why"] == "disagrees")
        assert (out / row["picture"]).is_file()
        assert f'src="{row["picture"]}"' in page

    (folder / "broken.mp4").write_bytes(b"nothing")
    assert run(folder, model=video_model, out=out, more=more) == 1
    assert "broken.mp4" in capsys.readouterr().err
    assert rows_of(out) == rows
    assert run(folder / "broken.mp4", model=video_model, out=out) == 1
    assert capsys.readouterr().out == "labelled 0 of 1: no list is written\n"
    assert rows_of(out) == rows


def test_several_models_review_together(feature_model, video_model, tmp_path, capsys):
    np.save(tmp_path / "clip.npy", np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32))
    again = ("--model", feature_model)
    assert run(tmp_path / "clip.npy", model=feature_model, out=tmp_path / "one") == 0
    assert run(tmp_path / "clip.npy", model=feature_model, out=tmp_path / "two", more=again) == 0
    assert rows_of(tmp_path / "two") == rows_of(tmp_path / "one"), "a model and itself"
    assert run(tmp_path / "clip.npy", model=feature_model, out=tmp_path / "no", more=("--model", video_model)) == 2
    assert f"{video_model}: reads videos, {feature_model} reads ready features" in capsys.readouterr().err


def test_ready_features_are_listed_without_times_and_pictures(feature_model, tmp_path):
    for i in range(2):
        np.save(tmp_path / f"clip{i}.npy", np.random.default_rng(i).normal(size=(60, 6)).astype(np.float32))
    out = tmp_path / "out"
    assert run(tmp_path, model=feature_model, out=out, more=("--per-video", 1)) == 0
    rows = rows_of(out)
    assert sorted(row["stem"] for row in rows) == ["clip0", "clip1"]
    assert {row["start_seconds"] + row["stop_seconds"] + row["picture"] for row in rows} == {""}
    assert all(25 <= int(row["stop"]) - int(row["start"]) <= 125 for row in rows)
    assert not (out / "strips").exists()


@pytest.mark.parametrize(
    ("more", "printed"),
    [
        (("--top", 0), "--top: got 0"),
        (("--per-video", -1), "--per-video: got -1"),
        (("--shortest", 3, "--longest", 2), "got 3 and 2 seconds"),
        (("--longest", "inf"), "got 1 and inf seconds"),
        (("--labels", "nowhere"), "nowhere is not a folder"),
    ],
)
def test_impossible_options_are_refused_before_a_model_is_loaded(more, printed, tmp_path, capsys):
    assert run(tmp_path, model=tmp_path / "no model", out=tmp_path / "out", more=more) == 2
    assert printed in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
