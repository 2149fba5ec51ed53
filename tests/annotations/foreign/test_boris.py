"""BORIS projects of all versions are read as BORIS itself reads them, and written as it writes them."""

import json
import math
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_exchanges import (
    FORMULAS,
    REAL,
    check_is_read_or_refused,
    check_round_trip,
    damaged,
    labelled_videos,
    needs_real_files,
    refusal,
)
from made_work import MANY, assert_grows_linearly

from pipeline.annotations.foreign.base import LabelledVideo
from pipeline.annotations.foreign.boris import FORMAT, read_boris
from pipeline.annotations.foreign.document import Document, Event, Loss, Media, Span
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.times import FrameTimes
from pipeline.errors import InputError

PROJECT, OTHER = REAL / "boris/test.boris", REAL / "boris/otx_import_test.boris"
WALK = {"code": "walk", "type": "State event", "excluded": ""}
PECK = {"code": "peck", "type": "Point event", "excluded": ""}


def made_project(
    path: Path, events: list[list[Any]], behaviors: tuple[dict[str, Any], ...] = (WALK, PECK), **more: Any
):
    observation = {
        "file": {"1": ["a.mp4"], "2": []},
        "type": "MEDIA",
        "time offset": 0.0,
        "events": events,
        "media_info": {"length": {"a.mp4": 60.0, "b.mp4": 30.0}, "fps": {"a.mp4": 25.0}},
    }
    project = {
        "behaviors_conf": {str(index): behavior for index, behavior in enumerate(behaviors)},
        "observations": {"day 1": observation | more},
    }
    path.write_text(json.dumps(project))
    return path


def read_made(path: Path, events: list[list[Any]], **more: Any) -> tuple[Document, list[Event]]:
    document = read_boris(made_project(path / "made.boris", events, **more))
    return document, document.recordings[0].events


@needs_real_files
def test_a_real_project_is_read_as_boris_exports_it() -> None:
    recordings = {recording.name: recording for recording in read_boris(PROJECT).recordings}
    assert len(recordings) == 12
    second = recordings["observation #2"]
    # The aggregated export of this observation, by BORIS, which lies beside the project.
    lines = (REAL / "boris/test_export_aggregated_events_test_full_1.tsv").read_text().splitlines()
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    exported = [(row["Start (s)"], row["Stop (s)"], row["Behavior"], row["Subject"]) for row in rows]
    read = [
        (f"{e.start:.3f}", f"{e.start if e.stop is None else e.stop:.3f}", e.label, e.subject or "No focal subject")
        for e in second.events
    ]
    assert sorted(read) == sorted(exported)
    assert [(media.name, media.start) for media in second.media] == [
        ("video_test_25fps_180s.mp4", 0.0),
        ("video_test_25fps_360s.mp4", 179.96),
    ]


@needs_real_files
def test_what_a_real_project_has_besides_events_is_counted() -> None:
    document = read_boris(PROJECT)
    assert document.classes == ("p", "s", "q", "r", "m")
    kinds = [loss.kind for loss in document.losses]
    assert kinds.count("media files are left out, as they show the same time as those of player 1") == 4
    assert kinds.count("state events have no end and are left out") == 1
    assert kinds.count("independent variables are left out") == 3
    assert document.notes == ["5 observations are live ones or name no media file."]
    other = read_boris(OTHER)
    assert len(other.classes) == 22
    assert {loss.kind for loss in other.losses} == {
        "categories are left out",
        "independent variables are left out",
    }


def test_states_are_two_rows_in_turn_in_any_order(tmp_path: Path) -> None:
    rows = [[9.0, "", "walk", "", ""], [1.5, "", "walk", "", "slow"], [3.0, "ann", "walk", "", ""]]
    rows += [[2.5, "", "walk", "", ""], [7.0, "", "walk", "", ""], [2.0, "", "peck", "hard|None", "", 50]]
    document, events = read_made(tmp_path, rows)
    assert [(e.start, e.stop, e.label, e.modifiers, e.comment) for e in events] == [
        (1.5, 2.5, "walk", (), "slow"),
        (2.0, None, "peck", ("hard",), ""),
        (7.0, 9.0, "walk", (), ""),
    ]
    place = "observation 'day 1', event 3"
    assert document.losses == [Loss("state events have no end and are left out", place, "walk at 3.000 s")]


def test_offsets_lead_from_the_clock_of_the_observation_to_that_of_each_media_file(tmp_path: Path) -> None:
    info = {"length": {"a.mp4": 10.0009, "b.mp4": 5.0}, "fps": {}, "media_creation_time": {"a.mp4": 1e9, "b.mp4": 2e9}}
    files = {"file": {"1": ["a.mp4", "b.mp4"], "2": ["c.mp4"]}, "time offset": 100.0, "media_info": info}
    document, _ = read_made(tmp_path, [], **files)
    assert [media.start for media in document.recordings[0].media] == [100.0, 110.0]
    document, _ = read_made(tmp_path, [], **files, media_creation_date_as_offset=True)
    assert [media.start for media in document.recordings[0].media] == [1e9 + 100, 2e9 + 110]


def test_a_media_file_after_one_of_unknown_length_has_no_start(tmp_path: Path) -> None:
    document, _ = read_made(tmp_path, [], file={"1": ["x.mp4", "a.mp4"]})
    first, second = document.recordings[0].media
    assert first == Media("x.mp4", 0.0, None, None)
    assert math.isnan(second.start)


def test_an_interval_of_observation_is_where_people_looked(tmp_path: Path) -> None:
    document, _ = read_made(tmp_path, [], **{"observation time interval": [10, 20], "time offset": 5.0})
    assert document.recordings[0].scored == [Span(15.0, 25.0)]
    document, _ = read_made(tmp_path, [], **{"observation time interval": [10, 0]})
    assert document.recordings[0].scored == [Span(10.0, 60.0)]
    document, _ = read_made(tmp_path, [], **{"observation time interval": [0, 0]})
    assert document.recordings[0].scored is None


def test_a_behaviour_that_boris_stopped_for_another_ends_where_that_one_starts(tmp_path: Path) -> None:
    run = {"code": "run", "type": "State event", "excluded": "walk"}
    rows = [[1.0, "", "walk", "", ""], [1.999, "", "walk", "", ""], [2.0, "", "run", "", ""], [3.0, "", "run", "", ""]]
    document, events = read_made(tmp_path, rows, behaviors=(WALK | {"excluded": "run"}, run))
    assert [(event.start, event.stop) for event in events] == [(1.0, 2.0), (2.0, 3.0)]
    assert "1 event reaches to the start of the next one" in document.notes[0]
    assert document.may_overlap is False
    document, events = read_made(tmp_path, rows, behaviors=(WALK, run | {"excluded": ""}))
    assert [(event.start, event.stop) for event in events] == [(1.0, 1.999), (2.0, 3.0)]
    assert document.may_overlap is None


def test_single_images_are_left_out_and_their_missing_times_are_no_fault(tmp_path: Path) -> None:
    path = made_project(tmp_path / "a.boris", [[math.nan, "", "peck", "", "", 3, "img.jpg"]], type="IMAGES", file={})
    assert "NaN" in path.read_text()
    document = read_boris(path)
    assert not document.recordings
    assert [loss.kind for loss in document.losses] == ["observations of single images are left out"]


@pytest.mark.parametrize("files", [[], {}, {"1": []}, None])
def test_a_live_observation_has_no_media(files: object, tmp_path: Path) -> None:
    document, events = read_made(tmp_path, [[1.0, "", "peck", "", ""]], type="LIVE", file=files)
    assert document.recordings[0].media == ()
    assert len(events) == 1


def test_files_of_the_first_versions_are_a_list(tmp_path: Path) -> None:
    document, _ = read_made(tmp_path, [], type="VIDEO", file=["a.mp4", "b.mp4"])
    assert [media.name for media in document.recordings[0].media] == ["a.mp4"]
    assert document.losses[0].what == "b.mp4"


@pytest.mark.parametrize(
    "row", [[True, "", "peck"], ["1.5", "", "peck"], [None, "", "peck"], [10**30, "", "peck"], [1.0, ""], 7, [1, "", 2]]
)
def test_a_row_that_is_none_is_counted(row: Any, tmp_path: Path) -> None:
    document, events = read_made(tmp_path, [[1.0, "", "walk"], row, [2.0, "", "walk"]])
    assert [(event.start, event.stop) for event in events] == [(1.0, 2.0)]
    assert [loss.place for loss in document.losses] == ["observation 'day 1', event 2"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[]", ": is not a BORIS project: got a list, expected an object"),
        ("{}", ": is not a BORIS project: got none, expected an object 'observations'"),
        ('{"observations": []}', ": is not a BORIS project: got a list, expected an object 'observations'"),
        ('{"observations": {}, "behaviors_conf": 3}', ": is not a BORIS project: got a number, expected an object"),
        ('{"observations": {"a": {"ev', ":1: is not JSON at column"),
        ('{"observations": {"\\ud800": 1}}', ": has half of a character"),
    ],
)
def test_another_file_is_refused_in_a_sentence(content: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "file.boris").write_text(content)
    assert refusal(tmp_path / "file.boris", read_boris).startswith(expected)


@given(
    labelled_videos(
        first=st.integers(-50_000, 5_000_000), steps=st.integers(2_100, 90_000), names=FORMULAS, has_groups=True
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_labels_come_back_in_the_same_frames(tmp_path: Path, video: LabelledVideo) -> None:
    document = check_round_trip(FORMAT, video, tmp_path / "made.boris")
    assert document.classes == video.label_space.classes


@needs_real_files
def test_a_project_has_the_keys_of_a_real_one(tmp_path: Path) -> None:
    space = LabelSpace(("walk", "wait"), groups=("a", "a"))
    path = tmp_path / "videos/made.boris"
    video = LabelledVideo(
        Path("clips/day 1.mp4"), np.eye(2, dtype=np.int8), space, FrameTimes(np.array([0.0, 0.04]), 0.04), 25.0
    )
    FORMAT.write(path, [video._replace(video=tmp_path / "videos/day.mp4"), video])
    written, real = json.loads(path.read_text()), json.loads(PROJECT.read_text())
    assert written.keys() >= real.keys() | json.loads(OTHER.read_text()).keys()
    (first, second), observation = written["observations"].values(), real["observations"]["observation #1"]
    assert first.keys() >= observation.keys()
    assert first["media_info"].keys() == observation["media_info"].keys()
    assert first["file"]["1"] == ["day.mp4"]
    assert Path(second["file"]["1"][0]).is_absolute()
    for index, entry in written["behaviors_conf"].items():
        assert entry.keys() - {"color"} == real["behaviors_conf"][index].keys()
    assert [entry["key"] for entry in written["behaviors_conf"].values()] == ["w", "a"]
    assert [entry["excluded"] for entry in written["behaviors_conf"].values()] == ["wait", "walk"]
    assert first["events"] == [
        [0.0, "", "walk", "", "", "NA"],
        [0.04, "", "walk", "", "", "NA"],
        [0.04, "", "wait", "", "", "NA"],
        [0.08, "", "wait", "", "", "NA"],
    ]
    with pytest.raises(InputError, match="got different classes of"):
        FORMAT.write(path, [video, video._replace(label_space=LabelSpace(("a",)))])


def test_pieces_that_boris_does_not_write_are_counted(tmp_path: Path) -> None:
    path = made_project(
        tmp_path / "a.boris", [[1.0, "", "jump", "", ""]], behaviors=(WALK, {"type": 3}), file={"1": [7]}
    )
    project = json.loads(path.read_text())
    project["observations"] |= {"list": [], "null": {"events": None}}
    path.write_text(json.dumps(project))
    document = read_boris(path)
    assert [event.stop for event in document.recordings[0].events] == [None]
    assert [(loss.kind, loss.place) for loss in document.losses] == [
        ("behaviours have no name and are left out", "behaviour '1'"),
        ("media files have no name and are left out", "observation 'day 1'"),
        ("observations are not as BORIS writes them and are left out", "observation 'list'"),
        ("observations are not as BORIS writes them and are left out", "observation 'null'"),
    ]
    assert document.notes == [
        "1 observation is a live one or names no media file.",
        "Behaviours that are not declared are point events, as in BORIS: jump.",
    ]


def test_each_class_has_a_key_of_its_own_while_there_are_some(tmp_path: Path) -> None:
    space = LabelSpace(tuple(f"class {number}" for number in range(80)))
    video = LabelledVideo(Path("clips/day 1.mp4"), np.array([0]), space, FrameTimes(np.array([0.0]), 0.04), 25.0)
    assert FORMAT.write is not None
    FORMAT.write(tmp_path / "a.boris", [video])
    conf = json.loads((tmp_path / "a.boris").read_text())["behaviors_conf"].values()
    keys = [entry["key"] for entry in conf]
    assert len({*keys[:74]}) == 74
    assert keys[74:] == [""] * 6


@needs_real_files
@given(st.randoms(), st.sampled_from([PROJECT, OTHER]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_a_damaged_project_is_read_or_refused(tmp_path: Path, rng: random.Random, name: Path) -> None:
    check_is_read_or_refused(damaged(name.read_bytes(), rng), tmp_path / "file.boris", read_boris)


def test_work_grows_linearly_with_events(tmp_path: Path) -> None:
    def prepare(number: int) -> Callable[[], object]:
        rows = [[index / 7, f"s{index % 3}", "walk", "", ""] for index in range(number)]
        return partial(read_boris, made_project(tmp_path / "large.boris", rows))

    assert_grows_linearly(prepare)
    assert len(read_boris(tmp_path / "large.boris").recordings[0].events) > MANY / 2 - 10


def test_a_row_that_cannot_be_read_takes_its_turn(tmp_path: Path) -> None:
    rows = [[seconds, "", "walk", "", ""] for seconds in (None, 1, 2, 3)]
    document, events = read_made(tmp_path, rows)
    assert [(event.start, event.stop) for event in events] == [(2, 3)]
    assert [loss.place for loss in document.losses] == ["observation 'day 1', event 1", "observation 'day 1', event 2"]
