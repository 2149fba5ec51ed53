"""The check of the boxes of mp4 and mov files."""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from pipeline.video.containers.errors import BrokenStructure, check_end, check_rest
from pipeline.video.containers.mp4_samples import end_of_samples

MP4_TYPES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
# The boxes at the top of a file (ISO/IEC 14496-12, table 1, and QuickTime's).
_TOP_TYPES = frozenset(
    {*MP4_TYPES, b"styp", b"moof", b"mfra", b"sidx", b"ssix", b"prft", b"emsg", b"meta", b"meco", b"pdin", b"uuid"}
    | {b"pnot", b"PICT", b"udta", b"junk", b"imda"}
)
_OWING = re.compile(rb"\0...(?:moov|moof|mdat|mfra)", re.DOTALL)  # a box behind bytes that are none: these are damage


class _Box(NamedTuple):
    """A box at the top of a file: its type, where it begins, where its content begins, and where it ends."""

    name: bytes
    start: int
    content: int
    end: int


def check_boxes(file: BinaryIO, size: int) -> list[str]:
    """Check an mp4 or mov file (ISO/IEC 14496-12, 4.2).

    It consists of boxes, each with a 32-bit size, a type, and a 64-bit size where the first size is 1. A box of size 0
    extends to the end of the file. The box `moov` states where each frame is. In a fragmented file each `moof` states
    where the frames are in the `mdat` after it. A file that ends between two fragments is complete, as live recordings
    end there.

    Args:
        file: The file.
        size: Its size in bytes.

    Returns:
        What does not fit together, but concerns no frame.

    Raises:
        BrokenStructure: The file is damaged or cut short, or is several files that were joined byte by byte.
    """
    boxes = list(_boxes(file, size))
    names = [box.name for box in boxes]
    end = boxes[-1].end if boxes else 0
    is_fragmented = b"moof" in names
    if is_fragmented:
        _check_fragments(boxes, size)
    _check_index(file, boxes, size, is_fragmented=is_fragmented)
    if end > size:
        return [f"its last box says {end - size} bytes more than there are; no frame is in them"]
    if end == size:
        return []
    if is_fragmented and size - end < 8:
        raise BrokenStructure("is cut short: its last fragment is not complete; copy or record it again")
    return [check_rest(file, end, size, part="box", owing=_OWING, longest=8)]


def _boxes(file: BinaryIO, size: int) -> Iterator[_Box]:
    """Yield the boxes one after the other, up to one that reaches beyond the end, or to bytes that are no box."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        box_size, name = struct.unpack(">I4s", file.read(8))
        content = start + 8
        if box_size == 1 and name in _TOP_TYPES:
            (box_size,) = struct.unpack(">Q", file.read(8))
            content += 8
        end = size if box_size == 0 and name in _TOP_TYPES else start + box_size
        if end < content or (end > size and name not in _TOP_TYPES) or not name.lstrip(b"\xa9").isascii():
            return
        yield _Box(name, start, content, end)
        start = end


def _check_fragments(boxes: list[_Box], size: int) -> None:
    check_end(boxes[-1].end, size)
    owes_media = False
    for box in boxes:
        owes_media = box.name == b"moof" or (owes_media and box.name != b"mdat")
    if owes_media:
        raise BrokenStructure("is cut short: its last fragment is not complete; copy or record it again")


def _is_joined(file: BinaryIO, boxes: list[_Box], second_index: _Box) -> bool:
    """Tell several files one after the other from one file that repeats its index, as some recordings do."""
    media = [box for box in boxes if box.name == b"moof"]
    if not media:
        return sum(box.name == b"mdat" for box in boxes) > 1
    numbers = []  # of the fragments, which go on where a stream repeats its index before each part
    for box in media:
        file.seek(box.content)
        numbers.append((box.start > second_index.start, struct.unpack(">4x4s4xI", file.read(16))[1]))
    before, after = ([number for later, number in numbers if later is side] for side in (False, True))
    return bool(before and after) and after[0] <= before[0]


def _check_index(file: BinaryIO, boxes: list[_Box], size: int, *, is_fragmented: bool) -> None:
    """Check that there is one index, and that the frames that it names lie in the file."""
    indexes = [box for box in boxes if box.name == b"moov"]
    if not indexes:
        raise BrokenStructure("is cut short: its index (moov) is missing; copy or record it again")
    for box in indexes:
        check_end(box.end, size)
    if len(indexes) > 1 and _is_joined(file, boxes, indexes[1]):
        raise BrokenStructure(
            f"is {len(indexes)} files joined byte by byte, of which players show only the first; join them with"
            " FFmpeg's demuxer concat"
        )
    if not is_fragmented:
        file.seek(indexes[0].content)
        check_end(end_of_samples(file.read(indexes[0].end - indexes[0].content)), size)
