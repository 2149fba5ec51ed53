"""The overlay shows the right text in the right place, and does not cover the picture."""

from pathlib import Path

import numpy as np
import pytest
from made_videos import MakeVideo, decode_fully

from pipeline.annotations.label_space import LabelSpace
from pipeline.drawing.colors import class_colors
from pipeline.drawing.overlay import UNLABELLED_COLOR, draw_overlay, draw_timeline, write_overlay
from pipeline.errors import InputError
from pipeline.video.open import open_video

SPACE = LabelSpace(("rest", "walk", "jump"))
COLORS = class_colors(SPACE)


def overlay(pixels: np.ndarray, *, label: str = "walk", position: float = 0.0) -> np.ndarray:
    timeline = draw_timeline(np.array([0, 0, 1, 1]), SPACE, width=400, height=1)
    return draw_overlay(pixels, label=label, color=(0, 255, 0), probability=0.5, timeline=timeline, position=position)


def test_the_timeline_shows_each_frame_in_its_place_and_unlabelled_frames_in_grey() -> None:
    timeline = draw_timeline(np.array([2, -100, 0, 0]), SPACE, width=8, height=5)
    assert timeline.shape == (5, 8, 3)
    expected = [COLORS[2]] * 2 + [UNLABELLED_COLOR] * 2 + [COLORS[0]] * 4
    np.testing.assert_array_equal(timeline, np.broadcast_to(np.array(expected), (5, 8, 3)))


@pytest.mark.parametrize(("height", "width", "scale"), [(96, 128, 3), (240, 320, 1), (1080, 1920, 1), (60, 106, 4)])
def test_the_overlay_does_not_cover_the_picture(height: int, width: int, scale: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    drawn = overlay(pixels)
    bar = (drawn.shape[0] - height * scale) // 2
    assert bar >= 24  # room for text of 16 pixels
    np.testing.assert_array_equal(drawn[bar : bar + height * scale : scale, ::scale], pixels)


def test_the_bar_shows_the_color_and_the_label() -> None:
    pixels = np.zeros((240, 320, 3), np.uint8)
    drawn = overlay(pixels)
    bar = (drawn.shape[0] - 240) // 2
    assert (drawn[:bar, :bar] == (0, 255, 0)).all()
    label_area = drawn[:bar, bar : 320 // 2]
    assert (label_area == 255).all(axis=-1).any()
    assert not np.array_equal(label_area, overlay(pixels, label="rest")[:bar, bar : 320 // 2])


def test_a_long_label_does_not_run_into_the_probability() -> None:
    pixels = np.zeros((240, 320, 3), np.uint8)
    short, long = overlay(pixels, label="w"), overlay(pixels, label="walking " * 30)
    assert short.shape == long.shape
    np.testing.assert_array_equal(short[:24, -45:], long[:24, -45:])


def test_letters_outside_the_english_alphabet_are_drawn() -> None:
    pixels = np.zeros((240, 320, 3), np.uint8)
    drawings = [overlay(pixels, label=label)[:24, 24:160] for label in ("é", "ж", "ü")]
    assert not np.array_equal(drawings[0], drawings[1])
    assert not np.array_equal(drawings[0], drawings[2])


def test_the_cursor_moves_from_left_to_right_over_the_timeline() -> None:
    pixels = np.zeros((240, 320, 3), np.uint8)
    columns = []
    for position in (0.0, 0.5, 1.0):
        strip = overlay(pixels, position=position)[-10]
        columns.append(np.flatnonzero((strip == 255).all(axis=-1)).mean())
    assert columns == pytest.approx([1, 160, 318], abs=2)


def test_an_annotated_video_has_the_frames_and_times_of_the_original(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video("clip.mp4", size=(65, 49), pix_fmt="yuv444p", ticks=[0, 40, 50, 300, 1000, 1040])
    labels = np.array([0, 0, 1, -100, 1, 0])
    out_path = tmp_path / "out" / "clip.overlay.mp4"
    drawn_so_far: list[int] = []
    with open_video(path) as video:
        write_overlay(
            video,
            out_path,
            labels=labels,
            probabilities=np.full(6, 0.9),
            label_space=SPACE,
            on_frames=drawn_so_far.append,
        )
    assert drawn_so_far[-1] == 6
    _, pts_seconds = decode_fully(path)
    drawn, drawn_seconds = decode_fully(out_path)
    np.testing.assert_allclose(drawn_seconds, pts_seconds, atol=1 / 90_000)
    for frame, label in zip(drawn, labels, strict=True):
        expected = COLORS[label] if label >= 0 else UNLABELLED_COLOR
        assert np.abs(frame[10, 10].astype(int) - expected).max() < 30


def test_labels_that_do_not_fit_are_refused_and_leave_no_file(make_video: MakeVideo, tmp_path: Path) -> None:
    out_path = tmp_path / "out.mp4"
    with open_video(make_video(num_frames=5)) as video:

        def write(labels: np.ndarray) -> None:
            chosen = np.ones(5)
            write_overlay(video, out_path, labels=labels, probabilities=chosen, label_space=SPACE)

        with pytest.raises(InputError, match="got 4 labels and 5 probabilities for 5 frames"):
            write(np.zeros(4, int))
        with pytest.raises(InputError, match="got labels from 3 to 3, expected indices of 3 classes"):
            write(np.full(5, 3))
    assert not out_path.exists()
