"""Exports of The Observer and of EthoVision become the events that they list, or that their samples show."""

import random
from datetime import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_exchanges import check_is_read_or_refused, damaged, made_workbook, refusal

from pipeline.annotations.foreign.document import Media, Span
from pipeline.annotations.foreign.observer import looks_like_observer, read_observer

OBSERVER_COLUMNS = (
    "Date_Time_Absolute_dmy_hmsf",
    "Time_Relative_hmsf",
    "Time_Relative_sf",
    "Duration_sf",
    "Observation",
)
OBSERVER_COLUMNS += ("Event_Log", "Behavior", "Modifier_1", "Modifier_2", "Event_Type", "Comment")
TRIAL = [["Number of header lines:", 9], ["Experiment", "x"], ["Trial name", "Trial     1"], ["Arena name", "Arena 1"]]
TRIAL += [["Subject name", "Subject 1"], ["Video file", "D:\\Media\\day 1.mpg"], []]
MANUAL = [["Trial time", "Recording time", "Subject", "Behavior", "Event"], ["(s)", "(s)"]]
TRACK = [["Trial time", "Recording time", "X center", "groom", "In zone", "all missing", "Result 1"]]
TRACK += [["(s)", "(s)", "(cm)", "", "", "", ""]]
SAMPLES = [[0.0, 0.5, 1.25, 0, 1, "-", 1], [0.04, 0.54, "-", 1, 1, "-", 1], [0.08, 0.58, 2.5, 1, "-", "-", 1]]
SAMPLES += [[0.12, 0.62, 2.5, 0, 0, "-", 1], [0.16, 0.66, 2.5, 1, 0, "-", 1]]


def event_row(
    seconds: Any, behaviour: str, kind: str, modifier: str = "", comment: str = "", clock: Any = ""
) -> list[Any]:
    return ["01-02-2024 10:00:00.000", clock, seconds, 1, "day 1", "log", behaviour, modifier, "", kind, comment]


def spans(document: Any) -> list[tuple[Any, ...]]:
    return [(event.start, event.stop, event.label) for recording in document.recordings for event in recording.events]


def test_states_and_points_of_the_observer(tmp_path: Path) -> None:
    rows = [[*OBSERVER_COLUMNS], event_row(1.5, "walk", "State start", "fast", "a")]
    rows += [event_row(2.0, "peck", "Point"), event_row(2.5, "wait", "State point")]
    rows += [event_row(4.25, "walk", "State stop", "fast"), event_row(5, "walk", "State stop"), []]
    rows += [event_row("05-02-2024", "walk", "State start"), event_row(6, "walk", "Pause")]
    path = made_workbook(tmp_path / "log.xlsx", Empty=[], Events=rows)
    document = read_observer(path)
    assert spans(document) == [(1.5, 4.25, "walk"), (2.0, None, "peck"), (2.5, None, "wait")]
    (recording,) = document.recordings
    assert (recording.name, recording.media, recording.resolution) == ("day 1", (), 0.01)
    assert (recording.events[0].modifiers, recording.events[0].comment) == (("fast",), "a")
    assert [(loss.kind, loss.place) for loss in document.losses] == [
        ("rows have no time in seconds and are left out", "sheet 'Events', row 8"),
        ("rows have another type than state start, state stop and point and are left out", "sheet 'Events', row 9"),
        ("state events have no start and are left out", "sheet 'Events', row 6"),
    ]


def test_the_observer_may_state_hours_and_minutes(tmp_path: Path) -> None:
    columns = [column for column in OBSERVER_COLUMNS if column != "Time_Relative_sf"]
    marks = [("01:00:01.500", "State start"), (time(1, 0, 2, 250_000), "State stop")]
    rows = [event_row(None, "walk", kind, clock=clock) for clock, kind in marks]
    path = made_workbook(tmp_path / "log.xlsx", Events=[columns, *([*row[:2], *row[3:]] for row in rows)])
    assert spans(read_observer(path)) == [(3601.5, 3602.25, "walk")]


def test_text_with_decimal_commas_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(
        "Observation;Time_Relative_sf;Behavior;Event_Type\nx;1,5;läuft;State start\nx;2,75;läuft;State stop\n"
    )
    assert spans(read_observer(path)) == [(1.5, 2.75, "läuft")]


def test_columns_of_0_and_1_are_the_states_of_a_trial(tmp_path: Path) -> None:
    path = made_workbook(tmp_path / "trial.xlsx", Track=[*TRIAL, *TRACK, *SAMPLES])
    document = read_observer(path)
    assert spans(document) == [(0.04, 0.12, "groom"), (0.16, 0.2, "groom"), (0.0, 0.08, "In zone")]
    (recording,) = document.recordings
    assert (recording.name, recording.events[0].subject) == ("Trial     1", "Subject 1")
    assert recording.media == (Media("D:\\Media\\day 1.mpg"),)
    assert recording.media[0].file_name == "day 1.mpg"
    assert recording.scored == [Span(0.0, 0.2, "groom"), Span(0.0, 0.08, "In zone"), Span(0.12, 0.2, "In zone")]
    assert document.classes == ("groom", "In zone")
    columns = [loss.place for loss in document.losses]
    assert columns == [f"sheet 'Track', column {name!r}" for name in ("X center", "all missing", "Result 1")]


def test_a_behaviour_that_was_scored_by_hand_is_taken_from_there(tmp_path: Path) -> None:
    marks = [[0.01, 0.51, "", "groom", "state start"], [0.05, 0.55, "", "groom", "state stop"]]
    marks += [[0.06, 0.56, "Subject 9", "rear", "point event"]]
    path = made_workbook(tmp_path / "trial.xlsx", Track=[*TRIAL, *TRACK, *SAMPLES], Manual=[*TRIAL, *MANUAL, *marks])
    document = read_observer(path)
    assert spans(document) == [(0.01, 0.05, "groom"), (0.06, None, "rear"), (0.0, 0.08, "In zone")]
    assert [event.subject for event in document.recordings[0].events] == ["Subject 1", "Subject 9", "Subject 1"]


def test_subjects_of_several_arenas_are_told_apart(tmp_path: Path) -> None:
    other = [["Arena name", "Arena 2"] if row[:1] == ["Arena name"] else row for row in TRIAL]
    path = made_workbook(tmp_path / "t.xlsx", A=[*TRIAL, *TRACK, *SAMPLES], B=[*other, *TRACK, *SAMPLES])
    (recording,) = read_observer(path).recordings
    assert {event.subject for event in recording.events} == {"Arena 1, Subject 1", "Arena 2, Subject 1"}


def test_a_trial_in_text(tmp_path: Path) -> None:
    path = tmp_path / "trial.txt"
    rows = [["Number of header lines:", "4"], ["Video file", "a.mpg"], ["Trial time", "groom"], ["s", ""]]
    rows += [["0,00", "1"], ["0,04", "0"]]
    path.write_text("\n".join(";".join(f'"{cell}"' for cell in row) for row in rows), encoding="utf-16")
    assert spans(read_observer(path)) == [(0.0, 0.04, "groom")]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([["a", "b"]], ": is not an export of The Observer or EthoVision: no row has the columns Behavior"),
        (TRIAL, ": looks like a trial of EthoVision, but no row of sheet 'S' has a column 'Trial time'"),
        ([*TRIAL, *TRACK, [0.0, 0], [0.0, 0]], ":11: got the time 0 s after 0 s: times must ascend"),
        ([*TRIAL, *TRACK, [0.0, 0], ["x", 0]], ":11: got 'x', expected a time in seconds in each row"),
        ([[*OBSERVER_COLUMNS], event_row("x", "walk", "Point")], ": has no row that can be used; of the first one"),
    ],
)
def test_what_is_none_of_them_is_refused_in_a_sentence(rows: list[list[Any]], expected: str, tmp_path: Path) -> None:
    assert refusal(made_workbook(tmp_path / "a.xlsx", S=rows), read_observer).startswith(expected)


def test_what_they_look_like(tmp_path: Path) -> None:
    trial = made_workbook(tmp_path / "trial.xlsx", Track=[*TRIAL, *TRACK, *SAMPLES])
    events = made_workbook(tmp_path / "events.xlsx", Events=[[*OBSERVER_COLUMNS]])
    other = made_workbook(tmp_path / "other.xlsx", Events=[["a", "b"]])
    assert [looks_like_observer(path, "PK") for path in (trial, events, other)] == [True, True, False]


@given(st.randoms(), st.sampled_from(["made.xlsx", "made.txt"]))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=50
)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, rng: random.Random, name: str) -> None:
    made = tmp_path / "made.xlsx"
    if not made.exists():
        rows = [[*OBSERVER_COLUMNS], event_row(1.5, "walk", "State start"), event_row(2.5, "walk", "State stop")]
        made_workbook(made, Track=[*TRIAL, *TRACK, *SAMPLES], Manual=[*TRIAL, *MANUAL], Events=rows)
        (tmp_path / "made.txt").write_text("\n".join(";".join(map(str, row)) for row in [*TRIAL, *TRACK, *SAMPLES]))
    path = tmp_path / f"damaged{Path(name).suffix}"
    content = damaged((tmp_path / name).read_bytes(), rng)
    check_is_read_or_refused(content, path, read_observer)
    looks_like_observer(path, content.decode(errors="replace"))


def test_a_row_without_a_time_joins_no_events(tmp_path: Path) -> None:
    marks = [(1, "State start"), ("x", "State stop"), ("", "State start"), (4, "State stop")]
    observer = [event_row(seconds, "walk", kind) for seconds, kind in marks]
    manual = [[seconds, seconds, "", "walk", kind] for seconds, kind in marks]
    kept = [(5, "State start"), (6, "State stop")]
    observer += [event_row(seconds, "walk", kind) for seconds, kind in kept]
    manual += [[seconds, seconds, "", "walk", kind] for seconds, kind in kept]
    for rows in ([[*OBSERVER_COLUMNS], *observer], [*TRIAL, *MANUAL, *manual]):
        (recording,) = read_observer(made_workbook(tmp_path / "a.xlsx", one=rows)).recordings
        assert [(event.start, event.stop) for event in recording.events] == [(5, 6)]
