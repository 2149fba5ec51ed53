"""Frames of a video that is still being made: a camera, a stream, a file that grows. Scaled on their way out, as by
`open_scaled`, so that they cost little to keep.

h, w: the size that the encoder takes.
"""

import re
import time
from collections.abc import Callable, Generator, Iterator
from io import FileIO
from pathlib import Path
from threading import Event
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import av
import cv2
import numpy as np

import pipeline.video.opencv_reader  # noqa: F401  It silences OpenCV, which else tells addresses with their passwords.
from pipeline.video.preprocess import Preprocess
from pipeline.video.probe import decode_strictly, demux, video_stream
from pipeline.video.reader import VideoError
from pipeline.video.scaling import Scaler

FIRST_PAUSE_SECONDS = 0.5  # between two tries to connect again; it doubles
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
    can_wait     frames that are not read are there later, so that none needs to be dropped
    connected    frames are coming; False while a lost source is tried again
    """

    name: str
    stem: str
    can_wait: bool
    connected: bool
    num_reconnections: int

    def frames(self, stop: Event) -> Generator[LiveFrame, None, None]:
        """Yield frames as they come, to the end or until `stop` is set. Call it once.

        Raises VideoError where there is no frame to begin with, or a frame cannot be decoded; InputError where one is
        smaller than the region of interest.
        """
        ...


class OpenCVSource:
    """A camera, by its number, or a stream, by its address, read by OpenCV. What is lost is opened again, for ever.

    The time of a frame is counted by the clock from the first one, for streams as for cameras: what times a stream
    states starts anew with each connection. `tell` is given what happens to the connection, in a sentence.
    A stream that ends is taken for a lost one. Frames that are damaged on their way are shown as the decoder repairs
    them.
    """

    can_wait = False

    def __init__(
        self,
        address: int | str,
        preprocess: Preprocess,
        *,
        open_timeout_seconds: float = 10.0,
        read_timeout_seconds: float = 5.0,
        longest_pause_seconds: float = 10.0,
        tell: Callable[[str], None] = lambda event: None,
    ) -> None:
        """The timeouts are of streams; a camera has OpenCV's own."""
        self._address = address
        self.name = f"camera {address}" if isinstance(address, int) else shown_address(address)
        self.stem = re.sub(r"[^\w.-]+", "_", self.name.split("://")[-1]).strip("_.") or "stream"
        self.connected = False
        self.num_reconnections = 0
        self._scale = Scaler(preprocess)
        self._longest_pause_seconds = longest_pause_seconds
        self._tell = tell
        self._stream_options = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(open_timeout_seconds * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(read_timeout_seconds * 1000)),
            *(cv2.CAP_PROP_N_THREADS, 1),  # each further thread holds a frame back
        ]

    def frames(self, stop: Event) -> Generator[LiveFrame, None, None]:
        """See `LiveSource.frames`."""
        start: float | None = None
        pause = FIRST_PAUSE_SECONDS
        while not stop.is_set():
            tried = time.monotonic()
            for frame, captured in self._read(stop):
                if start is None:
                    start = captured
                elif not self.connected:
                    self.num_reconnections += 1
                    self._tell(f"{self.name}: came back")
                self.connected = True
                pause = FIRST_PAUSE_SECONDS
                yield LiveFrame(self._scale(frame), captured - start, captured)
            if start is None and not stop.is_set():
                raise VideoError(self._why_nothing_comes(time.monotonic() - tried))
            was_connected, self.connected = self.connected, False
            if was_connected and not stop.is_set():
                self._tell(f"{self.name}: lost; trying again until it comes back")
            stop.wait(pause)
            pause = min(2 * pause, self._longest_pause_seconds)

    def _read(self, stop: Event) -> Iterator[tuple[av.VideoFrame, float]]:
        """The frames of one connection with when they came; none where it fails."""
        capture = self._open()
        try:
            while not stop.is_set() and capture.grab():
                captured = time.monotonic()
                decoded, pixels = capture.retrieve()
                if not decoded:
                    return
                yield av.VideoFrame.from_ndarray(pixels, format="bgr24"), captured
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        if isinstance(self._address, int):
            return cv2.VideoCapture(self._address)
        return cv2.VideoCapture(self._address, cv2.CAP_FFMPEG, self._stream_options)

    def _why_nothing_comes(self, tried_seconds: float) -> str:
        if isinstance(self._address, int):
            cause = f"is it plugged in, does no other program use it, and may you read /dev/video{self._address}?"
        else:
            cause = "is the address right, the sender on, its port open, and are user and password right?"
        return f"{self.name}: no frame came within {tried_seconds:.1f} s: {cause}"


class GrowingFile:
    """A video file that is still being written, from its first frame on. It ends when nothing is added for a while.

    `idle_seconds` is that while. The times are those of the file. A frame counts as captured when it is decoded.
    """

    can_wait = True
    connected = True
    num_reconnections = 0

    def __init__(self, path: Path, preprocess: Preprocess, *, idle_seconds: float) -> None:
        self._path = path
        self._idle_seconds = idle_seconds
        self._scale = Scaler(preprocess)
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


def shown_address(address: str) -> str:
    """An address without what must stay secret: user and password, the query, and values within the path.

    >>> shown_address("rtsp://me:p@ss@10.0.0.5:554/user=me&password=x/live?key=y")
    'rtsp://10.0.0.5:554/user=.../live'
    """
    scheme, _, rest = address.partition("://")
    rest = rest.rpartition("@")[2]  # the last one: an @ within a password should be written %40, but often is not
    parts = urlsplit(f"{scheme}://{rest}")
    return f"{scheme}://{parts.netloc}" + re.sub(r"=[^/]*", "=...", parts.path)
