"""Where classes overlap, the overlay shows all that are on, a row for each class, and leaves the picture free."""

from pathlib import Path

import numpy as np
import pytest
from made_videos import MakeVideo, decode_fully

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.drawing.colors import class_colors
from pipeline.drawing.overlay import write_overlay
from pipeline.drawing.overlay_frame import BACKGROUND, UNLABELLED_COLOR
from pipeline.drawing.overlay_overlapping import (
    MAX_LINES,
    ShownClass,
    draw_class_timeline,
    draw_classes,
    lines_needed,
    shown_classes,
)
from pipeline.video.open import open_video

SPACE = LabelSpace.independent(("rest", "walk", "jump"))
COLORS = class_colors(SPACE)
LABELS = np.array([[1, 0, 0], [1, 1, 0], [IGNORE_INDEX] * 3, [0, 1, 1]], dtype=np.int8)


def shown(*names: str) -> list[ShownClass]:
    return [ShownClass(name, (0, 0, 200 + position), 0.5) for position, name in enumerate(names)]


def draw(
    classes: list[ShownClass] | None, *, num_classes: int = 3, size: tuple[int, int] = (240, 320), num_lines: int = 1
) -> np.ndarray:
    pixels = np.full((*size, 3), 130, np.uint8)
    labels = np.zeros((4, num_classes), np.int8)
    timeline = draw_class_timeline(labels, np.zeros((num_classes, 3), np.uint8), width=size[1])
    return draw_classes(pixels, shown=classes, timeline=timeline, position=0.0, num_lines=num_lines)


def has_color(area: np.ndarray, color: tuple[int, ...]) -> bool:
    return bool((area == color).all(axis=-1).any())


def test_each_class_has_a_row_with_its_color_where_it_is_on():
    timeline = draw_class_timeline(LABELS, COLORS, width=4)
    assert timeline.shape == (12, 4, 3)
    for index in range(3):
        for frame in range(4):
            color = {PRESENT: COLORS[index], ABSENT: BACKGROUND}.get(int(LABELS[frame, index]), UNLABELLED_COLOR)
            assert (timeline[4 * index : 4 * index + 3, frame] == color).all()
        assert (timeline[4 * index + 3] == BACKGROUND).all()


@pytest.mark.parametrize("num_classes", [1, 2, 6, 20, 70])
@pytest.mark.parametrize("size", [(240, 320), (1080, 1920)])
def test_the_size_depends_only_on_the_picture_and_the_number_of_classes(num_classes, size):
    height, width = size
    drawn = draw(None, num_classes=num_classes, size=size)
    for classes in ([], shown("a"), shown(*(["walking"] * 9))):
        other = draw(classes, num_classes=num_classes, size=size)
        assert other.shape == drawn.shape
        bar = max(16, height // 22) * 3 // 2
        assert (other[bar : bar + height] == 130).all(), "the picture is covered"
        assert drawn.shape[0] - bar - height >= 4 * num_classes
    assert drawn.shape[1] == width


def test_classes_that_fit_are_shown_and_the_others_are_counted():
    one, two, many = draw(shown("eats")), draw(shown("eats", "rears")), draw(shown(*"abcdefghijklmnop"))
    assert has_color(one[:24], (0, 0, 200))
    assert not has_color(one[:24], (0, 0, 201))
    assert has_color(two[:24], (0, 0, 201))
    assert has_color(many[:24], (0, 0, 201))
    assert not has_color(many[:24], (0, 0, 210))
    other = draw(shown(*"abcdefghijklmno"))
    np.testing.assert_array_equal(many[:24, :160], other[:24, :160])
    assert not np.array_equal(many[:24], other[:24]), "another number of classes does not fit"


NAMES = ("mouse_a_grooms", "mouse_b_rears_up", "mouse_a_sniffs", "mouse_b_eats_much")


@pytest.mark.parametrize(("together", "num_lines"), [(0, 1), (1, 1), (2, 2), (3, 3), (4, MAX_LINES)])
def test_names_wrap_where_a_frame_has_more_classes_than_fit_on_a_line(together, num_lines):
    space = LabelSpace.independent(NAMES)
    labels = np.tril(np.ones((together + 1, 4), np.int8), -1)
    assert lines_needed(labels, space, height=192, width=320) == num_lines
    drawn = draw(shown(*NAMES[:together]), size=(192, 320), num_lines=num_lines)
    for position in range(together):
        lines = [
            line for line in range(num_lines) if has_color(drawn[24 * line : 24 * line + 24], (0, 0, 200 + position))
        ]
        assert lines == ([position] if position < num_lines else [])
    assert (drawn[24 * num_lines :][:192] == 130).all(), "the picture is covered"


def test_the_number_of_lines_does_not_depend_on_a_percentage():
    space = LabelSpace.independent(("walking", "sniffing"))
    width = next(w for w in range(320, 600) if lines_needed(np.ones((1, 2), np.int8), space, height=200, width=w) == 1)
    for probability in (0.004, 0.5, 1.0):
        classes = [ShownClass(name, (0, 0, 200 + i), probability) for i, name in enumerate(space.classes)]
        assert has_color(draw(classes, size=(200, width))[:24], (0, 0, 201))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_long_names_are_shortened_and_leave_room_for_the_number_of_the_others(count):
    drawn = draw(shown(*["walking around " * 9] * count))
    text = (drawn[:24] == 255).all(axis=-1).any(axis=0)
    assert not text[-4:].any()
    assert text[-60:].any()


def test_a_frame_without_a_class_and_one_that_was_not_decoded_look_different():
    empty, lost = draw([]), draw(None)
    assert (empty[:24] == BACKGROUND).all()
    assert (lost[:24, :24] == UNLABELLED_COLOR).all()
    assert shown_classes(LABELS[2], np.full(3, np.nan), COLORS, SPACE) is None
    assert shown_classes(LABELS[3] * 0, np.zeros(3), COLORS, SPACE) == []


def test_an_annotated_video_shows_the_classes_of_each_frame(make_video: MakeVideo, tmp_path: Path):
    path = make_video("clip.mp4", size=(65, 49), pix_fmt="yuv444p", ticks=[0, 40, 50, 300])
    out_path = tmp_path / "clip.overlay.mp4"
    with open_video(path) as video:
        write_overlay(video, out_path, labels=LABELS, probabilities=np.full((4, 3), 0.9), label_space=SPACE)
    drawn, drawn_seconds = decode_fully(out_path)
    np.testing.assert_allclose(drawn_seconds, decode_fully(path)[1], atol=1 / 90_000)
    for frame, labels in zip(drawn, LABELS, strict=True):
        expected = UNLABELLED_COLOR if IGNORE_INDEX in labels else COLORS[np.argmax(labels)]
        assert np.abs(frame[10, 8].astype(int) - expected).max() < 30
