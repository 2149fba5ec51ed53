"""The objects of ASF files (wmv)."""

import struct
from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure, check_end

ASF_NO_PACKETS = 50  # bytes of the data without a packet
ASF_HEADER, ASF_DATA = (bytes.fromhex(name + "26b2758e66cf11a6d900aa0062ce6c") for name in ("30", "36"))


def check_asf(file: BinaryIO, size: int) -> None:
    """wmv, asf: objects of an id of 16 bytes and a 64-bit size, both included; one of them is the data, whose size a
    live recording does not say."""
    end, has_data = 0, False
    while end + 24 <= size:
        file.seek(end)
        name, object_size = struct.unpack("<16sQ", file.read(24))
        has_data |= name == ASF_DATA
        if name == ASF_DATA and object_size <= ASF_NO_PACKETS:
            return
        if object_size < 24:
            raise BrokenStructure(f"is damaged: there is no object at byte {end}")
        end += object_size
        check_end(end, size)
    if not has_data:
        raise BrokenStructure("is cut short: it ends before its first frame; copy or record it again")
