"""The labels of models in the studio: files, classes that differ, and labelling by a real child process."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_models import CLASSES, EXCLUSIVE, OVERLAPPING, write_endless_video, write_video
from made_predictions import put_model, put_prediction, sure_of
from made_studio import Studio, is_alive, opened, serving, until
from playwright.sync_api import Browser

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.errors import InputError
from pipeline.files import version_of
from pipeline.labelling.model import load_model
from pipeline.labelling.video import label_video
from pipeline.studio.models.prediction_files import (
    MODEL,
    KnownModel,
    PredictionFile,
    find_fresh,
    map_labels,
    map_probabilities,
    names_of,
    write_prediction,
)
from pipeline.studio.places import Video, id_of


def wait(studio: Studio, is_reached: Any, *, seconds: float = 300) -> dict[str, Any]:
    """Wait until the status of the labelling is as expected, and return it."""
    end = time.monotonic() + seconds
    while True:
        status: dict[str, Any] = studio.get("/api/status").json["predicting"]
        if is_reached(status):
            return status
        assert time.monotonic() < end, status
        time.sleep(0.05)


def is_idle(status: dict[str, Any]) -> bool:
    return not status["running"]


def labels_of(track: dict[str, list[int]], num_frames: int) -> np.ndarray:
    labels = np.full(num_frames, IGNORE_INDEX)
    for start, stop, value in zip(track["starts"], track["stops"], track["values"], strict=True):
        labels[start:stop] = value
    return labels


@pytest.fixture
def videos(dataset: Path) -> Path:
    """A data set of three videos with the classes of `video_model`."""
    for name, num_frames in (("a", 20), ("b", 30), ("c", 40)):
        write_video(dataset / "videos" / f"{name}.mp4", num_frames=num_frames)
    (dataset / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return dataset


def make_known(key: str = "k", **fields: Any) -> KnownModel:
    given: dict[str, Any] = {
        "key": key,
        "name": "labeller",
        "created": 0.0,
        "classes": ("a",),
        "background": None,
        "groups": None,
        "thresholds": (),
        "stamp": [],
        "about": {},
    }
    return KnownModel(**given | fields)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    probabilities = np.array([[0.25, 0.75], [np.nan, np.nan]], np.float32)
    labels = np.array([1, IGNORE_INDEX])
    write_prediction(
        tmp_path / "a.npz",
        labels=labels,
        probabilities=probabilities,
        pts_seconds=np.array([0.0, 0.04]),
        version=(1, 2),
    )
    found = PredictionFile.open(tmp_path / "a.npz")
    assert found is not None
    assert (found.version, found.num_frames, found.is_whole) == ((1, 2), 2, False)
    assert found.read_labels().dtype == np.int64
    assert np.array_equal(found.read_labels(), labels)
    assert np.array_equal(found.read_probabilities().astype(np.float32), probabilities, equal_nan=True)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a file of arrays"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    assert PredictionFile.open(tmp_path / "a.npz") is None


def test_a_video_that_was_changed_is_labelled_again(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"content")
    video, version = Video(id_of("clip"), path), version_of(path)
    assert version is not None
    write_prediction(
        tmp_path / f"{video.id}.npz",
        labels=np.array([0]),
        probabilities=np.ones((1, 1)),
        pts_seconds=np.zeros(1),
        version=version,
    )
    assert find_fresh(tmp_path, video) is not None
    path.write_bytes(b"other content")
    assert find_fresh(tmp_path, video) is None


def test_a_model_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    model = make_known("key", groups=("g",), thresholds=(0.3,))
    model.write(tmp_path / "key")
    assert KnownModel.read(tmp_path / "key") == model
    (tmp_path / "key").rename(tmp_path / "other")
    assert KnownModel.read(tmp_path / "other") is None
    (tmp_path / "other" / MODEL).write_text("{}")
    assert KnownModel.read(tmp_path / "other") is None
    assert KnownModel.read(tmp_path / "missing") is None


def test_models_of_one_name_are_told_apart() -> None:
    models = [make_known("new"), make_known("old", created=86400.0), make_known("twin", created=86400.0)]
    names = names_of(models)
    assert names["new"] == "labeller"
    assert len(set(names.values())) == 3


def test_exclusive_classes_are_mapped_by_name() -> None:
    model, dataset = LabelSpace(("walk", "rest", "fly")), LabelSpace(("rest", "walk", "sleep"))
    labels = np.array([0, 1, 2, IGNORE_INDEX])
    assert map_labels(labels, model, dataset).tolist() == [1, 0, IGNORE_INDEX, IGNORE_INDEX]
    probabilities = np.array([[0.5, 0.3, 0.2]])
    assert map_probabilities(probabilities, model, dataset).tolist() == [[0.3, 0.5, 0.0]]


def test_overlapping_classes_are_mapped_by_name_and_others_are_unknown() -> None:
    dataset = LabelSpace.independent(("rears", "digs", "eats"))
    labels = np.array([[1, 0, 0], [0, 1, 1]], np.int8)
    assert map_labels(labels, OVERLAPPING, dataset).tolist() == [[0, IGNORE_INDEX, 1], [1, IGNORE_INDEX, 0]]


def test_classes_of_the_other_kind_cannot_be_mapped() -> None:
    with pytest.raises(InputError, match="overlap, and those of the data set exclude"):
        map_labels(np.zeros((1, 3), np.int8), OVERLAPPING, EXCLUSIVE)
    with pytest.raises(InputError, match="exclude each other, and those of the data set overlap"):
        map_probabilities(np.zeros((1, 3)), EXCLUSIVE, OVERLAPPING)


@pytest.mark.slow
def test_videos_are_labelled_as_framescribe_label_does(videos: Path, video_model: Path) -> None:
    with serving(videos, "--model", video_model) as studio:
        ids = studio.ids()
        before = studio.get(f"/api/videos/{ids['b']}/predictions").json
        assert (before["models"], before["is_wanted"]) == ([], True)
        assert studio.post("/api/predict", {"videos": None}).status == 200
        status = wait(studio, is_idle)
        assert (status["failures"], status["problem"], status["unlabelled"]) == ([], None, 0)
        model = load_model(str(video_model), device="auto")
        for stem in ("a", "b", "c"):
            answer = studio.get(f"/api/videos/{ids[stem]}/predictions").json
            (found,) = answer["models"]
            expected = label_video(videos / "videos" / f"{stem}.mp4", model)
            num_frames = len(expected.labels)
            assert not answer["is_wanted"]
            assert (found["is_current"], found["is_whole"], found["unknown"]) == (True, True, [])
            assert found["num_levels"] == 1
            assert labels_of(found["tracks"][0], num_frames).tolist() == expected.labels.tolist()
            tile = studio.get(f"/api/videos/{ids[stem]}/predictions/{found['id']}/tiles/0/0").content
            rows = np.frombuffer(tile, np.uint8).reshape(len(CLASSES) + 1, num_frames)
            assert pytest.approx(expected.class_probabilities, abs=0.003) == rows[:-1].T / 255
            assert rows[-1] / 255 == pytest.approx(1 - expected.probabilities, abs=0.003)
            assert studio.get(f"/api/videos/{ids[stem]}/predictions/{found['id']}/tiles/0/1").status == 404
            assert studio.get(f"/api/videos/{ids[stem]}/predictions/..%2F/tiles/0/0").status == 404


@pytest.mark.slow
def test_overlapping_classes_have_a_track_each(dataset: Path, overlapping_model: Path) -> None:
    path = write_video(dataset / "videos" / "a.mp4", num_frames=50)
    (dataset / "classes.csv").write_text("class,group\neats,state\nsleeps,state\nrears,posture\n")
    with serving(dataset, "--model", overlapping_model) as studio:
        video = studio.ids()["a"]
        studio.post("/api/predict", {"videos": [video]})
        assert wait(studio, is_idle)["problem"] is None
        (found,) = studio.get(f"/api/videos/{video}/predictions").json["models"]
        expected = label_video(path, load_model(str(overlapping_model), device="auto")).labels
        assert expected.any()
        for track, column in zip(found["tracks"], expected.T, strict=True):
            assert labels_of(track, 50).tolist() == column.tolist()


@pytest.mark.slow
def test_what_is_labelled_is_left_alone_and_a_changed_video_is_not(videos: Path, video_model: Path) -> None:
    with serving(videos, "--model", video_model) as studio:
        studio.post("/api/predict", {"videos": None})
        wait(studio, is_idle)
        (folder,) = (videos / ".studio" / "predictions").iterdir()
        times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
        write_video(videos / "videos" / "b.mp4", num_frames=31)
        studio.post("/api/predict", {"videos": None})
        wait(studio, is_idle)
        again = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
    assert {name for name in times if times[name] != again[name]} == {f"{id_of('b')}.npz"}


@pytest.mark.slow
def test_a_damaged_video_costs_no_other(videos: Path, video_model: Path) -> None:
    (videos / "videos" / "b.mp4").write_bytes(b"this is not a video")
    with serving(videos, "--model", video_model) as studio:
        ids = studio.ids()
        studio.post("/api/predict", {"videos": None})
        status = wait(studio, is_idle)
        assert [(each["stem"], str(videos) in each["message"]) for each in status["failures"]] == [("b", False)]
        assert studio.get(f"/api/videos/{ids['c']}/predictions").json["models"]


def test_a_model_that_cannot_be_loaded_is_said(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with serving(videos, "--model", tmp_path / "model") as studio:
        studio.post("/api/predict", {"videos": None})
        status = wait(studio, is_idle)
        assert "is not a checkpoint" in status["problem"]


@pytest.mark.parametrize(("classes", "is_used"), [("left\n", True), ("eat\nidle\n", False), ("", False)])
def test_the_model_of_the_project_is_used_where_it_has_classes_of_the_data_set(
    videos: Path, video_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: str, is_used: bool
) -> None:
    (videos / "classes.txt").unlink()
    if classes:
        (videos / "classes.txt").write_text(classes)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "labeller").symlink_to(video_model)
    monkeypatch.chdir(tmp_path)
    with serving(videos) as studio:
        assert studio.get("/api/studio").json["has_model"] == is_used


def test_without_a_model_the_request_is_refused(videos: Path) -> None:
    with serving(videos) as studio:
        answer = studio.post("/api/predict", {"videos": None})
        assert (answer.status, "there is no model" in answer.error) == (409, True)
        video = studio.ids()["a"]
        assert not studio.get(f"/api/videos/{video}/predictions").json["is_wanted"]


@pytest.mark.parametrize("asked", ["a", [1], {"a": 1}, ["../a"], ["0" * 16]])
def test_a_request_for_something_else_than_videos_is_refused(videos: Path, video_model: Path, asked: Any) -> None:
    with serving(videos, "--model", video_model) as studio:
        assert studio.post("/api/predict", {"videos": asked}).status in (400, 404)


@pytest.fixture
def endless(dataset: Path) -> Path:
    """A data set whose second video cannot be labelled to its end before a test is over."""
    write_video(dataset / "videos" / "a.mp4", num_frames=20)
    write_endless_video(dataset / "videos" / "b.mp4")
    write_video(dataset / "videos" / "c.mp4", num_frames=30)
    (dataset / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return dataset


def child_of(studio: Studio) -> int:
    """The process that labels, wherever it was started."""
    for task in Path(f"/proc/{studio.process.pid}/task").iterdir():
        found = (task / "children").read_text().split()
        if found:
            return int(found[0])
    raise AssertionError("there is no child process")


@pytest.mark.slow
def test_a_child_that_is_killed_is_said_and_can_be_started_again(endless: Path, video_model: Path) -> None:
    with serving(endless, "--model", video_model) as studio:
        ids = studio.ids()
        studio.post("/api/predict", {"videos": None})
        wait(studio, lambda status: status["frames"] > 0)
        os.kill(child_of(studio), signal.SIGKILL)
        status = wait(studio, is_idle)
        assert "the process that labels has ended" in status["problem"]
        assert studio.get(f"/api/videos/{ids['a']}/predictions").json["models"]
        studio.post("/api/predict", {"videos": [ids["c"]]})
        status = wait(studio, is_idle)
        assert (status["problem"], status["unlabelled"]) == (None, 1)


@pytest.mark.slow
def test_labelling_is_cancelled_at_once(endless: Path, video_model: Path) -> None:
    with serving(endless, "--model", video_model) as studio:
        studio.post("/api/predict", {"videos": None})
        wait(studio, lambda status: status["frames"] > 0)
        child = child_of(studio)
        status = studio.post("/api/predict/cancel").json
        assert (status["running"], status["problem"], status["unlabelled"]) == (False, None, 2)
        assert not is_alive(child)


@pytest.mark.slow
def test_the_open_video_goes_first_and_a_killed_studio_leaves_no_child(endless: Path, video_model: Path) -> None:
    with serving(endless, "--model", video_model) as studio:
        ids = studio.ids()
        studio.post("/api/predict", {"videos": None})
        studio.post("/api/predict", {"videos": [ids["c"]]})  # while the model is loaded, so it goes before "b"
        wait(studio, lambda status: status["video"] == ids["b"])
        assert studio.get(f"/api/videos/{ids['c']}/predictions").json["models"]
        child = child_of(studio)
        studio.kill()
        end = time.monotonic() + 60
        while is_alive(child):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_the_page_has_the_lanes_and_the_tiles_of_a_model(videos: Path, browser: Browser) -> None:
    folder = put_model(videos, EXCLUSIVE)
    labels = np.repeat([0, 1], 10)
    put_prediction(folder, videos / "videos" / "a.mp4", labels, sure_of(labels, 3, probability=0.8))
    with serving(videos) as studio, opened(browser, f"{studio.address}#{studio.ids()['a']}") as page:
        until(page, "studio.predictions.length === 1")
        until(page, "studio.predictions[0].tile(0, 0) !== null")
        tile = page.evaluate("() => [...studio.predictions[0].tile(0, 0)]")
        rows = np.array(tile).reshape(4, 20)
        assert rows[0].tolist() == [204] * 10 + [25] * 10
        assert rows[3].tolist() == [51] * 20
        assert page.evaluate("() => studio.predictions[0].tracks[0].stops") == [10, 20]
        until(page, "document.querySelector('#model p').textContent === 'This video is labelled by labeller.'")
