"""What the checks of containers share: their result, their error, and the check of what lies behind a complete file.

Programs append bytes to whole files: pictures, archives, text, or zeros up to a full block. They are noted. Bytes that
are no part of the format are damage, however, where the file is not complete before them, or where frames follow.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

CHUNK_BYTES = 1 << 20
UNKNOWN = -1


class Structure(NamedTuple):
    """What a check of the structure of a file found, in words that continue a sentence beginning with the file's name.

    Attributes:
        damage: What is wrong, so that frames may be missing or wrong; None where nothing is.
        notes: What does not fit together, but concerns no frame.
        num_frames: The number of frames of each stream, by its index, where FFmpeg may find fewer; empty elsewhere.
    """

    damage: str | None
    notes: tuple[str, ...] = ()
    num_frames: Mapping[int, int] = MappingProxyType({})

    def missing(self, stream_index: int, num_packets: int) -> str | None:
        """Return what is wrong where FFmpeg finds fewer packets of a stream than it has frames; None elsewhere."""
        num_frames = self.num_frames.get(stream_index, 0)
        if num_packets >= num_frames:
            return None
        return f"is damaged, {num_packets} of {num_frames} frames can be found"


class BrokenStructure(Exception):
    """The structure of a file is broken. The message continues a sentence that begins with the name of the file."""


def check_end(end: int, size: int) -> None:
    """Check that a file contains a part of it.

    Args:
        end: The end of the part, in bytes from the start of the file.
        size: The size of the file in bytes.

    Raises:
        BrokenStructure: The part ends after the file.
    """
    if end > size:
        raise BrokenStructure(f"is cut short, {size} of {end} bytes are there; copy or record it again")


def check_rest(file: BinaryIO, start: int, size: int, *, part: str, owing: "re.Pattern[bytes]", longest: int) -> str:
    """Check that no frame follows in the rest of a file that is complete before it, and return the note on the rest.

    Args:
        file: The file.
        start: Where the rest begins, in bytes from the start of the file.
        size: The size of the file in bytes.
        part: What the file consists of, such as "box".
        owing: How a part begins that has to do with frames.
        longest: The number of bytes that `owing` looks at, at most.

    Raises:
        BrokenStructure: Such a part follows: the bytes before it are damaged.
    """
    for place in range(start, size, CHUNK_BYTES):  # in overlapping blocks
        file.seek(place)
        if owing.search(file.read(CHUNK_BYTES + longest - 1)):
            raise BrokenStructure(f"is damaged: there is no {part} at byte {start}, and frames follow")
    return f"the {size - start} bytes after its last {part} are no {part}; no frame is in them"
