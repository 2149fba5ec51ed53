"""The scripts of examples/ run, and print what their texts promise."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from import_graph import ROOT
from made_models import CLASSES, write_video
from PIL import Image

EXAMPLES = ROOT / "examples"


def run(script: str, *arguments: object, cwd: Path) -> str:
    """Run a script, check that its exit code is 0, and return what it prints."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_has_a_test():
    tried = set(re.findall(r'run\("(\w+\.py)"', Path(__file__).read_text()))
    assert tried == {path.name for path in EXAMPLES.glob("*.py")}


def test_the_example_label_video_runs(video_model, tmp_path):
    write_video(tmp_path / "clip.mp4")
    lines = run("label_video.py", "clip.mp4", "--model", video_model, cwd=tmp_path).splitlines()
    assert lines
    assert all(
        re.match(rf" *[\d.]+ s to +[\d.]+ s  ({'|'.join(CLASSES)})  \(probability [\d.]+\)", line) for line in lines
    )


@pytest.mark.slow
def test_the_example_time_budget_runs(video_model, tmp_path):
    (tmp_path / "recordings").mkdir()
    for name in ("a", "b"):
        write_video(tmp_path / "recordings" / f"{name}.mp4")
    run("time_budget.py", "recordings", "--model", video_model, cwd=tmp_path)
    table = pd.read_csv(tmp_path / "time_budget.csv", index_col="video")
    segments = pd.read_csv(tmp_path / "labels" / "a.segments.csv")
    assert list(table.index) == ["a", "b"]
    lengths = segments["stop_seconds"] - segments["start_seconds"]
    assert abs(table.loc["a"].sum() - lengths.sum()) < 0.01 * len(CLASSES)


@pytest.mark.slow
def test_the_example_caption_images_runs(caption_model, tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "photo.jpg")
    name, *captions = run("caption_images.py", "photo.jpg", "--model", caption_model, cwd=tmp_path).splitlines()
    assert name == "photo.jpg"
    assert len(captions) == 3


@pytest.mark.slow
def test_the_example_recurrent_network_runs(tmp_path):
    *_, last = run("recurrent_network.py", cwd=tmp_path).splitlines()
    accuracy = re.fullmatch(r"step 400: loss [\d.]+, ([\d.]+)% of the frames right", last)
    assert accuracy is not None
    assert float(accuracy[1]) > 95
