"""Drawing of scenes: figures on a background, filmed by a camera with noise and flicker.

Shapes: H x W pixels; images are uint8 [H, W, 3] RGB.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.scenes.script import COLORS, Figure, Session, Track

_SUBPIXEL_BITS = 4  # OpenCV draws at sixteenths of a pixel, so that slow movement stays smooth
_INK = (24, 24, 30)


def film(
    pictures: Iterable[tuple[float, NDArray[np.uint8]]], session: Session, *, noise: float, rng: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    """Film pictures as the camera of a session does: the light flickers, and there is noise.

    Args:
        pictures: The time in seconds and the pixels uint8 [H, W, 3] of each picture; all have the same size.
        session: The session, whose camera has more or less noise.
        noise: The standard deviation of the average camera's noise, in grey levels of 255.
        rng: The source of the noise.

    Yields:
        uint8 [H, W, 3] of each picture.
    """
    field = None
    for seconds, pixels in pictures:
        height, width = pixels.shape[:2]
        if field is None:
            # A crop at a random place of one large field of noise looks like new noise, and is far cheaper to draw.
            field = rng.normal(0, noise * session.noise_factor, (2 * height, 2 * width, 3)).astype(np.float32)
            flicker_phase = rng.uniform(0, 2 * math.pi)
        brightness = 1 + 0.02 * math.sin(flicker_phase + 3 * seconds) + rng.normal(0, 0.006)
        top, left = rng.integers(height), rng.integers(width)
        grain = field[top : top + height, left : left + width]
        yield np.clip(pixels * np.float32(brightness) + grain, 0, 255).round().astype(np.uint8)


def draw_actor(pixels: NDArray[np.uint8], figure: Figure, track: Track, frame: int) -> None:
    """Draw an acting figure onto `pixels`, as its track says for one frame; nothing where it is hidden."""
    x, y, radius, angle, visible = (values[frame] for values in track)
    if visible:
        draw_figure(pixels, figure, (x, y), radius, angle)
        _draw_marker(pixels, (x, y), radius, angle)


def draw_background(session: Session, *, width: int, height: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw the session's background colour, a quarter darker at one side of the picture than at the other."""
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    direction = rng.uniform(0, 2 * math.pi)
    slope = (math.cos(direction) * columns + math.sin(direction) * rows) / math.sqrt(2)
    return ((1 + 0.15 * slope[..., None]) * session.background).astype(np.uint8)


def draw_figure(
    pixels: NDArray[np.uint8], figure: Figure, center: tuple[float, float], radius: float, angle: float = 0.0
) -> None:
    """Draw a figure onto `pixels`, inside the circle of `radius`, with an outline in a darker shade."""
    corners = radius * _unit_corners(figure.shape)
    color = COLORS[figure.color]
    _fill(pixels, corners, center, angle, tuple(0.6 * channel for channel in color))
    _fill(pixels, 0.86 * corners, center, angle, color)


def _draw_marker(pixels: NDArray[np.uint8], center: tuple[float, float], radius: float, angle: float) -> None:
    """Draw a clock's hand, upright at angle 0 as the shapes are: without it, a turning circle would not be visible."""
    corners = radius * np.array([(-0.1, -0.68), (0.1, -0.68), (0.1, 0.1), (-0.1, 0.1)])
    _fill(pixels, corners, center, angle, _INK)


def _unit_corners(shape: str) -> NDArray[np.float64]:
    """Return the corners [N, 2] of a shape in the unit circle, standing upright."""
    num_corners, first, inner = {
        "circle": (48, 0.0, 1.0),
        "square": (4, math.pi / 4, 1.0),
        "triangle": (3, -math.pi / 2, 1.0),
        "star": (10, -math.pi / 2, 0.45),
    }[shape]
    angles = first + 2 * math.pi * np.arange(num_corners) / num_corners
    radii = np.where(np.arange(num_corners) % 2, inner, 1.0)
    return radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _fill(
    pixels: NDArray[np.uint8],
    corners: NDArray[np.float64],
    center: tuple[float, float],
    angle: float,
    color: Sequence[float],
) -> None:
    cos, sin = math.cos(angle), math.sin(angle)
    turned = corners @ np.array([(cos, sin), (-sin, cos)]) + center
    fixed_point = np.rint(turned * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(pixels, [fixed_point], tuple(color), lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
