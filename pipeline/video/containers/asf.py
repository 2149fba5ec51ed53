"""The check of the objects and packets of ASF files (wmv)."""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from pipeline.video.containers.errors import BrokenStructure, check_end, check_rest

ASF_NO_PACKETS = 50  # the size of a data object without a packet, in bytes
ASF_HEADER, ASF_DATA = (bytes.fromhex(name + "26b2758e66cf11a6d900aa0062ce6c") for name in ("30", "36"))
# What may follow the data: the indexes, and an object without meaning.
ASF_INDEXES = frozenset(
    bytes.fromhex(name)
    for name in (
        "90080033b1e5cf1189f400a0c90349cb",  # of frames by time
        "d329e2d6da35d111903400a0c90349be",
        "f803b1fead12644c840f2a1d2f7ad48c",  # of media objects
        "d03fb73c4a0c0348953dedf7b6228f0c",  # of time codes
        "74d40618dfca0945a4ba9aabcb96aae8",  # padding
    )
)
OWING = re.compile(re.escape(ASF_HEADER) + b"|" + re.escape(ASF_DATA))
FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
NUMBERS = {1: "<B", 2: "<H", 3: "<I"}  # of the sizes that a packet names: 0 for a field that is not there


class Payload(NamedTuple):
    """A piece of a media object, such as a frame, in a packet.

    Attributes:
        stream: The number of the stream.
        number: The number of the media object, of 8 bits; None for several small objects, which are not followed.
        offset: The place of the piece in the object, in bytes.
        length: The size of the piece in bytes.
        object_size: The size of the object in bytes; None where it is not stated.
    """

    stream: int
    number: int | None
    offset: int
    length: int
    object_size: int | None


def check_asf(file: BinaryIO, size: int) -> list[str]:
    """Check a wmv or asf file.

    It consists of objects, each with an id of 16 bytes and a 64-bit size that includes both. One object is the data; a
    live recording does not state its size. Indexes may follow, without which players do.

    Args:
        file: The file.
        size: Its size in bytes.

    Returns:
        What does not fit together, but concerns no frame.

    Raises:
        BrokenStructure: The file is damaged or cut short, or is several files that were joined byte by byte.
    """
    end, has_data, is_complete, packet_bytes = 0, False, False, 0
    while end + 24 <= size:
        file.seek(end)
        name, object_size = struct.unpack("<16sQ", file.read(24))
        if name == ASF_HEADER and end:
            raise BrokenStructure(
                "is several files joined byte by byte, of which players show only the first; join them with FFmpeg's"
                " demuxer concat"
            )
        has_data |= name == ASF_DATA
        if name == ASF_DATA and object_size <= ASF_NO_PACKETS:
            return []
        if is_complete and name not in ASF_INDEXES and not 24 <= object_size <= size - end:
            break
        if object_size < 24:
            raise BrokenStructure(f"is damaged: there is no object at byte {end}")
        check_end(end + object_size, size)
        if name == ASF_HEADER:
            packet_bytes = _packet_bytes(file.read(object_size - 24))
        elif name == ASF_DATA and packet_bytes:
            file.seek(end + ASF_NO_PACKETS)
            num_packets, num_behind = divmod(object_size - ASF_NO_PACKETS, packet_bytes)
            _check_packets(file, num_packets, packet_bytes)
            file.seek(end + 40)
            (stated,) = struct.unpack("<Q", file.read(8))
            is_complete = stated == num_packets and not num_behind
        end += object_size
    if not has_data:
        raise BrokenStructure("is cut short: it ends before its first frame; copy or record it again")
    return [check_rest(file, end, size, part="object", owing=OWING, longest=16)] if end < size else []


def _packet_bytes(header: bytes) -> int:
    """Return the size of all packets; 0 where it varies or is not stated."""
    place = header.find(FILE_PROPERTIES)
    if place < 0:
        return 0
    smallest, largest = struct.unpack_from("<II", header, place + 92)
    return smallest if smallest == largest else 0


def _check_packets(file: BinaryIO, num_packets: int, packet_bytes: int) -> None:
    """Check that each stream's media objects follow each other by their numbers, and that no piece of one is missing.

    Demuxers skip packets that they cannot parse, and the frames in them.
    """
    latest: dict[int, Payload] = {}
    for index in range(num_packets):
        try:
            payloads = list(_payloads(file.read(packet_bytes)))
        except (struct.error, IndexError, KeyError) as error:
            raise BrokenStructure(f"is damaged: packet {index} of {num_packets} cannot be parsed") from error
        for payload in payloads:
            last = latest.get(payload.stream)
            if last is not None and None not in (last.number, payload.number) and not _follows(last, payload):
                raise BrokenStructure(
                    f"is damaged: in packet {index} of {num_packets}, a part of stream {payload.stream} is missing"
                )
            latest[payload.stream] = payload
    for stream, last in latest.items():
        if last.object_size not in (None, last.offset + last.length):
            raise BrokenStructure(f"is damaged: a part of stream {stream} is missing in its last packet")


def _follows(last: Payload, payload: Payload) -> bool:
    reached = last.offset + last.length
    if payload.offset:
        return payload.number == last.number and payload.offset == reached
    assert last.number is not None
    return payload.number == (last.number + 1) % 256 and last.object_size in (None, reached)


def _payloads(packet: bytes) -> Iterator[Payload]:
    """Yield the payloads of a data packet (Advanced Systems Format Specification, 5.2).

    Raises:
        struct.error, IndexError, KeyError: It is not a packet.
    """
    place = 1 + (packet[0] & 0x0F) if packet[0] & 0x80 else 0
    flags, sizes = packet[place], packet[place + 1]
    place += 2
    length, place = _number(packet, place, flags >> 5)
    _, place = _number(packet, place, flags >> 1)
    padding, place = _number(packet, place, flags >> 3)
    place += 6  # the time and the duration
    end = (length or len(packet)) - padding
    count, length_size = (packet[place] & 0x3F, packet[place] >> 6) if flags & 1 else (1, 0)
    place += flags & 1
    for _ in range(count):
        stream = packet[place] & 0x7F
        if stream == 0:
            raise IndexError("a payload is of no stream")
        number, place = _number(packet, place + 1, sizes >> 4)
        offset, place = _number(packet, place, sizes >> 2)
        replicated, place = _number(packet, place, sizes)
        object_size = struct.unpack_from("<I", packet, place)[0] if replicated >= 8 else None
        place += replicated
        length, place = _number(packet, place, length_size) if flags & 1 else (end - place, place)
        if length < 0 or place + length > end:
            raise IndexError("a payload ends after its packet")
        place += length
        is_one = replicated != 1  # otherwise the payload holds whole objects of at most 255 bytes
        yield Payload(stream, number if is_one else None, offset, length, object_size)


def _number(packet: bytes, place: int, size_code: int) -> tuple[int, int]:
    """Return a number of 0, 1, 2 or 4 bytes, by the last two bits of `size_code`, and the place after it."""
    if size_code & 3 == 0:
        return 0, place
    layout = NUMBERS[size_code & 3]
    return struct.unpack_from(layout, packet, place)[0], place + struct.calcsize(layout)
