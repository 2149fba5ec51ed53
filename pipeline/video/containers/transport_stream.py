"""The check of the packets of MPEG transport streams (ts, m2ts)."""

from typing import BinaryIO

from pipeline.video.containers.errors import BrokenStructure

TS_PACKET, TS_SYNC = 188, 0x47  # ISO/IEC 13818-1, 2.4.3.2
TS_TIMED_PACKET = 4 + TS_PACKET  # in m2ts, where a time comes before each packet


def check_transport_stream(file: BinaryIO, size: int, *, packet: int) -> None:
    """Check a ts or m2ts file, which consists of packets of 188 bytes that begin with 0x47.

    Args:
        file: The file.
        size: Its size in bytes.
        packet: TS_PACKET, or TS_TIMED_PACKET in m2ts, where four bytes come before each packet.

    Raises:
        BrokenStructure: The file is damaged or cut short.
    """
    if size % packet:
        raise BrokenStructure(f"is cut short or damaged: it is not a whole number of packets of {packet} bytes")
    num_packets = 1 << 12
    for start in range(0, size, num_packets * packet):
        starts = file.read(num_packets * packet)[packet - TS_PACKET :: packet]
        if starts.count(TS_SYNC) < len(starts):
            raise BrokenStructure(f"is damaged: the packets after byte {start} do not follow one another")
