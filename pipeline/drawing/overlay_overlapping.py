"""Labels drawn on a video where classes overlap: all classes that are on above the frame, a row for each class below.

Shapes: T frames, H x W pixels, K classes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from pipeline.annotations.label_space import ABSENT, PRESENT, LabelSpace
from pipeline.drawing.overlay_frame import (
    BACKGROUND,
    FOREGROUND,
    UNLABELLED_COLOR,
    bar_height,
    draw_frame,
    load_font,
    shorten,
    shown_size,
)

MAX_LINES = 3  # for names above a picture
ROW_PARTS = 4  # of the row of a class in the timeline; the last one is the gap to the next row


class ShownClass(NamedTuple):
    """A class that a frame has: its name, its colour in RGB, and its probability."""

    name: str
    color: tuple[int, int, int]
    probability: float


def draw_class_timeline(labels: np.ndarray, colors: np.ndarray, *, width: int) -> np.ndarray:
    """Draw labels over time, from left to right, with a row for each class; unlabelled frames are grey.

    Each column shows the frame at its middle.

    Args:
        labels: int8 [T, K].
        colors: uint8 [K, 3], RGB.
        width: Of the picture, in pixels.

    Returns:
        uint8 [4 K, width, 3], RGB: a row of three pixels for each class, with a gap of one below it.
    """
    middles = (np.arange(width) * 2 + 1) * len(labels) // (2 * width)
    shown = labels[middles].T[..., np.newaxis]
    rows = np.where(shown == PRESENT, colors[:, np.newaxis], np.array(UNLABELLED_COLOR, np.uint8))
    rows = np.where(shown == ABSENT, np.array(BACKGROUND, np.uint8), rows)
    drawn = np.repeat(rows, ROW_PARTS, axis=0)
    drawn[ROW_PARTS - 1 :: ROW_PARTS] = BACKGROUND
    return drawn


def draw_classes(
    pixels: np.ndarray,
    *,
    shown: Sequence[ShownClass] | None,
    timeline: np.ndarray,
    position: float,
    num_lines: int = 1,
) -> np.ndarray:
    """Draw one frame with its classes above it and the timeline below it.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        shown: The classes that the frame has; None for an unlabelled frame, which has a grey mark.
        timeline: See `draw_class_timeline`.
        position: The position of the cursor, from 0 (first frame) to 1 (last frame).
        num_lines: The number of lines for the names, see `lines_needed`.

    Returns:
        uint8 [H', W', 3]; the size depends only on the size of `pixels`, the number of classes and that of lines.
    """

    def draw_bar(canvas: Image.Image, text_height: int) -> None:
        if shown is None:
            side = bar_height(text_height) - 1
            ImageDraw.Draw(canvas).rectangle((0, 0, side, side), fill=UNLABELLED_COLOR)
        else:
            _draw_bar(canvas, shown, text_height, num_lines)

    def strip_height(bar: int) -> int:
        """Return two bars for several classes, and more for many, of which each has a row of at least 4 pixels."""
        num_classes = len(timeline) // ROW_PARTS
        row_height = ROW_PARTS * max(1, round(min(bar / 2, 2 * bar / num_classes) / ROW_PARTS))
        return row_height * num_classes

    return draw_frame(
        pixels,
        draw_bar=draw_bar,
        timeline=timeline,
        strip_height=strip_height,
        position=position,
        num_lines=num_lines,
    )


def shown_classes(
    labels: np.ndarray, probabilities: np.ndarray, colors: np.ndarray, label_space: LabelSpace
) -> list[ShownClass] | None:
    """Return the classes that a frame has, of its labels int8 [K] and probabilities [K]; None if it is unlabelled."""
    if not label_space.is_labelled(labels).any():
        return None
    return [
        ShownClass(label_space.classes[index], tuple(colors[index].tolist()), float(probabilities[index]))
        for index in np.flatnonzero(labels == PRESENT).tolist()
    ]


def lines_needed(labels: np.ndarray, label_space: LabelSpace, *, height: int, width: int) -> int:
    """Return the number of lines, up to MAX_LINES, on which the names of the classes of every frame fit.

    Args:
        labels: int8 [T, K].
        label_space: The classes.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
    """
    size = shown_size(height, width)
    found = 1
    for row in np.unique(labels, axis=0):
        shown = [ShownClass(label_space.classes[index], (0, 0, 0), 1.0) for index in np.flatnonzero(row == PRESENT)]
        found = max(found, 1 + max((place.line for place in _places(shown, size.width, size.text_height)), default=0))
    return found


class _Place(NamedTuple):
    """Where a class is drawn: the line, from 0, and the left end in pixels; the number of the rest has no colour."""

    line: int
    left: int
    text: str
    color: tuple[int, int, int] | None


def _places(shown: Sequence[ShownClass], width: int, text_height: int, num_lines: int = MAX_LINES) -> Iterator[_Place]:
    """Place as many classes as fit on the lines, in order, then the number of those that do not."""
    font, margin = load_font(text_height), text_height // 2
    before_text = text_height + margin // 2  # the mark in the colour of the class
    line = left = 0
    for position, (name, color, probability) in enumerate(shown):
        num_left, percent = len(shown) - position - 1, f" {probability:.0%}"
        for_rest = font.getlength(f"+{num_left}") + margin if num_left else 0
        needed = before_text + font.getlength(name + percent) + margin
        if left and line < num_lines - 1 and needed > width - left:
            line, left = line + 1, 0
        room = width - left - (for_rest if line == num_lines - 1 else 0)
        if left and needed > room:
            yield _Place(line, left, f"+{num_left + 1}", None)
            return
        text = shorten(name, font, room - before_text - font.getlength(percent) - margin) + percent
        yield _Place(line, left, text, color)
        left += round(before_text + font.getlength(text)) + margin


def _draw_bar(canvas: Image.Image, shown: Sequence[ShownClass], text_height: int, num_lines: int) -> None:
    draw, font = ImageDraw.Draw(canvas), load_font(text_height)
    height = bar_height(text_height)
    for line, left, text, color in _places(shown, canvas.width, text_height, num_lines):
        top = line * height
        text_left = left
        if color is not None:
            draw.rectangle((left, top, left + text_height - 1, top + height - 1), fill=color)
            text_left += text_height + text_height // 4
        draw.text((text_left, top + height // 2), text, FOREGROUND, font, anchor="lm")
