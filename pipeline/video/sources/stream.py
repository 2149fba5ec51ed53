"""A stream by its address as a live source: one that ends, such as a finished video behind HTTP, or one without end."""

import errno
import re
import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import NamedTuple
from urllib.parse import urlsplit

import av

from pipeline.video.ffmpeg import (
    DECODING_ERRORS,
    DURATION_TOLERANCE_SECONDS,
    SKIPPING_DEMUXERS,
    StrictDecoder,
    demux,
    open_input,
    packet_end_seconds,
    video_stream,
)
from pipeline.video.region import Region
from pipeline.video.sources.base import LONGEST_PAUSE_SECONDS, LostError, ReopenedSource
from pipeline.video.types import VideoError

# Options for FFmpeg: RTSP uses one connection, which firewalls let through; and where a server can send parts of a
# file, FFmpeg itself resumes at the byte where the connection was cut off.
STREAM_OPTIONS = {"rtsp_flags": "prefer_tcp", "reconnect": "1"}
# Demuxers by their names in FFmpeg. The number of bytes that a server states for a playlist is not the length of the
# video, and cameras that send pictures one after the other state an invented number.
MP4, MULTIPART = "mov,mp4,m4a,3gp,3g2,mj2", "mpjpeg"
PLAYLISTS = frozenset({"hls", "dash", "sdp"})
# The sender or the network ended it; whether FFmpeg calls that an error depends on its version.
CONNECTION_ENDED = "the connection ended"


class StreamSource(ReopenedSource):
    """A stream by its address, read by PyAV.

    A stream that states its end (a finished video behind HTTP) is read to that end: all of its frames come, each once
    and with its own time. Where its connection is lost before, it is not opened again from the start, and VideoError is
    raised. Damaged frames are left out, and reported by VideoError at the end.

    The end of any other stream counts as a loss. Its frames that are damaged on their way are shown as the decoder
    repairs them. Its times start again with each connection, so the clock counts the time.

    Args:
        address: The address, which may contain user and password.
        region: See `ReopenedSource`, as for the arguments that are not listed.
        idle_seconds: See `ReopenedSource`.
        open_timeout_seconds: The maximum time until the stream is open.
        read_timeout_seconds: The maximum time without a frame in an open stream.
        longest_pause_seconds: See `ReopenedSource`.
        on_event: See `ReopenedSource`.
    """

    def __init__(
        self,
        address: str,
        region: Region,
        *,
        idle_seconds: float,
        open_timeout_seconds: float = 10.0,
        read_timeout_seconds: float = 5.0,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
        on_event: Callable[[str], None] = lambda event: None,
    ) -> None:
        super().__init__(
            shown_address(address),
            region,
            idle_seconds=idle_seconds,
            longest_pause_seconds=longest_pause_seconds,
            on_event=on_event,
        )
        self._address = address
        self._timeouts_seconds = (open_timeout_seconds, read_timeout_seconds)
        # It stays True: a finite video at the address of an endless stream means that the sender pauses.
        self._endless = False

    def _read(self, stop: Event) -> Iterator[tuple[av.VideoFrame, float | None]]:
        try:
            container = open_input(self._address, options=STREAM_OPTIONS, timeout=self._timeouts_seconds)
        except av.FFmpegError as error:
            raise LostError(_reason(error)) from None  # the message of `error` contains the password
        with container:
            try:
                stream = video_stream(self.name, container)
            except VideoError as error:
                raise LostError(str(error).removeprefix(f"{self.name}: ")) from None
            length = None if self._endless else _length(container, stream)
            if length is None:
                self._endless = True
                for frame in self._read_endless(container, stream, stop):
                    yield frame, None
            else:
                self.can_wait = True
                yield from self._read_finite(container, stream, length, stop)

    def _read_endless(
        self, container: av.container.InputContainer, stream: av.VideoStream, stop: Event
    ) -> Iterator[av.VideoFrame]:
        stream.codec_context.thread_count = 1  # each further thread delays by a frame
        _, max_seconds = self._timeouts_seconds
        arrived = time.monotonic()
        try:
            for packet in demux(container):  # packets of sound too, which may continue where the picture does not
                for frame in (packet.stream.index == stream.index and _decode(stream.codec_context, packet)) or []:
                    yield frame
                    arrived = time.monotonic()
                if stop.is_set():
                    return
                if time.monotonic() - arrived > max_seconds:
                    raise LostError(f"nothing but sound, or damage, for {max_seconds:g} s")
        except av.FFmpegError as error:
            yield from _decode(stream.codec_context, None) or []  # the frames that the decoder keeps until the end
            raise LostError(_reason(error)) from None
        raise LostError(CONNECTION_ENDED)

    def _read_finite(
        self, container: av.container.InputContainer, stream: av.VideoStream, length: "_Length", stop: Event
    ) -> Iterator[tuple[av.VideoFrame, float]]:
        num_frames, num_damaged = 0, 0
        end_seconds, reason = 0.0, ""
        decoder = StrictDecoder(stream, frame_threads=False)
        for part in _whole_frames(container, stream, decoder):
            for frame in part.frames:
                yield frame, _seconds(frame, stream, num_frames)
                num_frames += 1
            if stop.is_set():
                return
            num_damaged += part.is_damaged
            end_seconds, reason = max(end_seconds, part.end_seconds), part.reason
        lost = length.lost(end_seconds, reason)
        if reason and not lost:  # the decoder keeps its last frames until the end
            for frame in _decode(decoder, None) or []:
                yield frame, _seconds(frame, stream, num_frames)
                num_frames += 1
        if not num_frames:
            raise VideoError(
                f"{self.name}: no frame came ({lost or 'all are damaged'}): where the index of a video is at its end, a"
                " server must send parts of it; download it, and label the file"
            )
        if lost:
            raise VideoError(
                f"{self.name}: lost after {num_frames} frames ({lost}): a video that has an end is not begun again;"
                " download it, and label the file"
            )
        if num_damaged:
            raise VideoError(
                f"{self.name}: {num_damaged} of its frames are damaged, and have no label; download it, and label the"
                " file with --on-error partial"
            )

    def _likely_cause(self) -> str:
        return "is the address right, the sender on, its port open, and are user and password right?"


class _Length(NamedTuple):
    """The statements of a stream on its end.

    Attributes:
        seconds: Its length; None where it does not state it.
        in_bytes: Whether the server states the number of bytes.
    """

    seconds: float | None
    in_bytes: bool

    def lost(self, end_seconds: float, reason: str) -> str:
        """Return the evidence that a video is not complete; "" if it is.

        FFmpeg fails where fewer bytes come than the server states. Without their number, a connection that is cut looks
        like an end, and some senders end a complete video with a failure.

        Args:
            end_seconds: The end of the part that came.
            reason: FFmpeg's reason for the end; "" where it ended without one.
        """
        if self.in_bytes and reason:
            return reason
        if self.seconds is not None and self.seconds - end_seconds > DURATION_TOLERANCE_SECONDS:
            return f"{end_seconds:.1f} of {self.seconds:.1f} seconds came" + (f", {reason}" if reason else "")
        return ""


def _length(container: av.container.InputContainer, stream: av.VideoStream) -> _Length | None:
    """Return the statements of a stream on its end; None where it makes none, which means that it has no end."""
    name = container.format.name
    in_bytes = (container.size or 0) > 0 and name not in PLAYLISTS | {MULTIPART}
    seconds = container.duration / av.time_base if container.duration else None
    fragmented = name == MP4 and not stream.frames  # FFmpeg adds up the fragments that it has seen
    guessed = in_bytes and name not in SKIPPING_DEMUXERS | {MP4}  # by FFmpeg, from the number of bytes and the bit rate
    if fragmented or guessed:
        seconds = None
    return _Length(seconds, in_bytes) if in_bytes or seconds else None


class _Part(NamedTuple):
    """The result of decoding one packet.

    Attributes:
        frames: The frames that the decoder gave.
        is_damaged: Whether the packet could not be decoded.
        end_seconds: The end of the packet's content.
        reason: FFmpeg's reason where it failed here; "" where it did not.
    """

    frames: list[av.VideoFrame]
    is_damaged: bool
    end_seconds: float
    reason: str


def _whole_frames(
    container: av.container.InputContainer, stream: av.VideoStream, decoder: StrictDecoder
) -> Iterator[_Part]:
    """Yield the rest of a video, without damaged frames."""
    start_seconds = (container.start_time or 0) / av.time_base if container.format.name in PLAYLISTS else 0.0
    try:
        for packet in demux(container):
            end_seconds = packet_end_seconds(packet) - start_seconds
            frames: list[av.VideoFrame] | None = []
            if packet.stream.index == stream.index:  # `stream_index` is 0 in the packets that end all streams
                frames = None if packet.is_corrupt else _decode(decoder, packet)
            yield _Part(frames or [], frames is None, end_seconds, "")
    except av.FFmpegError as error:
        yield _Part([], False, 0.0, _reason(error))


def _seconds(frame: av.VideoFrame, stream: av.VideoStream, num_before: int) -> float:
    """Return the time of a frame; where it states none, that of a constant frame rate."""
    if frame.pts is None or stream.time_base is None:
        return num_before / float(stream.average_rate or stream.guessed_rate or 25)
    return frame.pts * stream.time_base.numerator / stream.time_base.denominator


def _decode(decoder: StrictDecoder | av.VideoCodecContext, packet: av.Packet | None) -> list[av.VideoFrame] | None:
    """Return the frames that a decoder gives for a packet, or for None at the end; None where it fails."""
    try:
        return decoder.decode(packet)
    except EOFError:  # the decoder had been given the end before
        return []
    except DECODING_ERRORS:
        return None


def _reason(error: Exception) -> str:
    """Return FFmpeg's reason, without the address."""
    if isinstance(error, av.error.ExitError):
        return "it did not answer in time"
    if getattr(error, "errno", None) == errno.EIO:
        return CONNECTION_ENDED
    return getattr(error, "strerror", None) or type(error).__name__


def shown_address(address: str) -> str:
    """Remove secrets from an address: user and password, the query, and values within the path.

    >>> shown_address("rtsp://me:p@ss@10.0.0.5:554/user=me&password=x/live?key=y")
    'rtsp://10.0.0.5:554/user=.../live'
    """
    scheme, _, rest = address.partition("://")
    rest = rest.rpartition("@")[2]  # after the last @: passwords often contain an @ that should be %40
    parts = urlsplit(f"{scheme}://{rest}")
    return f"{scheme}://{parts.netloc}" + re.sub(r"=[^/]*", "=...", parts.path)
