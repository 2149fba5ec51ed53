"""The side messages (SEI) among the pictures of H.264 and HEVC: times, captions, names of programs and the like.

A decoder that reports errors gives up a whole picture for a side message that states a wrong length, and the pictures
that refer to it, though their data are whole; IP cameras write such messages. Before decoding, those messages therefore
become filler data, which decoders pass over. So do messages without influence on pixels, as their content may be wrong.
They are in the packets of a stream, and of HEVC also in its description, which the header of a file contains.
"""

from collections.abc import Iterable

import av

from pipeline.video.units import Units

_ESCAPED = b"\0\0\3"  # how 00 00 is written inside a unit, so that no start code occurs there
_USER_DATA, _UUID_BYTES = 5, 16
# Messages that decoders need: of x264 (user data), whose old versions had errors that decoders repeat; where decoding
# may begin (recovery point); film grain; orientation; transfer characteristics.
_KEPT = frozenset({_USER_DATA, 6, 19, 47, 147})


class SideMessages:
    """Turns the side messages in the packets of a stream into filler data, except those that decoders need.

    Args:
        stream: The video stream; of a codec without such messages no packet is changed.

    Attributes:
        description: The description of the stream (extradata), with its messages changed; None where it has none.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self._units = Units(stream)
        self._num_wrong, self._is_description_wrong = 0, False
        self.description = stream.codec_context.extradata
        if self._units.codec is not None and self.description:
            content = memoryview(bytearray(self.description))
            self._is_description_wrong = self._fill(content, self._units.of_description(content))
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
        if self._units.codec is not None and packet.size:
            content = memoryview(packet)
            self._num_wrong += self._fill(content, self._units.of(content))

    def _fill(self, content: memoryview, units: Iterable[tuple[int, int]]) -> bool:
        """Change the messages in some units, and return whether any of them states a wrong length."""
        codec, are_wrong = self._units.codec, False
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
