"""The side messages (SEI) among the pictures of H.264 and HEVC: times, captions, names of programs and the like.

A decoder that reports errors gives up a whole picture for a side message that states a wrong length, and the pictures
that refer to it, though their data are whole; IP cameras write such messages. Before decoding, those messages therefore
become filler data, which decoders pass over. So do messages without influence on pixels, as their content may be wrong.
"""

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
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self._units = Units(stream)

    def fill(self, packet: av.Packet) -> bool:
        """Change the messages in a packet, and return whether any of them states a wrong length."""
        codec, are_wrong = self._units.codec, False
        if codec is None or not packet.size:
            return False
        content = memoryview(packet)
        for start, stop in self._units.of(content):
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
