"""Reading a range of a long video without decoding all frames before it."""

from collections.abc import Iterator

import numpy as np

from pipeline.video.entries import find_entry, may_jump
from pipeline.video.ffmpeg import StrictDecoder, video_stream
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.types import FrameBatch, VideoError
from pipeline.video.units import Units

NUM_NEAR = 60  # frames further on that are decoded without a seek


class JumpingReader(PyAVReader):
    """A `PyAVReader` that begins to decode near the start of a range, and gives the same pixels.

    Nothing is taken from a seek on trust: decoding begins at a packet of which the stream itself says that it may, and
    every frame that comes out must be the next one of the index by its exact time. Where that does not hold, the range
    is refused.

    Raises:
        VideoError: As `PyAVReader`; also where no seek leads to the frames of a range.
    """

    def read(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        batch_size: int = 32,
        positions: np.ndarray | None = None,
    ) -> Iterator[FrameBatch]:
        """See `VideoReader.read`. Of the frames before the range, only those from the entry on are decoded."""
        if start > self._position + NUM_NEAR:
            self._jump(start)
        yield from super().read(start, stop, batch_size=batch_size, positions=positions)

    def _jump(self, position: int) -> None:
        """Move to the last entry at or before a position."""
        if self._position:
            self._open()  # for a decoder that knows none of the packets before
        assert self._container is not None
        video, times = self._video, self._video.pts_seconds
        stream = video_stream(video.properties.path, self._container)
        entry = None
        if may_jump(video, stream):
            entry = find_entry(self._container, stream, Units(stream), float(times[position]))
        if entry is None:
            raise VideoError(f"{video.properties.path}: no seek leads to frame {position}")
        self._frames = entry.decode(StrictDecoder(stream, frame_threads=True).decode)
        self._position = self._first_missing = int(np.searchsorted(times, entry.seconds))
