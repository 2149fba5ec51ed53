"""Annotations and results in the form of ActivityNet are read and written."""

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

from pipeline.annotations.foreign.activitynet import FORMAT, read
from pipeline.annotations.foreign.document import Media
from pipeline.annotations.foreign.registry import recognise

DATABASE = {
    "version": "VERSION 1.3",
    "taxonomy": [
        {"nodeId": 1, "nodeName": "Sports", "parentName": "Root", "parentId": 0},
        {"nodeId": 0, "nodeName": "Root", "parentName": None, "parentId": None},
        {"nodeId": 2, "nodeName": "Surfing", "parentName": "Sports", "parentId": 1},
        {"nodeId": 3, "nodeName": "Archery", "parentName": "Sports", "parentId": 1},
    ],
    "database": {
        "v_a": {
            "duration": 55.15,
            "subset": "training",
            "resolution": "320x240",
            "url": "https://www.youtube.com/watch?v=a",
            "annotations": [{"segment": [0.01, 19.44], "label": "Surfing"}, {"segment": [30, 31.5], "label": "Tango"}],
        },
        "v_b": {"duration": 10, "subset": "validation", "annotations": []},
        "v_c": {"duration": None, "subset": "testing"},
        "v_d": {"subset": "gallery", "annotations": []},
    },
}


def written(path: Path, content) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_annotations_have_splits_lengths_and_classes(tmp_path):
    path = written(tmp_path / "x.json", DATABASE)
    document = read(path)
    assert recognise(path) is FORMAT
    assert [recording.split for recording in document.recordings] == ["train", "val", "test", None]
    assert document.recordings[0].media == (Media("v_a", seconds=55.15),)
    found = [(event.start, event.stop, event.label) for event in document.recordings[0].events]
    assert found == [(0.01, 19.44, "Surfing"), (30, 31.5, "Tango")]
    assert document.labels() == ("Surfing", "Archery", "Tango")
    assert document.losses == []
    assert document.notes[0].startswith("1 videos are of the subset 'gallery', which is none of training, ")


def test_results_have_scores(tmp_path):
    content = {"version": "", "results": {"a": [{"segment": [1, 2.5], "label": "Surfing", "score": 0.75}]}}
    path = written(tmp_path / "x.json", content)
    (recording,) = read(path).recordings
    assert recognise(path) is FORMAT
    assert [(event.start, event.stop, event.score) for event in recording.events] == [(1, 2.5, 0.75)]


def test_what_is_no_segment_is_a_loss(tmp_path):
    annotations = [
        *({"label": "x"}, {"segment": [1, 2]}, None, {"segment": [1], "label": "x"}),
        *(
            {"segment": [2, 1], "label": "x"},
            {"segment": ["1,5", 2], "label": "x"},
            {"segment": [True, 2], "label": "x"},
        ),
    ]
    content = {"database": {"a": {"annotations": annotations}, "b": 3, "c": {"annotations": {}}}}
    document = read(written(tmp_path / "x.json", content))
    assert [loss.kind for loss in document.losses] == [
        "annotations have no time and are left out",
        "annotations have no label and are left out",
        "annotations have no label and are left out",
        "annotations have no time and are left out",
        "annotations stop before they start and are left out",
        "annotations have a time with a decimal comma where a point is expected and are left out",
        "annotations have a time that is not a number and are left out",
        "videos are not objects and are left out",
        "lists of annotations are none and are left out",
    ]
    assert not any(recording.events for recording in document.recordings)


@given(labelled_videos(), labelled_videos(name="clip 2.mp4"))
def test_what_is_written_is_read_back_with_the_same_frames(first, second):
    videos = [first, second]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.json"
        losses = FORMAT.write(path, videos)
        document = read(path)
        assert recognise(path) is FORMAT or not any(recording.events for recording in document.recordings)
    are_results = all(video.probabilities is not None for video in videos)
    assert (document.losses, document.notes) == ([], [])
    for recording, video in zip(document.recordings, videos, strict=True):
        assert recording.media[0].name == video.video.stem
        assert np.array_equal(placed(recording, video), presence(video))
        assert all((event.score is None) == (video.probabilities is None) for event in recording.events)
    declared = tuple(dict.fromkeys([*first.label_space.classes, *second.label_space.classes]))
    assert are_results or document.labels() == declared
    if are_results:
        assert set(document.labels()) | {loss.what for loss in losses} == set(declared)


@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"database": []}', '{"results": 3}'])
def test_other_files_are_refused(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    assert refusal(tmp_path / "x.json", read).startswith(": has no object 'database' or 'results'")


def test_damaged_files_are_read_or_refused(tmp_path):
    rng = random.Random(1)
    results = {"results": {"a": [{"segment": [1, 2.5], "label": "Surfing", "score": 0.75}]}}
    for index in range(300):
        content = json.dumps(damaged_json((DATABASE, results)[index % 2], rng)).encode()
        check_is_read_or_refused(content, tmp_path / "y.json", read)


def test_work_grows_linearly_with_segments(tmp_path):
    def prepare(number):
        annotations = [{"segment": [i, i + 0.123], "label": "walk"} for i in range(number)]
        return partial(read, written(tmp_path / "x.json", {"database": {"a": {"annotations": annotations}}}))

    assert_grows_linearly(prepare)
    assert len(read(tmp_path / "x.json").recordings[0].events) == MANY
