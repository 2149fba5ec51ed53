"""The check of the tags of FLV files."""

import re
import struct
from math import isfinite
from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure, check_end, check_rest

FLV_FILE_SIZE, FLV_SEARCHED = b"\x00\x08filesize\x00", 4096  # a name of 8 bytes and the type "number"
FLV_MAGIC, FLV_TAGS = b"FLV", frozenset({8, 9, 18})  # of sound, video, data
# A tag of sound or video behind its predecessor's length: its own length, its time, and the number of its stream, 0.
FLV_ENCRYPTED = 0x20  # a flag beside the kind of a tag
OWING = re.compile(rb"\0...[\x08\x09]...[\0-\xff]{4}\0\0\0", re.DOTALL)


def check_flv(file: BinaryIO, size: int) -> list[str]:
    """Check an flv file (Adobe's specification, E.2 to E.5).

    A header states its own size. Tags follow, each after the length of the previous tag. The first tag may state the
    size of the file. Bytes that are no tag are behind its end where the length of the tag before them is right, and no
    tag is missing by that size.

    Args:
        file: The file.
        size: Its size in bytes.

    Returns:
        What does not fit together, but concerns no frame.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    file.seek(5)
    (start,) = struct.unpack(">I", file.read(4))
    file.seek(start)
    said, stated_size = file.read(FLV_SEARCHED).partition(FLV_FILE_SIZE)[2][:8], 0
    if len(said) == 8 and isfinite(number := struct.unpack(">d", said)[0]):
        stated_size = int(number)
    check_end(stated_size, size)
    end, tag_bytes = start + 4, 0
    while end < size:
        file.seek(end - 4)
        previous, kind, length, stream = struct.unpack(">IB3s4x3s", file.read(15).ljust(15, b"\0"))
        if kind & ~FLV_ENCRYPTED not in FLV_TAGS or any(stream):
            if previous != tag_bytes or end < stated_size:
                raise BrokenStructure(f"is damaged: there is no tag at byte {end}")
            return [check_rest(file, end, size, part="tag", owing=OWING, longest=15)]
        tag_bytes = 11 + int.from_bytes(length, "big")
        end += tag_bytes + 4
        check_end(end, size)
    return []
