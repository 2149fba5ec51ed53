"""The use of FFmpeg through PyAV: opening, demuxing, strict decoding, and its errors in plain words."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline.files import InputFile, describe_absence
from pipeline.video.side_messages import SideMessages
from pipeline.video.superframes import split_superframe
from pipeline.video.types import VideoError
from pipeline.video.units import Units

# Problems of a file are reported once, in a VideoError. The value is None and not a level: with a level, FFmpeg's
# threads acquire the GIL to log, and wait for it forever if the thread that holds it frees the decoder.
av.logging.set_level(None)

# Options of a codec context, with FFmpeg's names: a decoder must report an error instead of repairing the frame.
STRICT_DECODING = {"err_detect": "crccheck+buffer+explode"}

# Titles, names of handlers and the like may be in any encoding. PyAV 19, which reads them all, has no such option.
METADATA_OPTIONS = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}

# The exceptions of decoding. A ValueError is raised by PyAV 19, where a decoder could not be opened and gets another
# packet, and by `StrictDecoder`.
DECODING_ERRORS = (av.FFmpegError, ValueError)

# FFmpeg's own decoder of VP9 turns nearly any bits into a picture. That of libvpx notices when a picture ends early,
# gives the same pixels and is as fast, but decodes 8 bits only.
CHECKING_DECODERS = {"vp9": "libvpx-vp9"}

# FFmpeg's decoder of this codec ignores errors, unless several threads decode one frame. That of libvpx finds others.
# Of a whole file both give the same pixels, and of damaged pictures often different ones.
VP8, SECOND_VP8 = "vp8", "libvpx"

# These demuxers skip damaged bytes silently; the duration in the header then shows that packets are missing.
BROADCAST_FORMATS = frozenset({"mpeg", "mpegts"})
SKIPPING_DEMUXERS = frozenset({"avi", "matroska,webm"})
DURATION_TOLERANCE_SECONDS = 0.5


def ffmpeg_name(path: InputFile) -> str:
    """Return the absolute path of a file: FFmpeg takes text before a colon for a protocol, as in 12:30:05.mp4.

    Raises:
        VideoError: It is an object of a store, which has no path.
    """
    if not isinstance(path, Path):
        raise VideoError(f"{path}: is in a store, whose objects only PyAV reads: expected --reader auto or pyav")
    return str(path.absolute())


def open_input(source: Any, **options: Any) -> av.container.InputContainer:
    """Open a video with PyAV: a file, an address, or an object with the method `read`.

    Args:
        source: See `av.open`.
        **options: Further arguments of `av.open`.

    Raises:
        av.FFmpegError: FFmpeg cannot open the video.
    """
    return av.open(source, **METADATA_OPTIONS, **options)


def open_file(path: InputFile, **options: Any) -> av.container.InputContainer:
    """Open a video file as `open_input` does. FFmpeg reads files itself, and objects of a store through Python."""
    return open_input(ffmpeg_name(path) if isinstance(path, Path) else path.open("rb"), **options)


@contextmanager
def naming_errors(path: InputFile) -> Iterator[None]:
    """Turn FFmpeg's errors inside the `with` block into errors that name the file.

    Raises:
        VideoError: FFmpeg raised an error: the file is damaged, or not a video.
    """
    try:
        yield
    except av.FFmpegError as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(f"{path}: cannot be read as a video, it is damaged or something else ({reason})") from error


def demux(container: av.container.InputContainer, *streams: av.VideoStream) -> Iterator[av.Packet]:
    """Yield the packets of the streams; those of all streams where none is given.

    PyAV fails at the end of a file in which a stream began after the start, as in transport streams; that error is
    suppressed.

    Args:
        container: The open file.
        *streams: The streams.
    """
    with suppress(IndexError):
        yield from container.demux(*streams)


def decode_packets(
    container: av.container.InputContainer, stream: av.VideoStream, *, frame_threads: bool
) -> Iterator[av.VideoFrame]:
    """Yield the frames of a stream as a `StrictDecoder` gives them."""
    decoder = StrictDecoder(stream, frame_threads=frame_threads)
    for packet in demux(container, stream):
        yield from decoder.decode(packet)


class StrictDecoder:
    """A decoder that raises errors, without regard to wrong side messages.

    Args:
        stream: The stream, before its first frame is decoded.
        frame_threads: Whether several threads decode several frames in parallel. An error in one thread may then lose
            frames that other threads have ready.
    """

    def __init__(self, stream: av.VideoStream, *, frame_threads: bool) -> None:
        self._stream = stream
        context, name = stream.codec_context, CHECKING_DECODERS.get(stream.codec_context.name)
        self._messages, self._units = SideMessages(stream), Units(stream)
        self._splits = name in av.codecs_available and _has_8_bits(context)
        if self._splits:
            assert name is not None
            context = _other_decoder(stream, name)
        if self._messages.description != context.extradata:
            context.extradata = self._messages.description
        context.options = STRICT_DECODING
        self._second: av.VideoCodecContext | None = None
        if context.name == VP8:
            context.thread_type, context.thread_count = "SLICE", 2
            if SECOND_VP8 in av.codecs_available:
                self._second = _other_decoder(stream, SECOND_VP8)
                self._second.thread_count = 1  # several threads may decode damaged pictures differently each time
        elif frame_threads:
            context.thread_type = "AUTO"
        else:
            context.thread_count = 1
        self._context = context

    def restart(self) -> None:
        """Forget all pictures: the next packet is a key frame elsewhere in the stream."""
        if self._splits:
            self._context = _other_decoder(self._stream, self._context.name)
            self._context.options = STRICT_DECODING
        else:
            self._context.flush_buffers()
        if self._second is not None:
            self._second = _other_decoder(self._stream, SECOND_VP8)
            self._second.thread_count = 1

    def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        """Return the frames that the decoder gives for a packet; the last ones for an empty packet or None.

        Raises:
            DECODING_ERRORS: The picture data are damaged.
        """
        if packet is not None:
            self._messages.fill(packet)
            if self._units.have_blank_part(packet):
                raise ValueError("a part of a picture is blank; the packet is damaged")
            if self._splits and packet.size:
                return self._decode_pictures(packet)
        if self._second is not None:
            return self._decode_twice(self._second, packet)
        return self._context.decode(packet)

    def _decode_pictures(self, packet: av.Packet) -> list[av.VideoFrame]:
        """Decode the pictures of a packet one by one; of those that are shown, only the last one is a frame."""
        frames: list[av.VideoFrame] = []
        for picture in split_superframe(packet):
            frames = self._context.decode(picture) or frames
        return frames

    def _decode_twice(self, second: av.VideoCodecContext, packet: av.Packet | None) -> list[av.VideoFrame]:
        """Decode a packet by two decoders, which must agree."""
        try:
            others = second.decode(packet)
        finally:
            frames = self._context.decode(packet)  # also after an error, as later frames refer to these
        if len(frames) != len(others) or not all(map(_have_same_pixels, frames, others)):
            raise ValueError("two decoders give different pictures; the packet is damaged")
        return frames


def _other_decoder(stream: av.VideoStream, name: str) -> av.VideoCodecContext:
    context = av.VideoCodecContext.create(name, "r")
    context.extradata = stream.codec_context.extradata
    return context


def _have_same_pixels(frame: av.VideoFrame, other: av.VideoFrame) -> bool:
    return all(map(np.array_equal, _planes(frame), _planes(other)))


def _planes(frame: av.VideoFrame) -> Iterator[np.ndarray]:
    """Yield the three planes of a frame of 8 bits, uint8 [h, w]; without the transparency that only libvpx decodes."""
    for plane in frame.planes[:3]:
        yield np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : plane.width]


def _has_8_bits(context: av.VideoCodecContext) -> bool:
    return context.format is not None and all(component.bits == 8 for component in context.format.components)


def packet_end_seconds(packet: av.Packet) -> float:
    """Return the time at which the content of a packet ends; 0 where the packet has no time."""
    if packet.pts is None or packet.time_base is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def duration_seconds(part: av.Packet | av.VideoFrame) -> float:
    """Return how long a frame stands, or the content of a packet; 0 where it does not say."""
    return float((part.duration or 0) * part.time_base) if part.time_base is not None else 0.0


def video_stream(name: InputFile | str, container: av.container.InputContainer) -> av.VideoStream:
    """Return the video stream that a player shows.

    Args:
        name: The file or stream, for the message.
        container: The open file.

    Raises:
        VideoError: There is no video stream (a cover picture does not count), or no decoder for it.
    """
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        has = "sound only" if container.streams.audio else "no video"
        raise VideoError(f"{name}: holds {has}, no video stream")
    assert isinstance(stream, av.VideoStream)
    if stream.codec_context is None:
        raise VideoError(f"{name}: there is no decoder for its video stream: it is damaged, or of a rare codec")
    return stream


def check_is_file(path: InputFile) -> None:
    """Check that a file exists.

    Raises:
        VideoError: There is no such file, its content is elsewhere, or it is a folder, a pipe or a device.
    """
    if isinstance(path, Path) and (absence := describe_absence(path)):
        raise VideoError(f"{path}: {absence}")
    if not path.exists():
        raise VideoError(f"{path}: no such file")
    if path.is_dir():
        raise VideoError(f"{path}: is a folder, expected a video file")


def clock_start_seconds(path: InputFile) -> float:
    """Return the time stamp at which players show the time 0.

    The clock of broadcast formats starts anywhere, and players show the start of such a file as 0. In other formats it
    is 0, so that a video which starts late does so in players too.

    Raises:
        VideoError: The file cannot be opened.
    """
    with naming_errors(path), open_file(path) as container:
        is_broadcast = container.format.name in BROADCAST_FORMATS
        return (container.start_time or 0) / av.time_base if is_broadcast else 0.0
