"""The boxes of mp4 and mov files."""

import struct
from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure, check_end

MP4_TYPES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def check_boxes(file: BinaryIO, size: int) -> None:
    """mp4, mov. ISO/IEC 14496-12, 4.2: 32-bit size, type, 64-bit size where the first is 1; 0: to the end.

    In a fragmented file each `moof` says where the frames in the `mdat` after it are. One that ends between two
    fragments is whole: a live recording ends so.
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
