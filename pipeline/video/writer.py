"""Frames -> an mp4 file that browsers play (H.264, yuv420p, index first), each frame with its own presentation time."""

import math
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from pipeline.files import replacing
from pipeline.video.ffmpeg import ffmpeg_name

av.logging.set_level(None)  # see `ffmpeg`

TICKS_PER_SECOND = 90_000  # The clock of MPEG: the usual frame rates and milliseconds are whole numbers of ticks.
COLOR_BT709 = 1  # ISO/IEC 23091-2, for primaries, transfer and matrix: what players take for granted.
COLOR_RANGE_LIMITED = 1


class VideoWriter:
    """Write frames as they come. Nothing appears at `path` before all is written, and nothing at all after an error.

    H.264 in yuv420p needs even sizes: an odd width or height grows by one, its last column or row repeated.
    """

    def __init__(self, path: Path | str, *, width: int, height: int, frame_rate: Fraction) -> None:
        """`frame_rate` is the nominal one, for the bit rate; the times of the frames are those given to `write`."""
        self._path = Path(path)
        self._width, self._height = width, height
        self._frame_rate = frame_rate
        self._last_tick: int | None = None
        self._last_seconds = -math.inf
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
        # mbtree off: x264 with AVX-512 is not deterministic with it, and the same frames must give the same file.
        options = {"preset": "veryfast", "crf": "20", "mbtree": "0"}
        stream = self._container.add_stream("libx264", rate=self._frame_rate, options=options)
        stream.width, stream.height = self._width + self._width % 2, self._height + self._height % 2
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS_PER_SECOND)
        context = stream.codec_context
        context.thread_count = 1
        context.colorspace = context.color_primaries = context.color_trc = COLOR_BT709
        context.color_range = COLOR_RANGE_LIMITED
        return stream

    def write(self, pixels: np.ndarray, pts_seconds: float) -> None:
        """Append one frame, uint8 [H, W, 3] RGB, shown from `pts_seconds` on (kept to within 1/90000 s, or as near
        as frames of the same time allow).

        Raises:
            ValueError: pixels of another size or type, or a time before that of the last frame.
        """
        expected = (self._height, self._width, 3)
        if pixels.shape != expected or pixels.dtype != np.uint8:
            raise ValueError(f"{self._path}: expected uint8 pixels {expected}, got {pixels.dtype} {pixels.shape}")
        if pts_seconds < self._last_seconds:
            raise ValueError(f"{self._path}: frame at {pts_seconds} s comes after the one at {self._last_seconds} s")
        tick = round(pts_seconds * TICKS_PER_SECOND)
        if self._last_tick is not None:
            tick = max(tick, self._last_tick + 1)  # some files give two frames the same time, mp4 cannot
        self._last_tick, self._last_seconds = tick, pts_seconds
        padded = np.pad(pixels, ((0, self._height % 2), (0, self._width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame = self._reformatter.reformat(frame, format="yuv420p", dst_colorspace=Colorspace.ITU709, threads=1)
        frame.pts, frame.time_base = tick, Fraction(1, TICKS_PER_SECOND)
        frame.duration = round(TICKS_PER_SECOND / self._frame_rate)
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
