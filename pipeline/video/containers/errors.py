"""What is raised where the structure of a file is broken."""

CHUNK_BYTES = 1 << 20
UNKNOWN = -1


class BrokenStructure(Exception):
    """What is wrong, in words that follow the name of the file."""


def check_end(end: int, size: int) -> None:
    if end > size:
        raise BrokenStructure(f"is cut short, {size} of {end} bytes are there; copy or record it again")
