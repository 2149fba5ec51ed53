"""The check of the packets of MPEG transport streams (ts, m2ts)."""

import re
from typing import BinaryIO

import numpy as np

from pipeline.video.containers.errors import BrokenStructure, check_rest

TS_PACKET, TS_SYNC = 188, 0x47  # ISO/IEC 13818-1, 2.4.3.2
TS_TIMED_PACKET = 4 + TS_PACKET  # in m2ts, where a time comes before each packet
_PACKETS_AT_ONCE = 1 << 12
_NOTHING = 0x1FFF  # the number of the stream of packets that fill up a file
_REPEATED = 16  # a packet that ends in so many equal bytes was probably overwritten
_ANY_FLAGS = (0x00, 0x20, 0x40, 0x60)  # beside the first bits of the number of a stream; none says that it is damaged


def check_transport_stream(file: BinaryIO, size: int, *, packet: int) -> list[str]:
    """Check a ts or m2ts file, which consists of packets of 188 bytes that begin with 0x47.

    It says nowhere where it ends. Bytes at its end that are no packet are therefore damage where packets follow, and
    where the packet before them is not the end of a frame or of a piece of sound: then the rest of that is missing.

    Args:
        file: The file.
        size: Its size in bytes.
        packet: TS_PACKET, or TS_TIMED_PACKET in m2ts, where four bytes come before each packet.

    Returns:
        What does not fit together, but concerns no frame.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    streams: set[int] = set()
    end = 0
    while end + packet <= size:
        heads = _heads(file, packet)
        num_packets = int(np.append(heads[:, 0] == TS_SYNC, False).argmin())
        numbers = heads[:num_packets, 1].astype(int) << 8 | heads[:num_packets, 2]
        streams.update(np.unique(numbers & 0x1FFF).tolist())
        end += num_packets * packet
        if num_packets < len(heads):
            break
    if end == size:
        return []
    file.seek(end)
    begun = file.read(packet)[packet - TS_PACKET :]
    if size - end < packet and (not begun or begun[0] == TS_SYNC):
        raise BrokenStructure(f"is cut short: it is not a whole number of packets of {packet} bytes")
    file.seek(end - TS_PACKET)
    if not _ends_a_part(file.read(TS_PACKET), begun):
        raise BrokenStructure(f"is damaged: the packet before byte {end} is not the end of a frame, and none follows")
    owing = _following_packets(streams, packet)
    return [check_rest(file, end, size, part="packet", owing=owing, longest=3 * packet + 3)]


def _ends_a_part(last: bytes, behind: bytes) -> bool:
    """Tell whether a packet is the end of a frame or of a piece of sound, judged by what only such packets have.

    Args:
        last: The packet.
        behind: The bytes after it. Where the packet ends in the same byte repeated, these overwrote its end too.
    """
    if int.from_bytes(last[1:3], "big") & 0x1FFF == _NOTHING:
        return True
    if behind and last.endswith(behind[:1] * _REPEATED):
        return False
    is_begin, is_filled = last[1] & 0x40, last[3] & 0x20  # a part that does not fill its last packet is filled up
    return bool(is_filled) and (not is_begin or last.count(b"\0\0\1") > 1)  # the header, and a unit in it


def _heads(file: BinaryIO, packet: int) -> np.ndarray:
    """Read packets, and return the first three bytes of each, without the time before it: uint8 [packets, 3]."""
    content = file.read(_PACKETS_AT_ONCE * packet)
    packets = np.frombuffer(content, np.uint8, len(content) // packet * packet).reshape(-1, packet)
    first = packet - TS_PACKET
    return packets[:, first : first + 3]


def _following_packets(streams: set[int], packet: int) -> "re.Pattern[bytes]":
    """Return a pattern of the first bytes of packets: of four in a row, of two of some streams, or of the last one."""
    numbers = (
        b"[%s]%s" % (re.escape(bytes(number >> 8 | flags for flags in _ANY_FLAGS)), re.escape(bytes([number & 0xFF])))
        for number in sorted(streams)
    )
    head = rb"\x47(?:" + b"|".join(numbers) + b")"
    known = head + b".{%d}(?:%s|\\Z)" % (packet - 3, head)
    return re.compile(known + b"|" + b"\\x47.{%d}" % (packet - 1) * 3 + b"\\x47", re.DOTALL)
