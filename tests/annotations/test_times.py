"""A time belongs to the frame that is shown then, however it was rounded."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.annotations.times import FrameTimes

# The steps between frames, in microseconds: more than the milliseconds that times are rounded to.
STEPS = st.lists(st.integers(1_100, 90_000), min_size=1, max_size=60)


def made_times(first: int, steps: list[int]) -> FrameTimes:
    pts = np.cumsum([first, *steps[:-1]]) / 1e6
    return FrameTimes(pts, steps[-1] / 1e6)


@given(st.integers(-50_000, 5_000_000), STEPS, st.data())
def test_rounded_times_of_frames_give_the_same_frames(first: int, steps: list[int], data: st.DataObject) -> None:
    times = made_times(first, steps)
    start = data.draw(st.integers(0, times.num_frames - 1))
    stop = data.draw(st.integers(start + 1, times.num_frames))
    ends = np.append(times.pts_seconds, times.end_seconds)
    rounded = round(float(ends[start]), 3), round(float(ends[stop]), 3)
    assert times.segment(*rounded, resolution=0.001) == (start, stop)


@given(st.integers(-50_000, 5_000_000), STEPS, st.floats(-1, 7))
def test_the_frame_is_the_last_one_that_has_begun(first: int, steps: list[int], seconds: float) -> None:
    times = made_times(first, steps)
    begun = sum(float(pts) <= seconds + 1e-9 for pts in times.pts_seconds)
    expected = times.num_frames if seconds + 1e-9 >= times.end_seconds else begun - 1
    assert times.frame_shown_at(seconds, resolution=0.0) == expected


@given(STEPS, st.lists(st.floats(0, 6), min_size=3, max_size=3))
def test_segments_that_meet_in_time_meet_in_a_frame(steps: list[int], marks: list[float]) -> None:
    times, (first, second, third) = made_times(0, steps), sorted(marks)
    before, after = (times.segment(*pair, resolution=0.001) for pair in ((first, second), (second, third)))
    assert before[1] == after[0]


def test_a_segment_outside_the_video_has_no_frame() -> None:
    times = FrameTimes(np.array([1.0, 1.04]), 0.04)
    assert times.segment(0.0, 0.5, resolution=0.001) == (0, 0)
    assert times.segment(0.5, 1.04, resolution=0.001) == (0, 1)
    assert times.segment(5.0, 6.0, resolution=0.001) == (2, 2)
    assert FrameTimes(np.empty(0), 0.0).segment(0.0, 1.0, resolution=0.001) == (0, 0)
