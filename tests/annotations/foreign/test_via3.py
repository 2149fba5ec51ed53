"""Temporal segments of VIA 3 are read from its CSV and from its projects, and both are written."""

import json
import random
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_exchanges import (
    check_is_read_or_refused,
    damaged_json,
    damaged_text,
    labelled_videos,
    placed,
    presence,
    refusal,
)
from made_work import MANY, assert_grows_linearly

from pipeline.annotations.foreign.document import Media
from pipeline.annotations.foreign.registry import recognise
from pipeline.annotations.foreign.via3 import FORMAT, read

ATTRIBUTES = {
    "1": {"aname": "action", "type": 4, "options": {"0": "walk", "1": "rest"}, "default_option_id": ""},
    "2": {"aname": "how", "type": 1, "options": {"default": "Default"}},
    "3": {"aname": "where", "type": 2, "options": {"a": "left", "b": "right"}},
    "4": {"aname": "comment", "type": 1, "options": {}},
}
HEAD = """# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)
# SHAPE_ID = {"POINT":1,"RECTANGLE":2}
# ATTRIBUTE = %s
# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
"""
ROW = '"1_ab","[""clip 1.mp4""]",0,"%s","%s","%s"\n'


def row(times: str, values: dict, region: str = "[]") -> str:
    return ROW % (times, region, json.dumps(values).replace('"', '""'))


def written(path: Path, *rows: str, attributes=ATTRIBUTES) -> Path:
    path.write_text(HEAD % json.dumps(attributes) + "".join(rows))
    return path


def events(document) -> list:
    return [(e.label, e.start, e.stop, e.modifiers) for recording in document.recordings for e in recording.events]


def test_a_segment_has_a_label_and_modifiers(tmp_path):
    rows = [
        row("[1.5,3.25]", {"4": "  fast\n now", "1": "1"}),
        row("[4,5]", {"3": "a,b", "1": ""}),
        row("[6.12345]", {"9": "unknown", "3": "b"}),
        row("[7,8]", {"4": 3}),
    ]
    path = written(tmp_path / "x.csv", *rows)
    document = read(path)
    (recording,) = document.recordings
    assert recognise(path) is FORMAT
    assert (recording.media, recording.resolution) == ((Media("clip 1.mp4"),), 1e-5)
    assert events(document) == [
        ("rest", 1.5, 3.25, ("fast now",)),
        ("left", 4, 5, ()),
        ("right", 4, 5, ()),
        ("right", 6.12345, None, ("unknown",)),
        ("3", 7, 8, ()),
    ]
    assert document.labels() == ("walk", "rest", "left", "right", "3")


def test_old_exports_and_those_of_segments_alone_are_read(tmp_path):
    old = written(tmp_path / "old.csv", row("[1,2]", {"1": "walk"}), attributes={"1": "action"})
    old.write_text(old.read_text().replace("# ATTRIBUTE =", "# ATTRIBUTES ="))
    assert events(read(old)) == [("walk", 1, 2, ())]
    text = "# CSV_HEADER = metadata_id,file_list,temporal_segment_start,temporal_segment_end,metadata\n"
    (tmp_path / "new.csv").write_text(text + '"1_a","[""a.mp4""]",1.5,2,"{""action"":""walk""}"\n')
    assert events(read(tmp_path / "new.csv")) == [("walk", 1.5, 2, ())]


def test_a_file_that_a_spreadsheet_saved_is_read(tmp_path):
    text = written(tmp_path / "x.csv", row("[1,2]", {"1": "0"})).read_text()
    lines = text.splitlines()
    lines[:4] = ['"' + line.replace('"', '""') + '",,,,' for line in lines[:4]]
    (tmp_path / "y.csv").write_text("\r\n".join(lines))
    assert events(read(tmp_path / "y.csv")) == [("walk", 1, 2, ())]


def test_what_is_no_segment_is_a_loss(tmp_path):
    rows = [
        row("[]", {"1": "0"}),
        row("[1.5]", {"1": "0"}, region="[2,10,20,50,80]"),
        row("[1,2]", {}),
        row("[2,1]", {"1": "0"}),
        row("[1,2,3]", {"1": "0"}),
        row('[""1,5"",2]', {"1": "0"}),
        row("[1,", {"1": "0"}),
        '"1_c","[""a.mp4"",""b.mp4""]",0,"[1,2]","[]","{""1"":""0""}"\n',
        "\n",
    ]
    document = read(written(tmp_path / "x.csv", *rows))
    assert events(document) == [("walk", 1, 2, ())]
    assert [loss.kind for loss in document.losses] == [
        "annotations of whole files or of images have no time and are left out",
        "regions of still frames are left out",
        "segments have no value of an attribute and are left out",
        "segments stop before they start and are left out",
        "segments have no time and are left out",
        "segments have a time with a decimal comma where a point is expected and are left out",
        "rows are damaged and are left out",
        "further files of a view are left out",
    ]
    assert document.losses[0].place == "line 5"


@given(labelled_videos(), labelled_videos(name="clip 2.mp4"), st.sampled_from(["out.csv", "out.json"]))
def test_what_is_written_is_read_back_with_the_same_frames(first, second, name):
    videos = [first, second]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        losses = FORMAT.write(path, videos)
        document = read(path)
        assert recognise(path) is FORMAT
    assert len(losses) == sum(video.probabilities is not None for video in videos)
    assert document.losses == []
    found = {recording.media[0].name: recording for recording in document.recordings}
    for video in videos:
        if presence(video).any():
            assert np.array_equal(placed(found[video.video.name], video), presence(video))
    declared = dict.fromkeys([*first.label_space.classes, *second.label_space.classes])
    assert document.labels() in (tuple(declared), ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("start,stop,class\n1,2,walk\n", ": has no line '# CSV_HEADER = metadata_id,...'"),
        ("# CSV_HEADER = metadata_id,file_list,temporal,metadata\n", ": has no column 'temporal_coordinates'"),
        (
            '{"_via_settings": {}, "_via_img_metadata": {}}',
            ": has no 'file' and 'metadata', expected a project of VIA 3",
        ),
        ('{"file": [', ":1: is not JSON at column"),
    ],
)
def test_other_files_are_refused(text, expected, tmp_path):
    (tmp_path / "x").write_text(text)
    assert refusal(tmp_path / "x", read).startswith(expected)


def test_damaged_files_are_read_or_refused(tmp_path):
    text = written(tmp_path / "x.csv", row("[1,2]", {"1": "0", "3": "a,b"}), row("[1.5]", {"4": "x"})).read_text()
    project = {
        "project": {"vid_list": ["1"], "rev_timestamp": ""},
        "attribute": ATTRIBUTES,
        "file": {"1": {"fid": "1", "fname": "a.mp4", "loc": 1}, "2": {"src": "http://x/b.mp4"}},
        "metadata": {"1_a": {"vid": "1", "z": [1, 2], "xy": [], "av": {"1": "0", "3": "a,b"}}},
        "view": {"1": {"fid_list": ["1", "2"]}},
    }
    rng = random.Random(1)
    for _ in range(250):
        check_is_read_or_refused(damaged_text(text, rng).encode(), tmp_path / "y.csv", read)
        check_is_read_or_refused(json.dumps(damaged_json(project, rng)).encode(), tmp_path / "y.json", read)


def test_work_grows_linearly_with_segments(tmp_path):
    def prepare(number):
        return partial(read, written(tmp_path / "x.csv", *(row(f"[{i},{i + 0.5}]", {"1": "0"}) for i in range(number))))

    assert_grows_linearly(prepare)
    assert len(events(read(tmp_path / "x.csv"))) == MANY


def test_a_comment_line_that_is_longer_than_a_cell_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "via.csv"
    path.write_text('"# ATTRIBUTE = ' + "x" * 200_000 + '"\n')
    assert refusal(path, read).endswith(":1: is not CSV: field larger than field limit (131072)")
