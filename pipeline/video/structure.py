"""Whether a video file is whole by its own structure: blocks that say how long they are must fill it to its end, and
those that have a checksum must be as they were written.

A decoder reads a file that was cut short without complaint up to the cut, and passes over what it does not understand.
Where a format says how long its parts are, that is compared here; nothing of what is in them is decoded.
"""

import struct
from collections.abc import Callable
from functools import partial
from math import isfinite
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

MP4_TYPES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
EBML_MAGIC, GIF_MAGIC = b"\x1a\x45\xdf\xa3", b"GIF8"
SEGMENT, CLUSTER, BLOCK_GROUP = 0x18538067, 0x1F43B675, 0xA0  # of Matroska, RFC 9559
MATROSKA_MASTERS = frozenset({SEGMENT, CLUSTER, BLOCK_GROUP})
# What lies right below the Segment: where one begins, a cluster of unknown size ends.
SEGMENT_CHILDREN = frozenset(
    {CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
)
EBML_CRC = b"\xbf\x84"  # the id and the length of a CRC-32
CHECKED_AT_ONCE = 1 << 20
TS_PACKET, TS_SYNC = 188, 0x47  # ISO/IEC 13818-1, 2.4.3.2
TS_TIMED_PACKET = 4 + TS_PACKET  # m2ts: with a time before it
AVI_UNKNOWN = (0, 0xFFFFFFFF)
ASF_NO_PACKETS = 50  # bytes of the data without a packet
ASF_HEADER, ASF_DATA = (bytes.fromhex(name + "26b2758e66cf11a6d900aa0062ce6c") for name in ("30", "36"))
FLV_FILE_SIZE, FLV_SEARCHED = b"\x00\x08filesize\x00", 4096  # a name of 8 bytes, and that a number follows
FLV_MAGIC, FLV_TAGS = b"FLV", frozenset({8, 9, 18})  # of sound, video, data
BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
OGG_MAGIC, OGG_FIRST, OGG_LAST = b"OggS", 2, 4  # and two flags of a page
MXF_PREFIX, MXF_PACK = bytes.fromhex("060e2b34"), bytes.fromhex("060e2b34020501010d01020101")
MXF_PARTITIONS = (2, 3, 4)  # header, body, footer: the byte after that
DV_MAGIC, DV_FRAMES = bytes.fromhex("1f0700"), (120_000, 144_000)  # bytes of a frame, of 60 and 50 fields a second
UNKNOWN = -1


class BrokenStructure(Exception):
    """What is wrong, in words that follow the name of the file."""


def describe_damage(path: Path) -> str | None:
    """What the structure of a file says is wrong with it, in words that follow its name; None where nothing is."""
    size = path.stat().st_size
    if size == 0:
        return "is empty (0 bytes); the copy or the recording failed"
    with path.open("rb") as file:
        check = _check_of(file.read(3 * TS_PACKET))
        file.seek(0)
        try:
            if check is not None:
                check(file, size)
        except BrokenStructure as damage:
            return str(damage)
        except (struct.error, IndexError, ValueError):
            return "is damaged: one of its blocks ends in the middle"
    return None


def _check_of(head: bytes) -> Callable[[BinaryIO, int], None] | None:
    """The check of the format that the first bytes are of; None for formats that do not say how long they are."""
    if head[4:8] in MP4_TYPES:
        return _check_boxes
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _check_riff
    if len(head) > TS_PACKET and head[0] == head[TS_PACKET] == TS_SYNC:
        return partial(_check_transport_stream, packet=TS_PACKET)
    if len(head) > TS_TIMED_PACKET + 4 and head[4] == head[TS_TIMED_PACKET + 4] == TS_SYNC:
        return partial(_check_transport_stream, packet=TS_TIMED_PACKET)
    return next((check for magic, check in _CHECKS.items() if head.startswith(magic)), None)


def _check_end(end: int, size: int) -> None:
    if end > size:
        raise BrokenStructure(f"is cut short, {size} of {end} bytes are there; copy or record it again")


def _check_boxes(file: BinaryIO, size: int) -> None:
    """mp4, mov. ISO/IEC 14496-12, 4.2: 32-bit size, type, 64-bit size where the first is 1; 0: to the end.

    In a fragmented file each `moof` says where the frames in the `mdat` after it are. One that ends between two
    fragments is whole: a live recording ends so.
    """
    end, has_index, is_fragmented, owes_media = 0, False, False, False
    while end + 8 <= size:
        file.seek(end)
        box_size, name = struct.unpack(">I4s", file.read(8))
        if box_size == 1:
            (box_size,) = struct.unpack(">Q", file.read(8))
        if box_size < 8:
            return
        has_index |= name == b"moov"
        is_fragmented |= name == b"moof"
        owes_media = name == b"moof" or (owes_media and name != b"mdat")
        end += box_size
        _check_end(end, size)
    if not has_index:
        raise BrokenStructure("is cut short: its index (moov) is missing; copy or record it again")
    if owes_media or (is_fragmented and end < size):
        raise BrokenStructure("is cut short: its last fragment is not complete; copy or record it again")


def _check_riff(file: BinaryIO, size: int) -> None:
    """avi. `RIFF`, 32-bit size of what follows; files over 1 GB go on with further RIFF blocks. What was written to a
    pipe does not say its size."""
    end = 0
    while end + 12 <= size:
        file.seek(end)
        name, block_size = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or block_size in AVI_UNKNOWN:
            return
        _check_end(end + 8 + block_size, size)
        _check_chunks(file, end + 12, end + 8 + block_size)
        end += 8 + block_size + block_size % 2


def _check_chunks(file: BinaryIO, start: int, stop: int) -> None:
    """The chunks between two places, and those of the lists among them: name, 32-bit size, even length."""
    while start + 8 <= stop:
        file.seek(start)
        name, length = struct.unpack("<4sI", file.read(8))
        if start + 8 + length > stop:
            raise BrokenStructure(f"is damaged: the chunk at byte {start} is longer than what it lies in")
        if name == b"LIST":
            _check_chunks(file, start + 12, start + 8 + length)
        start += 8 + length + length % 2


def _check_ebml(file: BinaryIO, size: int) -> None:
    """mkv, webm: elements of an id, a size and a content, RFC 8794; those that hold frames are looked into."""
    end = 0
    while end < size:
        file.seek(end)
        identity, length = _element(file)
        start = file.tell()
        if length != UNKNOWN:
            _check_end(start + length, size)
        end = size if length == UNKNOWN else start + length
        if identity == SEGMENT:
            _check_elements(file, start, end)


def _check_elements(file: BinaryIO, start: int, stop: int) -> None:
    """The elements between two places follow one another without a gap, each within what it lies in."""
    ends = [stop]  # of the elements that we are inside of, the innermost last
    while start < stop:
        while start >= ends[-1]:
            ends.pop()
        file.seek(start)
        identity, length = _element(file)
        content = file.tell()
        if identity in SEGMENT_CHILDREN:
            del ends[1:]  # a cluster of unknown size ends here, and one of a known size should have ended
        end = ends[-1] if length == UNKNOWN else content + length
        if end > ends[-1] or (length == UNKNOWN and identity != CLUSTER):
            raise BrokenStructure(f"is damaged: the element at byte {start} is longer than what it lies in")
        if identity in SEGMENT_CHILDREN:
            _check_checksum(file, content, end)
        if identity in MATROSKA_MASTERS:
            ends.append(end)
            start = content
        else:
            start = end


def _check_checksum(file: BinaryIO, start: int, stop: int) -> None:
    """Of an element that begins with one: of all that comes after it. RFC 8794, 11.3.1."""
    file.seek(start)
    if file.read(2) != EBML_CRC:
        return
    (expected,) = struct.unpack("<I", file.read(4))
    found = 0
    for place in range(file.tell(), stop, CHECKED_AT_ONCE):
        found = crc32(file.read(min(CHECKED_AT_ONCE, stop - place)), found)
    if found != expected:
        raise BrokenStructure(f"is damaged: the bytes after {start} are not those that were written (checksum)")


def _element(file: BinaryIO) -> tuple[int, int]:
    """The id and the length of an element, UNKNOWN where all bits of the length are set. RFC 8794, 4 to 6."""
    identity, _ = _variable_integer(file, most_bytes=4)
    length, num_bytes = _variable_integer(file, most_bytes=8)
    length -= 1 << (7 * num_bytes)  # without the marker bit
    return identity, UNKNOWN if length == (1 << (7 * num_bytes)) - 1 else length


def _variable_integer(file: BinaryIO, *, most_bytes: int) -> tuple[int, int]:
    """A number whose leading zeros say how many bytes it has, with its marker bit; and how many."""
    place = file.tell()
    first = file.read(1)
    num_bytes = 9 - first[0].bit_length()
    rest = file.read(num_bytes - 1)
    if num_bytes > most_bytes or len(rest) < num_bytes - 1:
        raise BrokenStructure(f"is damaged: there is no element at byte {place}")
    return int.from_bytes(first + rest, "big"), num_bytes


def _check_gif(file: BinaryIO, size: int) -> None:
    """GIF89a, 17 to 27: header, screen, colour table; then extensions and images, each a chain of blocks; 0x3B."""
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


def _check_transport_stream(file: BinaryIO, size: int, *, packet: int) -> None:
    """ts, m2ts: packets of 188 bytes that begin with 0x47, each behind four bytes in m2ts."""
    if size % packet:
        raise BrokenStructure(f"is cut short or damaged: it is no whole number of packets of {packet} bytes")
    num_packets = 1 << 12
    for start in range(0, size, num_packets * packet):
        starts = file.read(num_packets * packet)[packet - TS_PACKET :: packet]
        if starts.count(TS_SYNC) < len(starts):
            raise BrokenStructure(f"is damaged: the packets after byte {start} do not follow one another")


def _check_asf(file: BinaryIO, size: int) -> None:
    """wmv, asf: objects of an id of 16 bytes and a 64-bit size, both included; one of them is the data, whose size a
    live recording does not say."""
    end, has_data = 0, False
    while end + 24 <= size:
        file.seek(end)
        name, object_size = struct.unpack("<16sQ", file.read(24))
        has_data |= name == ASF_DATA
        if name == ASF_DATA and object_size <= ASF_NO_PACKETS:
            return
        if object_size < 24:
            raise BrokenStructure(f"is damaged: there is no object at byte {end}")
        end += object_size
        _check_end(end, size)
    if not has_data:
        raise BrokenStructure("is cut short: it ends before its first frame; copy or record it again")


def _check_flv(file: BinaryIO, size: int) -> None:
    """flv: a header that says its size; then tags, between the lengths of those before; the first one may say the size
    of the file. Adobe's specification, E.2 to E.5."""
    file.seek(5)
    (start,) = struct.unpack(">I", file.read(4))
    file.seek(start)
    said = file.read(FLV_SEARCHED).partition(FLV_FILE_SIZE)[2][:8]
    if len(said) == 8 and isfinite(number := struct.unpack(">d", said)[0]):
        _check_end(int(number), size)
    end = start + 4
    while end < size:
        file.seek(end)
        kind, *length = file.read(4)
        if kind & 0x1F not in FLV_TAGS:
            raise BrokenStructure(f"is damaged: there is no tag at byte {end}")
        end += 11 + int.from_bytes(bytes(length), "big") + 4
        _check_end(end, size)


def _check_ogg(file: BinaryIO, size: int) -> None:
    """ogv: pages, each with the lengths of its segments and a checksum; each stream has a first and a last one. RFC
    3533, 6."""
    end, open_streams = 0, set()
    while end < size:
        start = end
        file.seek(start)
        magic, flags, stream, checksum, num_segments = struct.unpack("<4sxB8xI4xIB", file.read(27))
        if magic != OGG_MAGIC:
            raise BrokenStructure(f"is damaged: there is no page at byte {start}")
        end += 27 + num_segments + sum(file.read(num_segments))
        _check_end(end, size)
        file.seek(start)
        if _ogg_checksum(file.read(end - start)) != checksum:
            raise BrokenStructure(f"is damaged: the bytes after {start} are not those that were written (checksum)")
        if flags & OGG_FIRST:
            open_streams.add(stream)
        if flags & OGG_LAST:
            open_streams.discard(stream)
    if open_streams:
        raise BrokenStructure("is cut short: its last page is missing; copy or record it again")


def _ogg_checksum(page: bytes) -> int:
    """The CRC-32 of RFC 3533, 6: that of zlib with the bits of each byte and of the result the other way round, from 0
    on. Its own place in the page counts as zeros."""
    content = page[:22] + bytes(4) + page[26:]
    crc = crc32(content.translate(BITS_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "big").translate(BITS_REVERSED), "little")


def _check_mxf(file: BinaryIO, size: int) -> None:
    """mxf: a key of 16 bytes, a length as BER has it, and so many bytes, to the end; the header says where the footer
    is, once there is one. SMPTE ST 377-1, 6.3 and 7.1."""
    end, footer = 0, 0
    while end < size:
        file.seek(end)
        key = file.read(16)
        if not key.startswith(MXF_PREFIX):
            raise BrokenStructure(f"is damaged: there is no key at byte {end}")
        (length,) = file.read(1)
        if length & 0x80:
            length = int.from_bytes(file.read(length & 0x7F), "big")
        start = file.tell()
        _check_end(start + length, size)
        if key[:13] == MXF_PACK and key[13] in MXF_PARTITIONS:
            (found,) = struct.unpack(">24xQ", file.read(32))
            footer = max(footer, found)
        end = start + length
    if footer >= size:
        raise BrokenStructure("is cut short: its footer is missing; copy or record it again")


def _check_dv(file: BinaryIO, size: int) -> None:
    """dv: frames of one size, IEC 61834."""
    file.seek(3)
    frame = DV_FRAMES[file.read(1)[0] >> 7]
    if size % frame:
        raise BrokenStructure(
            f"is cut short: it is no whole number of frames of {frame} bytes; copy or record it again"
        )


_CHECKS = {
    EBML_MAGIC: _check_ebml,
    GIF_MAGIC: _check_gif,
    ASF_HEADER: _check_asf,
    FLV_MAGIC: _check_flv,
    OGG_MAGIC: _check_ogg,
    MXF_PREFIX: _check_mxf,
    DV_MAGIC: _check_dv,
}
