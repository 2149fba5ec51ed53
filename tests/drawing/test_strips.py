"""Strips show the right frames in order, and are small enough for a page."""

import doctest
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.drawing import strips as module
from pipeline.drawing.strips import GAP, MAX_HEIGHT, MAX_WIDTH, join_frames, read_strips, spread_frames, write_jpeg
from pipeline.video.types import VideoError
from pipeline.video.writer import VideoWriter


def test_docstring_examples():
    assert doctest.testmod(module).failed == 0


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 50), st.integers(1, 50), st.integers(1, 9))
def test_frames_are_spread_from_the_first_to_the_last(start, length, most):
    frames = spread_frames(start, start + length, most=most)
    assert frames == sorted(set(frames))
    assert len(frames) <= min(most, length)
    assert frames[0] == start
    assert most == 1 or frames[-1] == start + length - 1
    if most <= length:
        assert len(frames) == most


@pytest.mark.parametrize("size", [(64, 48), (50, 400), (900, 30)])
def test_a_strip_shows_the_requested_frames(size, tmp_path):
    width, height = size
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, width=width, height=height, frame_rate=Fraction(25)) as writer:
        for frame in range(40):
            writer.write(np.full((height, width, 3), 6 * frame, np.uint8), frame / 25)
    requested = [[0, 1, 7], [7, 20], [39], [3, 4]]  # the last one goes back, so the video is read from the start again
    for frames, strip in zip(requested, read_strips(path, requested), strict=True):
        each = (strip.shape[1] + GAP) // len(frames)
        assert each - GAP <= MAX_WIDTH
        assert strip.shape[0] <= MAX_HEIGHT
        assert (each - GAP) / strip.shape[0] == pytest.approx(width / height, rel=0.15)
        for position, frame in enumerate(frames):
            shown = strip[:, position * each : (position + 1) * each - GAP]
            assert np.abs(shown.astype(int) - 6 * frame).max() <= 4  # H.264 is lossy


def test_frames_are_joined_with_white_between_them():
    pixels = np.random.default_rng(0).integers(0, 255, (3, 5, 7, 3), dtype=np.uint8)
    strip = join_frames(pixels)
    assert strip.shape == (5, 3 * 7 + 2 * GAP, 3)
    for position, frame in enumerate(pixels):
        np.testing.assert_array_equal(strip[:, position * (7 + GAP) :][:, :7], frame)
        assert (strip[:, position * (7 + GAP) + 7 :][:, :GAP] == 255).all()


def test_a_jpeg_has_the_right_colours_and_is_never_half_written(tmp_path, monkeypatch):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30, 0], pixels[:, 30:, 2] = 250, 120
    write_jpeg(tmp_path / "a" / "strip.jpg", pixels)
    read = cv2.cvtColor(cv2.imread(str(tmp_path / "a" / "strip.jpg")), cv2.COLOR_BGR2RGB)
    for column in (10, 50):
        np.testing.assert_allclose(read[:, column].mean(axis=0), pixels[0, column], atol=6)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["strip.jpg"]


def test_a_video_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"nothing")
    with pytest.raises(VideoError, match=r"clip\.mp4"):
        list(read_strips(tmp_path / "clip.mp4", [[0]]))
