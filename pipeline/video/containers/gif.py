"""The check of the blocks and images of GIF files."""

import struct
from typing import BinaryIO

from PIL import GifImagePlugin

from pipeline.video.containers.errors import BrokenStructure

MAX_PIXELS = 1 << 26  # of an image; Pillow would hold a larger one in some hundred megabytes


def check_gif(file: BinaryIO, size: int) -> list[str]:
    """Check a gif file (GIF89a, 17 to 27).

    A header, the screen and a colour table come first. Extensions and images follow, each a chain of blocks, and 0x3B
    ends the file; some programs leave that out behind the last image. The images themselves are decoded by Pillow: an
    LZW code that does not exist, or too few pixels, is an error there, while FFmpeg shows what it has.

    Args:
        file: The file.
        size: Its size in bytes.

    Returns:
        What does not fit together, but concerns no frame.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    file.seek(6)
    width, height, flags = struct.unpack("<HHB", file.read(5))
    file.seek(2 + _color_table_bytes(flags), 1)
    num_images, last, notes = 0, b"", []
    while (introducer := file.read(1)) != b"\x3b":
        place = file.tell() - 1
        if not introducer and last == b"\x2c":
            notes.append("it has no end mark (0x3B); its last image is whole")
            break
        last = introducer
        if introducer == b"\x21":
            file.seek(1, 1)
        elif introducer == b"\x2c":
            file.seek(8, 1)
            flags = file.read(1)[0]
            file.seek(_color_table_bytes(flags) + 1, 1)
            num_images += 1
        else:
            what = "is cut short, it has no end" if not introducer else f"is damaged: there is no block at byte {place}"
            raise BrokenStructure(what)
        while length := file.read(1)[0]:
            file.seek(length, 1)
    if (num_behind := size - file.tell()) > 0:
        notes.append(f"the {num_behind} bytes after its end mark are no block; no frame is in them")
    if width * height <= MAX_PIXELS:
        file.seek(0)
        _decode_images(file, num_images)
    return notes


def _decode_images(file: BinaryIO, num_images: int) -> None:
    number = 0
    try:
        with GifImagePlugin.GifImageFile(file) as image:
            for number in range(num_images):
                image.seek(number)
                image.load()
    except (OSError, EOFError, SyntaxError) as error:
        raise BrokenStructure(f"is damaged: image {number} of {num_images} cannot be decoded ({error})") from error


def _color_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
