"""The check of the objects of ASF files (wmv)."""

import struct
from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure, check_end

ASF_NO_PACKETS = 50  # the size of a data object without a packet, in bytes
ASF_HEADER, ASF_DATA = (bytes.fromhex(name + "26b2758e66cf11a6d900aa0062ce6c") for name in ("30", "36"))


def check_asf(file: BinaryIO, size: int) -> None:
    """Check a wmv or asf file.

    It consists of objects, each with an id of 16 bytes and a 64-bit size that includes both. One object is the data; a
    live recording does not state its size.

    Args:
        file: The file.
        size: Its size in bytes.

    Raises:
        BrokenStructure: The file is damaged or cut short, or is several files that were joined byte by byte.
    """
    end, has_data = 0, False
    while end + 24 <= size:
        file.seek(end)
        name, object_size = struct.unpack("<16sQ", file.read(24))
        if name == ASF_HEADER and end:
            raise BrokenStructure(
                "is several files joined byte by byte, of which players show only the first; join them with FFmpeg's"
                " demuxer concat"
            )
        has_data |= name == ASF_DATA
        if name == ASF_DATA and object_size <= ASF_NO_PACKETS:
            return
        if object_size < 24:
            raise BrokenStructure(f"is damaged: there is no object at byte {end}")
        end += object_size
        check_end(end, size)
    if not has_data:
        raise BrokenStructure("is cut short: it ends before its first frame; copy or record it again")
