"""Written videos play in browsers, and keep the times of their frames."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_videos import decode_fully, moving_scene

from pipeline.video.open import open_video
from pipeline.video.writer import VideoWriter


def write(path: Path, times: list[float], *, width: int = 64, height: int = 48) -> np.ndarray:
    pixels = moving_scene(len(times), width=width, height=height)
    with VideoWriter(path, width=width, height=height, frame_rate=Fraction(25)) as writer:
        for frame, pts_seconds in zip(pixels, times, strict=True):
            writer.write(frame, pts_seconds)
    return pixels


def test_the_video_is_h264_in_yuv420p_with_the_index_first(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(path, [index / 25 for index in range(10)])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert float(container.duration / av.time_base) == pytest.approx(10 / 25, abs=1e-3)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@settings(max_examples=12, deadline=None)
@given(
    start=st.sampled_from([0.0, 0.5]),
    steps=st.lists(st.floats(0.001, 3.0), min_size=1, max_size=12),
)
def test_times_are_kept_to_within_a_tick(
    start: float, steps: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("times") / "out.mp4"
    times = [start, *(start + np.cumsum(steps))]
    write(path, times)
    with open_video(path) as video:
        batch = next(iter(video.read()))
    np.testing.assert_allclose(batch.pts_seconds, times, rtol=0, atol=1 / 90_000)


@pytest.mark.parametrize("start", [-0.5, -100.0])
def test_frames_before_time_0_are_shown_from_0_on(start: float, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    times = start + np.array([0.0, 0.1, 0.4, 1.0])
    write(path, times.tolist())
    with open_video(path) as video:
        batch = next(iter(video.read()))
    np.testing.assert_allclose(batch.pts_seconds, [0.0, 0.1, 0.4, 1.0], rtol=0, atol=1 / 90_000)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 48), (64, 49), (65, 49), (17, 17), (1, 1)])
def test_odd_sizes_grow_by_a_repeated_edge(width: int, height: int, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(path, [0.0, 0.1], width=width, height=height)
    pixels, _ = decode_fully(path)
    assert pixels.shape[1:3] == (height + height % 2, width + width % 2)


def test_decoded_colors_are_those_that_were_written(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    colors = [(220, 30, 60), (20, 60, 200), (30, 200, 40), (250, 250, 250), (0, 0, 0)]
    with VideoWriter(path, width=64, height=48, frame_rate=Fraction(25)) as writer:
        for index, color in enumerate(colors):
            writer.write(np.full((48, 64, 3), color, np.uint8), index / 25)
    with open_video(path) as video:
        pixels = next(iter(video.read())).pixels
    assert np.abs(pixels[:, 24, 32].astype(int) - colors).max() <= 4


def test_an_error_leaves_only_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="comes after"):
        write(path, [0.0, 0.1, 0.05])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_frames_with_the_same_time_are_kept_one_tick_apart(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(path, [0.0, 0.1, 0.1, 0.1, 0.2])
    with open_video(path) as video:
        times = np.concatenate([batch.pts_seconds for batch in video.read()])
    np.testing.assert_allclose(times, [0.0, 0.1, 0.1 + 1 / 90_000, 0.1 + 2 / 90_000, 0.2], atol=1e-7)


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="no frame was written"),
        VideoWriter(tmp_path / "out.mp4", width=64, height=48, frame_rate=Fraction(25)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_wrong_pixels_and_wrong_times_are_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", width=64, height=48, frame_rate=Fraction(25)) as writer:
        frame = np.zeros((48, 64, 3), np.uint8)
        writer.write(frame, 1.0)
        with pytest.raises(ValueError, match="comes after"):
            writer.write(frame, 0.9)
        with pytest.raises(ValueError, match="expected uint8 pixels"):
            writer.write(frame[:-1], 2.0)
