"""The side messages (SEI) among the pictures of H.264 and HEVC: times, captions, names of programs and the like.

A decoder that reports errors gives up a whole picture for a side message that states a wrong length, and the pictures
that refer to it, though their data are whole; IP cameras write such messages. Before decoding, those messages therefore
become filler data, which decoders pass over. So do messages without influence on pixels, as their content may be wrong.
They are in the packets of a stream, and of HEVC also in its description, which the header of a file contains.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import av

_START = re.compile(rb"\x00\x00\x01")  # of a unit, in streams whose units do not state their lengths (Annex B)
_ESCAPED = b"\0\0\3"  # how 00 00 is written inside a unit, so that no start code occurs there
_USER_DATA, _UUID_BYTES = 5, 16
# Messages that decoders need: of x264 (user data), whose old versions had errors that decoders repeat; where decoding
# may begin (recovery point); film grain; orientation; transfer characteristics.
_KEPT = frozenset({_USER_DATA, 6, 19, 47, 147})


_ARRAYS_PLACE = 22  # where a description of HEVC states the number of its arrays of units


class _Codec(NamedTuple):
    """How a codec marks the type of a unit, in its first byte.

    Attributes:
        header_bytes: The length of the header of a unit.
        length_place: Where the description of the stream states the number of bytes of a length, minus one.
        shift: The number of bits after the type.
        mask: The bits of the type, shifted.
        messages: The types of side messages.
        filler: The type of filler data.
    """

    header_bytes: int
    length_place: int
    shift: int
    mask: int
    messages: frozenset[int]
    filler: int


_CODECS = {
    "h264": _Codec(1, 4, 0, 0x1F, frozenset({6}), 12),
    "hevc": _Codec(2, 21, 1, 0x3F, frozenset({39, 40}), 38),
}


class SideMessages:
    """Turns the side messages in the packets of a stream into filler data, except those that decoders need.

    Args:
        stream: The video stream; of a codec without such messages no packet is changed.

    Attributes:
        description: The description of the stream (extradata), with its messages changed; None where it has none.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self._codec = _CODECS.get(stream.codec_context.name)
        self._length_bytes = 0  # Annex B
        self._num_wrong, self._is_description_wrong = 0, False
        self.description = stream.codec_context.extradata
        if self._codec is not None and self.description:
            content = bytearray(self.description)
            self._is_description_wrong = self._fill(memoryview(content), self._read_description(memoryview(content)))
            self.description = bytes(content)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be noted of the messages so far."""
        places = ["in its header"] * self._is_description_wrong
        places += [f"of {self._num_wrong} of its frames"] * bool(self._num_wrong)
        return tuple(
            f"a side message (SEI) {place} states a wrong length; pixels do not depend on it" for place in places
        )

    def fill(self, packet: av.Packet) -> None:
        """Change the messages in a packet."""
        if self._codec is not None and packet.size:
            content = memoryview(packet)
            self._num_wrong += self._fill(content, self._units(content))

    def _fill(self, content: memoryview, units: Iterable[tuple[int, int]]) -> bool:
        """Change the messages in some units, and return whether any of them states a wrong length."""
        codec, are_wrong = self._codec, False
        assert codec is not None
        for start, stop in units:
            if content[start] >> codec.shift & codec.mask not in codec.messages:
                continue
            kinds = _kinds(bytes(content[start + codec.header_bytes : stop]))
            are_wrong |= kinds is None
            if not kinds or not kinds & _KEPT:
                cleared = content[start] & ~(codec.mask << codec.shift) & 0xFF
                content[start] = cleared | codec.filler << codec.shift
        return are_wrong

    def _read_description(self, content: memoryview) -> Iterable[tuple[int, int]]:
        """Find out how the stream marks its units, and return where those of its description start and stop."""
        assert self._codec is not None
        if content[0] != 1:
            return list(self._units(content))
        if len(content) <= self._codec.length_place:
            return []
        self._length_bytes = (content[self._codec.length_place] & 3) + 1
        return _units_of_description(content) if self._codec is _CODECS["hevc"] else []

    def _units(self, content: memoryview) -> Iterator[tuple[int, int]]:
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


def _kinds(unit: bytes) -> set[int] | None:
    """Return the types of the messages in a unit, without its header; None where one states a wrong length."""
    content = unit.replace(_ESCAPED, _ESCAPED[:2])
    place, kinds = 0, set()
    while len(content) - place > 2 and any(content[place : place + 2]):
        kind, place = _number(content, place)
        size, place = _number(content, place)
        if place + size > len(content) or (kind == _USER_DATA and size < _UUID_BYTES):
            return None
        kinds.add(kind)
        place += size
    return kinds


def _number(content: bytes, place: int) -> tuple[int, int]:
    """Read a number, which is the sum of bytes up to the first that is not 255, and the place after it."""
    total = 0
    while place < len(content):
        total += content[place]
        place += 1
        if content[place - 1] != 255:
            break
    return total, place
