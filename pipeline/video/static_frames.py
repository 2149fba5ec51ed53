"""The detection of frames that show something new: a camera that stands still may show the same for hours."""

import cv2
import numpy as np

BLOCK = 16  # pixels; blocks are small because a moving thing may be


class StaticFrames:
    """Decides for each frame, in order, whether it is new: whether it differs from the last new frame.

    Slow changes add up, as a frame is not compared with the frame just before it.

    Args:
        level: In grey levels, 0 to 255. A frame is new where the mean absolute difference over some block of 16 x 16
            pixels, in any channel, is larger.
    """

    def __init__(self, level: float) -> None:
        self._level = level
        self._reference: np.ndarray | None = None

    def are_new(self, pixels: np.ndarray) -> np.ndarray:
        """Return whether each frame is new; the very first frame is.

        Args:
            pixels: uint8 [T, h, w, 3], the next frames.

        Returns:
            bool [T].
        """
        new = np.zeros(len(pixels), bool)
        for index, frame in enumerate(pixels):
            if self._reference is None or self._difference(frame, self._reference) > self._level:
                new[index] = True
                self._reference = frame.copy()  # a copy, so that the batch can be freed
        return new

    def _difference(self, frame: np.ndarray, reference: np.ndarray) -> float:
        height, width = frame.shape[:2]
        num_blocks = (max(1, width // BLOCK), max(1, height // BLOCK))
        return float(cv2.resize(cv2.absdiff(frame, reference), num_blocks, interpolation=cv2.INTER_AREA).max())
