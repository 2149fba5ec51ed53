"""The check of the blocks of GIF files."""

from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure


def check_gif(file: BinaryIO, size: int) -> None:
    """Check a gif file (GIF89a, 17 to 27).

    A header, the screen and a colour table come first. Extensions and images follow, each a chain of blocks, and 0x3B
    ends the file.

    Args:
        file: The file.
        size: Its size in bytes.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    file.seek(10)
    flags = file.read(1)[0]
    file.seek(2 + _color_table_bytes(flags), 1)
    while True:
        place = file.tell()
        introducer = file.read(1)
        if introducer == b"\x3b":
            return
        if introducer == b"\x21":
            file.seek(1, 1)
        elif introducer == b"\x2c":
            file.seek(8, 1)
            flags = file.read(1)[0]
            file.seek(_color_table_bytes(flags) + 1, 1)
        else:
            what = "is cut short, it has no end" if not introducer else f"is damaged: there is no block at byte {place}"
            raise BrokenStructure(what)
        while length := file.read(1)[0]:
            file.seek(length, 1)


def _color_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
