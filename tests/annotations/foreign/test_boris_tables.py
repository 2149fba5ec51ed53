"""Tables that BORIS exports are read as the project that they came from, and written as BORIS writes them."""

import random
from pathlib import Path

import numpy as np
import openpyxl
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

from pipeline.annotations.foreign.base import LabelledVideo
from pipeline.annotations.foreign.boris import read_boris
from pipeline.annotations.foreign.boris_tables import FORMAT, looks_like_boris_table, read_boris_table
from pipeline.annotations.foreign.document import Document, Event, Media
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.times import FrameTimes

BORIS_FILES = REAL / "boris"
AGGREGATED = BORIS_FILES / "test_export_aggregated_events_test_full_1.tsv"
WITHOUT_HEADER = BORIS_FILES / "test_export_aggregated_events_test_full_2.tsv"
TABULAR = [BORIS_FILES / f"test_export_events_tabular.{suffix}" for suffix in ("csv", "tsv", "xlsx")]
FIXED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
# The columns of tabular events of BORIS 8, with one independent variable.
NEW_TABULAR = (
    "Observation id,Observation date,Description,Observation duration,Observation type,Source,Time offset (s),"
    "Media duration (s),FPS,weather,Subject,Behavior,Behavioral category,Modifier #1,Modifier #2,Behavior type,Time,"
    "Media file name,Image index,Image file path,Comment\n"
)


def events_of(document: Document) -> list[tuple[object, ...]]:
    return [
        (recording.name, e.start, e.stop, e.label, e.subject, e.modifiers)
        for recording in document.recordings
        for e in recording.events
    ]


def read_text(path: Path, text: str, name: str = "table.csv") -> Document:
    (path / name).write_text(text, encoding="utf-8")
    return read_boris_table(path / name)


@needs_real_files
@pytest.mark.parametrize("path", [AGGREGATED, *TABULAR], ids=lambda path: path.name)
def test_real_tables_have_the_events_of_their_project(path: Path) -> None:
    document = read_boris_table(path)
    name = document.recordings[0].name
    project = [row for row in events_of(read_boris(BORIS_FILES / "test.boris")) if row[0] == name]
    assert sorted(map(repr, events_of(document))) == sorted(map(repr, project))
    assert not document.losses


@needs_real_files
def test_the_media_of_real_tables() -> None:
    assert all(
        read_boris_table(path).recordings[0].media == (Media("video_test_25fps_360s.mp4", 0.0, 359.96, 25.0),)
        for path in TABULAR
    )
    document = read_boris_table(AGGREGATED)
    first, second = document.recordings[0].media
    assert (first.name, first.start, first.frame_rate) == ("video_test_25fps_180s.mp4", 0.0, 25.0)
    assert (second.name, second.frame_rate, np.isnan(second.start)) == ("video_test_25fps_360s.mp4", 25.0, True)
    assert "whose lengths the table does not state" in document.notes[0]


@needs_real_files
def test_rows_without_a_header_are_refused() -> None:
    assert looks_like_boris_table(WITHOUT_HEADER, WITHOUT_HEADER.read_text())
    with pytest.raises(AnnotationError, match=r"tsv:1: has rows of BORIS but no header"):
        read_boris_table(WITHOUT_HEADER)


def test_a_new_tabular_export_states_its_media(tmp_path: Path) -> None:
    row = "day,2024-01-01 10:00:00,,90,Media file(s),player #1:C:\\a.mp4;C:\\b.mp4|player #2:c.mp4,100,"
    row += "60.0009;30.000|90.000,25.000;50.000|25.000,sunny,{0},walk,Not defined,{1},None,{2},{3},C:\\a.mp4,7,NA,{4}\n"
    marks = [
        ("ann", "fast", "START", "101.5", "a"),
        ("ann", "", "START", "102", ""),
        ("ann", "fast", "STOP", "103", "b"),
    ]
    document = read_text(tmp_path, NEW_TABULAR + "".join(row.format(*mark) for mark in marks))
    (recording,) = document.recordings
    assert recording.name == "day"
    assert recording.media == (Media("C:\\a.mp4", 100.0, 60.0009, 25.0), Media("C:\\b.mp4", 160.0, 30.0, 50.0))
    assert recording.events == [Event(101.5, 103.0, "walk", "ann", ("fast",), "a; b", place="line 2")]
    assert [(loss.kind, loss.place) for loss in document.losses] == [
        ("state events have no end and are left out", "line 3"),
        ("media files are left out, as they show the same time as those of player 1", "line 2"),
    ]


def test_a_preamble_has_the_offset_and_the_media_in_their_order(tmp_path: Path) -> None:
    text = "Observation id\tx\n\nPlayer #1\tb.mp4\nPlayer #1\ta.mp4\nPlayer #2\tc.mp4\nTime offset (s)\t5,5\n"
    text += "Time\tMedia file path\tFPS\tBehavior\tStatus\n7,25\ta.mp4\t30\tpeck\tPOINT\n"
    document = read_text(tmp_path, text, "table.tsv")
    first, second = document.recordings[0].media
    assert (first.name, first.start, second.name, second.frame_rate) == ("b.mp4", 5.5, "a.mp4", 30.0)
    assert document.recordings[0].events == [Event(7.25, None, "peck", place="line 8")]
    assert [loss.what for loss in document.losses] == ["c.mp4"]


def test_a_row_that_cannot_be_used_is_counted_beside_good_ones(tmp_path: Path) -> None:
    text = "Observation id,Behavior,Behavioral category,Behavior type,Start (s),Stop (s)\n"
    rows = ["x,walk,gait,STATE,1,2", 'x,walk,gait,STATE,"1,5",3', "x,walk,,STATE,5,4", "x,,,STATE,5,6", "", ",,,,,"]
    rows += ["x,walk,,STATE,2024-01-01,3", "x,walk,,STATE,3,NA", "x,peck,,POINT,3,NA", "x,walk,,STATE,0:00:07.5,8"]
    document = read_text(tmp_path, text + "\n".join(rows))
    events = document.recordings[0].events
    assert [(event.start, event.stop) for event in events] == [(1.0, 2.0), (3.0, None), (7.5, 8.0)]
    assert [(loss.kind, loss.place, loss.what) for loss in document.losses] == [
        ("rows have no time in seconds and are left out", "line 3", "got '1,5', which has a decimal comma"),
        ("rows have a stop before their start and are left out", "line 4", "walk from 5.0 to 4.0"),
        ("rows name no behaviour and are left out", "line 5", "x; STATE; 5; 6"),
        ("rows have no time in seconds and are left out", "line 8", "got '2024-01-01', which is a date"),
        ("rows have no time in seconds and are left out", "line 9", "got 'NA'"),
        ("categories are left out", "line 2", "walk: gait"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ": is empty, expected a table"),
        ("frame,class\n0,walk\n", ": is not a table of BORIS: no row has the columns Behavior"),
        (
            'Behavior,Time,Status\nwalk,"1,5",START\nwalk,"2,5",STOP\n',
            ": has no row that can be used; of the first one, the cause is: got '1,5', which has a decimal comma",
        ),
        (
            "Behavior,Time,Status\nwalk,1,begin\n",
            ": has no row that can be used; of the first one, the cause is: got 'be",
        ),
    ],
)
def test_another_table_is_refused_in_a_sentence(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(text)
    assert refusal(tmp_path / "table.csv", read_boris_table).startswith(expected)


def test_a_workbook_may_have_an_observation_in_each_sheet(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for name in ("one", "two"):
        sheet = book.create_sheet(name)
        sheet.append(["Observation id", "Behavior", "Behavior type", "Start (s)", "Stop (s)"])
        sheet.append([name, "walk", "STATE", 1.5, "2.000"])
        sheet.append([name, "walk", "STATE", True, 3])
    book.save(tmp_path / "book.xlsx")
    document = read_boris_table(tmp_path / "book.xlsx")
    assert [event[:4] for event in events_of(document)] == [("one", 1.5, 2.0, "walk"), ("two", 1.5, 2.0, "walk")]
    assert [loss.what for loss in document.losses] == ["got 'TRUE'", "got 'TRUE'"]
    assert looks_like_boris_table(tmp_path / "book.xlsx", "PK")


@given(labelled_videos(first=st.integers(-50_000, 5_000_000), names=FORMULAS, has_groups=True))
@settings(suppress_health_check=FIXED)
def test_labels_come_back_in_the_same_frames(tmp_path: Path, video: LabelledVideo) -> None:
    check_round_trip(FORMAT, video, tmp_path / "made.csv")


def test_what_no_row_can_say_is_counted(tmp_path: Path) -> None:
    times = FrameTimes(np.array([0.0, 0.04]), 0.04)
    video = LabelledVideo(Path("clips/day 1.mp4"), np.array([0, 0]), LabelSpace(("walk", "rest")), times, 25.0)
    losses = FORMAT.write and FORMAT.write(tmp_path / "a.csv", [video, video._replace(labels=np.array([-100] * 2))])
    assert losses
    assert [(loss.kind[-32:], loss.what) for loss in losses] == [
        ("t be told from frames without a class"[-32:], ""),
        ("a class and are not in the table"[-32:], ""),
        ("no frame and are not in the table"[-32:], "rest"),
    ]
    assert (tmp_path / "a.csv").read_bytes().endswith(b"NA,NA,,,,\r\n")


@needs_real_files
@given(st.randoms(), st.sampled_from([AGGREGATED, *TABULAR]))
@settings(suppress_health_check=FIXED, deadline=None)
def test_a_damaged_table_is_read_or_refused(tmp_path: Path, rng: random.Random, path: Path) -> None:
    content = damaged(path.read_bytes(), rng)
    check_is_read_or_refused(content, tmp_path / path.name, read_boris_table)
    looks_like_boris_table(tmp_path / path.name, content.decode(errors="replace"))


def test_a_row_that_cannot_be_read_joins_no_events(tmp_path: Path) -> None:
    header = "Observation id,Time,Subject,Behavior,Status\n"
    rows = ((1, "START"), ("x", "STOP"), ("", "START"), (4, "STOP"), (5, "START"), (6, "ST"), (7, "START"), (8, "STOP"))
    text = header + "".join(f"o,{seconds},,walk,{status}\n" for seconds, status in rows)
    (recording,) = read_text(tmp_path, text).recordings
    assert [(event.start, event.stop) for event in recording.events] == [(7, 8)]
