"""Encoders run by torch.

Torch is the reference. It also runs encoders that no other runtime can run, and those whose weights are being trained.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.encoding.types import Precision
from pipeline.rnn.precision import exact_float32


class TorchRuntime:
    """The reference `Runtime`, which computes in a thread of its own.

    Args:
        frame_encoder: The encoder, on the device that computes.
        precision: "full" computes in float32, "reduced" in bfloat16.
    """

    def __init__(self, frame_encoder: FrameEncoder, *, precision: Precision = "full") -> None:
        self.frame_encoder = frame_encoder
        self._device = frame_encoder.device
        self._reduced = precision == "reduced"
        self._thread = ThreadPoolExecutor(1)

    def submit(self, pixels: np.ndarray) -> Future[Tensor]:
        """See `Runtime.submit`."""
        return self._thread.submit(lambda: self.features(torch.from_numpy(pixels)).cpu())

    @torch.inference_mode()
    def features(self, pixels: Tensor) -> Tensor:
        """Compute features now.

        Args:
            pixels: uint8 [n, h, w, 3], on any device.

        Returns:
            float32 [n, F], on the encoder's device.
        """
        exact = nullcontext() if self._device.type == "cpu" else exact_float32()
        with exact, torch.autocast(self._device.type, torch.bfloat16, enabled=self._reduced):
            images = self.frame_encoder.preprocess.normalize(pixels.to(self._device))
            return self.frame_encoder.encoder(images).float()
