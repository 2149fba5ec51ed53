"""The Python API is lazy and typed, its examples run, and its results are those of the command line."""

import doctest
import inspect
import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from import_graph import ROOT
from made_data import write_feature_dataset
from made_exports import share_exports
from made_models import write_video
from PIL import Image

import framescribe
from pipeline.cli.main import main

FUNCTIONS = ("load_labeller", "load_captioner", "label_video", "label_folder", "check_dataset", "evaluate")


@pytest.fixture
def project(tmp_path, monkeypatch, video_model, caption_model) -> Path:
    """The current folder as in the examples, with models, a video, an image and a data set."""
    shutil.copytree(video_model, tmp_path / "models" / "labeller")
    shutil.copytree(caption_model, tmp_path / "models" / "captioner")
    share_exports(tmp_path / "models" / "labeller")
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "clip.mp4")
    write_video(tmp_path / "videos" / "first.mp4")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "photo.jpg")
    write_feature_dataset(tmp_path / "dataset")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [*FUNCTIONS, "Captioner.describe"])
def test_the_examples_of_docstrings_run(name, project):
    value = framescribe
    for part in name.split("."):
        value = getattr(value, part)
    (example,) = doctest.DocTestFinder(recurse=False).find(value, name, globs={})
    assert example.examples
    assert doctest.DocTestRunner(optionflags=doctest.FAIL_FAST).run(example).failed == 0


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, framescribe; print([n for n in ('torch', 'numpy', 'cv2', 'av', 'mlflow') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_public_name_exists_and_is_documented():
    assert set(FUNCTIONS) | {"__version__"} <= set(dir(framescribe))
    for name in framescribe.__all__:
        value = getattr(framescribe, name)
        assert name == "__version__" or inspect.getdoc(value), name
    with pytest.raises(AttributeError, match="has no attribute 'label_all'"):
        framescribe.label_all  # noqa: B018


def test_the_version_is_that_of_the_package(capsys):
    assert framescribe.__version__ == version("framescribe")
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"framescribe {framescribe.__version__}\n"


@pytest.mark.parametrize("frame_rate", [None, 5.0])
def test_labels_equal_those_of_the_command(project, frame_rate):
    labeller = framescribe.load_labeller("models/labeller")
    result = framescribe.label_video("clip.mp4", labeller, frame_rate=frame_rate)
    more = () if frame_rate is None else ("--frame-rate", str(frame_rate))
    assert main(["label", "clip.mp4", "--model", "models/labeller", "--out", "labels", *more]) == 0
    rows = [line.split(",") for line in Path("labels/clip.frames.csv").read_text().splitlines()[1:]]
    assert result.names == [row[2] for row in rows]
    assert np.allclose(result.times_seconds, [float(row[1]) for row in rows], atol=1e-6)
    assert np.allclose(result.probabilities, [float(row[3]) for row in rows], atol=1e-4)
    written = [line.split(",") for line in Path("labels/clip.segments.csv").read_text().splitlines()[1:]]
    assert [(str(s.start), str(s.stop), s.label, f"{s.probability:.4f}") for s in result.segments] == [
        (start, stop, label, probability) for start, stop, _, _, label, probability in written
    ]


def test_a_folder_is_labelled_at_the_rate_that_is_asked_for(project):
    labeller = framescribe.load_labeller("models/labeller")
    framescribe.label_folder("clip.mp4", labeller, "labels", frame_rate=5.0)
    report = json.loads(Path("labels/clip.report.json").read_text())
    assert report["model"]["frame_rate"] == 5.0
    assert report["encoded_frames"] < report["num_frames"]


def test_several_models_label_together(project):
    alone = framescribe.label_video("clip.mp4", framescribe.load_labeller(Path("models/labeller")))
    together = framescribe.load_labeller([Path("models/labeller"), "models/labeller"])
    np.testing.assert_allclose(
        framescribe.label_video("clip.mp4", together).class_probabilities, alone.class_probabilities, atol=1e-6
    )
    command = ["label", "clip.mp4", *2 * ["--model", "models/labeller"], "--out", "labels"]
    assert main(command) == 0
    assert '"models"' in Path("labels/clip.report.json").read_text()


def test_a_folder_is_labelled_once_and_failed_files_are_named(project):
    labeller = framescribe.load_labeller("models/labeller")
    Path("videos/broken.mp4").write_bytes(b"nothing")
    first = framescribe.label_folder("videos", labeller, "labels", formats=("csv", "vtt"))
    assert first[:4] == (1, 0, 0, 1)
    assert len(first.failures) == 1
    assert "broken.mp4" in first.failures[0]
    assert Path("labels/first.segments.vtt").exists()
    again = framescribe.label_folder(["videos/first.mp4"], labeller, "labels", formats=("csv", "vtt"))
    assert again[:4] == (0, 0, 1, 0)
    assert framescribe.label_folder("videos/first.mp4", labeller, "labels", overwrite=True)[:4] == (1, 0, 0, 0)


def test_every_problem_of_a_call_is_named(project):
    labeller = framescribe.load_labeller("models/labeller")
    with pytest.raises(framescribe.InputError) as error:
        framescribe.label_folder("videos", labeller, "labels", formats=("xml",), on_error="panic", jobs=0)
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["formats", "on_error", "jobs"]
    assert not Path("labels").exists()


def test_problems_of_a_data_set_are_returned(project):
    Path("dataset/labels/clip0.csv").write_text("start,stop,class\n0,40,flies\n")
    check = framescribe.check_dataset("dataset")
    assert any("flies" in str(problem) and "clip0.csv:2" in str(problem) for problem in check.problems)
    assert check.num_videos == 6
    assert check.warnings
    assert all("\n" not in warning for warning in check.warnings)


def test_an_unreadable_image_is_refused(project):
    Path("broken.jpg").write_bytes(b"nothing")
    captioner = framescribe.load_captioner("models/captioner")
    with pytest.raises(framescribe.InputError, match=r"broken\.jpg"):
        captioner.describe("broken.jpg")
