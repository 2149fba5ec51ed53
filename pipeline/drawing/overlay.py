"""Labels drawn on a video: a bar with the class above each frame, a timeline of all classes with a cursor below it.

Shapes: T frames, H x W pixels, K classes.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pipeline.annotations.label_space import LabelSpace
from pipeline.drawing.colors import class_colors
from pipeline.drawing.overlay_frame import (
    FOREGROUND,
    MIN_SHOWN_WIDTH,
    UNLABELLED_COLOR,
    bar_height,
    draw_frame,
    load_font,
    shorten,
)
from pipeline.drawing.overlay_overlapping import draw_class_timeline, draw_classes, lines_needed, shown_classes
from pipeline.errors import InputError
from pipeline.video.types import VideoReader
from pipeline.video.writer import VideoWriter

DrawFrame = Callable[[np.ndarray, int], np.ndarray]  # of the pixels of a frame, and its number


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
    draw_bar = partial(_draw_label, label=label, color=color, probability=probability)
    return draw_frame(pixels, draw_bar=draw_bar, timeline=timeline, position=position)


def _draw_label(
    canvas: Image.Image, text_height: int, *, label: str, color: tuple[int, int, int], probability: float | None
) -> None:
    draw = ImageDraw.Draw(canvas)
    font = load_font(text_height)
    height, margin = bar_height(text_height), text_height // 2
    draw.rectangle((0, 0, height - 1, height - 1), fill=color)
    text = "" if probability is None else f"{probability:.0%}"
    probability_left = canvas.width - margin - font.getlength(text)
    draw.text((probability_left, height // 2), text, FOREGROUND, font, anchor="lm")
    available = probability_left - height - 2 * margin
    draw.text((height + margin, height // 2), shorten(label, font, available), FOREGROUND, font, anchor="lm")


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
        labels: int64 [T], or int8 [T, K] where classes overlap.
        probabilities: float [T], the probability of each label; or [T, K], of all classes, where they overlap.
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
    draw_frames = _draw_exclusive if label_space.is_exclusive else _draw_overlapping
    draw = draw_frames(labels, probabilities, label_space, (properties.height, properties.width))
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


def _draw_exclusive(
    labels: np.ndarray, probabilities: np.ndarray, label_space: LabelSpace, size: tuple[int, int]
) -> DrawFrame:
    """Return what draws a frame of a video of this height and width in pixels; the timeline is drawn once."""
    colors = class_colors(label_space)
    timeline = draw_timeline(labels, label_space, width=max(MIN_SHOWN_WIDTH, size[1]), height=1)

    def draw(pixels: np.ndarray, index: int) -> np.ndarray:
        name = label_space.name(labels[index])
        return draw_overlay(
            pixels,
            label=name or "",
            color=UNLABELLED_COLOR if name is None else tuple(colors[labels[index]].tolist()),
            probability=None if name is None else float(probabilities[index]),
            timeline=timeline,
            position=_position(index, len(labels)),
        )

    return draw


def _draw_overlapping(
    labels: np.ndarray, probabilities: np.ndarray, label_space: LabelSpace, size: tuple[int, int]
) -> DrawFrame:
    """As `_draw_exclusive`, where classes overlap."""
    colors = class_colors(label_space)
    timeline = draw_class_timeline(labels, colors, width=max(MIN_SHOWN_WIDTH, size[1]))
    num_lines = lines_needed(labels, label_space, height=size[0], width=size[1])

    def draw(pixels: np.ndarray, index: int) -> np.ndarray:
        shown = shown_classes(labels[index], probabilities[index], colors, label_space)
        position = _position(index, len(labels))
        return draw_classes(pixels, shown=shown, timeline=timeline, position=position, num_lines=num_lines)

    return draw


def _position(index: int, num_frames: int) -> float:
    return index / max(1, num_frames - 1)
