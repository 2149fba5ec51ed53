"""Frames as training sees them: shifted, brighter or darker, mirrored; all frames of a window alike.

B windows, T frames, h x w pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a window, drawn anew each time.

    shift     up to this share of the height and of the width, in either direction; what comes in repeats the edge
    contrast  frames are multiplied by 1 - contrast to 1 + contrast, around what the encoder's normalization makes 0
    brightness  up to this is added or taken away, in units of the normalized frames
    mirror    half of the windows are seen in a mirror: not where classes say left and right
    """

    shift: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    mirror: bool = False

    def __call__(self, frames: Tensor) -> Tensor:
        """frames [B, T, 3, h, w] -> the same, changed; the random numbers are those of torch's CPU generator."""
        from torchvision.transforms import v2  # takes seconds, which who trains no encoder need not wait

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
