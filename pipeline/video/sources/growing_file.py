"""A video file that is still being written as a live source."""

import time
from collections.abc import Generator, Iterator
from io import FileIO
from pathlib import Path
from threading import Event

import av

from pipeline.errors import describe_reason
from pipeline.video.ffmpeg import StrictDecoder, demux, open_input, video_stream
from pipeline.video.region import Region
from pipeline.video.scaling import Scaler
from pipeline.video.sources.base import LiveFrame
from pipeline.video.types import VideoError

POLL_SECONDS = 0.02
CAUSE = "is it being written, and as mkv, ts or fragmented mp4? Others have their index at their end"


class GrowingFile:
    """A video file that is still being written, from its first frame on.

    The times are those of the file. A frame counts as captured when it is decoded.

    Args:
        path: The file.
        region: The region of interest, and its size.
        idle_seconds: The video ends when nothing is added to the file for this time.
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
        """See `LiveSource.frames`; a damaged frame raises VideoError, as the finished file would be refused too."""
        num_frames = 0
        try:
            with (
                self._path.open("rb", buffering=0) as file,
                open_input(_Following(file, self._idle_seconds, stop)) as video,
            ):
                for frame in self._decode(video):
                    if stop.is_set():
                        return
                    yield LiveFrame(self._scale(frame), float(frame.time), time.monotonic())
                    num_frames += 1
        except (FileNotFoundError, IsADirectoryError) as error:
            raise VideoError(
                f"{self._path}: {describe_reason(error)}, expected the file that is being recorded"
            ) from None
        except (av.FFmpegError, _DamageError) as error:
            if stop.is_set():
                return
            if num_frames:
                raise VideoError(f"{self._path}: frame {num_frames} is damaged, or was cut off") from error
            raise VideoError(f"{self._path}: cannot be read while it is written: {CAUSE}") from error
        if num_frames == 0 and not stop.is_set():
            raise VideoError(f"{self._path}: no frame came within {self._idle_seconds:g} s: {CAUSE}")

    def _decode(self, video: av.container.InputContainer) -> Iterator[av.VideoFrame]:
        """Yield every frame in the order of its time; raise _DamageError where FFmpeg skips one."""
        stream = video_stream(self._path, video)
        decoder = StrictDecoder(stream, frame_threads=False)
        coming: set[int] = set()  # the times of frames that are in the decoder
        for packet in demux(video, stream):
            if packet.size and not packet.is_discard:
                if packet.pts is None or packet.is_corrupt:
                    raise _DamageError
                coming.add(packet.pts)
            for frame in decoder.decode(packet):
                if frame.is_corrupt or frame.pts not in coming or min(coming) < frame.pts:
                    raise _DamageError
                coming.remove(frame.pts)
                yield frame
        if coming:
            raise _DamageError


class _DamageError(Exception):
    """A frame that cannot be decoded."""


class _Following:
    """A file for FFmpeg that waits for more bytes at its end, and ends permanently when none come."""

    def __init__(self, file: FileIO, idle_seconds: float, stop: Event) -> None:
        self._file, self._idle_seconds, self._stop = file, idle_seconds, stop
        self._ended = False

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes, or none after the end."""
        deadline = time.monotonic() + self._idle_seconds
        while not self._ended:
            if content := self._file.read(size):
                return content
            self._ended = time.monotonic() > deadline or self._stop.wait(POLL_SECONDS)
        return b""  # every time, as FFmpeg reads several times at the end
