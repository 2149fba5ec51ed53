"""Tracks and tags of CVAT are frames of the video, by their own numbers."""

import random
import tempfile
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_exchanges import check_is_read_or_refused, damaged_xml, refusal
from made_work import MANY, assert_grows_linearly

from pipeline.annotations.foreign.cvat import FORMAT, read
from pipeline.annotations.foreign.document import Media, Span, Unit
from pipeline.annotations.foreign.registry import recognise

TASK = """<task><id>7</id><name>my task</name><size>100</size><mode>interpolation</mode>
<start_frame>{start}</start_frame><stop_frame>{stop}</stop_frame><frame_filter>{step}</frame_filter><labels>
<label><name>walk</name></label><label><name>rest</name></label>
<label><name>left leg</name><parent>dog</parent></label></labels><source>clip 1.mp4</source></task>"""


def written(path: Path, content: str, start=0, stop=99, step="", task=TASK) -> Path:
    meta = task.format(start=start, stop=stop, step=step)
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>{meta}</meta>'
        f"{content}</annotations>"
    )
    return path


def box(frame, outside=0, **attributes) -> str:
    inner = "".join(f'<attribute name="{name}">{value}</attribute>' for name, value in attributes.items())
    return f'<box frame="{frame}" outside="{outside}" occluded="0" keyframe="1" xtl="1" ytl="2">{inner}</box>'


def track(*shapes: str, label="walk", attributes="") -> str:
    return f'<track id="3" label="{label}" source="manual" {attributes}>{"".join(shapes)}</track>'


def events(document) -> list:
    return [(e.label, e.start, e.stop, e.modifiers) for recording in document.recordings for e in recording.events]


def test_a_track_is_where_its_shape_is_visible(tmp_path):
    shapes = [box(10), box(11), box(20), box(25, 1), box(40), box(41, 1)]
    path = written(tmp_path / "x.xml", track(*shapes) + track(box(99), label="rest") + track(box(5, 1)))
    document = read(path)
    (recording,) = document.recordings
    assert recognise(path) is FORMAT
    assert (recording.unit, recording.media, recording.name) == (Unit.FRAMES, (Media("clip 1.mp4"),), "my task")
    assert recording.scored == [Span(0, 100)]
    assert events(document) == [("walk", 10, 25, ()), ("walk", 40, 41, ()), ("rest", 99, 100, ())]
    assert document.labels() == ("walk", "rest")


def test_an_event_ends_where_an_attribute_changes(tmp_path):
    shapes = [
        box(1, pose="sits"),
        box(2, pose="sits", age=3),
        box(3, age=3, fast="true"),
        box(4, fast="false"),
        box(5, 1),
    ]
    document = read(written(tmp_path / "x.xml", track(*shapes)))
    assert events(document) == [
        ("walk", 1, 2, ("sits",)),
        ("walk", 2, 3, ("sits", "age 3")),
        ("walk", 3, 4, ("age 3", "fast")),
        ("walk", 4, 5, ()),
    ]


def test_frames_are_those_of_the_video_where_a_task_has_every_fifth_only(tmp_path):
    content = (
        track(box(20), box(25), box(30, 1))
        + track(box(45))
        + '<tag label="rest" frame="20"/><tag label="rest" frame="25"/>'
    )
    document = read(written(tmp_path / "x.xml", content, start=20, stop=47, step="step=5"))
    assert events(document) == [("walk", 20, 30, ()), ("walk", 45, 48, ()), ("rest", 20, 30, ())]
    assert document.recordings[0].scored == [Span(20, 48)]


def test_a_skeleton_is_visible_where_a_part_is(tmp_path):
    part = '<points label="left leg" outside="{}" occluded="0" points="1,2"/>'
    shapes = [f'<skeleton frame="{i}">{part.format(o)}{part.format(1)}</skeleton>' for i, o in enumerate((1, 0, 0, 1))]
    assert events(read(written(tmp_path / "x.xml", track(*shapes)))) == [("walk", 1, 3, ())]


@given(st.lists(st.sets(st.sampled_from(["walk", "rest"])), min_size=1, max_size=30))
def test_tags_of_frames_are_runs(frames):
    images = "".join(
        f'<image id="{i}" name="frame_{i:06d}" width="4" height="4">'
        + "".join(f'<tag label="{label}" source="manual"></tag>' for label in sorted(labels))
        + "</image>"
        for i, labels in enumerate(frames)
    )
    with tempfile.TemporaryDirectory() as folder:
        document = read(written(Path(folder) / "x.xml", images))
    found = np.zeros((len(frames), 2), bool)
    for label, start, stop, _ in events(document):
        column = int(label == "rest")
        assert not found[int(start) : int(stop), column].any()
        found[int(start) : int(stop), column] = True
    assert found.tolist() == [["walk" in labels, "rest" in labels] for labels in frames]


def test_tracks_of_a_project_belong_to_their_tasks(tmp_path):
    tasks = "".join(f"<task><id>{i}</id><name>{i}</name><source>{i}.mp4</source></task>" for i in (1, 2))
    content = "".join(track(box(i), attributes=f'task_id="{i}"') for i in (2, 1, 3)) + track(box(1))
    document = read(written(tmp_path / "x.xml", content, task=f"<project><tasks>{tasks}</tasks></project>"))
    assert [(recording.media[0].name, len(recording.events)) for recording in document.recordings] == [
        ("1.mp4", 1),
        ("2.mp4", 1),
    ]
    assert [loss.kind for loss in document.losses] == ["tracks belong to no task of the file and are left out"] * 2


def test_a_task_without_a_source_has_its_name(tmp_path):
    document = read(written(tmp_path / "x.xml", "", task="<job><id>3</id></job>"))
    assert document.recordings[0].media == (Media("x"),)
    assert document.notes == ["task '3' names no video: it is looked for by the name 'x'"]


def test_what_has_no_frame_or_label_is_a_loss(tmp_path):
    content = (
        track(box(1), label="") + track(box("x"), box(-1), box(2)) + '<tag label="rest" frame="1.5"/><tag frame="1"/>'
    )
    document = read(written(tmp_path / "x.xml", content))
    assert events(document) == [("walk", 2, 3, ())]
    assert [loss.kind for loss in document.losses] == [
        "tracks have no label and are left out",
        "shapes of tracks have no frame and are left out",
        "shapes of tracks have no frame and are left out",
        "tags have no frame and are left out",
        "tags have no label and are left out",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<annotations/>", ": has no element 'annotations' with 'meta', expected an export of CVAT"),
        ("<annotation><meta/></annotation>", ": has no element 'annotations' with 'meta'"),
        ('<annotations><meta/><image id="0" name="dog.jpg"/></annotations>', ": has labels of images"),
    ],
)
def test_other_files_are_refused(text, expected, tmp_path):
    (tmp_path / "x.xml").write_text(text)
    assert refusal(tmp_path / "x.xml", read).startswith(expected)


def test_damaged_files_are_read_or_refused(tmp_path):
    content = track(box(1, pose="sits"), box(2), box(3, 1)) + '<tag label="rest" frame="1"/>'
    content += '<image id="1" name="frame_000001"><tag label="rest"/><box label="walk"/></image>'
    root = ElementTree.parse(written(tmp_path / "x.xml", content, step="step=2")).getroot()
    rng = random.Random(1)
    for _ in range(250):
        check_is_read_or_refused(damaged_xml(root, rng), tmp_path / "y.xml", read)


def test_work_grows_linearly_with_shapes(tmp_path):
    def prepare(number):
        shapes = track(*(box(i, i % 2) for i in range(number)))
        return partial(read, written(tmp_path / "x.xml", shapes, stop=100_000))

    assert_grows_linearly(prepare)
    assert len(read(tmp_path / "x.xml").recordings[0].events) == MANY // 2
