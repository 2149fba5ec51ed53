"""Labels drawn on a video where classes overlap: all classes that are on above the frame, a row for each class below.

Shapes: T frames, H x W pixels, K classes.
"""

from collections.abc import Sequence
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
)

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
    pixels: np.ndarray, *, shown: Sequence[ShownClass] | None, timeline: np.ndarray, position: float
) -> np.ndarray:
    """Draw one frame with its classes above it and the timeline below it.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        shown: The classes that the frame has; None for an unlabelled frame, which has a grey mark.
        timeline: See `draw_class_timeline`.
        position: The position of the cursor, from 0 (first frame) to 1 (last frame).

    Returns:
        uint8 [H', W', 3]; the size depends only on the size of `pixels` and the number of classes.
    """

    def draw_bar(canvas: Image.Image, text_height: int) -> None:
        if shown is None:
            side = bar_height(text_height) - 1
            ImageDraw.Draw(canvas).rectangle((0, 0, side, side), fill=UNLABELLED_COLOR)
        else:
            _draw_bar(canvas, shown, text_height)

    def strip_height(bar: int) -> int:
        """Return two bars for several classes, and more for many, of which each has a row of at least 4 pixels."""
        num_classes = len(timeline) // ROW_PARTS
        row_height = ROW_PARTS * max(1, round(min(bar / 2, 2 * bar / num_classes) / ROW_PARTS))
        return row_height * num_classes

    return draw_frame(pixels, draw_bar=draw_bar, timeline=timeline, strip_height=strip_height, position=position)


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


def _draw_bar(canvas: Image.Image, shown: Sequence[ShownClass], text_height: int) -> None:
    """Draw as many classes as fit, in order, then the number of those that do not."""
    draw, font = ImageDraw.Draw(canvas), load_font(text_height)
    bottom, margin = bar_height(text_height) - 1, text_height // 2
    left = 0
    for position, (name, color, probability) in enumerate(shown):
        num_left = len(shown) - position - 1
        rest = f"+{num_left}" if num_left else ""
        percent = f" {probability:.0%}"
        text_left = left + text_height + margin // 2
        room = canvas.width - margin - text_left - (font.getlength(rest) + margin if rest else 0)
        if position and font.getlength(name + percent) > room:
            draw.text((left, (bottom + 1) // 2), f"+{num_left + 1}", FOREGROUND, font, anchor="lm")
            return
        text = shorten(name, font, room - font.getlength(percent)) + percent
        draw.rectangle((left, 0, left + text_height - 1, bottom), fill=color)
        draw.text((text_left, (bottom + 1) // 2), text, FOREGROUND, font, anchor="lm")
        left = round(text_left + font.getlength(text)) + margin
