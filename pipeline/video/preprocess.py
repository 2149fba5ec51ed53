"""From decoded pixels to what an encoder takes: region of interest, size, colour, normalisation.

Shapes: T frames, H height, W width.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from pipeline.errors import InputError

LUMA_REC601 = (0.299, 0.587, 0.114)  # ITU-R BT.601: the weights of red, green and blue
ROUNDING = 1e-9  # Fractions such as 0.1 + 0.9 may pass 1 by a rounding error.


class ChannelValues(NamedTuple):
    """Of red, green and blue, each float32 [1, 3, 1, 1]."""

    luma: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor


@dataclass(frozen=True)
class Preprocess:
    """Crop, resize, colour, normalise, the same for training and labelling.

    Attributes:
        size: (height, width) of what the encoder sees.
        crop: (x, y, width, height) of the region of interest, None for the whole frame.
        crop_unit: "pixels", or "fractions" of the frame's width and height (rounded to whole pixels).
        color: "grey" gives the Rec. 601 luma in each of the three channels.
        mean: of each channel, for values from 0 to 1.
        std: of each channel, for values from 0 to 1.
    """

    size: tuple[int, int]
    crop: tuple[float, float, float, float] | None = None
    crop_unit: Literal["pixels", "fractions"] = "pixels"
    color: Literal["rgb", "grey"] = "rgb"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        problems = []
        if len(self.size) != 2 or min(self.size) < 1:
            problems.append(f"size must be (height, width) of at least 1, got {self.size}")
        if self.crop is not None and (len(self.crop) != 4 or min(self.crop[:2]) < 0 or min(self.crop[2:]) <= 0):
            problems.append(f"crop must be (x, y, width, height) with a positive area, got {self.crop}")
        if self.crop_unit not in ("pixels", "fractions"):
            problems.append(f"crop_unit must be 'pixels' or 'fractions', got {self.crop_unit!r}")
        if self.color not in ("rgb", "grey"):
            problems.append(f"color must be 'rgb' or 'grey', got {self.color!r}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            problems.append(f"mean and std must have 3 values, std positive, got {self.mean} and {self.std}")
        if problems:
            raise InputError("preprocessing: " + "; ".join(problems))

    def __call__(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 [T, H, W, 3] -> float32 [T, 3, height, width]: `resize`, then `normalize`."""
        return self.normalize(self.resize(pixels))

    def resize(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 [T, H, W, 3] -> the region of interest, scaled: uint8 [T, height, width, 3].

        Raises:
            InputError: the crop does not lie within the frame.
            ValueError: pixels of another shape or type.
        """
        if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8:
            raise ValueError(f"expected uint8 pixels [T, H, W, 3], got {pixels.dtype} {list(pixels.shape)}")
        left, top, right, bottom = self.crop_box(width=pixels.shape[2], height=pixels.shape[1])
        # Channels first by strides alone: torch resizes uint8 in this layout (channels last) fastest.
        frames = torch.from_numpy(pixels[:, top:bottom, left:right]).permute(0, 3, 1, 2)
        if frames.shape[2:] != self.size:
            frames = functional.interpolate(frames, self.size, mode="bilinear", antialias=True)
        return frames.permute(0, 2, 3, 1)

    def normalize(self, pixels: torch.Tensor, channels: ChannelValues | None = None) -> torch.Tensor:
        """uint8 [T, height, width, 3] -> float32 [T, 3, height, width], (value / 255 - mean) / std, channels last.

        channels: `channel_values` of the pixels' device, for who may copy nothing to it now
        """
        luma, mean, std = channels or self.channel_values(pixels.device)
        values = pixels.permute(0, 3, 1, 2).to(torch.float32).div(255)
        if self.color == "grey":
            values = (values * luma).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        return values.sub(mean).div(std).contiguous(memory_format=torch.channels_last)

    def channel_values(self, device: torch.device) -> ChannelValues:
        """What `normalize` computes with, on a device."""
        luma, mean, std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (LUMA_REC601, self.mean, self.std)
        )
        return ChannelValues(luma, mean, std)

    def crop_box(self, *, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of the region in whole pixels, right and bottom excluded, for frames of this size.

        Raises:
            InputError: the crop does not lie within such a frame, or is less than a pixel.
        """
        if self.crop is None:
            return 0, 0, width, height
        x, y, crop_width, crop_height = self.crop
        scale_x, scale_y = (width, height) if self.crop_unit == "fractions" else (1, 1)
        edges = (x * scale_x, y * scale_y, (x + crop_width) * scale_x, (y + crop_height) * scale_y)
        left, top, right, bottom = (round(edge) for edge in edges)
        inside = edges[2] <= width * (1 + ROUNDING) and edges[3] <= height * (1 + ROUNDING)
        if not inside or left >= right or top >= bottom:
            raise InputError(
                f"crop (x, y, width, height) = {self.crop} in {self.crop_unit} does not lie within "
                f"a frame {width} wide and {height} high"
            )
        return left, top, right, bottom
