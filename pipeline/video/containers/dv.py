"""The frames of raw DV files."""

from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure

DV_MAGIC, DV_FRAMES = bytes.fromhex("1f0700"), (120_000, 144_000)  # bytes of a frame, of 60 and 50 fields a second


def check_dv(file: BinaryIO, size: int) -> None:
    """dv: frames of one size, IEC 61834."""
    file.seek(3)
    frame = DV_FRAMES[file.read(1)[0] >> 7]
    if size % frame:
        raise BrokenStructure(
            f"is cut short: it is no whole number of frames of {frame} bytes; copy or record it again"
        )
