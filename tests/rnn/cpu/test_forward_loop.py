"""The right values go from frame to frame as videos end and begin."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.rnn.cpu.forward_loop import Carry, frames_in_order

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=5).map(lambda lengths: sorted(lengths, reverse=True))


@given(LENGTHS, st.booleans())
def test_every_video_has_its_own_frames_and_keeps_its_last_state(lengths: list[int], reverse: bool) -> None:
    """Each frame adds its number to the value of the videos that are live."""
    num_frames = max(lengths)
    carry = Carry(torch.arange(len(lengths), dtype=torch.float64).mul(100)[:, None])
    frames = range(num_frames)
    for t in reversed(frames) if reverse else frames:
        num_live = sum(length > t for length in lengths)
        carry.value = carry.take(num_live) + t + 1
    expected = [100 * video + sum(t + 1 for t in range(length)) for video, length in enumerate(lengths)]
    assert carry.finish()[:, 0].tolist() == expected


@given(LENGTHS.filter(any), st.booleans())
def test_frames_are_views_of_the_live_rows_in_order(lengths: list[int], reverse: bool) -> None:
    num_frames = max(lengths)
    live = [sum(length > t for length in lengths) for t in range(num_frames)]
    buffer = torch.zeros(num_frames, len(lengths), 2)
    for order, frame in enumerate(frames_in_order(live, reverse=reverse)(buffer)):
        frame += 1 + order
    for t in range(num_frames):
        order = num_frames - 1 - t if reverse else t
        expected = [[1.0 + order] * 2 if length > t else [0.0] * 2 for length in lengths]
        assert buffer[t].tolist() == expected
