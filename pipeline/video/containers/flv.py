"""The check of the tags of FLV files."""

import struct
from math import isfinite
from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure, check_end

FLV_FILE_SIZE, FLV_SEARCHED = b"\x00\x08filesize\x00", 4096  # a name of 8 bytes and the type "number"
FLV_MAGIC, FLV_TAGS = b"FLV", frozenset({8, 9, 18})  # of sound, video, data


def check_flv(file: BinaryIO, size: int) -> None:
    """Check an flv file (Adobe's specification, E.2 to E.5).

    A header states its own size. Tags follow, each after the length of the previous tag. The first tag may state the
    size of the file.

    Args:
        file: The file.
        size: Its size in bytes.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    file.seek(5)
    (start,) = struct.unpack(">I", file.read(4))
    file.seek(start)
    said = file.read(FLV_SEARCHED).partition(FLV_FILE_SIZE)[2][:8]
    if len(said) == 8 and isfinite(number := struct.unpack(">d", said)[0]):
        check_end(int(number), size)
    end = start + 4
    while end < size:
        file.seek(end)
        kind, *length = file.read(4)
        if kind & 0x1F not in FLV_TAGS:
            raise BrokenStructure(f"is damaged: there is no tag at byte {end}")
        end += 11 + int.from_bytes(bytes(length), "big") + 4
        check_end(end, size)
