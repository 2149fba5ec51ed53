"""A frame of an overlay: the picture between a bar with text and a strip with the timeline, and what draws on them.

Nothing covers the picture, and a small picture is enlarged until the text is legible.

Shapes: H x W pixels.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MIN_SHOWN_WIDTH = 320
MIN_TEXT_HEIGHT = 16
BACKGROUND = (24, 24, 24)
FOREGROUND = (255, 255, 255)
UNLABELLED_COLOR = (96, 96, 96)


def draw_frame(
    pixels: np.ndarray,
    *,
    draw_bar: Callable[[Image.Image, int], None],
    timeline: np.ndarray,
    strip_height: Callable[[int], int] = int,
    position: float,
    num_lines: int = 1,
) -> np.ndarray:
    """Draw one frame between its bar and its timeline.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        draw_bar: It draws into the top of the canvas, with the height of the text: see `bar_height`.
        timeline: uint8 [h, w, 3]; it is resized to the width of the picture.
        strip_height: The height of the timeline in pixels, by that of a line of the bar.
        position: The position of the cursor, from 0 (first frame) to 1 (last frame).
        num_lines: The number of lines of the bar.

    Returns:
        uint8 [H', W', 3]; the size depends only on the size of `pixels`, on `strip_height` and on `num_lines`.
    """
    scale, width, text_height = shown_size(*pixels.shape[:2])
    shown = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    line = bar_height(text_height)
    bottom = line * num_lines + len(shown)
    strip = Image.fromarray(timeline).resize((width, strip_height(line)), Image.Resampling.NEAREST)
    canvas = Image.new("RGB", (width, bottom + strip.height), BACKGROUND)
    canvas.paste(Image.fromarray(shown), (0, line * num_lines))
    draw_bar(canvas, text_height)
    canvas.paste(strip, (0, bottom))
    _draw_cursor(canvas, position, top=bottom, thickness=max(3, text_height // 5))
    return np.asarray(canvas)


class ShownSize(NamedTuple):
    """How a picture is shown: by how much it is enlarged, its width then, and the height of the text, in pixels."""

    scale: int
    width: int
    text_height: int


def shown_size(height: int, width: int) -> ShownSize:
    """Return how a picture of this height and width in pixels is shown."""
    scale = -(-MIN_SHOWN_WIDTH // width)
    return ShownSize(scale, scale * width, max(MIN_TEXT_HEIGHT, scale * min(height, width) // 22))


def bar_height(text_height: int) -> int:
    """Return the height of a line of the bar above the picture."""
    return text_height * 3 // 2


def shorten(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Return as much of a text as fits into a width, followed by "..." where it is not all of it."""
    shortened = text
    while shortened and font.getlength(shortened) > width:
        text = text[:-1]
        shortened = text and f"{text}..."
    return shortened


@cache
def load_font(text_height: int) -> ImageFont.FreeTypeFont:
    """Load DejaVu Sans, which matplotlib contains: class names are not all English, and Pillow's own font is."""
    matplotlib = find_spec("matplotlib")
    assert matplotlib is not None
    assert matplotlib.origin is not None
    return ImageFont.truetype(Path(matplotlib.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf", text_height)


def _draw_cursor(canvas: Image.Image, position: float, *, top: int, thickness: int) -> None:
    """Draw a white bar with a black edge, which is visible on every colour."""
    draw = ImageDraw.Draw(canvas)
    left = round(position * (canvas.width - thickness))
    draw.rectangle((left - 1, top, left + thickness, canvas.height), fill=(0, 0, 0))
    draw.rectangle((left, top, left + thickness - 1, canvas.height), fill=FOREGROUND)
