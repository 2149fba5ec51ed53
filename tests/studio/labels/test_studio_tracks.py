import json
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_work import num_calls

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.annotations.segments import Segment
from pipeline.studio.labels.tracks import Change, Tracks

T = 12
EXCLUSIVE = LabelSpace(("walk", "rest", "jump"))
OVERLAPPING = LabelSpace(("eats", "sleeps", "rears"), groups=("state", "state", "posture"))
SPACES = st.sampled_from([EXCLUSIVE, OVERLAPPING])


class Operation(NamedTuple):
    kind: str  # "paint", "cut" or "join"
    track: int
    start: int
    stop: int
    value: int | None


class Frames:
    """The reference: a label for each frame, and the set of cuts, which are before a frame."""

    def __init__(self, space: LabelSpace) -> None:
        self.space = space
        self.values = np.full((1 if space.is_exclusive else space.num_classes, T), IGNORE_INDEX)
        self.cuts: set[tuple[int, int]] = set()

    def is_inside(self, track: int, frame: int) -> bool:
        left, right = self.values[track, frame - 1], self.values[track, frame]
        return bool(left == right != IGNORE_INDEX)

    def carry_out(self, operation: Operation) -> None:
        kind, track, start, stop, value = operation
        if kind == "paint":
            self.paint(track, start, stop, value)
            if not self.space.is_exclusive and value == PRESENT:
                groups = self.space.groups or ()
                for other in range(len(groups)):
                    if other != track and groups[other] == groups[track]:
                        self.paint(other, start, stop, ABSENT)
        elif kind == "join":
            self.cuts.discard((track, start))
        elif start > 0 and self.is_inside(track, start):
            self.cuts.add((track, start))

    def paint(self, track: int, start: int, stop: int, value: int | None) -> None:
        self.values[track, start:stop] = IGNORE_INDEX if value is None else value
        self.cuts = {
            (of, frame)
            for of, frame in self.cuts
            if of != track or (not start < frame < stop and self.is_inside(track, frame))
        }

    def runs(self) -> list[list[tuple[int, int, int]]]:
        found = []
        for track, row in enumerate(self.values.tolist()):
            starts = [f for f in range(T) if f == 0 or row[f] != row[f - 1] or (track, f) in self.cuts]
            stops = [*starts[1:], T]
            found.append([(a, b, row[a]) for a, b in zip(starts, stops, strict=True) if row[a] != IGNORE_INDEX])
        return found


@st.composite
def operations(draw: st.DrawFn, space: LabelSpace) -> list[Operation]:
    tracks, values = (1, 3) if space.is_exclusive else (space.num_classes, 2)
    one = st.builds(
        lambda kind, track, ends, value: Operation(kind, track, min(ends), max(ends) + 1, value),
        st.sampled_from(["paint", "paint", "cut", "join"]),
        st.integers(0, tracks - 1),
        st.tuples(st.integers(0, T - 1), st.integers(0, T - 1)),
        st.one_of(st.none(), st.integers(0, values - 1)),
    )
    return draw(st.lists(one, max_size=12))


def carry_out(tracks: Tracks, operation: Operation) -> list[Change]:
    kind, track, start, stop, value = operation
    if kind == "paint":
        return tracks.paint(track, start, stop, value)
    return [tracks.cut(track, start, remove=kind == "join")] if start > 0 else []


def runs(tracks: Tracks) -> list[list[tuple[int, int, int]]]:
    return [list(track) for track in tracks.tracks]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SPACES, st.data())
def test_painting_and_cutting_are_those_of_single_frames(space: LabelSpace, data: st.DataObject) -> None:
    tracks, frames = Tracks.empty(T, space), Frames(space)
    for operation in data.draw(operations(space)):
        carry_out(tracks, operation)
        frames.carry_out(operation)
        assert runs(tracks) == frames.runs()
    expected = frames.values[0] if space.is_exclusive else frames.values.T
    assert np.array_equal(tracks.to_labels(), expected)
    space.check(tracks.to_labels())
    assert tracks.num_labelled == (frames.values != IGNORE_INDEX).sum()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SPACES, st.data())
def test_undo_goes_back_exactly_and_redo_forward(space: LabelSpace, data: st.DataObject) -> None:
    tracks = Tracks.empty(T, space)
    states, steps = [runs(tracks)], []
    for operation in data.draw(operations(space)):
        steps.append(carry_out(tracks, operation))
        states.append(runs(tracks))
    for step, before in zip(reversed(steps), reversed(states[:-1]), strict=True):
        tracks.undo(step)
        assert runs(tracks) == before
    for step, after in zip(steps, states[1:], strict=True):
        tracks.redo(step)
        assert runs(tracks) == after


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SPACES, st.data())
def test_tracks_are_the_same_after_json_labels_and_rows(space: LabelSpace, data: st.DataObject) -> None:
    tracks = Tracks.empty(T, space)
    for operation in data.draw(operations(space)):
        carry_out(tracks, operation)
    again = Tracks.from_json(json.loads(json.dumps(tracks.to_json())), T, space)
    assert again.tracks == tracks.tracks
    assert tracks.copy().tracks == tracks.tracks
    from_rows = Tracks.from_labels(tracks.to_labels(), space, tracks.segments())
    assert np.array_equal(from_rows.to_labels(), tracks.to_labels())
    assert from_rows.segments() == tracks.segments()  # with their cuts


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SPACES, st.data())
def test_all_runs_can_be_replaced_and_that_is_undone(space: LabelSpace, data: st.DataObject) -> None:
    tracks, other = Tracks.empty(T, space), Tracks.empty(T, space)
    for changed in (tracks, other):
        for operation in data.draw(operations(space)):
            carry_out(changed, operation)
    before = runs(tracks)
    changes = tracks.replace(other)
    assert runs(tracks) == runs(other)
    tracks.undo(changes)
    assert runs(tracks) == before


def test_neighbouring_rows_of_one_class_stay_two() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    tracks = Tracks.from_labels(labels, EXCLUSIVE, [Segment(0, 2, 0), Segment(2, 4, 0), Segment(4, 6, 1)])
    assert tracks.to_json() == [{"starts": [0, 2, 4], "stops": [2, 4, 6], "values": [0, 0, 1]}]


def test_a_track_is_no_key() -> None:
    with pytest.raises(TypeError, match="changes"):
        hash(Tracks.empty(3, EXCLUSIVE).tracks[0])
    assert Tracks.empty(3, EXCLUSIVE).tracks[0] != "a track"


def test_an_edit_is_no_more_work_among_many_segments() -> None:
    space = LabelSpace.independent(tuple(f"class {index}" for index in range(20)))

    def work(of_track: int) -> int:
        rows = [Segment(900 * i, 900 * i + 450, k) for k in range(20) for i in range(of_track)]
        labels = np.full((900 * of_track, 20), ABSENT, dtype=np.int8)
        for start, stop, index in rows:
            labels[start:stop, index] = PRESENT
        tracks = Tracks.from_labels(labels, space, rows)
        assert tracks.segments() == sorted(rows)
        return num_calls(lambda: [tracks.paint(k, 4000 * k, 4000 * k + 1500, PRESENT) for k in range(20)])

    assert work(1000) <= 1.1 * work(100)
