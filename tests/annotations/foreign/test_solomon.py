"""Tables of Solomon Coder: a behaviour lasts from its first time to the first time without it."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_exchanges import check_is_read_or_refused, damaged

from pipeline.annotations.foreign.document import Document
from pipeline.annotations.foreign.solomon import looks_like_solomon, read_solomon
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.times import FrameTimes

# As a table that SimBA publishes: a row for each frame of 25 per second, and empty cells at its beginning.
FRAMES = (
    "Time,Light,Location,Behaviour\n0,,,\n0.04,,,\n0.08,Off,Far,walk\n0.12,Off,Near,walk\n0.16,On,Near,\n0.2,On,,eat\n"
)


def read_text(folder: Path, text: str) -> Document:
    (folder / "clip.csv").write_text(text, encoding="utf-8")
    return read_solomon(folder / "clip.csv")


def spans(document: Document) -> list[tuple[float, float | None, str]]:
    return [(event.start, event.stop, event.label) for event in document.recordings[0].events]


def test_each_column_is_a_category(tmp_path: Path) -> None:
    document = read_text(tmp_path, FRAMES)
    assert sorted(spans(document)) == [
        (0.08, 0.12, "Far"),
        (0.08, 0.16, "Off"),
        (0.08, 0.16, "walk"),
        (0.12, 0.2, "Near"),
        (0.16, 0.24, "On"),
        (0.2, 0.24, "eat"),
    ]
    recording = document.recordings[0]
    assert (recording.name, recording.media, recording.resolution) == ("clip", (), 0.01)
    assert (document.may_overlap, document.losses) == (True, [])
    assert recording.events[-1].place == "line 7"


def test_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    document = read_text(tmp_path, "Time (s);Posture\n0,0;sits\n0,2;sits\n0,4;stands\n0,6;stands\n")
    assert spans(document) == [(0.0, 0.4, "sits"), (0.4, 0.8, "stands")]
    assert document.may_overlap is False


def test_a_name_in_two_categories_is_told_apart(tmp_path: Path) -> None:
    document = read_text(tmp_path, "Time,left,right\n0,yes,\n0.2,,yes\n0.4,,yes\n")
    assert spans(document) == [(0.0, 0.2, "left: yes"), (0.2, 0.6, "right: yes")]


def test_comments_and_numbers_are_counted(tmp_path: Path) -> None:
    document = read_text(tmp_path, "Time,Posture,Comment,Count,\n0,sits,dark,1,\n0.2,sits,,2,\n0.4,,,3,\n")
    assert spans(document) == [(0.0, 0.4, "sits")]
    assert [(loss.kind, loss.place, loss.what) for loss in document.losses] == [
        ("comments are left out", "line 2", "dark"),
        ("columns of numbers are left out", "column 'Count'", ""),
    ]


@given(
    values=st.lists(st.sampled_from(["", "walk", "eat"]), min_size=3, max_size=80),
    step=st.sampled_from([1 / 25, 1 / 30, 0.2]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_for_each_frame_gives_the_labels_of_the_frames(values: list[str], step: float, tmp_path: Path) -> None:
    rows = "".join(f"{index * step:.2f},{value}\n" for index, value in enumerate(values))
    times = FrameTimes(np.arange(len(values)) * step, step)
    document = read_text(tmp_path, "Time,Behaviour\n" + rows)
    labels = [""] * len(values)
    for event in document.recordings[0].events:
        assert event.stop is not None
        start, stop = times.segment(event.start, event.stop, resolution=document.recordings[0].resolution)
        labels[start:stop] = [event.label] * (stop - start)
    assert labels[:-1] == values[:-1]  # the last step is not in the file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("frame,class\n0,walk\n", ":1: is not a table of Solomon Coder: got 'frame', expected a first column 'Time'"),
        ("Time,a\n0,x\n0.2,x\n9,x\n9.2,x\n", ": has times at no fixed step in its first column"),
        ("Time,a\n0,x\n0.2,x\n0.1,x\n", ":4: got the time 0.1 s after 0.2 s: times must ascend"),
        ("Time,a\n0,x\n,x\n", ":3: got an empty cell, expected a time in seconds in each row"),
        ("Time,a\n0,0\n0.2,1\n0.4,1\n", ": has no column of behaviours beside the time"),
        ('Time,a\n"0,0",x\n"0,2",x\n', ":2: got '0,0', which has a decimal comma, expected a time"),
    ],
)
def test_another_table_is_refused_in_a_sentence(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError) as refused:
        read_text(tmp_path, text)
    assert str(refused.value).removeprefix(f"{tmp_path}/clip.csv").startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FRAMES, True),
        ("Time,a,b\n" + "".join(f"{index / 25:.2f},,\n" for index in range(5)), True),
        ("Time,a,b\n0,0,1\n0.04,0,1\n0.08,1,1\n0.12,1,1\n", False),
        ("Time,Behavior,Status\n1.5,walk,START\n7.5,walk,STOP\n8,walk,START\n20,walk,STOP\n", False),
        ("frame,time_seconds,label\n0,0.0,walk\n1,0.04,walk\n2,0.08,walk\n", False),
        ("Time\n0\n0.2\n0.4\n0.6\n", False),
    ],
)
def test_what_it_looks_like(text: str, expected: bool) -> None:
    assert looks_like_solomon(Path("clip.csv"), text) == expected


@given(st.randoms())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_a_damaged_table_is_read_or_refused(tmp_path: Path, rng: random.Random) -> None:
    content = damaged(FRAMES.encode(), rng)
    check_is_read_or_refused(content, tmp_path / "clip.csv", read_solomon)
    looks_like_solomon(tmp_path / "clip.csv", content.decode(errors="replace"))
