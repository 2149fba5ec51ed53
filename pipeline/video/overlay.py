"""Labels drawn on a video: a bar with the class above each frame, a timeline of all classes with a cursor below it.

Nothing covers the picture, and a small one is enlarged until the text is legible.

Shapes: T frames, H height, W width, K classes.
"""

import colorsys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.errors import InputError
from pipeline.video.reader import VideoReader, open_video
from pipeline.video.writer import VideoWriter

MIN_SHOWN_WIDTH = 320
MIN_TEXT_HEIGHT = 16
BACKGROUND = (24, 24, 24)
FOREGROUND = (255, 255, 255)
UNLABELLED_COLOR = (96, 96, 96)
GOLDEN_RATIO = 0.618034  # Steps of it around the colour wheel lie far apart, however many there are.
# (saturation, value): one turn of the wheel after the other, so that neighbours in hue differ in strength too.
SHADES = ((0.75, 0.95), (0.45, 1.0), (0.9, 0.65))


def class_colors(num_classes: int) -> np.ndarray:
    """One colour for each class, well apart, the same for a class whatever the number of classes: uint8 [K, 3] RGB."""
    colors = []
    for index in range(num_classes):
        saturation, value = SHADES[index % len(SHADES)]
        colors.append(colorsys.hsv_to_rgb((0.58 + index * GOLDEN_RATIO) % 1, saturation, value))
    return np.rint(np.array(colors).reshape(-1, 3) * 255).astype(np.uint8)


def draw_timeline(labels: np.ndarray, *, num_classes: int, width: int, height: int) -> np.ndarray:
    """Class indices int64 [T] -> uint8 [height, width, 3]: time from left to right, grey where a label is negative.

    Each column has the colour of the frame at its middle.
    """
    palette = np.concatenate([class_colors(num_classes), np.array([UNLABELLED_COLOR], dtype=np.uint8)])
    middles = (np.arange(width) * 2 + 1) * len(labels) // (2 * width)
    row = palette[np.where(labels < 0, num_classes, labels)[middles]]
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
    """One frame with its label above and the timeline below it.

    Args:
        pixels: uint8 [H, W, 3] RGB.
        label: the name of the frame's class.
        color: of that class.
        probability: of that class, or None.
        timeline: uint8 [h, w, 3], see `draw_timeline`; resized to the width of the picture.
        position: where the cursor stands, from 0 (first frame) to 1 (last frame).

    Returns:
        uint8 [H', W', 3], of one size for one size of `pixels`.
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
    """DejaVu Sans, which matplotlib brings along: class names are not all English, and Pillow's own font is."""
    matplotlib = find_spec("matplotlib")
    assert matplotlib is not None
    assert matplotlib.origin is not None
    return ImageFont.truetype(Path(matplotlib.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf", text_height)


def _draw_cursor(canvas: Image.Image, position: float, *, top: int, thickness: int) -> None:
    """A white bar edged in black, so that it shows on every colour."""
    draw = ImageDraw.Draw(canvas)
    left = round(position * (canvas.width - thickness))
    draw.rectangle((left - 1, top, left + thickness, canvas.height), fill=(0, 0, 0))
    draw.rectangle((left, top, left + thickness - 1, canvas.height), fill=FOREGROUND)


def write_overlay(
    video: Path | str | VideoReader,
    out_path: Path,
    *,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: tuple[str, ...],
) -> None:
    """Write the video with its labels drawn on it, one batch of frames in memory at a time.

    Args:
        video: a path, or an open reader (left open).
        out_path: an mp4 file; replaced only when all of it is written.
        labels: int64 [T], class index of each frame, negative where there is none.
        probabilities: float [T], of that class.
        classes: their names.

    Raises:
        InputError: as many labels or probabilities as the video has frames are needed; a label beyond the classes.
        VideoError: the video cannot be read.
    """
    if isinstance(video, Path | str):
        with open_video(video) as reader:
            write_overlay(reader, out_path, labels=labels, probabilities=probabilities, classes=classes)
        return
    properties = video.properties
    num_frames = properties.num_frames
    if not len(labels) == len(probabilities) == num_frames:
        raise InputError(
            f"{properties.path}: got {len(labels)} labels and {len(probabilities)} probabilities "
            f"for {num_frames} frames"
        )
    if max(labels) >= len(classes):
        raise InputError(f"{properties.path}: got class index {max(labels)}, there are {len(classes)} classes")
    _write_frames(video, out_path, labels=labels, probabilities=probabilities, classes=classes)


def _write_frames(
    video: VideoReader, out_path: Path, *, labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]
) -> None:
    colors = [tuple(color) for color in class_colors(len(classes)).tolist()]
    num_frames = video.properties.num_frames
    width = max(MIN_SHOWN_WIDTH, video.properties.width)
    timeline = draw_timeline(labels, num_classes=len(classes), width=width, height=1)

    def draw(pixels: np.ndarray, index: int) -> np.ndarray:
        is_labelled = labels[index] >= 0
        return draw_overlay(
            pixels,
            label=classes[labels[index]] if is_labelled else "",
            color=colors[labels[index]] if is_labelled else UNLABELLED_COLOR,
            probability=float(probabilities[index]) if is_labelled else None,
            timeline=timeline,
            position=index / max(1, num_frames - 1),
        )

    height, width = draw(np.zeros((video.properties.height, video.properties.width, 3), np.uint8), 0).shape[:2]
    with VideoWriter(out_path, width=width, height=height, frame_rate=video.properties.frame_rate) as writer:
        for batch in video.read(batch_size=8):
            for pixels, index, pts_seconds in zip(*batch, strict=True):
                writer.write(draw(pixels, int(index)), float(pts_seconds))
