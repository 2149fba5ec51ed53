"""Frames as training sees them: shifted, brighter or darker, mirrored; all frames of a window alike.

B windows, T frames, h x w pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


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
        return torch.stack([self._changed(window) for window in frames])

    def _changed(self, window: Tensor) -> Tensor:
        scale, offset, mirrored, *shifts = (2 * torch.rand(5) - 1).tolist()
        most_down, most_right = (round(self.shift * side) for side in window.shape[2:])
        down, right = round(shifts[0] * most_down), round(shifts[1] * most_right)
        window = window * (1 + scale * self.contrast) + offset * self.brightness
        window = _shifted(window, down, right)
        return window.flip(3) if self.mirror and mirrored < 0 else window


def _shifted(window: Tensor, down: int, right: int) -> Tensor:
    height, width = window.shape[2:]
    before = max(right, 0), max(down, 0)
    padded = pad(window, (before[0], max(-right, 0), before[1], max(-down, 0)), mode="replicate")
    return padded[..., before[1] - down :, before[0] - right :][..., :height, :width]
