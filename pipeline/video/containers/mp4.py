"""The check of the boxes of mp4 and mov files."""

import struct
from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure, check_end

MP4_TYPES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def check_boxes(file: BinaryIO, size: int) -> None:
    """Check an mp4 or mov file (ISO/IEC 14496-12, 4.2).

    It consists of boxes, each with a 32-bit size, a type, and a 64-bit size where the first size is 1. A box of size 0
    extends to the end of the file. In a fragmented file each `moof` states where the frames are in the `mdat` after it.
    A file that ends between two fragments is complete, as live recordings end there.

    Args:
        file: The file.
        size: Its size in bytes.

    Raises:
        BrokenStructure: The file is cut short.
    """
    end, has_index, is_fragmented, owes_media = 0, False, False, False
    while end + 8 <= size:
        file.seek(end)
        box_size, name = struct.unpack(">I4s", file.read(8))
        if box_size == 1:
            (box_size,) = struct.unpack(">Q", file.read(8))
        if box_size < 8:
            return
        has_index |= name == b"moov"
        is_fragmented |= name == b"moof"
        owes_media = name == b"moof" or (owes_media and name != b"mdat")
        end += box_size
        check_end(end, size)
    if not has_index:
        raise BrokenStructure("is cut short: its index (moov) is missing; copy or record it again")
    if owes_media or (is_fragmented and end < size):
        raise BrokenStructure("is cut short: its last fragment is not complete; copy or record it again")
