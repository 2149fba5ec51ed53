"""Frames of a video that is still being made: a camera, a stream, a file that grows. Scaled on their way out, as by
`open_scaled`, so that they cost little to keep.

h, w: the size that the encoder takes.
"""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from io import FileIO
from pathlib import Path
from threading import Event
from typing import NamedTuple, Protocol

import av
import cv2
import numpy as np

import pipeline.video.opencv_reader  # noqa: F401  It silences OpenCV.
from pipeline.video.probe import decode_strictly, demux, video_stream
from pipeline.video.reader import VideoError
from pipeline.video.region import Region
from pipeline.video.scaling import Scaler

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0  # between two tries to connect again; it doubles
POLL_SECONDS = 0.02
CAUSE = "is it being written, and as mkv, ts or fragmented mp4? Others have their index at their end"


class LiveFrame(NamedTuple):
    """pixels uint8 [h, w, 3] RGB; seconds: its time in the video; captured: time.monotonic() when it was there."""

    pixels: np.ndarray
    seconds: float
    captured: float


class LiveSource(Protocol):
    """A video that is still being made.

    name         how it is shown: no user, password or key
    stem         for the names of files
    can_wait     frames that are not read are there later, so that none needs to be dropped; known with the first frame
    connected    frames are coming; False while a lost source is tried again
    """

    name: str
    stem: str
    can_wait: bool
    connected: bool
    num_reconnections: int

    def frames(self, stop: Event) -> Generator[LiveFrame, None, None]:
        """Yield frames as they come, to the end or until `stop` is set. Call it once.

        Raises VideoError where there is no frame to begin with, or what came is not all; InputError where a frame is
        smaller than the region of interest.
        """
        ...


class LostError(Exception):
    """A connection is lost, or cannot be made. The message is the reason, without a secret."""


class ReopenedSource(ABC):
    """What is opened again after it was lost, with growing pauses, and given up when no frame comes for a while.

    `idle_seconds` is that while. The time of a frame is counted by the clock from the first one, unless the source
    knows it. `tell` is given what happens to the connection, in a sentence.
    """

    can_wait = False

    def __init__(
        self,
        name: str,
        region: Region,
        *,
        idle_seconds: float,
        longest_pause_seconds: float,
        tell: Callable[[str], None],
    ) -> None:
        self.name = name
        self.stem = re.sub(r"[^\w.-]+", "_", name.split("://")[-1]).strip("_.") or "stream"
        self.connected = False
        self.num_reconnections = 0
        self._scale = Scaler(region)
        self._idle_seconds, self._longest_pause_seconds = idle_seconds, longest_pause_seconds
        self._tell = tell

    def frames(self, stop: Event) -> Generator[LiveFrame, None, None]:
        """See `LiveSource.frames`. Raises VideoError also where it is given up."""
        start: float | None = None
        captured = time.monotonic()
        pause = FIRST_PAUSE_SECONDS
        while not stop.is_set():
            tried = time.monotonic()
            try:
                for frame, seconds in self._read(stop):
                    captured = time.monotonic()
                    if start is None:
                        start = captured
                    elif not self.connected:
                        self.num_reconnections += 1
                        self._tell(f"{self.name}: came back")
                    self.connected = True
                    pause = FIRST_PAUSE_SECONDS
                    yield LiveFrame(self._scale(frame), captured - start if seconds is None else seconds, captured)
                return
            except LostError as lost:
                reason = str(lost)
            if stop.is_set():
                return
            if start is None:
                passed = time.monotonic() - tried
                raise VideoError(f"{self.name}: no frame came within {passed:.1f} s ({reason}): {self._likely_cause()}")
            was_connected, self.connected = self.connected, False
            if was_connected:
                self._tell(f"{self.name}: lost ({reason}); trying again for {self._idle_seconds:g} s")
            left_seconds = captured + self._idle_seconds - time.monotonic()
            if left_seconds <= 0:
                raise VideoError(f"{self.name}: given up, as no frame came for {self._idle_seconds:g} s ({reason})")
            stop.wait(min(pause, left_seconds))
            pause = min(2 * pause, self._longest_pause_seconds)

    @abstractmethod
    def _read(self, stop: Event) -> Iterator[tuple[av.VideoFrame, float | None]]:
        """The frames of one connection, with their times where it knows them, to the end of the video or `stop`.

        Raises LostError where the connection is lost, or there is none; VideoError where opening it again is no help.
        """

    @abstractmethod
    def _likely_cause(self) -> str:
        """Why there is no frame to begin with, as a question."""


class CameraSource(ReopenedSource):
    """A camera, by its number, read by OpenCV."""

    def __init__(
        self,
        number: int,
        region: Region,
        *,
        idle_seconds: float,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
        tell: Callable[[str], None] = lambda event: None,
    ) -> None:
        super().__init__(
            f"camera {number}",
            region,
            idle_seconds=idle_seconds,
            longest_pause_seconds=longest_pause_seconds,
            tell=tell,
        )
        self._number = number

    def _read(self, stop: Event) -> Iterator[tuple[av.VideoFrame, float | None]]:
        capture = self._open()
        try:
            while not stop.is_set():
                captured, pixels = capture.read()
                if not captured:
                    raise LostError("OpenCV gets none")
                yield av.VideoFrame.from_ndarray(pixels, format="bgr24"), None
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        return cv2.VideoCapture(self._number)

    def _likely_cause(self) -> str:
        return f"is it plugged in, does no other program use it, and may you read /dev/video{self._number}?"


class GrowingFile:
    """A video file that is still being written, from its first frame on. It ends when nothing is added for a while.

    `idle_seconds` is that while. The times are those of the file. A frame counts as captured when it is decoded.
    """

    can_wait = True
    connected = True
    num_reconnections = 0

    def __init__(self, path: Path, region: Region, *, idle_seconds: float) -> None:
        self._path = path
        self._idle_seconds = idle_seconds
        self._scale = Scaler(region)
        self.name, self.stem = str(path), path.stem

    def frames(self, stop: Event) -> Generator[LiveFrame, None, None]:
        """See `LiveSource.frames`. A damaged frame ends them, as the finished file would be refused."""
        num_frames = 0
        try:
            with (
                self._path.open("rb", buffering=0) as file,
                av.open(_Following(file, self._idle_seconds, stop)) as video,
            ):
                for frame in self._decode(video):
                    if stop.is_set():
                        return
                    yield LiveFrame(self._scale(frame), float(frame.time), time.monotonic())
                    num_frames += 1
        except (FileNotFoundError, IsADirectoryError) as error:
            raise VideoError(f"{self._path}: {error.strerror}, expected the file that is being recorded") from None
        except (av.FFmpegError, _DamageError) as error:
            if stop.is_set():
                return
            if num_frames:
                raise VideoError(f"{self._path}: frame {num_frames} is damaged, or was cut off") from error
            raise VideoError(f"{self._path}: cannot be read while it is written: {CAUSE}") from error
        if num_frames == 0 and not stop.is_set():
            raise VideoError(f"{self._path}: no frame came within {self._idle_seconds:g} s: {CAUSE}")

    def _decode(self, video: av.container.InputContainer) -> Iterator[av.VideoFrame]:
        """Every frame in the order of its time. Raises _DamageError where FFmpeg passes over one."""
        stream = video_stream(self._path, video)
        decode_strictly(stream, frames_at_once=False)
        coming: set[int] = set()  # times of frames that the decoder has and has not given yet
        for packet in demux(video, stream):
            if packet.size and not packet.is_discard:
                if packet.pts is None or packet.is_corrupt:
                    raise _DamageError
                coming.add(packet.pts)
            for frame in packet.decode():
                if frame.is_corrupt or frame.pts not in coming or min(coming) < frame.pts:
                    raise _DamageError
                coming.remove(frame.pts)
                yield frame
        if coming:
            raise _DamageError


class _DamageError(Exception):
    """A frame that cannot be decoded."""


class _Following:
    """A file for FFmpeg to read: at its end it waits for more, and ends when none comes, for good."""

    def __init__(self, file: FileIO, idle_seconds: float, stop: Event) -> None:
        self._file, self._idle_seconds, self._stop = file, idle_seconds, stop
        self._ended = False

    def read(self, size: int) -> bytes:
        deadline = time.monotonic() + self._idle_seconds
        while not self._ended:
            if content := self._file.read(size):
                return content
            self._ended = time.monotonic() > deadline or self._stop.wait(POLL_SECONDS)
        return b""  # FFmpeg asks several times
