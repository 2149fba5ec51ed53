"""At a lower rate, the frames shown at even times are encoded, and every frame has the nearest of them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.video.frame_choice import LiveChoice, choose_frames

STEPS = st.lists(st.integers(4, 5000), max_size=40)  # of milliseconds


def exact_times(steps: list[int], start: int) -> list[Fraction]:
    return [Fraction(start + sum(steps[:count]), 1000) for count in range(len(steps) + 1)]


@given(STEPS, st.integers(0, 10_000), st.integers(1, 400), st.integers(4, 200))
def test_the_frames_are_those_shown_at_even_times(steps, start, tenths, last):
    times = exact_times(steps, start)
    rate, stop = Fraction(tenths, 10), times[-1] + Fraction(last, 1000)
    tolerance = Fraction(1, 1000)
    shown, tick = set(), times[0]
    while tick < stop - tolerance:
        shown.add(max(index for index, seconds in enumerate(times) if seconds <= tick + tolerance))
        tick += 1 / rate
    choice = choose_frames(np.array(times, float), float(rate), frame_seconds=last / 1000)
    # A time that falls on the very edge of a frame belongs to either frame, as floats round it.
    edges = {i for i, t in enumerate(times) if ((t - tolerance - times[0]) * rate).denominator == 1}
    edges |= {i - 1 for i in edges}
    assert shown ^ set(choice.positions.tolist()) <= edges


@given(STEPS, st.integers(1, 400), st.integers(4, 200))
def test_every_frame_has_the_nearest_chosen_one_and_the_earlier_of_two(steps, tenths, last):
    times = exact_times(steps, 0)
    positions, nearest = choose_frames(np.array(times, float), tenths / 10, frame_seconds=last / 1000)
    assert positions[0] == 0
    assert (np.diff(positions) > 0).all()
    assert nearest[positions].tolist() == list(range(len(positions)))
    for index, seconds in enumerate(times):
        expected = min(range(len(positions)), key=lambda i: (abs(times[positions[i]] - seconds), i))
        assert nearest[index] == expected


@given(st.lists(st.integers(1, 10_000_000), max_size=40), st.integers(1, 10_000_000))
def test_a_rate_above_that_of_the_video_chooses_every_frame(steps, last):
    microseconds = np.cumsum([0, *steps])
    rate = 1.001e6 / min([*steps, last])
    choice = choose_frames(microseconds / 1e6, rate, frame_seconds=last / 1e6)
    assert choice.positions.tolist() == choice.nearest.tolist() == list(range(len(microseconds)))


@pytest.mark.parametrize("rate", [10, 23.976, 24, 25, 29.97, 30, 50, 59.94, 60, 120, 240])
@pytest.mark.parametrize("digits", [3, 9])
def test_the_rate_of_the_video_itself_chooses_every_frame_also_of_rounded_times(rate, digits):
    times = np.round(7.0 + np.arange(5000) / rate, digits)
    assert len(choose_frames(times, rate, frame_seconds=1 / rate).positions) == 5000
    positions = choose_frames(times, rate / 5, frame_seconds=1 / rate).positions
    assert positions.tolist() == list(range(0, 5000, 5))


def test_one_frame_per_second_of_a_video_that_pauses():
    times = np.array([0.0, 0.4, 0.8, 1.2, 4.0, 4.5, 5.0])
    positions, nearest = choose_frames(times, 1, frame_seconds=0.5)
    assert positions.tolist() == [0, 2, 3, 4, 6]  # frame 3 is shown at 2 and at 3 seconds
    assert nearest.tolist() == [0, 0, 1, 2, 3, 3, 4]


@pytest.mark.parametrize("rate", [None, 1, 5, 12.5, 25, 100])
def test_live_frames_of_an_even_clock_are_those_of_the_finished_video(rate):
    times = 3 + np.arange(200) / 25
    live = LiveChoice(rate)
    found = [index for index, seconds in enumerate(times.tolist()) if live.is_chosen(seconds)]
    assert found == choose_frames(times, rate, frame_seconds=0.04).positions.tolist()


def test_of_live_frames_the_first_one_after_each_time_is_chosen_also_when_the_clock_goes_back():
    live = LiveChoice(1)
    times = [5.0, 5.4, 5.9, 6.1, 6.9, 7.0, 9.5, 9.9, 10.0, 0.0, 0.5, 1.2]
    assert [seconds for seconds in times if live.is_chosen(seconds)] == [5.0, 6.1, 7.0, 9.5, 10.0, 0.0, 1.2]


def test_no_rate_chooses_every_frame_and_lost_ones_too():
    is_lost = np.array([False, True, False])
    assert choose_frames(np.arange(3.0), None, frame_seconds=1, is_lost=is_lost).positions.tolist() == [0, 1, 2]


def test_frames_that_are_lost_are_not_chosen_but_the_one_that_is_shown_instead():
    times, is_lost = np.arange(10) / 10, np.zeros(10, bool)
    is_lost[[0, 5, 6, 9]] = True
    positions, nearest = choose_frames(times, 5, frame_seconds=0.1, is_lost=is_lost)
    assert positions.tolist() == [1, 3, 4, 7, 8]  # at 0.1, 0.3, 0.5, 0.7 and 0.9 s
    assert nearest.tolist() == [0, 0, 0, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(("rate", "num_chosen"), [(1e308, 100), (5e-324, 1)])
def test_rates_that_no_time_can_be_multiplied_by_choose_all_frames_or_the_first(rate, num_chosen):
    times = np.arange(100) / 25
    choice = choose_frames(times, rate, frame_seconds=1 / 25)
    assert len(choice.positions) == num_chosen
    live = LiveChoice(rate)
    assert sum(map(live.is_chosen, times.tolist())) == num_chosen
