"""Columns are found by the names that people give them, and never by a guess between two that mean the same."""

import doctest

import pytest

from pipeline.annotations.formats import columns
from pipeline.annotations.formats.columns import find_frame_columns, find_segment_columns, is_time

FRAMES = [
    "start,stop,class",
    "Start Frame,End Frame,Label",
    "start_frame,stop-frame,behaviour",
    "START,END,Behavior",
    "startFrame,endFrame,behavior_name",
    "start (frames),stop [frame],action",
    "begin,end,Phase",
]
SECONDS = [
    "start_seconds,stop_seconds,class",
    "start_time,end_time,label",
    "Start Time (s),End Time (s),Behavior",
    "onset,offset,behaviour name",
    "start (s),end (s),class_name",
    "start_s,stop_s,activity",
    "Onset (sec),Offset [sec],label",
    "time start,time end,class",
    "startSeconds,stopSeconds,class",
    "begin-sec,end-secs,class",
]


@pytest.mark.parametrize(("header", "in_seconds"), [*((h, False) for h in FRAMES), *((h, True) for h in SECONDS)])
def test_each_spelling_of_the_columns_of_segments_is_known_in_any_order(header, in_seconds):
    start, stop, name = header.split(",")
    found = find_segment_columns([start, stop, name])
    assert (found.start, found.stop, found.name, found.in_seconds, found.ignored) == (0, 1, 2, in_seconds, ())
    found = find_segment_columns(["who", name, stop, "", start])
    assert (found.start, found.stop, found.name, found.in_seconds) == (4, 2, 1, in_seconds)
    assert found.ignored == ("who", "")
    assert found.last == 4


@pytest.mark.parametrize(
    "header",
    [
        *("start,class", "start,stop", "start,start,stop,class", "start,stop,class,class", "start_ms,stop_ms,class"),
        *("starts,stops,class", "start_frame,stop_seconds,class", "first,last,class", ""),
    ],
)
def test_columns_that_are_missing_twice_or_of_other_units_are_not_guessed(header):
    assert find_segment_columns(header.split(",")) is None


def test_frames_count_before_times_and_a_class_before_a_label():
    header = ["start_seconds", "stop_seconds", "start", "stop", "label", "class"]
    found = find_segment_columns(header)
    assert (found.start, found.stop, found.name, found.in_seconds) == (2, 3, 5, False)
    assert found.ignored == ("start_seconds", "stop_seconds", "label")
    assert find_segment_columns(["start", "end", "start_frame", "end_frame", "label"]).start == 2


@pytest.mark.parametrize("header", ["frame,class", "Frame,Phase", "frame_number,Behavior", "FRAMES,label"])
def test_each_spelling_of_the_columns_of_frames_is_known(header):
    assert find_frame_columns(header.split(",")) == columns.FrameColumns(0, 1, ())
    assert find_frame_columns(["frame", "walk"]) is None


def test_columns_of_times_are_known():
    assert all(map(is_time, ["time", "Time (s)", "time_seconds", "timestamp", "seconds", "times"]))
    assert not any(map(is_time, ["s", "timid", "", "walk"]))


def test_docstring_examples():
    assert doctest.testmod(columns).failed == 0
