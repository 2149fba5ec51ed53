"""The check of the frames and blocks of raw DV files."""

from typing import BinaryIO

import numpy as np

from pipeline.video.containers.errors import BrokenStructure

DV_MAGIC, DV_FRAMES = bytes.fromhex("1f0700"), (120_000, 144_000)  # bytes of a frame, at 60 and 50 fields per second
BLOCK_BYTES, BLOCKS_OF_SEQUENCE = 80, 150
HEADER, SUBCODE, VAUX, AUDIO, VIDEO = range(5)  # the section types


def check_dv(file: BinaryIO, size: int) -> None:
    """Check a dv file, which consists of frames of one size (IEC 61834-2).

    A frame is 10 sequences (60 fields per second) or 12 (50), each of 150 blocks of 80 bytes. The first bytes of a
    block name its section, the sequence, and its number in the section. All of it follows from the place of the block,
    so that blocks which were overwritten are found, which decoders conceal.

    Args:
        file: The file.
        size: Its size in bytes.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    file.seek(3)
    frame_bytes = DV_FRAMES[file.read(1)[0] >> 7]
    if size % frame_bytes:
        raise BrokenStructure(
            f"is cut short: it is not a whole number of frames of {frame_bytes} bytes; copy or record it again"
        )
    expected = _block_ids(frame_bytes)
    file.seek(0)
    for frame in range(size // frame_bytes):
        blocks = np.frombuffer(file.read(frame_bytes), np.uint8).reshape(-1, BLOCK_BYTES)
        ids = np.stack([blocks[:, 0] >> 5, blocks[:, 1] >> 4, blocks[:, 2]], axis=1)
        num_wrong = int((ids != expected).any(axis=1).sum())
        if num_wrong:
            raise BrokenStructure(f"is damaged: {num_wrong} of {len(ids)} blocks of frame {frame} have a wrong header")


def _block_ids(frame_bytes: int) -> np.ndarray:
    """Return the section type, sequence number and block number of each block of a frame: uint8 [blocks, 3]."""
    sections = [(HEADER, 0), (SUBCODE, 0), (SUBCODE, 1), (VAUX, 0), (VAUX, 1), (VAUX, 2)]
    for audio in range(9):
        sections += [(AUDIO, audio), *((VIDEO, number) for number in range(15 * audio, 15 * (audio + 1)))]
    num_sequences = frame_bytes // (BLOCK_BYTES * BLOCKS_OF_SEQUENCE)
    ids = [(section, sequence, number) for sequence in range(num_sequences) for section, number in sections]
    return np.array(ids, np.uint8)
