"""The check of the partitions of MXF files."""

import re
import struct
from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure, check_end, check_rest

MXF_PREFIX, MXF_PACK = bytes.fromhex("060e2b34"), bytes.fromhex("060e2b34020501010d01020101")
MXF_PARTITIONS = (2, 3, 4)  # header, body, footer: the byte after MXF_PACK
MXF_FOOTER = MXF_PARTITIONS[-1]
OWING = re.compile(re.escape(MXF_PREFIX))


def check_mxf(file: BinaryIO, size: int) -> list[str]:
    """Check an mxf file (SMPTE ST 377-1, 6.3 and 7.1).

    It consists of values, each after a key of 16 bytes and its length in BER. The header states where the footer is,
    once there is one. No frame follows the footer.

    Args:
        file: The file.
        size: Its size in bytes.

    Returns:
        What does not fit together, but concerns no frame.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    end, footer, has_footer = 0, 0, False
    while end < size:
        file.seek(end)
        key = file.read(16)
        if not key.startswith(MXF_PREFIX):
            if has_footer:
                return [check_rest(file, end, size, part="value", owing=OWING, longest=4)]
            raise BrokenStructure(f"is damaged: there is no key at byte {end}")
        (length,) = file.read(1)
        if length & 0x80:
            length = int.from_bytes(file.read(length & 0x7F), "big")
        start = file.tell()
        check_end(start + length, size)
        if key[:13] == MXF_PACK and key[13] in MXF_PARTITIONS:
            (found,) = struct.unpack(">24xQ", file.read(32))
            footer = max(footer, found)
            has_footer |= key[13] == MXF_FOOTER
        end = start + length
    if footer >= size:
        raise BrokenStructure("is cut short: its footer is missing; copy or record it again")
    return []
