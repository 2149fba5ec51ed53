"""The check of the elements of Matroska and WebM files, and of their checksums."""

import re
import struct
from typing import BinaryIO
from zlib import crc32

from pipeline.video.containers.errors import CHUNK_BYTES, UNKNOWN, BrokenStructure, check_end, check_rest

EBML_MAGIC, GIF_MAGIC = b"\x1a\x45\xdf\xa3", b"GIF8"
SEGMENT, CLUSTER, BLOCK_GROUP, TRACKS = 0x18538067, 0x1F43B675, 0xA0, 0x1654AE6B  # of Matroska, RFC 9559
MATROSKA_MASTERS = frozenset({SEGMENT, CLUSTER, BLOCK_GROUP})
# The other direct children of the Segment. Some programs change them without their checksums; no frame depends on them.
OTHERS = {
    0x114D9B74: "SeekHead",
    0x1549A966: "Info",
    0x1C53BB6B: "Cues",
    0x1941A469: "Attachments",
    0x1043A770: "Chapters",
    0x1254C367: "Tags",
}
# A cluster of unknown size ends where the next of them begins.
SEGMENT_CHILDREN = frozenset({CLUSTER, TRACKS, *OTHERS})
EBML_CRC = b"\xbf\x84"  # the id and the length of a CRC-32
EBML_HEADER, VOID = 0x1A45DFA3, 0xEC
OWING = re.compile(rb"\x18\x53\x80\x67|\x1f\x43\xb6\x75")  # a Segment or a Cluster


def check_ebml(file: BinaryIO, size: int) -> list[str]:
    """Check an mkv or webm file.

    It consists of elements, each with an id, a size and a content (RFC 8794). Elements that hold frames are checked
    inside too. The Segment holds all frames, so that a file is complete which has it.

    Args:
        file: The file.
        size: Its size in bytes.

    Returns:
        What does not fit together, but concerns no frame.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    end, has_segment = 0, False
    notes: list[str] = []
    while end < size:
        file.seek(end)
        if has_segment and not _begins_top_element(file):
            return [*notes, check_rest(file, end, size, part="element", owing=OWING, longest=4)]
        identity, length = _element(file)
        start = file.tell()
        if length != UNKNOWN:
            check_end(start + length, size)
        end = size if length == UNKNOWN else start + length
        if identity == SEGMENT:
            has_segment = True
            notes += _check_elements(file, start, end)
    return notes


def _check_elements(file: BinaryIO, start: int, stop: int) -> list[str]:
    """Check that the elements between two places are contiguous, each within the element that contains it."""
    notes: list[str] = []
    ends = [stop]  # of the elements that contain the place, the innermost last
    while start < stop:
        while start >= ends[-1]:
            ends.pop()
        file.seek(start)
        identity, length = _element(file)
        content = file.tell()
        if identity in SEGMENT_CHILDREN:
            del ends[1:]  # a cluster of unknown size ends here, and one of a known size should have ended
        end = ends[-1] if length == UNKNOWN else content + length
        if end > ends[-1] or (length == UNKNOWN and identity != CLUSTER):
            raise BrokenStructure(f"is damaged: the element at byte {start} is longer than what it lies in")
        if identity in SEGMENT_CHILDREN and not _fits_checksum(file, content, end):
            if identity not in OTHERS:
                raise BrokenStructure(
                    f"is damaged: the bytes after {content} are not those that were written (checksum)"
                )
            notes.append(f"the checksum of its element {OTHERS[identity]} is that of other bytes; no frame is in it")
        if identity in MATROSKA_MASTERS:
            ends.append(end)
            start = content
        else:
            start = end
    return notes


def _begins_top_element(file: BinaryIO) -> bool:
    """Tell whether an element begins here that can be at the top of a file; the place in the file stays."""
    place = file.tell()
    head = file.read(4)
    file.seek(place)
    return int.from_bytes(head, "big") in (EBML_HEADER, SEGMENT) or head[:1] == bytes([VOID])


def _fits_checksum(file: BinaryIO, start: int, stop: int) -> bool:
    """Check the checksum that an element may begin with, over all bytes after it (RFC 8794, 11.3.1)."""
    file.seek(start)
    if file.read(2) != EBML_CRC:
        return True
    (expected,) = struct.unpack("<I", file.read(4))
    found = 0
    for place in range(file.tell(), stop, CHUNK_BYTES):
        found = crc32(file.read(min(CHUNK_BYTES, stop - place)), found)
    return found == expected


def _element(file: BinaryIO) -> tuple[int, int]:
    """Read the id and the length of an element, UNKNOWN where all bits of the length are set (RFC 8794, 4 to 6)."""
    identity, _ = _variable_integer(file, max_bytes=4)
    length, num_bytes = _variable_integer(file, max_bytes=8)
    length -= 1 << (7 * num_bytes)  # without the marker bit
    return identity, UNKNOWN if length == (1 << (7 * num_bytes)) - 1 else length


def _variable_integer(file: BinaryIO, *, max_bytes: int) -> tuple[int, int]:
    """Read a number with its marker bit, and the number of its bytes, which its leading zeros encode."""
    place = file.tell()
    first = file.read(1)
    num_bytes = 9 - first[0].bit_length()
    rest = file.read(num_bytes - 1)
    if num_bytes > max_bytes or len(rest) < num_bytes - 1:
        raise BrokenStructure(f"is damaged: there is no element at byte {place}")
    return int.from_bytes(first + rest, "big"), num_bytes
