"""The packets of VP9 that hold several pictures."""

from itertools import accumulate, pairwise

import av

_MARKER, _MARKER_MASK = 0xC0, 0xE0  # of the first and the last byte of an index


def split_superframe(packet: av.Packet) -> list[av.Packet]:
    """Split a packet of VP9 into its pictures (VP9 Bitstream Specification, annex B).

    A picture that is shown later, or never, is stored in the packet of the next one that is shown; an index at the end
    of the packet has their sizes. libvpx takes the data that a picture leaves over for another picture, which they are
    not, and so notices that a picture ends too early; but inside such a packet it goes on where the index says.

    Args:
        packet: The packet; the last of its pictures gets the additional data that it carries, such as transparency.

    Returns:
        A packet for each picture; the packet itself if it has no index.

    Raises:
        ValueError: The sizes do not fit the packet.
    """
    content = bytes(packet)
    sizes = _sizes(content)
    if not sizes:
        return [packet]
    places = list(accumulate(sizes, initial=0))
    index_bytes = _index_bytes(content[-1])
    if places[-1] + index_bytes > len(content) or not all(sizes):
        raise ValueError(f"a packet of {len(content)} bytes states pictures of {sizes} bytes; it is damaged")
    pictures = []
    for start, stop in pairwise(places):
        picture = av.Packet(content[start:stop])
        picture.pts, picture.dts, picture.duration = packet.pts, packet.dts, packet.duration
        if packet.time_base is not None:
            picture.time_base = packet.time_base
        picture.is_keyframe = packet.is_keyframe
        pictures.append(picture)
    for extra in packet.iter_sidedata():
        pictures[-1].set_sidedata(extra)
    return pictures


def _index_bytes(marker: int) -> int:
    return 2 + ((marker & 7) + 1) * ((marker >> 3 & 3) + 1)


def _sizes(content: bytes) -> list[int]:
    """Return the sizes in the index at the end of a packet; none without an index."""
    marker = content[-1] if content else 0
    index_bytes = _index_bytes(marker)
    if marker & _MARKER_MASK != _MARKER or len(content) < index_bytes or content[-index_bytes] != marker:
        return []
    size_bytes = (marker >> 3 & 3) + 1
    index = content[1 - index_bytes : -1]
    return [int.from_bytes(index[start : start + size_bytes], "little") for start in range(0, len(index), size_bytes)]
