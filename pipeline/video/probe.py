"""What a video file holds, from its packets: how many frames, and when each is shown.

Only the first frame is decoded, so this costs milliseconds where a full decode costs minutes. Every packet of the video
stream is taken as one frame; the readers compare that with what they decode, and refuse where it is not so.
"""

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np

from pipeline.video.reader import VideoError, VideoProperties

# What is wrong with a file is said once, in a VideoError. None, and no level: with a level FFmpeg's threads ask for the
# GIL to log, and wait for it forever where the decoder is freed by who holds it.
av.logging.set_level(None)

# A video is called variable if its steps between frames differ by more than this part of the usual step. Containers
# round times (Matroska to 1 ms), so steps of a constant rate differ too.
STEP_TOLERANCE = 0.1

# These demuxers pass over damaged bytes in silence; that packets are missing shows in the duration of the header.
SKIPPING_DEMUXERS = frozenset({"avi", "matroska,webm"})
DURATION_TOLERANCE_SECONDS = 0.5


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a video before they are decoded."""

    properties: VideoProperties
    pts_seconds: np.ndarray  # float64 [T], ascending
    container: str  # FFmpeg's name of the format, such as "matroska,webm"


class _Packets(NamedTuple):
    """All that is kept of the packets of the video stream: they themselves would hold the whole file in memory."""

    num_packets: int
    num_corrupt: int
    ticks: "array[int]"  # the pts, in decoding order, of those that have one
    end_seconds: float  # when the last packet of any stream ends


def probe_video(path: Path) -> VideoIndex:
    """Index a video file. Raises VideoError naming the file and the likely cause."""
    _check_is_whole_file(path)
    try:
        with av.open(str(path)) as container:
            stream = _video_stream(path, container)
            width, height = _shown_size(path, container, stream)
        with av.open(str(path)) as container:
            return _index(path, container, _video_stream(path, container), width, height)
    except (av.FFmpegError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(f"{path}: cannot be read as a video, it is damaged or something else ({reason})") from error


def _index(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream, width: int, height: int
) -> VideoIndex:
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
    numerator, denominator = stream.time_base.as_integer_ratio()
    pts_seconds = np.fromiter((int(tick) * numerator / denominator for tick in ticks), np.float64, len(ticks))
    steps = np.diff(pts_seconds)
    properties = VideoProperties(
        path=path,
        num_frames=len(ticks),
        frame_rate=_frame_rate(stream, pts_seconds),
        width=width,
        height=height,
        declared_frames=stream.frames or None,
        variable_frame_rate=bool(len(steps)) and bool(np.ptp(steps) > STEP_TOLERANCE * np.median(steps)),
    )
    return VideoIndex(properties, pts_seconds, container.format.name)


def _video_packets(container: av.container.InputContainer, stream: av.VideoStream) -> _Packets:
    num_packets, num_corrupt = 0, 0
    ticks = array("q")
    end_seconds = 0.0
    for packet in container.demux():
        if packet.pts is not None and packet.time_base is not None:
            end_seconds = max(end_seconds, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        # The packet without size ends the stream; those that an edit list cuts off are decoded but not shown.
        if packet.stream.index == stream.index and packet.size and not packet.is_discard:
            num_packets += 1
            num_corrupt += packet.is_corrupt
            if packet.pts is not None:
                ticks.append(packet.pts)
    return _Packets(num_packets, num_corrupt, ticks, end_seconds)


def _video_stream(path: Path, container: av.container.InputContainer) -> av.VideoStream:
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        has = "sound only" if container.streams.audio else "no video"
        raise VideoError(f"{path}: holds {has}, no video stream")
    return stream


def _shown_size(path: Path, container: av.container.InputContainer, stream: av.VideoStream) -> tuple[int, int]:
    """Width and height as a player shows them. The rotation is only known from a decoded frame."""
    frame = next(container.decode(stream), None)
    if frame is None:
        raise VideoError(f"{path}: no frame can be decoded; the file has no frames or is damaged")
    quarter_turned = frame.rotation % 180 != 0
    return (frame.height, frame.width) if quarter_turned else (frame.width, frame.height)


def _frame_rate(stream: av.VideoStream, pts_seconds: np.ndarray) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate
    if rate:
        return Fraction(rate)
    if len(pts_seconds) < 2:
        return Fraction(1)
    return Fraction((len(pts_seconds) - 1) / (pts_seconds[-1] - pts_seconds[0])).limit_denominator(1001)


def _check_is_whole_file(path: Path) -> None:
    """Raise VideoError where there is no file, or it ends before its own structure says so.

    A decoder reads a file that was cut short without complaint up to the cut, so the size is compared here.
    """
    if not path.exists():
        raise VideoError(f"{path}: no such file")
    if path.is_dir():
        raise VideoError(f"{path}: is a folder, expected a video file")
    size = path.stat().st_size
    if size == 0:
        raise VideoError(f"{path}: is empty (0 bytes); the copy or the recording failed")
    with path.open("rb") as file:
        expected = max(_block_ends(file, size), default=size)
    if expected > size:
        raise VideoError(f"{path}: is cut short, {size} of {expected} bytes are there; copy or record it again")


def _block_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Where each outermost block of an mp4/mov, avi or mkv/webm file ends; nothing for other files."""
    head = file.read(12)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        yield from _box_ends(file, size)
    elif head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        yield from _riff_ends(file, size)
    elif head[:4] == b"\x1a\x45\xdf\xa3":
        yield from _ebml_ends(file, size)


def _box_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """ISO/IEC 14496-12, 4.2: 32-bit size, type, 64-bit size where the first is 1; 0 means to the end of the file."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        box_size, _ = struct.unpack(">I4s", file.read(8))
        if box_size == 1 and end + 16 <= size:
            (box_size,) = struct.unpack(">Q", file.read(8))
        if box_size < 8:
            return
        end += box_size
        yield end


def _riff_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """AVI: `RIFF`, 32-bit size of what follows; files over 1 GB go on with further RIFF blocks."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        name, block_size = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF":
            return
        end += 8 + block_size
        yield end


def _ebml_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """RFC 8794: an element is an id, a size of 1 to 8 bytes led by a marker bit (all ones: unknown), its content."""
    end = 0
    while end + 12 <= size:
        file.seek(end + 4)  # Both outermost elements, EBML and Segment, have an id of four bytes.
        field = file.read(8)
        length = 9 - field[0].bit_length()
        if length > 8:
            return
        num_bits = 7 * length
        content = int.from_bytes(field[:length], "big") & ((1 << num_bits) - 1)
        if content == (1 << num_bits) - 1:
            return
        end += 4 + length + content
        yield end
