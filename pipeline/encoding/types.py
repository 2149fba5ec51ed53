"""The interface that every runtime of an encoder has.

Shapes: n frames, h x w pixels, F features.
"""

from typing import Literal, Protocol

import numpy as np
from torch import Tensor

from pipeline.checkpoints.encoder import FrameEncoder

BATCH_FRAMES = 4  # frames of a request, where that changes no bit of their features


class Pending(Protocol):
    """Features that are being computed."""

    def result(self) -> Tensor:
        """Wait for the features, float32 [n, F] on the CPU, or raise the error that encoding ended with."""
        ...


class Runtime(Protocol):
    """An encoder that takes frames and gives their features later.

    The calls of `submit` are answered in any order.

    Attributes:
        frame_encoder: The encoder, with the preprocessing of its frames.
    """

    frame_encoder: FrameEncoder

    def submit(self, pixels: np.ndarray) -> Pending:
        """Start to encode frames; wait first while too much is being computed already.

        Args:
            pixels: uint8 [n, h, w, 3], of the encoder's size. They must not change.
        """
        ...


Precision = Literal["full", "reduced"]
