"""Reading with PyAV (FFmpeg's own libraries): all that FFmpeg decodes, of any length, scaled before conversion to RGB.

A frame is decoded when it is requested, so memory is bounded by one batch and the few frames that FFmpeg's threads work
on.
"""

from collections.abc import Iterator
from typing import Any

import av

from pipeline.errors import InputError
from pipeline.files import InputFile
from pipeline.video.entries import EXCHANGING_DEMUXERS
from pipeline.video.ffmpeg import DECODING_ERRORS, decode_packets, open_file, video_stream
from pipeline.video.index import MAX_EXCHANGED
from pipeline.video.readers.forward import ForwardReader
from pipeline.video.region import Region
from pipeline.video.scaling import Scaler
from pipeline.video.survey import whole_frames
from pipeline.video.types import DecodeReport, VideoError, VideoIndex


class PyAVReader(ForwardReader):
    """A `VideoReader` and, with a region, a `ScaledReader` that uses PyAV.

    Where the size of a video changes, whole frames are scaled to the size of the first one. A frame that a survey found
    to be lost is replaced by the previous one.

    Args:
        video: The index of the video.
        region: The region of interest, and its size; None for whole frames as they are.

    Raises:
        InputError: The video is smaller than the region of interest. No frame is decoded before.
        VideoError: The file cannot be opened.
    """

    def __init__(self, video: VideoIndex, region: Region | None = None) -> None:
        super().__init__(video)
        self._max_early = MAX_EXCHANGED if video.container in EXCHANGING_DEMUXERS else 0
        properties = video.properties
        self._region = region or Region(size=(properties.height, properties.width))
        self._region.crop_box(width=properties.width, height=properties.height)
        self._scale = self._scaler(self._region)
        self._sizes = {(properties.width, properties.height): None}  # as shown, in order
        self._container: av.container.InputContainer | None = None
        self._frames: Iterator[av.VideoFrame]
        self._open()

    def report(self) -> DecodeReport:
        """See `ScaledReader.report`."""
        video, properties = self._video, self.properties
        num_substituted = 0 if video.is_lost is None else int(video.is_lost.sum())
        return DecodeReport(
            declared_frames=properties.declared_frames,
            decoded_frames=properties.num_frames - num_substituted,
            failed_frames=video.num_failed,
            substituted_frames=num_substituted,
            variable_frame_rate=properties.variable_frame_rate,
            rotation_degrees=properties.rotation_degrees,
            sizes=tuple(f"{width}x{height}" for width, height in self._sizes),
            problems=video.problems,
            notes=video.notes,
        )

    def _open(self) -> None:
        self.close()
        path = self.properties.path
        try:
            self._container = self._opened(path)
        except av.FFmpegError as error:
            raise VideoError(f"{path}: cannot be opened ({error.strerror})") from error
        stream = video_stream(path, self._container)
        if self._video.is_lost is None:
            self._frames = self._decoded(self._container, stream)
        else:
            self._frames = whole_frames(self._container, stream)
        self._position = 0
        self._first_missing = 0  # the earliest position whose time was not seen yet
        self._early: set[float] = set()  # the times of later positions that were seen

    def _scaler(self, region: Region) -> Any:
        return Scaler(region)

    def _opened(self, path: InputFile) -> av.container.InputContainer:
        return open_file(path)

    def _decoded(self, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
        return decode_packets(container, stream, frame_threads=True)

    def _next_frame(self) -> Any:
        if not self._is_lost():
            self._last_pixels = self._pixels(self._advance())
        self._position += 1
        return self._last_pixels

    def _skip_frame(self) -> None:
        if not self._is_lost():
            frame = self._advance()
            if self._video.is_lost is not None:
                self._last_pixels = self._pixels(frame)  # they replace a lost frame
        self._position += 1

    def _is_lost(self) -> bool:
        return self._video.is_lost is not None and bool(self._video.is_lost[self._position])

    def _advance(self) -> av.VideoFrame:
        """Return the decoder's next frame, which should be the one at the position.

        The errors do not say which frame is damaged: that depends on how far FFmpeg's threads are.
        """
        try:
            frame = next(self._frames)
        except (StopIteration, *DECODING_ERRORS) as error:
            raise self._error() from error
        if frame.is_corrupt:
            raise self._error()
        if self._video.is_lost is None:
            self._check_time(frame)
        self._sizes.setdefault(self._scale.shown_size(frame))
        return frame

    def _error(self) -> VideoError:
        return VideoError(f"{self.properties.path}: a frame cannot be decoded; the file is damaged")

    def _check_time(self, frame: av.VideoFrame) -> None:
        """Check the time of a frame: the times of later frames reveal a frame that FFmpeg skipped."""
        times = self._video.pts_seconds
        self._early.add(float("nan") if frame.time is None else float(frame.time))
        while self._first_missing < len(times) and times[self._first_missing] in self._early:
            self._early.remove(times[self._first_missing])
            self._first_missing += 1
        if len(self._early) > self._max_early:
            raise self._error()

    def _pixels(self, frame: av.VideoFrame) -> Any:
        """Return uint8 [h, w, 3] RGB, mirrored and turned as a player shows the frame."""
        try:
            return self._scale(frame)
        except InputError as error:
            path, position = self.properties.path, self._position
            raise VideoError(f"{path}: changes its size at frame {position}: {error}") from None

    def _check_end(self) -> None:
        try:
            more = next(self._frames, None)
        except DECODING_ERRORS:
            more = None  # errors after the last frame do not matter
        if more is not None:
            num_frames = self.properties.num_frames
            raise VideoError(f"{self.properties.path}: more frames can be decoded than the {num_frames} that it lists")

    def close(self) -> None:
        """See `ForwardReader.close`."""
        if self._container is not None:
            self._container.close()
            self._container = None
