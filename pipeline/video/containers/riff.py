"""The check of the chunks of avi files."""

import struct
from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure, check_end

AVI_UNKNOWN = (0, 0xFFFFFFFF)


def check_riff(file: BinaryIO, size: int) -> None:
    """Check an avi file.

    It consists of `RIFF`, the 32-bit size of the rest, and chunks. Files over 1 GB continue with further RIFF blocks. A
    file that was written to a pipe does not state its size.

    Args:
        file: The file.
        size: Its size in bytes.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    end = 0
    while end + 12 <= size:
        file.seek(end)
        name, block_size = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or block_size in AVI_UNKNOWN:
            return
        check_end(end + 8 + block_size, size)
        _check_chunks(file, end + 12, end + 8 + block_size)
        end += 8 + block_size + block_size % 2


def _check_chunks(file: BinaryIO, start: int, stop: int) -> None:
    """Check the chunks between two places, and those in lists: each has a name, a 32-bit size, and an even length."""
    while start + 8 <= stop:
        file.seek(start)
        name, length = struct.unpack("<4sI", file.read(8))
        if start + 8 + length > stop:
            raise BrokenStructure(f"is damaged: the chunk at byte {start} is longer than what it lies in")
        if name == b"LIST":
            _check_chunks(file, start + 12, start + 8 + length)
        start += 8 + length + length % 2
