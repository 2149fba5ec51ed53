"""The preprocessing of decoded pixels for an encoder: region of interest, size, colour, normalisation.

Shapes: T frames, H x W pixels of the frames, height x width pixels of the encoder's input.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from pipeline.video.region import Region

LUMA_REC601 = (0.299, 0.587, 0.114)  # ITU-R BT.601: the weights of red, green and blue


class ChannelValues(NamedTuple):
    """Values for red, green and blue.

    Attributes:
        luma: float32 [1, 3, 1, 1], the weights of the luma.
        mean: float32 [1, 3, 1, 1].
        std: float32 [1, 3, 1, 1].
    """

    luma: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor


@dataclass(frozen=True)
class Preprocess(Region):
    """The preprocessing of frames: crop, resize, colour and normalise, in the same way for training and labelling.

    `Region` documents the attributes that are not listed here.

    Attributes:
        color: "rgb", or "grey" for the Rec. 601 luma in each of the three channels.
        mean: Of each channel, for values from 0 to 1.
        std: Of each channel, for values from 0 to 1.
    """

    color: Literal["rgb", "grey"] = "rgb"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.color not in ("rgb", "grey"):
            problems.append(f"color must be 'rgb' or 'grey', got {self.color!r}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            problems.append(f"mean and std must have 3 values, std positive, got {self.mean} and {self.std}")
        return problems

    def __call__(self, pixels: np.ndarray) -> torch.Tensor:
        """Apply `resize`, then `normalize`: uint8 [T, H, W, 3] -> float32 [T, 3, height, width]."""
        return self.normalize(self.resize(pixels))

    def resize(self, pixels: np.ndarray) -> torch.Tensor:
        """Crop frames to the region of interest, and scale it.

        Args:
            pixels: uint8 [T, H, W, 3].

        Returns:
            uint8 [T, height, width, 3].

        Raises:
            InputError: The crop does not lie within the frame.
            ValueError: The pixels have another shape or type.
        """
        if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8:
            raise ValueError(f"expected uint8 pixels [T, H, W, 3], got {pixels.dtype} {list(pixels.shape)}")
        left, top, right, bottom = self.crop_box(width=pixels.shape[2], height=pixels.shape[1])
        # Only the strides change: torch resizes uint8 fastest in this layout (channels last).
        frames = torch.from_numpy(pixels[:, top:bottom, left:right]).permute(0, 3, 1, 2)
        if frames.shape[2:] != self.size:
            frames = functional.interpolate(frames, self.size, mode="bilinear", antialias=True)
        return frames.permute(0, 2, 3, 1)

    def mirror(self, image: np.ndarray) -> np.ndarray:
        """Mirror an image, uint8 [H, W, 3], within the region of interest, which so remains the same part of it.

        Raises:
            InputError: The crop does not lie within the image.
        """
        left, _, right, _ = self.crop_box(width=image.shape[1], height=image.shape[0])
        mirrored = image.copy()
        mirrored[:, left:right] = image[:, left:right][:, ::-1]
        return mirrored

    def normalize(self, pixels: torch.Tensor, channels: ChannelValues | None = None) -> torch.Tensor:
        """Compute (value / 255 - mean) / std.

        Args:
            pixels: uint8 [T, height, width, 3].
            channels: The `channel_values` of the pixels' device, for a caller that must not copy anything to the device
                now. None: they are copied to it.

        Returns:
            float32 [T, 3, height, width], with channels last in memory.
        """
        luma, mean, std = channels or self.channel_values(pixels.device)
        values = pixels.permute(0, 3, 1, 2).to(torch.float32).div(255)
        if self.color == "grey":
            values = (values * luma).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        return values.sub(mean).div(std).contiguous(memory_format=torch.channels_last)

    def channel_values(self, device: torch.device) -> ChannelValues:
        """Return the values that `normalize` computes with, on a device."""
        luma, mean, std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (LUMA_REC601, self.mean, self.std)
        )
        return ChannelValues(luma, mean, std)
