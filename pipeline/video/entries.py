"""Where decoding may begin inside a video, and which pictures it may leave out, by what the pictures themselves say."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

import av

from pipeline.video.ffmpeg import DECODING_ERRORS, demux
from pipeline.video.types import VideoIndex
from pipeline.video.units import Units

EXCHANGING_DEMUXERS = frozenset({"avi"})  # see `index.MAX_EXCHANGED`
MAX_SEEKS = 12  # attempts to find a place to begin at, each of them earlier

# Types of units of H.264 (ISO/IEC 14496-10, table 7-1) and HEVC (ISO/IEC 23008-2, table 7-1).
_H264_SLICES, _H264_IDR, _H264_MESSAGES = frozenset({1, 2, 3, 4, 5}), 5, 6
_HEVC_ENTRIES = frozenset(range(16, 22))
_RECOVERY_POINT = 6  # the type of a message of H.264
# The first bits of its content: no frame has to be decoded before (recovery_frame_cnt), the pixels are exact, and no
# link to earlier frames is broken.
_EXACT_AT_ONCE = 0b110


class Entry(NamedTuple):
    """A place at which decoding may begin.

    Attributes:
        first: The packet there.
        following: The packets after it.
    """

    first: av.Packet
    following: Iterator[av.Packet]

    @property
    def seconds(self) -> float:
        """The time of the frame there."""
        return packet_seconds(self.first)

    def decode(self, decode: Callable[[av.Packet], list[av.VideoFrame]]) -> Iterator[av.VideoFrame]:
        """Decode from here on, and yield the frame here and all that are shown after it.

        Args:
            decode: Decodes a packet, with a decoder that knows none of the packets before.

        Raises:
            DECODING_ERRORS: A frame cannot be decoded.
        """
        has_begun = False
        for packet in chain([self.first], self.following):
            try:
                frames = decode(packet)
            except DECODING_ERRORS:
                if has_begun:
                    raise
                continue  # a frame that is shown before the key frame may lack those that it refers to
            for frame in frames:
                has_begun = has_begun or (frame.time is not None and frame.time >= self.seconds)
                if has_begun:
                    yield frame


def may_jump(video: VideoIndex, stream: av.VideoStream) -> bool:
    """Return whether the times of packets say which frame a seek has reached.

    Args:
        video: The index of the video.
        stream: Its stream.
    """
    exchanges = video.container in EXCHANGING_DEMUXERS and bool(stream.codec_context.codec.reorder)
    return video.is_lost is None and not exchanges


def find_entry(
    container: av.container.InputContainer, stream: av.VideoStream, units: Units, seconds: float
) -> Entry | None:
    """Find the latest place from which on decoding gives the frame of a time, by a seek; None where none was found.

    Args:
        container: The open file. Its position changes.
        stream: The stream.
        units: Those of the stream.
        seconds: The time of the frame.
    """
    ticks_per_second = 1 / stream.time_base
    target = round(seconds * ticks_per_second)
    tick, back = target, ticks_per_second / 4
    for _ in range(MAX_SEEKS):
        container.seek(tick, stream=stream)
        packets = demux(container, stream)
        first = _first_entry(packets, units, target)
        if first is not None:
            return Entry(first, packets)
        tick, back = round(tick - back), back * 2
    return None


def packet_seconds(packet: av.Packet) -> float:
    """Return the time of a packet that has one, with the rounding of the index of a video."""
    assert packet.pts is not None
    assert packet.time_base is not None
    return packet.pts * packet.time_base.numerator / packet.time_base.denominator


def _first_entry(packets: Iterator[av.Packet], units: Units, target: int) -> av.Packet | None:
    """Return the first packet at which decoding may begin; None where it is shown after the target."""
    for packet in packets:
        if packet.pts is not None and may_begin(packet, units):
            return packet if packet.pts <= target else None
        if packet.dts is not None and packet.dts > target:
            return None
    return None


def may_begin(packet: av.Packet, units: Units) -> bool:
    """Return whether a decoder that begins at a packet gives that frame, and all that are shown after it, exactly.

    Containers also mark other packets as key frames, such as the starts of a gradual refresh.
    """
    if not packet.is_keyframe or not packet.size:
        return False
    if units.codec is None:
        return True
    content = memoryview(packet)
    starts = [(start, stop) for start, stop in units.of(content)]
    if units.is_hevc:
        return any(content[start] >> 1 & 0x3F in _HEVC_ENTRIES for start, _ in starts)
    types = [content[start] & 0x1F for start, _ in starts]
    return _H264_IDR in types or any(
        kind == _H264_MESSAGES and _is_exact_recovery(bytes(content[start + 1 : stop]))
        for kind, (start, stop) in zip(types, starts, strict=True)
    )


def is_unreferenced(packet: av.Packet, units: Units) -> bool:
    """Return whether no other picture refers to that of a packet, so that leaving it out changes none.

    Only H.264 is looked at, where the header of each slice says so by itself (nal_ref_idc).
    """
    if units.codec is None or units.is_hevc or not packet.size:
        return False
    content = memoryview(packet)
    slices = [content[start] for start, _ in units.of(content) if content[start] & 0x1F in _H264_SLICES]
    return bool(slices) and not any(header >> 5 & 3 for header in slices)


def _is_exact_recovery(message: bytes) -> bool:
    """Return whether side messages (SEI) begin with a recovery point from which on the pixels are exact."""
    place = 0
    while place + 2 < len(message):
        kind, size = message[place], message[place + 1]
        if kind == 255 or size == 255:  # longer than any recovery point: user data
            return False
        if kind == _RECOVERY_POINT:
            return message[place + 2] >> 5 == _EXACT_AT_ONCE
        place += 2 + size
    return False
