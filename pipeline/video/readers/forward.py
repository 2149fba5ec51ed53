"""The base of the readers of all decoders: a position that only goes forward.

None of the decoders seeks reliably. A reader therefore decodes up to a later range, and reopens the file to reach an
earlier one.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.video.types import FrameBatch, VideoIndex, VideoProperties, VideoReader, check_range


class ForwardReader(VideoReader):
    """A `VideoReader` whose decoder returns the frames one after the other.

    Args:
        video: The index of the video.
    """

    _position: int  # of the next frame

    def __init__(self, video: VideoIndex) -> None:
        self._video = video

    @property
    def properties(self) -> VideoProperties:
        """See `VideoReader.properties`."""
        return self._video.properties

    @property
    def index(self) -> VideoIndex:
        """See `ScaledReader.index`."""
        return self._video

    def read(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        batch_size: int = 32,
        positions: np.ndarray | None = None,
    ) -> Iterator[FrameBatch]:
        """See `VideoReader.read`."""
        stop = check_range(self.properties, start, stop, batch_size)
        positions = np.arange(start, stop) if positions is None else positions
        if start < self._position:
            self._open()
        for first in range(0, len(positions), batch_size):
            index = positions[first : first + batch_size]
            pixels = self._stacked([self._frame_at(position) for position in index.tolist()])
            if first + batch_size >= len(positions):
                self._go_to(stop)
                if stop == self.properties.num_frames:
                    self._check_end()
            yield FrameBatch(pixels, index, self._video.pts_seconds[index])

    def _stacked(self, frames: list[Any]) -> np.ndarray:
        """Return frames that `_next_frame` gave as uint8 [T, H, W, 3]."""
        return np.stack(frames)

    def _frame_at(self, position: int) -> Any:
        """Return the frame at a position that is not behind, as `_next_frame`."""
        self._go_to(position)
        return self._next_frame()

    def _go_to(self, position: int) -> None:
        while self._position < position:
            self._skip_frame()

    @abstractmethod
    def _open(self) -> None:
        """Open the file, or reopen it if it is open, and set the position to 0."""

    @abstractmethod
    def _next_frame(self) -> Any:
        """Return the frame at the position, uint8 [H, W, 3] RGB, and move the position to the next one.

        It is an array, or what else `_stacked` takes.

        Raises:
            VideoError: The frame cannot be decoded.
        """

    @abstractmethod
    def _skip_frame(self) -> None:
        """Move the position as `_next_frame` does, without returning pixels."""

    def _check_end(self) -> None:
        """Check that there are no frames after the last one; called after that was read.

        A decoder that knows the number of its frames does not need this method.

        Raises:
            VideoError: There are more frames.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the decoder; the reader cannot be used afterwards."""
