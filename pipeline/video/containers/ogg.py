"""The check of the pages of Ogg files, and of their checksums."""

import re
import struct
from typing import BinaryIO
from zlib import crc32

from pipeline.video.containers.errors import BrokenStructure, check_end, check_rest

BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
OGG_MAGIC, OGG_FIRST, OGG_LAST = b"OggS", 2, 4  # the magic and two flags of a page
OWING = re.compile(OGG_MAGIC)


def check_ogg(file: BinaryIO, size: int) -> list[str]:
    """Check an ogv file (RFC 3533, 6).

    It consists of pages, each with the lengths of its segments and a checksum. Each stream has a first and a last page.

    Args:
        file: The file.
        size: Its size in bytes.

    Returns:
        What does not fit together, but concerns no frame.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    end = 0
    open_streams: set[int] = set()
    while end < size:
        start = end
        file.seek(start)
        if start and not open_streams and file.read(4) != OGG_MAGIC:  # every stream had its last page
            return [check_rest(file, start, size, part="page", owing=OWING, longest=4)]
        file.seek(start)
        magic, flags, stream, checksum, num_segments = struct.unpack("<4sxB8xI4xIB", file.read(27))
        if magic != OGG_MAGIC:
            raise BrokenStructure(f"is damaged: there is no page at byte {start}")
        end += 27 + num_segments + sum(file.read(num_segments))
        check_end(end, size)
        file.seek(start)
        if _ogg_checksum(file.read(end - start)) != checksum:
            raise BrokenStructure(f"is damaged: the bytes after {start} are not those that were written (checksum)")
        if flags & OGG_FIRST:
            open_streams.add(stream)
        if flags & OGG_LAST:
            open_streams.discard(stream)
    if open_streams:
        raise BrokenStructure("is cut short: its last page is missing; copy or record it again")
    return []


def _ogg_checksum(page: bytes) -> int:
    """Compute the CRC-32 of RFC 3533, 6, in which the bytes of the checksum itself count as zeros.

    It is zlib's CRC-32 with the bits of each byte and of the result reversed, and with 0 as its initial value.
    """
    content = page[:22] + bytes(4) + page[26:]
    crc = crc32(content.translate(BITS_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "big").translate(BITS_REVERSED), "little")
