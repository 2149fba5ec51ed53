"""What the readers of all decoders share: a position that only goes forward.

None of them can be trusted to seek, so a later range is reached by decoding up to it, an earlier one by opening the
file anew.
"""

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from pipeline.video.types import FrameBatch, VideoIndex, VideoProperties, VideoReader, check_range


class ForwardReader(VideoReader):
    """A `VideoReader` of which a decoder gives the frames, one after the other."""

    _position: int  # of the frame that comes next

    def __init__(self, video: VideoIndex) -> None:
        self._video = video

    @property
    def properties(self) -> VideoProperties:
        return self._video.properties

    @property
    def index(self) -> VideoIndex:
        """See `ScaledReader.index`."""
        return self._video

    def read(self, start: int = 0, stop: int | None = None, *, batch_size: int = 32) -> Iterator[FrameBatch]:
        """See `VideoReader.read`."""
        stop = check_range(self.properties, start, stop, batch_size)
        if start < self._position:
            self._open()
        while self._position < start:
            self._skip_frame()
        for batch_start in range(start, stop, batch_size):
            batch_stop = min(batch_start + batch_size, stop)
            pixels = np.stack([self._next_frame() for _ in range(batch_start, batch_stop)])
            if batch_stop == self.properties.num_frames:
                self._check_end()
            yield FrameBatch(
                pixels, np.arange(batch_start, batch_stop), self._video.pts_seconds[batch_start:batch_stop]
            )

    @abstractmethod
    def _open(self) -> None:
        """Open the file, anew if it is open: the position is 0."""

    @abstractmethod
    def _next_frame(self) -> np.ndarray:
        """The frame at the position, uint8 [H, W, 3] RGB; the position moves on. Raises VideoError."""

    @abstractmethod
    def _skip_frame(self) -> None:
        """As `_next_frame`, without its pixels."""

    def _check_end(self) -> None:
        """Raise VideoError where frames come after the last one. Called when that was read.

        A decoder that knows the number of its frames has nothing to add.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the decoder. The reader cannot be used afterwards."""
