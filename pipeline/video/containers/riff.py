"""The check of the chunks of avi files."""

import re
import struct
from collections import Counter
from typing import BinaryIO

from pipeline.video.containers.errors import CHUNK_BYTES, BrokenStructure, Structure, check_end

LISTS = (b"RIFF", b"LIST")  # their content begins with a type of four bytes, and is chunks
INDEX = b"idx1"
FRAME = re.compile(rb"\d\dd[bc]")  # the name of a chunk with a frame: the number of its stream, and a kind
MOVI = re.compile(rb"LIST....movi", re.DOTALL)  # the list of the frames
HEADER_BYTES = 1 << 20  # in which that list begins, where the header is not followed from chunk to chunk
FOLLOWING = re.compile(rb"\d\d(?:[dw][bc]|pc|tx)|ix\d\d|LIST|RIFF|idx1|JUNK")  # the names of chunks after a frame


def check_riff(file: BinaryIO, size: int) -> Structure:
    """Check an avi file.

    It consists of chunks, each with a name, a 32-bit size, and an even length; some are in lists. The sizes of lists
    are not relied on: a file that was written to a pipe does not state them, some programs count wrongly, and those of
    a list over 4 GB are too large for 32 bits. Nor are those of chunks before the frames, as players search for these;
    then the frames are counted, as a player may find them too late. And some programs do not fill up chunks of an odd
    length. A chunk that ends after the file shows that the file was cut short. So does an end between two chunks where
    the file should go on, unless the last one is the index, which ends a file.

    Args:
        file: The file.
        size: Its size in bytes.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    place, name, block_end, notes = 0, b"", 0, []
    num_frames: Counter[int] = Counter()
    is_found_late = False
    previous, in_header, num_odd = 0, True, 0
    while place + 8 <= size:
        file.seek(place)
        last, (name, length, kind) = name, struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
        is_whole = name in LISTS or place + 8 + length <= size
        if in_header and not (_is_name(name) and is_whole) and (found := _find_movi(file, previous)):
            notes.append(f"the length of the chunk at byte {previous}, before its frames, is wrong; no frame is in it")
            place, name, in_header, is_found_late = found, last, False, True
            continue
        in_header &= kind != b"movi"
        if not _is_name(name) or (last == INDEX and not is_whole):
            if last == INDEX or place in (block_end, block_end + block_end % 2):
                _check_no_frame_follows(file, place)
                notes.append(f"the {size - place} bytes after its last chunk are no chunk; no frame is in them")
                return Structure(None, tuple(notes), num_frames if is_found_late else {})
            raise BrokenStructure(f"is damaged: there is no chunk at byte {place}")
        if name == b"RIFF":
            block_end = place + 8 + length if length not in (0, 0xFFFFFFFF) else 0
        previous = place
        if name in LISTS:
            place += 12
        else:
            check_end(place + 8 + length, size)
            if FRAME.fullmatch(name) and length:
                num_frames[int(name[:2])] += 1
            place += 8 + length
            if length % 2:
                is_odd = _follows_at_once(file, place)
                num_odd += is_odd
                place += not is_odd
    if name != INDEX:
        check_end(block_end, size)
        if place < size and place != block_end:
            raise BrokenStructure("is cut short: it ends in the middle of a chunk; copy or record it again")
    if num_odd:
        notes.append(f"{num_odd} of its chunks are not filled up to an even length; they are whole")
    if block_end not in (0, size, size + size % 2):
        notes.append(f"its header says {block_end} bytes, and there are {size}; its chunks are whole")
    return Structure(None, tuple(notes), num_frames if is_found_late else {})


def _check_no_frame_follows(file: BinaryIO, place: int) -> None:
    """Check that no chunk of a frame begins in the rest of a file, where FFmpeg would find it."""
    file.seek(place)
    rest = b""
    while block := file.read(CHUNK_BYTES):
        rest = rest[-3:] + block
        if found := FRAME.search(rest):
            raise BrokenStructure(f"is damaged: frames ({found[0].decode()}) follow after its last chunk")


def _find_movi(file: BinaryIO, start: int) -> int:
    """Return where the list of the frames begins, at or after a place; 0 where it is not found."""
    file.seek(start)
    found = MOVI.search(file.read(HEADER_BYTES))
    return start + found.start() if found else 0


def _follows_at_once(file: BinaryIO, place: int) -> bool:
    """Tell whether the next chunk begins at an odd place, and not after a byte that fills up the one before it."""
    file.seek(place)
    return FOLLOWING.match(file.read(4)) is not None


def _is_name(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name)
