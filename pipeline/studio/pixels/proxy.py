"""Copies of videos that every browser plays, converted in chunks of a few seconds when they are asked for.

Each frame of the pipeline is one frame of the copy, at its own time. A chunk is a whole fragmented file, whose times
start at 0; the page places it by `SourceBuffer.timestampOffset`.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from threading import Lock, Thread
from typing import Literal, NamedTuple

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from pipeline.errors import InputError
from pipeline.files import replacing, version_of
from pipeline.studio.clocks import Clocks, VideoClock
from pipeline.studio.pixels.frames import Frames
from pipeline.studio.places import Video
from pipeline.studio.requests import RefusedError, get

CHUNK_SECONDS = 4.0
MAX_CHUNK_FRAMES = 150
MAX_WIDTH, MAX_HEIGHT = 1280, 720
MAX_CACHE_BYTES = 2**30
WEBM_CLOCK = 1000  # ticks per second, which the format prescribes
Kind = Literal["mp4", "webm"]


class _Format(NamedTuple):
    """A format of copies: its media type, and FFmpeg's names and options for it."""

    media_type: str
    muxer: str
    codec: str
    muxer_options: dict[str, str]
    codec_options: dict[str, str]


FORMATS: dict[Kind, _Format] = {
    "mp4": _Format(
        'video/mp4; codecs="avc1.42c028"',
        "mp4",
        "libx264",
        {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
        {"preset": "ultrafast", "tune": "zerolatency", "crf": "23", "profile": "baseline", "level": "4.0"},
    ),
    "webm": _Format(
        'video/webm; codecs="vp8"',
        "webm",
        "libvpx",
        {},
        {"deadline": "realtime", "cpu-used": "8", "crf": "12", "b": "4M", "lag-in-frames": "0"},
    ),
}


class Proxies:
    """The converted copies of the videos of a studio. All methods may be called from any thread.

    Args:
        folder: Where chunks are kept, each of them whole or not there.
        clocks: When the frames are shown.
        frames: Gives the frames; no one else asks it, so that it goes only forward.
    """

    def __init__(self, folder: Path, clocks: Clocks, frames: Frames) -> None:
        self._folder, self._clocks, self._frames = folder, clocks, frames
        self._lock = Lock()
        self._making: OrderedDict[Path, Lock] = OrderedDict()

    def describe(self, video: Video) -> dict[str, object]:
        """Return how a browser plays a video: the file itself, and, where it cannot, the chunks of a copy of it.

        Raises:
            InputError: The video cannot be read.
        """
        from pipeline.video.ffmpeg import BROADCAST_FORMATS

        clock = self._clocks.clock(video)
        start = clock.facts.start_seconds
        starts_at_zero = clock.facts.container in BROADCAST_FORMATS or start < 0
        return {
            "mode": "file",
            "offset": start if starts_at_zero else 0.0,
            "starts": chunk_starts(clock.times.pts_seconds),
            "proxy_types": [each.media_type for each in FORMATS.values()],
        }

    def chunk(self, video: Video, number: int, kind: Kind) -> bytes:
        """Return a chunk; the next one is made meanwhile.

        Raises:
            RefusedError: There is no such chunk.
            InputError: A frame cannot be decoded.
        """
        clock = self._clocks.clock(video)
        starts = [*chunk_starts(clock.times.pts_seconds), clock.facts.num_frames]
        if not 0 <= number < len(starts) - 1:
            raise RefusedError(404, f"there is no part {number}: the video has {len(starts) - 1} parts")
        content = self._get(video, clock, starts, number, kind)
        if number + 2 < len(starts):
            Thread(target=self._prepare, args=(video, clock, starts, number + 1, kind), daemon=True).start()
        return content

    def _prepare(self, video: Video, clock: VideoClock, starts: list[int], number: int, kind: Kind) -> None:
        with suppress(InputError, RefusedError, OSError):  # it is asked for again, and refused then
            self._get(video, clock, starts, number, kind)

    def _get(self, video: Video, clock: VideoClock, starts: list[int], number: int, kind: Kind) -> bytes:
        path = self._path(video, number, kind)
        with self._lock:
            making = self._making.setdefault(path, Lock())
            while len(self._making) > 64:
                self._making.popitem(last=False)
        with making:
            with suppress(OSError):
                os.utime(path)  # the ones that were not used for the longest time are removed first
                return path.read_bytes()
            start, stop = starts[number], starts[number + 1]
            edges = np.append(clock.times.pts_seconds, clock.times.end_seconds)[start : stop + 1]
            pixels = (self._frames.pixels(video, frame, width=_width(clock)) for frame in range(start, stop))
            with replacing(path) as temporary:
                encode(temporary, pixels, edges, FORMATS[kind])
                content = temporary.read_bytes()
            self._trim(path)
            return content

    def _path(self, video: Video, number: int, kind: Kind) -> Path:
        version = hashlib.sha256(f"{video.id} {version_of(video.path)}".encode()).hexdigest()[:16]
        return self._folder / f"{version}.{number}.{kind}"

    def _trim(self, latest: Path) -> None:
        with self._lock:
            known = []
            for path in self._folder.iterdir():
                with suppress(OSError):
                    status = path.stat()
                    known.append((status.st_mtime_ns, status.st_size, path))
            total = sum(size for _, size, _ in known)
            for _, size, path in sorted(known):
                if total <= MAX_CACHE_BYTES:
                    return
                if path != latest:
                    path.unlink(missing_ok=True)
                    total -= size


def chunk_starts(pts_seconds: np.ndarray) -> list[int]:
    """Return the first frame of each chunk: of CHUNK_SECONDS, or of MAX_CHUNK_FRAMES, or of one frame and a long pause.

    Args:
        pts_seconds: float64 [T], ascending.

    >>> chunk_starts(np.arange(250) / 25)
    [0, 100, 200]
    """
    starts, num_frames = [0], len(pts_seconds)
    while True:
        end = int(np.searchsorted(pts_seconds, pts_seconds[starts[-1]] + CHUNK_SECONDS - 1e-6))
        after = min(max(end, starts[-1] + 1), starts[-1] + MAX_CHUNK_FRAMES)
        if after >= num_frames:
            return starts
        starts.append(after)


def _width(clock: VideoClock) -> int:
    facts = clock.facts
    return max(16, int(min(facts.width, MAX_WIDTH, facts.width * MAX_HEIGHT / facts.height)))


def encode(path: Path, pixels: Iterator[np.ndarray], edges: np.ndarray, into: _Format) -> None:
    """Write a chunk.

    Args:
        path: The file.
        pixels: Its frames, uint8 [H, W, 3], RGB.
        edges: float64 [T + 1], when each frame starts, and when the last one ends, in seconds.
        into: The format.

    Raises:
        InputError: A pause is longer than 24 days.
    """
    import av

    from pipeline.video.ffmpeg import ffmpeg_name
    from pipeline.video.writer import choose_clock

    clock = WEBM_CLOCK if into.muxer == "webm" else choose_clock(path, float(np.diff(edges).max()))
    ticks = np.round((edges - edges[0]) * clock).astype(np.int64)
    ticks = np.maximum.accumulate(ticks - np.arange(len(ticks))) + np.arange(len(ticks))  # strictly ascending
    durations = dict(zip(ticks[:-1].tolist(), np.diff(ticks).tolist(), strict=True))
    options = dict(into.muxer_options)
    with av.open(ffmpeg_name(path), "w", format=into.muxer, options=options) as container:
        stream = container.add_stream(into.codec, rate=25, options=dict(into.codec_options))
        context = stream.codec_context
        stream.time_base = context.time_base = Fraction(1, clock)
        context.thread_count, context.gop_size = 2, 60
        is_first = True
        for tick, picture in zip(durations, pixels, strict=True):
            height, width = (side + side % 2 for side in picture.shape[:2])
            if is_first:
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                is_first = False
            even = np.pad(picture, ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)), mode="edge")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = tick, Fraction(1, clock)
            for packet in stream.encode(frame):
                packet.duration = durations[packet.pts or 0]
                container.mux(packet)
        for packet in stream.encode(None):
            packet.duration = durations[packet.pts or 0]
            container.mux(packet)


def routes(proxies: Proxies, find: Callable[[str], Video]) -> list[BaseRoute]:
    """Return the route of the chunks.

    Args:
        proxies: The copies.
        find: Returns the video of an id, see `Listing.find`.
    """

    def send_chunk(request: Request) -> Response:
        kinds: tuple[Kind, ...] = ("mp4", "webm")
        kind = next((each for each in kinds if each == request.query_params.get("kind", "mp4")), None)
        if kind is None:
            raise RefusedError(400, f"kind: expected one of {', '.join(FORMATS)}")
        content = proxies.chunk(find(request.path_params["id"]), request.path_params["number"], kind)
        return Response(content, media_type=FORMATS[kind].media_type)

    return [get("/api/videos/{id}/proxy/{number:int}", send_chunk)]
