"""What every runtime of an encoder has in common."""

from typing import Literal, Protocol

import numpy as np
from torch import Tensor

from pipeline.checkpoints.encoder import FrameEncoder

BATCH_FRAMES = 4  # of a request, where that changes no bit of a frame's features


class Pending(Protocol):
    """Features that are being computed."""

    def result(self) -> Tensor:
        """Wait for them: float32 [n, F], on the CPU. Raises what went wrong."""
        ...


class Runtime(Protocol):
    """An encoder that takes frames and gives their features later. The calls of `submit` are answered in any order."""

    frame_encoder: FrameEncoder

    def submit(self, pixels: np.ndarray) -> Pending:
        """Frames uint8 [n, h, w, 3]. Waits while too much is being computed already; `pixels` must not change."""
        ...


Precision = Literal["full", "reduced"]
