"""Label Studio counts frames from 1 with the end in the range, and its sounds have seconds."""

import json
import random
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from made_exchanges import check_is_read_or_refused, damaged_json, labelled_videos, placed, presence, refusal
from made_work import MANY, assert_grows_linearly

from pipeline.annotations.foreign.base import LabelledVideo
from pipeline.annotations.foreign.document import Media, Unit
from pipeline.annotations.foreign.label_studio import FORMAT, read
from pipeline.annotations.foreign.registry import recognise
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.times import FrameTimes


def timeline(start, end, *labels, **more) -> dict:
    value = {"ranges": [{"start": start, "end": end}], "timelinelabels": list(labels)}
    return {"id": "x", "type": "timelinelabels", "from_name": "tl", "to_name": "video", "value": value, **more}


def sound(start, end, label) -> dict:
    value = {"start": start, "end": end, "channel": 0, "labels": [label]}
    return {"type": "labels", "from_name": "l", "to_name": "audio", "original_length": 12.5, "value": value}


def task(*results: list, video="/data/upload/3/0a1b2c3d-clip_1.mp4", **more) -> dict:
    annotations = [
        {"id": i, "completed_by": i, "was_cancelled": False, "result": list(r)} for i, r in enumerate(results)
    ]
    return {"id": 7, "data": {"video": video}, "annotations": annotations, "predictions": []} | more


def written(path: Path, content) -> Path:
    path.write_text(json.dumps(content))
    return path


def events(document) -> list:
    return [(e.label, e.start, e.stop) for recording in document.recordings for e in recording.events]


def test_frames_are_counted_from_1_with_the_end_in_the_range(tmp_path):
    path = written(tmp_path / "x.json", [task([timeline(1, 61, "walk"), timeline(62, 62, "rest", "sleep")])])
    document = read(path)
    (recording,) = document.recordings
    assert recognise(path) is FORMAT
    assert (recording.unit, recording.resolution, recording.name) == (Unit.FRAMES, 1.0, "task 7")
    assert events(document) == [("walk", 0, 61), ("rest", 61, 62), ("sleep", 61, 62)]
    assert "frame rate of its labelling interface" in document.notes[0]
    assert recording.media == (Media("clip_1.mp4"),)


def test_a_stated_frame_rate_is_kept(tmp_path):
    content = task([timeline(1, 2, "walk")]) | {"data": {"video": "a.mp4", "fps": 12.5}}
    assert read(written(tmp_path / "x.json", content)).recordings[0].media == (Media("a.mp4", frame_rate=12.5),)


def test_sounds_have_seconds(tmp_path):
    content = [task([sound(1.25, 3.0625, "song")], data={"audio": "https://host/a/b%201.wav?x=1", "note": "day"})]
    (recording,) = read(written(tmp_path / "x.json", content)).recordings
    assert (recording.unit, recording.resolution) == (Unit.SECONDS, 0.0001)
    assert recording.media == (Media("/a/b 1.wav", seconds=12.5),)
    assert [(e.start, e.stop, e.label) for e in recording.events] == [(1.25, 3.0625, "song")]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/data/local-files/?d=day%201/clip%201.mp4", "clip 1.mp4"),
        ("http://localhost:8080/data/local-files/?d=day%201%2Fclip.mp4", "clip.mp4"),
        ("/data/upload/3/0a1b2c3d-clip.mp4", "clip.mp4"),
        ("/data/upload/0a1b2c3d-clip-a.mp4", "clip-a.mp4"),
        ("s3://bucket/day/0a1b2c3d-clip.mp4", "0a1b2c3d-clip.mp4"),
        ("<video src='/data/upload/3/0a1b2c3d-clip.mp4' width='100%'></video>", "clip.mp4"),
        (r"C:\videos\clip.mp4", "clip.mp4"),
        ("http://[clip.mp4", "[clip.mp4"),
    ],
)
def test_the_file_name_of_a_video_is_found_in_its_address(address, expected, tmp_path):
    content = task([timeline(1, 2, "walk")], video=address)
    assert read(written(tmp_path / "x.json", content)).recordings[0].media[0].file_name == expected


def test_the_first_annotation_that_was_not_cancelled_counts(tmp_path):
    content = task([timeline(1, 1, "a")], [timeline(2, 2, "b")], [timeline(3, 3, "c")], predictions=[{"result": []}])
    content["annotations"][0]["was_cancelled"] = True
    document = read(written(tmp_path / "x.json", [content]))
    assert events(document) == [("b", 1, 2)]
    assert [(loss.kind, loss.what) for loss in document.losses] == [
        ("annotations were cancelled and are left out", ""),
        ("annotations of tasks that have another one are left out", "completed by 2"),
        ("predictions are left out", ""),
    ]


def test_json_min_and_files_of_one_annotation_are_read(tmp_path):
    region = {"ranges": [{"start": 1, "end": 4}], "timelinelabels": ["walk"]}
    first = {"id": 4, "video": "/d/a.mp4", "tl": [region], "annotator": 1, "annotation_id": 1, "lead_time": 3.5}
    document = read(written(tmp_path / "min.json", [first, first | {"annotator": 2, "annotation_id": 2}]))
    assert events(document) == [("walk", 0, 4)]
    assert [loss.kind for loss in document.losses] == ["annotations of tasks that have another one are left out"]
    one = {"id": 1, "result": [timeline(1, 4, "walk")], "task": {"id": 4, "data": {"video": "a.mp4"}}}
    assert events(read(written(tmp_path / "one.json", one))) == [("walk", 0, 4)]


def test_what_has_no_time_is_a_loss(tmp_path):
    rectangle = {"type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["car"]}}
    text = {"type": "labels", "value": {"start": 3, "end": 5, "text": "dog", "labels": ["animal"]}}
    results = [rectangle, text, timeline("a", 2, "b"), timeline(5, 3, "c"), timeline(1, 2), sound(1, 2, "song"), None]
    content = [task([*results, timeline(2, 2, "ok")]), task([], video="Some text."), 3]
    document = read(written(tmp_path / "x.json", content))
    assert events(document) == [("ok", 1, 2)]
    assert [loss.kind for loss in document.losses] == [
        "regions of other kinds than labels of a time are left out",
        "regions of other kinds than labels of a time are left out",
        "regions have a time that is not a number and are left out",
        "regions stop before they start and are left out",
        "regions have no label and are left out",
        "regions in seconds of tasks that have others in frames are left out",
        "regions of other kinds than labels of a time are left out",
        "tasks are not tasks and are left out",
    ]


def test_a_task_without_a_video_is_a_loss(tmp_path):
    document = read(written(tmp_path / "x.json", [task([]) | {"data": {"text": "Some text."}}]))
    assert [(loss.kind, loss.place) for loss in document.losses] == [
        ("tasks have no video and no sound and are left out", "task 7")
    ]


@given(labelled_videos(), labelled_videos(name="clip 2.mp4"))
def test_what_is_written_is_read_back_with_the_same_frames(first, second):
    videos = [first, second]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.json"
        assert FORMAT.write(path, videos) == []
        document = read(path)
        content = json.loads(path.read_text())
    is_predicted = all(video.probabilities is not None for video in videos)
    for recording, written_task, video in zip(document.recordings, content, videos, strict=True):
        assert recording.media == (Media(video.video.name, frame_rate=25.0),)
        assert len(written_task["predictions"]) == (video.probabilities is not None)
        if is_predicted or video.probabilities is None:
            assert np.array_equal(placed(recording, video), presence(video))
        assert all((event.score is None) == (video.probabilities is None) for event in recording.events)


def test_names_that_are_not_distinct_are_written_as_paths(tmp_path):
    times = FrameTimes(np.array([0.0]), 0.04)
    paths = [Path("a/clip.mp4"), Path("b/clip.mp4"), Path("a/other.mp4")]
    videos = [LabelledVideo(path, np.array([0]), LabelSpace(("walk",)), times, 25.0) for path in paths]
    FORMAT.write(tmp_path / "x.json", videos)
    names = [recording.media[0].name for recording in read(tmp_path / "x.json").recordings]
    assert names == ["a/clip.mp4", "b/clip.mp4", "other.mp4"]


@pytest.mark.parametrize("text", ["[]", "{}", "3", '[{"a": 1}]', "null"])
def test_other_files_are_refused(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    assert refusal(tmp_path / "x.json", read).startswith(": has no task of Label Studio")


def test_damaged_files_are_read_or_refused(tmp_path):
    region = {"ranges": [{"start": 1, "end": 4}], "timelinelabels": ["walk"]}
    minimal = {"id": 4, "video": "/d/a.mp4", "tl": [region], "annotation_id": 1}
    whole = [task([timeline(1, 2, "a", score=0.5), sound(1, 2.5, "b")], [timeline(1, 2, "b")]), minimal]
    whole.append(task(data={"audio": "/data/local-files/?d=a.wav"}, predictions=[{"result": [timeline(1, 2, "b")]}]))
    rng = random.Random(1)
    for _ in range(400):
        content = json.dumps(damaged_json(whole, rng)).encode()
        check_is_read_or_refused(content, tmp_path / "y.json", read)


def test_work_grows_linearly_with_regions(tmp_path):
    def prepare(number):
        regions = [timeline(i, i + 3, "walk") for i in range(1, number + 1)]
        return partial(read, written(tmp_path / "x.json", [task(regions)]))

    assert_grows_linearly(prepare)
    assert len(events(read(tmp_path / "x.json"))) == MANY
