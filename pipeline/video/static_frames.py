"""Which frames show something new: a camera that stands still sees the same for hours."""

import cv2
import numpy as np

BLOCK = 16  # pixels: what moves may be small


class StaticFrames:
    """Tells frame by frame, in order, whether it differs from the last one that did.

    level: grey levels, 0 to 255. A frame is new where the mean absolute difference over a block of 16 x 16 pixels, of
    any channel, is above it. What changes slowly adds up, as it is not the frame before that counts.
    """

    def __init__(self, level: float) -> None:
        self._level = level
        self._reference: np.ndarray | None = None

    def are_new(self, pixels: np.ndarray) -> np.ndarray:
        """Frames uint8 [T, h, w, 3] -> bool [T]. The first frame of all is new."""
        new = np.zeros(len(pixels), bool)
        for index, frame in enumerate(pixels):
            if self._reference is None or self._difference(frame, self._reference) > self._level:
                new[index] = True
                self._reference = frame.copy()  # the batch that it lies in may be freed
        return new

    def _difference(self, frame: np.ndarray, reference: np.ndarray) -> float:
        height, width = frame.shape[:2]
        num_blocks = (max(1, width // BLOCK), max(1, height // BLOCK))
        return float(cv2.resize(cv2.absdiff(frame, reference), num_blocks, interpolation=cv2.INTER_AREA).max())
