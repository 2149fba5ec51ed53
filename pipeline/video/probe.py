"""What a video file holds, from its packets: how many frames, and when each is shown.

Only the first frame is decoded, so this costs milliseconds where a full decode costs minutes. Every packet of the video
stream is taken as one frame; the readers compare that with what they decode, and refuse where it is not so.
"""

from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from pipeline.video.reader import VideoError, VideoProperties
from pipeline.video.structure import describe_damage

# What is wrong with a file is said once, in a VideoError. None, and no level: with a level FFmpeg's threads ask for the
# GIL to log, and wait for it forever where the decoder is freed by who holds it.
av.logging.set_level(None)

# A decoder that meets an error is to say so, and not to patch the frame up. Of a codec context, FFmpeg's names.
STRICT_DECODING = {"err_detect": "crccheck+buffer+explode"}

# What decoding raises: PyAV 19 a ValueError, where a decoder could not be opened and is given another packet.
DECODING_ERRORS = (av.FFmpegError, ValueError)

# Its decoder passes over errors, unless several threads decode one frame.
VP8 = "vp8"

# In avi the times of frames that were packed together come exchanged; by at most as many places as H.264 may reorder.
MOST_EXCHANGED = 16

# A video is called variable if its steps between frames differ by more than this part of the usual step. Containers
# round times (Matroska to 1 ms), so steps of a constant rate differ too.
STEP_TOLERANCE = 0.1

# These demuxers pass over damaged bytes in silence; that packets are missing shows in the duration of the header.
SKIPPING_DEMUXERS = frozenset({"avi", "matroska,webm"})
DURATION_TOLERANCE_SECONDS = 0.5


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a video before they are decoded: as its packets promise them or, if it was surveyed, as they are.

    is_lost     bool [T]: the frames that cannot be decoded; None where the video was not surveyed
    num_failed  frames that cannot be decoded, also those that are not in the index
    problems    what is wrong with the file, in words that follow its name
    """

    properties: VideoProperties
    pts_seconds: np.ndarray  # float64 [T], ascending
    container: str  # FFmpeg's name of the format, such as "matroska,webm"
    is_lost: np.ndarray | None = None
    num_failed: int = 0
    problems: tuple[str, ...] = ()


class _Packets(NamedTuple):
    """All that is kept of the packets of the video stream: they themselves would hold the whole file in memory."""

    num_packets: int
    num_corrupt: int
    ticks: "array[int]"  # the pts, in decoding order, of those that have one
    end_seconds: float  # when the last packet of any stream ends


def probe_video(path: Path) -> VideoIndex:
    """Index a video file. Raises VideoError naming the file and the likely cause."""
    check_is_file(path)
    if damage := describe_damage(path):
        raise VideoError(f"{path}: {damage}")
    with naming_errors(path):
        with open_file(path) as container:
            first = next(container.decode(video_stream(path, container)), None)
        if first is None:
            raise VideoError(f"{path}: no frame can be decoded; the file has no frames or is damaged")
        with open_file(path) as container:
            return _index(path, container, first)


def ffmpeg_name(path: Path) -> str:
    """A file by its whole path: FFmpeg takes what stands before a colon for a protocol, as in 12:30:05.mp4."""
    return str(path.absolute())


def open_file(path: Path) -> av.container.InputContainer:
    """A video file, by PyAV. Raises av.FFmpegError."""
    return av.open(ffmpeg_name(path))


def estimate_num_frames(path: Path) -> int:
    """About how many frames a video has, by its header alone; 0 where that does not say it, or cannot be read."""
    try:
        with open_file(path) as container:
            stream = video_stream(path, container)
            seconds = (container.duration or 0) / av.time_base
            return stream.frames or round(seconds * float(stream.average_rate or 0))
    except (av.FFmpegError, OSError, VideoError, UnicodeDecodeError):
        return 0


@contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """FFmpeg's errors as VideoError."""
    try:
        yield
    except (av.FFmpegError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(f"{path}: cannot be read as a video, it is damaged or something else ({reason})") from error


def _index(path: Path, container: av.container.InputContainer, first: av.VideoFrame) -> VideoIndex:
    stream = video_stream(path, container)
    num_packets, num_corrupt, unsorted_ticks, end_seconds = _video_packets(container, stream)
    if not num_packets:
        raise VideoError(f"{path}: holds a video stream but no frames")
    if num_corrupt:
        raise VideoError(f"{path}: {num_corrupt} of {num_packets} frames are damaged or cut short")
    declared_seconds = (container.duration or 0) / av.time_base
    if container.format.name in SKIPPING_DEMUXERS and declared_seconds - end_seconds > DURATION_TOLERANCE_SECONDS:
        raise VideoError(f"{path}: is damaged, {end_seconds:.1f} of {declared_seconds:.1f} seconds can be found")
    ticks = np.unique(unsorted_ticks)
    if len(ticks) < num_packets:
        raise VideoError(f"{path}: does not say for every frame when it is shown; copy it into an mp4 or mkv file")
    # Exact integers times the time base, rounded once: the same doubles as PyAV's frame.time.
    numerator, denominator = stream.time_base.numerator, stream.time_base.denominator
    pts_seconds = np.fromiter((int(tick) * numerator / denominator for tick in ticks), np.float64, len(ticks))
    return VideoIndex(describe_frames(path, stream, pts_seconds, first), pts_seconds, container.format.name)


def describe_frames(
    path: Path, stream: av.VideoStream, pts_seconds: np.ndarray, first: av.VideoFrame
) -> VideoProperties:
    """The properties of a video with frames at `pts_seconds`. Only the first frame, decoded, tells the rotation."""
    width, height = shown_size(first)
    steps = np.diff(pts_seconds)
    return VideoProperties(
        path=path,
        num_frames=len(pts_seconds),
        frame_rate=_frame_rate(stream, pts_seconds),
        width=width,
        height=height,
        declared_frames=stream.frames or None,
        variable_frame_rate=bool(len(steps)) and bool(np.ptp(steps) > STEP_TOLERANCE * np.median(steps)),
        rotation_degrees=first.rotation % 360,
    )


def demux(container: av.container.InputContainer, *streams: av.VideoStream) -> Iterator[av.Packet]:
    """The packets of the streams, of all without one. PyAV fails when it is through with a file in which a stream began
    on the way, as in transport streams."""
    with suppress(IndexError):
        yield from container.demux(*streams)


def decode_strictly(stream: av.VideoStream, *, frames_at_once: bool) -> None:
    """Set a stream up to raise what goes wrong. `frames_at_once`: several threads, where an error may cost others the
    frames that they had ready."""
    context = stream.codec_context
    context.options = STRICT_DECODING
    if context.name == VP8:
        context.thread_type, context.thread_count = "SLICE", 2
    elif frames_at_once:
        context.thread_type = "AUTO"
    else:
        context.thread_count = 1


def shown_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Width and height of a frame as a player shows it."""
    return (frame.height, frame.width) if frame.rotation % 180 else (frame.width, frame.height)


def packet_end_seconds(packet: av.Packet) -> float:
    """When what a packet holds is over; 0 where it states no time."""
    if packet.pts is None or packet.time_base is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def _video_packets(container: av.container.InputContainer, stream: av.VideoStream) -> _Packets:
    num_packets, num_corrupt = 0, 0
    ticks = array("q")
    end_seconds = 0.0
    for packet in demux(container):
        end_seconds = max(end_seconds, packet_end_seconds(packet))
        # The packet without size ends the stream; those that an edit list cuts off are decoded but not shown.
        if packet.stream.index == stream.index and packet.size and not packet.is_discard:
            num_packets += 1
            num_corrupt += packet.is_corrupt
            if packet.pts is not None:
                ticks.append(packet.pts)
    return _Packets(num_packets, num_corrupt, ticks, end_seconds)


def video_stream(name: Path | str, container: av.container.InputContainer) -> av.VideoStream:
    """The one that a player shows. Raises VideoError where there is none."""
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        has = "sound only" if container.streams.audio else "no video"
        raise VideoError(f"{name}: holds {has}, no video stream")
    assert isinstance(stream, av.VideoStream)
    if stream.codec_context is None:
        raise VideoError(f"{name}: there is no decoder for its video stream: it is damaged, or of a rare codec")
    return stream


def _frame_rate(stream: av.VideoStream, pts_seconds: np.ndarray) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate
    if rate:
        return Fraction(rate)
    if len(pts_seconds) < 2 or pts_seconds[0] == pts_seconds[-1]:
        return Fraction(1)
    return Fraction((len(pts_seconds) - 1) / (pts_seconds[-1] - pts_seconds[0])).limit_denominator(1001)


def check_is_file(path: Path) -> None:
    """Raise VideoError where there is no such file."""
    if not path.exists():
        raise VideoError(f"{path}: no such file")
    if path.is_dir():
        raise VideoError(f"{path}: is a folder, expected a video file")
