"""The units in the packets of H.264 and HEVC: pictures in slices, parameters, side messages and others."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import av

_START = re.compile(rb"\x00\x00\x01")  # of a unit, in streams whose units do not state their lengths (Annex B)
_ARRAYS_PLACE = 22  # where a description of HEVC states the number of its arrays of units
_BLANK = re.compile(rb"\x00\x00\x00")  # an expression, as it is searched for without a copy of the packet


class Codec(NamedTuple):
    """How a codec marks the type of a unit, in its first byte.

    Attributes:
        header_bytes: The length of the header of a unit.
        length_place: Where the description of the stream states the number of bytes of a length, minus one.
        shift: The number of bits after the type.
        mask: The bits of the type, shifted.
        slices: The types of slices, which hold the data of pictures.
        messages: The types of side messages.
        filler: The type of filler data.
    """

    header_bytes: int
    length_place: int
    shift: int
    mask: int
    slices: frozenset[int]
    messages: frozenset[int]
    filler: int


_CODECS = {
    "h264": Codec(1, 4, 0, 0x1F, frozenset({1, 2, 3, 4, 5}), frozenset({6}), 12),
    "hevc": Codec(2, 21, 1, 0x3F, frozenset({*range(10), *range(16, 22)}), frozenset({39, 40}), 38),
}


class Units:
    """Finds the units in the packets of a stream.

    Args:
        stream: The video stream.

    Attributes:
        codec: How the codec of the stream marks its units; None for a codec without such units.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self.codec = _CODECS.get(stream.codec_context.name)
        description = stream.codec_context.extradata or b""
        self._length_bytes = 0  # Annex B
        if self.codec and len(description) > self.codec.length_place and description[0] == 1:
            self._length_bytes = (description[self.codec.length_place] & 3) + 1

    @property
    def is_hevc(self) -> bool:
        """Whether the codec of the stream is HEVC."""
        return self.codec is _CODECS["hevc"]

    def of(self, content: memoryview) -> Iterator[tuple[int, int]]:
        """Yield where the units of a packet start and stop; units without content are left out."""
        if not self._length_bytes:
            starts = [match.end() for match in _START.finditer(content)]
            yield from (
                (start, after - 3 if after < len(content) else after)
                for start, after in pairwise([*starts, len(content)])
                if start < after
            )
            return
        start = 0
        while start + self._length_bytes < len(content):
            first = start + self._length_bytes
            start = first + int.from_bytes(content[start:first], "big")
            if start > first:
                yield first, min(start, len(content))

    def of_description(self, content: memoryview) -> Iterable[tuple[int, int]]:
        """Return where the units in the description of the stream (its extradata) start and stop.

        Of a description of H.264 whose units state their lengths, none are returned.
        """
        if content[0] != 1:
            return self.of(content)
        return _units_of_description(content) if self.codec is _CODECS["hevc"] else ()

    def have_blank_part(self, packet: av.Packet) -> bool:
        """Tell whether a slice in a packet has three zeros inside, which no encoder writes there.

        They are what a part reads as that was lost on a disk or on the way. Decoders take them for the end of the unit
        and may find no error, as nearly any bits are a picture in arithmetic coding. Zeros after a unit do not matter.
        """
        if self.codec is None or not packet.size:
            return False
        content = memoryview(packet)
        if _BLANK.search(content) is None:
            return False
        return any(
            content[start] >> self.codec.shift & self.codec.mask in self.codec.slices
            and _BLANK.search(bytes(content[start:stop]).rstrip(b"\0")) is not None
            for start, stop in self.of(content)
        )


def _units_of_description(content: memoryview) -> Iterator[tuple[int, int]]:
    """Yield where the units in a description of HEVC start and stop (ISO/IEC 14496-15, 8.3.3.1.2).

    They are in arrays, each of which has a type, the number of its units, and the length of each before it.
    """
    place = _ARRAYS_PLACE + 1
    for _ in range(content[_ARRAYS_PLACE] if len(content) > _ARRAYS_PLACE else 0):
        num_units = int.from_bytes(content[place + 1 : place + 3], "big")
        place += 3
        for _ in range(num_units):
            start = place + 2
            place = start + int.from_bytes(content[place:start], "big")
            if place > len(content):
                return
            if place > start:
                yield start, place
