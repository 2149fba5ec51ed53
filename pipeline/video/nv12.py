"""The scaling of frames that a GPU has decoded, and their conversion to RGB, in one kernel.

NVIDIA's decoders give frames as NV12: the luma of each pixel, and for each square of four pixels one pair of chroma (U
and V). The kernel does to them what `Scaler` has FFmpeg's swscale do: a bilinear filter that is as wide as the scaling
asks for, so that nothing is left out (antialiasing), then the conversion by the stream's own matrix and range (ITU-T
H.273, equations 38 to 58). Chroma lies between the rows and on the even columns of the luma, as in MPEG-2 and H.264.
tests/video/test_nv12.py bounds the difference to swscale.

Shapes: H x W pixels of a stored frame, h x w pixels of a scaled one.
"""

# mypy: disable-error-code="no-untyped-def"
# (Kernels have no types that Python knows.)

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 128  # pixels of a program
# How much red and blue count in the luma, by the matrix that a stream names (H.273, table 4). 2 means that it names
# none: swscale, and so do most players, then takes that of standard definition.
RED_AND_BLUE = {
    1: (0.2126, 0.0722),  # BT.709
    2: (0.299, 0.114),
    5: (0.299, 0.114),  # BT.601, of 625 lines
    6: (0.299, 0.114),  # BT.601, of 525 lines
    9: (0.2627, 0.0593),  # BT.2020
}


class Colors(NamedTuple):
    """How luma and chroma become red, green and blue.

    Attributes:
        luma_offset: What is subtracted from the luma.
        luma_factor: What it is multiplied with then.
        red_v: How much V - 128 adds to red.
        green_u: How much U - 128 adds to green.
        green_v: How much V - 128 adds to green.
        blue_u: How much U - 128 adds to blue.
    """

    luma_offset: float
    luma_factor: float
    red_v: float
    green_u: float
    green_v: float
    blue_u: float


def colors_of(matrix: int, *, full_range: bool) -> Colors:
    """Return the conversion of a stream.

    Args:
        matrix: A key of RED_AND_BLUE.
        full_range: Whether luma goes from 0 to 255, and not from 16 to 235.

    >>> [round(value, 3) for value in colors_of(1, full_range=True)]
    [0.0, 1.0, 1.575, -0.187, -0.468, 1.856]
    """
    red, blue = RED_AND_BLUE[matrix]
    green = 1 - red - blue
    luma, chroma = (1.0, 1.0) if full_range else (255 / 219, 255 / 224)
    return Colors(
        luma_offset=0.0 if full_range else 16.0,
        luma_factor=luma,
        red_v=2 * (1 - red) * chroma,
        green_u=-2 * (1 - blue) * blue / green * chroma,
        green_v=-2 * (1 - red) * red / green * chroma,
        blue_u=2 * (1 - blue) * chroma,
    )


def scale_nv12(
    luma: Tensor, chroma: Tensor, box: tuple[int, int, int, int], size: tuple[int, int], colors: Colors
) -> Tensor:
    """Scale a part of a frame and convert it to RGB.

    Args:
        luma: uint8 [H, W].
        chroma: uint8 [H / 2, W / 2, 2], rounded up: U and V.
        box: (left, top, right, bottom) of the part, in pixels; right and bottom are excluded.
        size: (h, w).
        colors: See `colors_of`.

    Returns:
        uint8 [h, w, 3], on the device of the frame. It is computed on the current stream.
    """
    height, width = size
    left, top, right, bottom = box
    step_x, step_y = (right - left) / width, (bottom - top) / height
    out = torch.empty(height, width, 3, dtype=torch.uint8, device=luma.device)
    num_pixels = height * width
    _scale_kernel[(triton.cdiv(num_pixels, BLOCK),)](
        *(luma, chroma, out, luma.stride(0), chroma.stride(0)),
        *(left, top, right - 1, bottom - 1),
        *(step_x, step_y, width, num_pixels),
        *colors,
        LUMA_X=_num_taps(step_x),
        LUMA_Y=_num_taps(step_y),
        CHROMA_X=_num_taps(step_x / 2),
        CHROMA_Y=_num_taps(step_y / 2),
        BLOCK=BLOCK,
    )
    return out


def _num_taps(step: float) -> int:
    """Return how many samples a filter may reach, where neighbouring pixels are `step` samples apart."""
    return math.floor(2 * max(step, 1.0)) + 1


@triton.jit
def _scale_kernel(
    luma,
    chroma,
    out,
    luma_row,
    chroma_row,
    first_x,
    first_y,
    last_x,
    last_y,
    step_x,
    step_y,
    width,
    num_pixels,
    luma_offset,
    luma_factor,
    red_v,
    green_u,
    green_v,
    blue_u,
    LUMA_X: tl.constexpr,
    LUMA_Y: tl.constexpr,
    CHROMA_X: tl.constexpr,
    CHROMA_Y: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute BLOCK pixels. Samples beyond the edge of the part count as those at the edge."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < num_pixels
    x = first_x + (pixel % width + 0.5) * step_x - 0.5
    y = first_y + (pixel // width + 0.5) * step_y - 0.5

    reach_x, reach_y = tl.maximum(step_x, 1.0), tl.maximum(step_y, 1.0)
    start_x, start_y = tl.ceil(x - reach_x), tl.ceil(y - reach_y)
    level, total = tl.full([BLOCK], 0.0, tl.float32), tl.full([BLOCK], 0.0, tl.float32)
    for row in range(LUMA_Y):
        weight_y = tl.maximum(1.0 - tl.abs(start_y + row - y) / reach_y, 0.0)
        line = tl.minimum(tl.maximum(start_y + row, first_y), last_y).to(tl.int32) * luma_row
        for column in range(LUMA_X):
            weight = weight_y * tl.maximum(1.0 - tl.abs(start_x + column - x) / reach_x, 0.0)
            at = line + tl.minimum(tl.maximum(start_x + column, first_x), last_x).to(tl.int32)
            level += weight * tl.load(luma + at, mask=inside, other=0).to(tl.float32)
            total += weight
    level = (level / total - luma_offset) * luma_factor

    x, y = x / 2, y / 2 - 0.25
    reach_x, reach_y = tl.maximum(step_x / 2, 1.0), tl.maximum(step_y / 2, 1.0)
    start_x, start_y = tl.ceil(x - reach_x), tl.ceil(y - reach_y)
    u, v = tl.full([BLOCK], 0.0, tl.float32), tl.full([BLOCK], 0.0, tl.float32)
    total = tl.full([BLOCK], 0.0, tl.float32)
    for row in range(CHROMA_Y):
        weight_y = tl.maximum(1.0 - tl.abs(start_y + row - y) / reach_y, 0.0)
        line = tl.minimum(tl.maximum(start_y + row, first_y // 2), last_y // 2).to(tl.int32) * chroma_row
        for column in range(CHROMA_X):
            weight = weight_y * tl.maximum(1.0 - tl.abs(start_x + column - x) / reach_x, 0.0)
            at = line + 2 * tl.minimum(tl.maximum(start_x + column, first_x // 2), last_x // 2).to(tl.int32)
            u += weight * tl.load(chroma + at, mask=inside, other=0).to(tl.float32)
            v += weight * tl.load(chroma + at + 1, mask=inside, other=0).to(tl.float32)
            total += weight
    u, v = u / total - 128.0, v / total - 128.0

    at = out + 3 * pixel
    _store_level(at, level + red_v * v, inside)
    _store_level(at + 1, level + green_u * u + green_v * v, inside)
    _store_level(at + 2, level + blue_u * u, inside)


@triton.jit
def _store_level(at, value, inside):
    tl.store(at, tl.minimum(tl.maximum(value + 0.5, 0.0), 255.0).to(tl.uint8), mask=inside)
