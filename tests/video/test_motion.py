"""What moves, and where: boxes against drawn truth, and views of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.video import motion
from pipeline.video.motion import LEAST_SHARE, find_boxes, small_size, view_of

HEIGHT, WIDTH = 120, 160


def draw(places: list[tuple[int, int] | None], *, side: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A square on a noisy, textured ground at each place (left, top): frames, and its boxes in fractions."""
    generator = np.random.default_rng(seed)
    ground = generator.integers(60, 190, (HEIGHT // 8, WIDTH // 8, 3)).repeat(8, 0).repeat(8, 1)
    frames, boxes = [], []
    for place in places:
        frame = ground + generator.normal(0, 3, ground.shape)
        if place is not None:
            left, top = place
            frame[top : top + side, left : left + side] = 255 - frame[top : top + side, left : left + side]
            frame[top + 4 : top + side - 4, left + 4 : left + side - 4] = (255, 0, 255)
            boxes.append((left / WIDTH, top / HEIGHT, (left + side) / WIDTH, (top + side) / HEIGHT))
        else:
            boxes.append((np.nan,) * 4)
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return np.stack(frames), np.array(boxes)


def across(num_frames: int) -> list[tuple[int, int] | None]:
    return [(4 + round(120 * i / num_frames), 20 + round(60 * i / num_frames)) for i in range(num_frames)]


def test_the_box_is_where_something_moves():
    frames, truth = draw(across(90))
    found = find_boxes([frames[:40], frames[40:]], len(frames))
    assert np.abs(found - truth).max() < 8 / HEIGHT  # parts are grown by GAP, and boxes are smoothed


def test_the_frames_may_come_in_any_batches():
    frames, _ = draw(across(50))
    whole = find_boxes([frames], len(frames))
    assert np.array_equal(find_boxes(np.split(frames, range(1, 50)), len(frames)), whole)


def test_where_nothing_moves_it_is_the_whole_frame():
    frames, _ = draw([None] * 30)
    assert find_boxes([frames], 30).tolist() == [[0, 0, 1, 1]] * 30


def test_between_two_appearances_the_box_goes_from_one_to_the_other():
    frames, truth = draw([(10, 40)] * 20 + [None] * 60 + [(110, 40)] * 20)
    found = find_boxes([frames], 100)
    assert np.abs(found[:15] - truth[0]).max() < 8 / HEIGHT
    assert np.abs(found[-15:] - truth[-1]).max() < 8 / HEIGHT
    lefts = found[20:80, 0]
    assert (np.diff(lefts) >= 0).all()
    assert truth[0, 0] < lefts[30] < truth[-1, 0]


def test_a_long_video_has_a_background_for_each_block(monkeypatch):
    """The light changes in the middle, which is no movement."""
    monkeypatch.setattr(motion, "BLOCK_FRAMES", 60)
    frames, truth = draw(across(120))
    frames[60:] = np.maximum(frames[60:], 60) - 60
    found = find_boxes(np.split(frames, 12), 120)
    assert np.abs(found - truth).max() < 8 / HEIGHT


@given(
    st.tuples(*[st.floats(0, 1)] * 4).map(
        lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
    ),
    st.integers(1, 2000),
    st.integers(1, 2000),
)
def test_a_view_lies_within_the_frame_in_its_shape_around_the_box(box, width, height):
    left, top, right, bottom = view_of(np.array(box), width=width, height=height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert (right - left) / width == pytest.approx((bottom - top) / height, abs=1 / width + 1 / height)
    assert (right - left) / width >= LEAST_SHARE - 1 / width
    assert left <= box[0] * width + 1
    assert right >= box[2] * width - 1
    assert top <= box[1] * height + 1
    assert bottom >= box[3] * height - 1


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_small_frames_keep_their_shape(width, height):
    small_height, small_width = small_size(width, height)
    assert max(small_height, small_width) == motion.SIDE
    assert min(small_height, small_width) >= 1
