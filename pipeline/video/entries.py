"""Where decoding may begin inside a video, and which pictures it may leave out, by what the pictures themselves say."""

import av

from pipeline.video.units import Units

# Types of units of H.264 (ISO/IEC 14496-10, table 7-1) and HEVC (ISO/IEC 23008-2, table 7-1).
_H264_SLICES, _H264_IDR, _H264_MESSAGES = frozenset({1, 2, 3, 4, 5}), 5, 6
_HEVC_ENTRIES = frozenset(range(16, 22))
_RECOVERY_POINT = 6  # the type of a message of H.264
# The first bits of its content: no frame has to be decoded before (recovery_frame_cnt), the pixels are exact, and no
# link to earlier frames is broken.
_EXACT_AT_ONCE = 0b110


def may_begin(packet: av.Packet, units: Units) -> bool:
    """Return whether a decoder that begins at a packet gives that frame, and all that are shown after it, exactly.

    Containers also mark other packets as key frames, such as the starts of a gradual refresh.
    """
    if not packet.is_keyframe or not packet.size:
        return False
    if units.codec is None:
        return True
    content = memoryview(packet)
    starts = [(start, stop) for start, stop in units.of(content)]
    if units.is_hevc:
        return any(content[start] >> 1 & 0x3F in _HEVC_ENTRIES for start, _ in starts)
    types = [content[start] & 0x1F for start, _ in starts]
    return _H264_IDR in types or any(
        kind == _H264_MESSAGES and _is_exact_recovery(bytes(content[start + 1 : stop]))
        for kind, (start, stop) in zip(types, starts, strict=True)
    )


def is_unreferenced(packet: av.Packet, units: Units) -> bool:
    """Return whether no other picture refers to that of a packet, so that leaving it out changes none.

    Only H.264 is looked at, where the header of each slice says so by itself (nal_ref_idc).
    """
    if units.codec is None or units.is_hevc or not packet.size:
        return False
    content = memoryview(packet)
    slices = [content[start] for start, _ in units.of(content) if content[start] & 0x1F in _H264_SLICES]
    return bool(slices) and not any(header >> 5 & 3 for header in slices)


def _is_exact_recovery(message: bytes) -> bool:
    """Return whether side messages (SEI) begin with a recovery point from which on the pixels are exact."""
    place = 0
    while place + 2 < len(message):
        kind, size = message[place], message[place + 1]
        if kind == 255 or size == 255:  # longer than any recovery point: user data
            return False
        if kind == _RECOVERY_POINT:
            return message[place + 2] >> 5 == _EXACT_AT_ONCE
        place += 2 + size
    return False
