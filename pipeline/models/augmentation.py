"""Random changes of the frames for training: shifts, brightness and contrast, mirroring.

All frames of a window are changed in the same way.

Shapes: B windows, T frames, h x w pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """The range of the changes of a window, which are drawn again each time.

    Attributes:
        shift: The maximum shift in either direction, as a share of the height and of the width. The edge is repeated
            where a shift uncovers pixels.
        contrast: Frames are multiplied by 1 - contrast to 1 + contrast, around the value that the encoder's
            normalization maps to 0.
        brightness: The maximum that is added or subtracted, in units of the normalized frames.
        mirror: Whether half of the windows are mirrored. It must be False where classes distinguish left and right.
    """

    shift: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    mirror: bool = False

    def __call__(self, frames: Tensor) -> Tensor:
        """Return changed frames; the random numbers are those of torch's CPU generator.

        Args:
            frames: [B, T, 3, h, w], normalized.

        Returns:
            [B, T, 3, h, w].
        """
        from torchvision.transforms import v2  # takes seconds, which a training without an encoder saves

        height, width = frames.shape[3:]
        move = v2.Compose(
            [
                v2.Pad([round(self.shift * width), round(self.shift * height)], padding_mode="edge"),
                v2.RandomCrop((height, width)),
                v2.RandomHorizontalFlip(0.5 if self.mirror else 0.0),
            ]
        )
        return torch.stack([self._relit(move(window)) for window in frames])

    def _relit(self, window: Tensor) -> Tensor:
        scale, offset = (2 * torch.rand(2) - 1).tolist()
        return window * (1 + scale * self.contrast) + offset * self.brightness
