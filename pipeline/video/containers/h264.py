"""The check of the units of bare H.264 streams."""

import re
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure

_START = re.compile(rb"\x00\x00\x01")
# Within a unit these bytes do not occur: a coder escapes them.
_UNESCAPED = re.compile(rb"\x00\x00(?:\x00+[^\x00\x01]|\x02)")
_SLICE, _IDR_SLICE, _PARAMETERS, _DELIMITER = 1, 5, 7, 9
_USED = frozenset({*range(1, 16), 19, 20, 21})  # types of units; the others are reserved, or for transmission only
_HEADER_BYTES = 64  # of a unit, which are parsed
_HIGH_PROFILES = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})


def is_h264(head: bytes) -> bool:
    """Return whether a file that begins so is a bare H.264 stream: it starts with parameters or a delimiter."""
    start = head.removeprefix(b"\0")
    return start[:3] == b"\0\0\1" and start[3] in {*(ref << 5 | _PARAMETERS for ref in (1, 2, 3)), _DELIMITER}


def check_h264(file: BinaryIO, size: int) -> None:
    """Check a bare H.264 stream (ITU-T H.264, Annex B).

    It is units between start codes. Bytes that are overwritten or lost take start codes with them, and the frames
    there vanish without an error. What shows it: bytes that no unit may have, reserved types of units, and reference
    frames whose numbers do not follow each other (7.4.3, `frame_num`).

    Args:
        file: The file.
        size: Its size in bytes.

    Raises:
        BrokenStructure: The stream is damaged.
    """
    with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        if found := _UNESCAPED.search(content):
            raise BrokenStructure(f"is damaged: the bytes at {found.start()} are in no unit of an H.264 stream")
        frame_numbers = _FrameNumbers()
        for match in _START.finditer(content):
            unit = content[match.end() : match.end() + _HEADER_BYTES]
            if not unit or unit[0] & 0x80 or unit[0] & 0x1F not in _USED:
                raise BrokenStructure(f"is damaged: there is no unit of an H.264 stream at byte {match.end()}")
            if not frame_numbers.follow(unit):
                raise BrokenStructure(f"is damaged: frames are missing, or there twice, before byte {match.start()}")


class _FrameNumbers:
    """Follows the numbers of the reference frames of a stream."""

    def __init__(self) -> None:
        self._num_bits = 0  # of a frame's number; 0 where numbers cannot be followed
        self._last: int | None = None  # the number of the latest reference frame

    def follow(self, unit: bytes) -> bool:
        """Return whether a unit may follow the ones before it."""
        kind, is_reference = unit[0] & 0x1F, bool(unit[0] & 0x60)
        bits = _Bits(unit[1:].replace(b"\0\0\3", b"\0\0"))
        if kind == _PARAMETERS:
            self._num_bits = _bits_of_frame_number(bits)
        if kind not in (_SLICE, _IDR_SLICE) or not self._num_bits or bits.number():  # a further slice of a picture
            return True
        bits.number()  # the type of the slice
        bits.number()  # its parameters
        number, last = bits.read(self._num_bits), self._last
        if is_reference:
            self._last = number
        return kind == _IDR_SLICE or last is None or (number - last) % (1 << self._num_bits) == 1


def _bits_of_frame_number(bits: "_Bits") -> int:
    """Return the number of bits of `frame_num`, from sequence parameters; 0 where numbers may leave gaps or repeat.

    That is the case for interlaced pictures, whose fields share a number, and where gaps are allowed (7.3.2.1.1).
    """
    profile = bits.read(8)
    bits.read(16)
    bits.number()
    if profile in _HIGH_PROFILES:
        if bits.number() == 3 and bits.read(1):  # planes of their own
            return 0
        bits.number()
        bits.number()
        bits.read(1)
        if bits.read(1):  # scaling lists, which are not parsed
            return 0
    num_bits = bits.number() + 4
    kind = bits.number()
    if kind == 0:
        bits.number()
    elif kind == 1:
        bits.read(1)
        bits.number()
        bits.number()
        for _ in range(bits.number()):
            bits.number()
    bits.number()
    has_gaps = bits.read(1)
    bits.number()
    bits.number()
    return 0 if has_gaps or not bits.read(1) else num_bits


class _Bits:
    """Reads numbers from bytes, the highest bit first; zeros follow the end."""

    def __init__(self, content: bytes) -> None:
        self._bits = self._iterate(content)

    @staticmethod
    def _iterate(content: bytes) -> Iterator[int]:
        for byte in content:
            for place in range(7, -1, -1):
                yield byte >> place & 1

    def read(self, num_bits: int) -> int:
        """Read a number of so many bits."""
        value = 0
        for _ in range(num_bits):
            value = value << 1 | next(self._bits, 0)
        return value

    def number(self) -> int:
        """Read a number of variable length (9.1, Exp-Golomb), which is not negative."""
        zeros = 0
        while zeros < 32 and not next(self._bits, 1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)
