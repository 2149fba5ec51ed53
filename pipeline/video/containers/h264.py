"""The check of the units of bare H.264 streams."""

import re
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure

_START = re.compile(rb"\x00\x00\x01")
_ZEROS = re.compile(rb"\x00*+")
_SLICE, _IDR_SLICE, _PARAMETERS, _DELIMITER = 1, 5, 7, 9  # types of units
_HEADER_BYTES = 64  # of a unit, which are parsed
_HIGH_PROFILES = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})


def is_h264(head: bytes) -> bool:
    """Return whether a file that begins so is a bare H.264 stream: it starts with parameters or a delimiter."""
    start = head.removeprefix(b"\0")
    return start[:3] == b"\0\0\1" and start[3] in {*(ref << 5 | _PARAMETERS for ref in (1, 2, 3)), _DELIMITER}


def check_h264(file: BinaryIO, size: int) -> None:
    """Check a bare H.264 stream (ITU-T H.264, Annex B).

    It is units between start codes. Bytes that are overwritten or lost take start codes with them, and the frames
    there vanish without an error. What shows it: bytes that no unit may have, and reference frames whose numbers do not
    follow each other (7.4.3, `frame_num`).

    Args:
        file: The file.
        size: Its size in bytes.

    Raises:
        BrokenStructure: The stream is damaged.
    """
    with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        _check_escapes(content, size)
        frame_numbers = _FrameNumbers()
        for match in _START.finditer(content):
            unit = content[match.end() : match.end() + _HEADER_BYTES]
            if not unit or unit[0] & 0x80:
                raise BrokenStructure(f"is damaged: there is no unit of an H.264 stream at byte {match.end()}")
            if not frame_numbers.follow(unit):
                raise BrokenStructure(f"is damaged: frames are missing, or there twice, before byte {match.start()}")


def _check_escapes(content: mmap, size: int) -> None:
    """Check that three zeros are only before a start code or the end, and that 2 follows no two zeros.

    A coder escapes these bytes within a unit (7.3.1). Zeros may fill the space between units.
    """
    place = content.find(b"\0\0\2")
    if place < 0:
        start = content.find(b"\0\0\0")
        while start >= 0:
            zeros = _ZEROS.match(content, start)
            assert zeros is not None
            if zeros.end() < size and content[zeros.end()] != 1:
                place = start
                break
            start = content.find(b"\0\0\0", zeros.end())
    if place >= 0:
        raise BrokenStructure(f"is damaged: the bytes at {place} are in no unit of an H.264 stream")


class _FrameNumbers:
    """Follows the numbers of the reference frames of a stream."""

    def __init__(self) -> None:
        self._num_bits: dict[int, int] = {}  # of a frame's number, by parameters; 0 where it cannot be followed
        self._last: int | None = None  # the number of the latest reference frame

    def follow(self, unit: bytes) -> bool:
        """Return whether a unit may follow the ones before it."""
        kind, is_reference = unit[0] & 0x1F, bool(unit[0] & 0x60)
        bits = _Bits(unit[1:].replace(b"\0\0\3", b"\0\0"))
        if kind == _PARAMETERS:
            name, num_bits = _bits_of_frame_number(bits)
            self._num_bits[name] = num_bits
        num_bits = min(self._num_bits.values(), default=0)
        if len(set(self._num_bits.values())) > 1:  # which of them hold is not followed
            num_bits = 0
        if kind not in (_SLICE, _IDR_SLICE) or not num_bits or bits.number():  # a further slice of a picture
            return True
        bits.number()  # the type of the slice
        bits.number()  # its parameters
        number, last = bits.read(num_bits), self._last
        if is_reference:
            self._last = number
        return kind == _IDR_SLICE or last is None or (number - last) % (1 << num_bits) == 1


def _bits_of_frame_number(bits: "_Bits") -> tuple[int, int]:
    """Return the number of sequence parameters, and the bits of `frame_num`; 0 where numbers may leave gaps or repeat.

    That is the case for interlaced pictures, whose fields share a number, and where gaps are allowed (7.3.2.1.1).
    """
    profile = bits.read(8)
    bits.read(16)
    name = bits.number()
    if profile in _HIGH_PROFILES:
        if bits.number() == 3 and bits.read(1):  # planes of their own
            return name, 0
        bits.number()
        bits.number()
        bits.read(1)
        if bits.read(1):  # scaling lists, which are not parsed
            return name, 0
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
    return name, 0 if has_gaps or not bits.read(1) else num_bits


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
