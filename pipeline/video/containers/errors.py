"""The error of the checks of containers, and constants that they share."""

CHUNK_BYTES = 1 << 20
UNKNOWN = -1


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
