"""How FFmpeg is used through PyAV: opening, demuxing, strict decoding, and its errors in plain words."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av

from pipeline.video.types import VideoError

# What is wrong with a file is said once, in a VideoError. None, and no level: with a level FFmpeg's threads ask for the
# GIL to log, and wait for it forever where the decoder is freed by who holds it.
av.logging.set_level(None)

# A decoder that meets an error is to say so, and not to patch the frame up. Of a codec context, FFmpeg's names.
STRICT_DECODING = {"err_detect": "crccheck+buffer+explode"}

# What decoding raises: PyAV 19 a ValueError, where a decoder could not be opened and is given another packet.
DECODING_ERRORS = (av.FFmpegError, ValueError)

# Its decoder passes over errors, unless several threads decode one frame.
VP8 = "vp8"

# These demuxers pass over damaged bytes in silence; that packets are missing shows in the duration of the header.
SKIPPING_DEMUXERS = frozenset({"avi", "matroska,webm"})
DURATION_TOLERANCE_SECONDS = 0.5


def ffmpeg_name(path: Path) -> str:
    """A file by its whole path: FFmpeg takes what stands before a colon for a protocol, as in 12:30:05.mp4."""
    return str(path.absolute())


def open_file(path: Path) -> av.container.InputContainer:
    """A video file, by PyAV. Raises av.FFmpegError."""
    return av.open(ffmpeg_name(path))


@contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """FFmpeg's errors as VideoError."""
    try:
        yield
    except (av.FFmpegError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(f"{path}: cannot be read as a video, it is damaged or something else ({reason})") from error


def demux(container: av.container.InputContainer, *streams: av.VideoStream) -> Iterator[av.Packet]:
    """The packets of the streams, of all without one. PyAV fails when it is through with a file in which a stream began
    on the way, as in transport streams."""
    with suppress(IndexError):
        yield from container.demux(*streams)


def decode_strictly(stream: av.VideoStream, *, frame_threads: bool) -> None:
    """Set a stream up to raise what goes wrong. `frame_threads`: several threads, where an error may cost others the
    frames that they had ready."""
    context = stream.codec_context
    context.options = STRICT_DECODING
    if context.name == VP8:
        context.thread_type, context.thread_count = "SLICE", 2
    elif frame_threads:
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


def check_is_file(path: Path) -> None:
    """Raise VideoError where there is no such file."""
    if not path.exists():
        raise VideoError(f"{path}: no such file")
    if path.is_dir():
        raise VideoError(f"{path}: is a folder, expected a video file")
