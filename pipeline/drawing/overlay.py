"""Labels drawn on a video: a bar with the class above each frame, a timeline of all classes with a cursor below it.

Nothing covers the picture, and a small picture is enlarged until the text is legible.

Shapes: T frames, H x W pixels, K classes.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.annotations.label_space import LabelSpace
from pipeline.drawing.colors import class_colors
from pipeline.errors import InputError
from pipeline.video.types import VideoReader
from pipeline.video.writer import VideoWriter

MIN_SHOWN_WIDTH = 320
MIN_TEXT_HEIGHT = 16
BACKGROUND = (24, 24, 24)
FOREGROUND = (255, 255, 255)
UNLABELLED_COLOR = (96, 96, 96)


def draw_timeline(labels: np.ndarray, label_space: LabelSpace, *, width: int, height: int) -> np.ndarray:
    """Draw labels over time, from left to right, grey where a frame has no label.

    Each column has the colour of the frame at its middle.

    Args:
        labels: int64 [T].
        label_space: The classes.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.

    Returns:
        uint8 [height, width, 3], RGB.
    """
    palette = np.concatenate([class_colors(label_space), np.array([UNLABELLED_COLOR], dtype=np.uint8)])
    middles = (np.arange(width) * 2 + 1) * len(labels) // (2 * width)
    row = palette[np.where(label_space.is_labelled(labels), labels, label_space.num_classes)[middles]]
    return np.repeat(row[np.newaxis], height, axis=0)


def draw_overlay(
    pixels: np.ndarray,
    *,
    label: str,
    color: tuple[int, int, int],
    probability: float | None,
    timeline: np.ndarray,
    position: float,
) -> np.ndarray:
    """Draw one frame with its label above it and the timeline below it.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        label: The name of the frame's class.
        color: The colour of that class, RGB.
        probability: The probability of that class; None draws none.
        timeline: uint8 [h, w, 3], see `draw_timeline`; it is resized to the width of the picture.
        position: The position of the cursor, from 0 (first frame) to 1 (last frame).

    Returns:
        uint8 [H', W', 3]; the size depends only on the size of `pixels`.
    """
    scale = -(-MIN_SHOWN_WIDTH // pixels.shape[1])
    shown = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    height, width = shown.shape[:2]
    text_height = max(MIN_TEXT_HEIGHT, min(height, width) // 22)
    bar_height = text_height * 3 // 2
    canvas = Image.new("RGB", (width, height + 2 * bar_height), BACKGROUND)
    canvas.paste(Image.fromarray(shown), (0, bar_height))
    _draw_label(canvas, label, color, probability, text_height)
    strip = Image.fromarray(timeline).resize((width, bar_height), Image.Resampling.NEAREST)
    canvas.paste(strip, (0, height + bar_height))
    _draw_cursor(canvas, position, top=height + bar_height, thickness=max(3, text_height // 5))
    return np.asarray(canvas)


def _draw_label(
    canvas: Image.Image, label: str, color: tuple[int, int, int], probability: float | None, text_height: int
) -> None:
    draw = ImageDraw.Draw(canvas)
    font = _font(text_height)
    bar_height, margin = text_height * 3 // 2, text_height // 2
    draw.rectangle((0, 0, bar_height - 1, bar_height - 1), fill=color)
    text = "" if probability is None else f"{probability:.0%}"
    probability_left = canvas.width - margin - font.getlength(text)
    draw.text((probability_left, bar_height // 2), text, FOREGROUND, font, anchor="lm")
    available = probability_left - bar_height - 2 * margin
    shortened = label
    while shortened and font.getlength(shortened) > available:
        label = label[:-1]
        shortened = label and f"{label}..."
    draw.text((bar_height + margin, bar_height // 2), shortened, FOREGROUND, font, anchor="lm")


@cache
def _font(text_height: int) -> ImageFont.FreeTypeFont:
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


def write_overlay(
    video: VideoReader,
    out_path: Path,
    *,
    labels: np.ndarray,
    probabilities: np.ndarray,
    label_space: LabelSpace,
    longest_step_seconds: float = 0.0,
    on_frames: Callable[[int], None] = lambda num_drawn: None,
) -> None:
    """Write the video with its labels drawn on it, with only one batch of frames in memory.

    Args:
        video: An open reader; it stays open.
        out_path: An mp4 file; it is replaced only when all of it is written.
        labels: int64 [T].
        probabilities: float [T], the probability of each label.
        label_space: The classes.
        longest_step_seconds: The longest time between two frames, see `VideoWriter`.
        on_frames: It is called after each batch with the number of frames drawn so far.

    Raises:
        InputError: The number of labels or probabilities differs from that of the frames, a label is not valid, or the
            longest step is too long.
        VideoError: The video cannot be read.
    """
    properties = video.properties
    if not len(labels) == len(probabilities) == properties.num_frames:
        raise InputError(
            f"{properties.path}: got {len(labels)} labels and {len(probabilities)} probabilities "
            f"for {properties.num_frames} frames"
        )
    try:
        label_space.check(labels)
    except ValueError as error:
        raise InputError(f"{properties.path}: {error}") from None
    colors = class_colors(label_space)
    timeline = draw_timeline(labels, label_space, width=max(MIN_SHOWN_WIDTH, properties.width), height=1)

    def draw(pixels: np.ndarray, index: int) -> np.ndarray:
        name = label_space.name(labels[index])
        return draw_overlay(
            pixels,
            label=name or "",
            color=UNLABELLED_COLOR if name is None else tuple(colors[labels[index]].tolist()),
            probability=None if name is None else float(probabilities[index]),
            timeline=timeline,
            position=index / max(1, properties.num_frames - 1),
        )

    height, width = draw(np.zeros((properties.height, properties.width, 3), np.uint8), 0).shape[:2]
    writer = VideoWriter(
        out_path,
        width=width,
        height=height,
        frame_rate=properties.frame_rate,
        longest_step_seconds=longest_step_seconds,
    )
    with writer:
        for batch in video.read(batch_size=8):
            for pixels, index, pts_seconds in zip(*batch, strict=True):
                writer.write(draw(pixels, int(index)), float(pts_seconds))
            on_frames(int(batch.index[-1]) + 1)
