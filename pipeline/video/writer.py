"""Writing frames to an mp4 file that browsers play, each frame with its own presentation time.

The file is H.264 in yuv420p, with its index first.
"""

import math
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.video.ffmpeg import ffmpeg_name

av.logging.set_level(None)  # see `ffmpeg`

# The clock of MPEG, in which usual frame rates and milliseconds are whole numbers of ticks; and a coarser one, for
# files with long pauses: FFmpeg writes no step between two frames of more than MAX_STEP_TICKS.
CLOCKS = (90_000, 1000)
MAX_STEP_TICKS = 2**31 - 1
COLOR_BT709 = 1  # ISO/IEC 23091-2, for primaries, transfer and matrix; players assume these colours
COLOR_RANGE_LIMITED = 1


class VideoWriter:
    """Writes frames one after the other; use it in a `with` statement.

    The file appears at `path` when all frames are written, and not at all after an error. H.264 in yuv420p needs even
    sizes: an odd width or height grows by one, and the last column or row is repeated.

    Args:
        path: The file.
        width: Of the frames, in pixels.
        height: Of the frames, in pixels.
        frame_rate: The nominal frame rate, in frames per second, for the bit rate. The times of the frames are those
            given to `write`.
        longest_step_seconds: The longest time between two frames. Above 6.6 hours the times are kept to 1/1000 s.

    Raises:
        InputError: The longest step is more than 24 days, which no clock can express.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        width: int,
        height: int,
        frame_rate: Fraction,
        longest_step_seconds: float = 0.0,
    ) -> None:
        self._path = Path(path)
        self._width, self._height = width, height
        self._frame_rate = frame_rate
        self._ticks_per_second = choose_clock(self._path, longest_step_seconds)
        self._last_tick: int | None = None
        self._last_seconds = -math.inf
        self._moved_seconds = 0.0
        self._reformatter = VideoReformatter()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            temporary = opened.enter_context(replacing(self._path))
            options = {"movflags": "+faststart"}
            self._container = opened.enter_context(av.open(ffmpeg_name(temporary), "w", options=options))
            self._stream = self._add_stream()
            self._opened = opened.pop_all()
        return self

    def _add_stream(self) -> av.VideoStream:
        # mbtree is off: with it, x264 is not deterministic on AVX-512, and the same frames must give the same file.
        options = {"preset": "veryfast", "crf": "20", "mbtree": "0"}
        stream = self._container.add_stream("libx264", rate=self._frame_rate, options=options)
        stream.width, stream.height = self._width + self._width % 2, self._height + self._height % 2
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, self._ticks_per_second)
        context = stream.codec_context
        context.thread_count = 1
        context.colorspace = context.color_primaries = context.color_trc = COLOR_BT709
        context.color_range = COLOR_RANGE_LIMITED
        return stream

    def write(self, pixels: np.ndarray, pts_seconds: float) -> None:
        """Append one frame.

        Args:
            pixels: uint8 [H, W, 3], RGB.
            pts_seconds: The time from which on the frame is shown. It is kept to within 1/90000 s (see
                `longest_step_seconds`), or as closely as frames with the same time allow. Where the first frame has a
                time below 0, all are moved so that it is shown at 0: players skip what is before.

        Raises:
            ValueError: The pixels have another size or type, or the time is before that of the last frame.
        """
        expected = (self._height, self._width, 3)
        if pixels.shape != expected or pixels.dtype != np.uint8:
            raise ValueError(f"{self._path}: expected uint8 pixels {expected}, got {pixels.dtype} {pixels.shape}")
        if pts_seconds < self._last_seconds:
            raise ValueError(f"{self._path}: frame at {pts_seconds} s comes after the one at {self._last_seconds} s")
        if self._last_tick is None:
            self._moved_seconds = max(0.0, -pts_seconds)
        tick = round((pts_seconds + self._moved_seconds) * self._ticks_per_second)
        if self._last_tick is not None:
            tick = max(tick, self._last_tick + 1)  # mp4 does not allow two frames with the same time
        self._last_tick, self._last_seconds = tick, pts_seconds
        padded = np.pad(pixels, ((0, self._height % 2), (0, self._width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame = self._reformatter.reformat(frame, format="yuv420p", dst_colorspace=Colorspace.ITU709, threads=1)
        frame.pts, frame.time_base = tick, Fraction(1, self._ticks_per_second)
        frame.duration = round(self._ticks_per_second / self._frame_rate)
        self._container.mux(self._stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._opened.__exit__(kind, error, trace)
            return
        with self._opened:
            if self._last_tick is None:
                raise ValueError(f"{self._path}: no frame was written")
            self._container.mux(self._stream.encode(None))


def choose_clock(path: Path, longest_step_seconds: float) -> int:
    """Return the most ticks per second with which the longest step can be written.

    Args:
        path: The video, for the message.
        longest_step_seconds: The longest time between two frames.

    Raises:
        InputError: No clock can express it.
    """
    for ticks_per_second in CLOCKS:
        if longest_step_seconds * ticks_per_second <= MAX_STEP_TICKS:
            return ticks_per_second
    raise InputError(
        f"{path.name}: two frames are {longest_step_seconds:.0f} s apart, expected at most"
        f" {MAX_STEP_TICKS // CLOCKS[-1]} s, the longest pause that can be written: does a time in the video not fit?"
    )
