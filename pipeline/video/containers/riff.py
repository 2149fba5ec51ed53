"""The check of the chunks of avi files."""

import re
import struct
from typing import BinaryIO

from pipeline.video.containers.errors import CHUNK_BYTES, BrokenStructure, check_end

LISTS = (b"RIFF", b"LIST")  # their content begins with a type of four bytes, and is chunks
INDEX = b"idx1"
FRAME = re.compile(rb"\d\dd[bc]")  # the name of a chunk with a frame: the number of its stream, and a kind


def check_riff(file: BinaryIO, size: int) -> list[str]:
    """Check an avi file.

    It consists of chunks, each with a name, a 32-bit size, and an even length; some are in lists. The sizes of lists
    are not relied on: a file that was written to a pipe does not state them, some programs count wrongly, and those of
    a list over 4 GB are too large for 32 bits. A chunk that ends after the file shows that the file was cut short. So
    does an end between two chunks where the file should go on, unless the last one is the index, which ends a file.

    Args:
        file: The file.
        size: Its size in bytes.

    Returns:
        What does not fit together, but concerns no frame.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    place, name, block_end, notes = 0, b"", 0, []
    while place + 8 <= size:
        file.seek(place)
        last, (name, length) = name, struct.unpack("<4sI", file.read(8))
        is_whole = name in LISTS or place + 8 + length <= size
        if not _is_name(name) or (last == INDEX and not is_whole):
            if last == INDEX or place in (block_end, block_end + block_end % 2):
                _check_no_frame_follows(file, place)
                return [f"the {size - place} bytes after its last chunk are no chunk; no frame is in them"]
            raise BrokenStructure(f"is damaged: there is no chunk at byte {place}")
        if name == b"RIFF":
            block_end = place + 8 + length if length not in (0, 0xFFFFFFFF) else 0
        if name in LISTS:
            place += 12
        else:
            check_end(place + 8 + length, size)
            place += 8 + length + length % 2
    if name != INDEX:
        check_end(block_end, size)
        if place < size and place != block_end:
            raise BrokenStructure("is cut short: it ends in the middle of a chunk; copy or record it again")
    if block_end not in (0, size, size + size % 2):
        notes.append(f"its header says {block_end} bytes, and there are {size}; its chunks are whole")
    return notes


def _check_no_frame_follows(file: BinaryIO, place: int) -> None:
    """Check that no chunk of a frame begins in the rest of a file, where FFmpeg would find it."""
    file.seek(place)
    rest = b""
    while block := file.read(CHUNK_BYTES):
        rest = rest[-3:] + block
        if found := FRAME.search(rest):
            raise BrokenStructure(f"is damaged: frames ({found[0].decode()}) follow after its last chunk")


def _is_name(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name)
