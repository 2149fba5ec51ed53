"""Frames by PyAV (FFmpeg's own libraries): whatever FFmpeg decodes, of any length, and scaled on the way out.

Decoding happens when a frame is asked for, so memory stays within one batch and the few frames that FFmpeg's threads
work on.
"""

import av
import numpy as np

from pipeline.video.forward_reader import ForwardReader
from pipeline.video.preprocess import Preprocess
from pipeline.video.probe import VideoIndex
from pipeline.video.reader import VideoError
from pipeline.video.scaling import Scaler

# In avi the times of frames that were packed together come exchanged; by at most as many places as H.264 may reorder.
EXCHANGING_DEMUXERS = frozenset({"avi"})
MOST_EXCHANGED = 16


class PyAVReader(ForwardReader):
    """A `VideoReader`. With `preprocess` its frames are those regions of interest at that size, else as they are.

    Raises InputError, before a frame is decoded, where the video is smaller than the region of interest.
    """

    def __init__(self, video: VideoIndex, preprocess: Preprocess | None = None) -> None:
        super().__init__(video)
        self._scale = Scaler(preprocess)
        self._most_early = MOST_EXCHANGED if video.container in EXCHANGING_DEMUXERS else 0
        if preprocess is not None:
            preprocess.crop_box(width=video.properties.width, height=video.properties.height)
        self._container: av.container.InputContainer | None = None
        self._open()

    def _open(self) -> None:
        self.close()
        path = self.properties.path
        try:
            self._container = av.open(str(path))
        except av.FFmpegError as error:
            raise VideoError(f"{path}: cannot be opened ({error.strerror})") from error
        stream = self._container.streams.best("video")
        assert isinstance(stream, av.VideoStream)  # or the index would have refused the file
        stream.thread_type = "AUTO"
        self._frames = self._container.decode(stream)
        self._position = 0
        self._first_missing = 0  # the earliest position whose time was not seen yet
        self._early: set[float] = set()  # times seen of later positions

    def _advance(self) -> av.VideoFrame:
        """The frame at the position, which moves on."""
        path, position = self.properties.path, self._position
        try:
            frame = next(self._frames)
        except StopIteration:
            raise VideoError(
                f"{path}: only {position} of {self.properties.num_frames} frames can be decoded; the file is damaged"
            ) from None
        except av.FFmpegError as error:
            raise VideoError(f"{path}: frame {position} cannot be decoded; the file is damaged") from error
        if frame.is_corrupt:
            raise VideoError(f"{path}: frame {position} is damaged")
        self._position += 1
        self._check_time(frame)
        return frame

    def _check_time(self, frame: av.VideoFrame) -> None:
        """A frame that FFmpeg passed over shows in the times of those after it."""
        times = self._video.pts_seconds
        self._early.add(float("nan") if frame.time is None else float(frame.time))
        while self._first_missing < len(times) and times[self._first_missing] in self._early:
            self._early.remove(times[self._first_missing])
            self._first_missing += 1
        if len(self._early) > self._most_early:
            raise VideoError(
                f"{self.properties.path}: frame {self._first_missing} cannot be decoded; the file is damaged"
            )

    def _next_frame(self) -> np.ndarray:
        frame = self._advance()
        self._check_size(frame)
        return self._scale(frame)

    def _skip_frame(self) -> None:
        self._advance()

    def _check_size(self, frame: av.VideoFrame) -> None:
        properties = self.properties
        width, height = (frame.height, frame.width) if frame.rotation % 180 else (frame.width, frame.height)
        if (width, height) != (properties.width, properties.height):
            raise VideoError(
                f"{properties.path}: frame {self._position - 1} is {width}x{height}, the first one"
                f" {properties.width}x{properties.height}: a video whose size changes cannot be read; cut it there"
            )

    def _check_end(self) -> None:
        try:
            more = next(self._frames, None)
        except av.FFmpegError:
            more = None  # what comes after the last frame shows nothing
        if more is not None:
            num_frames = self.properties.num_frames
            raise VideoError(f"{self.properties.path}: more frames can be decoded than the {num_frames} that it lists")

    def close(self) -> None:
        """See `ForwardReader.close`."""
        if self._container is not None:
            self._container.close()
            self._container = None
