"""The check of the frames of raw DV files."""

from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure

DV_MAGIC, DV_FRAMES = bytes.fromhex("1f0700"), (120_000, 144_000)  # bytes of a frame, at 60 and 50 fields per second


def check_dv(file: BinaryIO, size: int) -> None:
    """Check a dv file, which consists of frames of one size (IEC 61834).

    Args:
        file: The file.
        size: Its size in bytes.

    Raises:
        BrokenStructure: The file is cut short.
    """
    file.seek(3)
    frame = DV_FRAMES[file.read(1)[0] >> 7]
    if size % frame:
        raise BrokenStructure(
            f"is cut short: it is not a whole number of frames of {frame} bytes; copy or record it again"
        )
