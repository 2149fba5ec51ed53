"""The check whether a video file is complete by its own structure, which depends on the container format."""

import struct
from collections.abc import Callable, Iterable
from functools import partial
from typing import BinaryIO

from pipeline.files import InputFile
from pipeline.video.containers.asf import ASF_HEADER, check_asf
from pipeline.video.containers.dv import DV_MAGIC, check_dv
from pipeline.video.containers.errors import BrokenStructure, Structure
from pipeline.video.containers.flv import FLV_MAGIC, check_flv
from pipeline.video.containers.gif import check_gif
from pipeline.video.containers.h264 import check_h264, is_h264
from pipeline.video.containers.matroska import EBML_MAGIC, GIF_MAGIC, check_ebml
from pipeline.video.containers.mp4 import MP4_TYPES, check_boxes
from pipeline.video.containers.mxf import MXF_PREFIX, check_mxf
from pipeline.video.containers.ogg import OGG_MAGIC, check_ogg
from pipeline.video.containers.riff import check_riff
from pipeline.video.containers.transport_stream import TS_PACKET, TS_SYNC, TS_TIMED_PACKET, check_transport_stream

Check = Callable[[BinaryIO, int], Structure | Iterable[str] | None]


def check_structure(path: InputFile) -> Structure:
    """Check the structure of a file."""
    size = path.stat().st_size
    if size == 0:
        return Structure("is empty (0 bytes); the copy or the recording failed")
    with path.open("rb") as file:
        check = _check_of(file.read(3 * TS_PACKET))
        file.seek(0)
        try:
            found = check(file, size) if check is not None else None
        except BrokenStructure as damage:
            return Structure(str(damage))
        except (struct.error, IndexError, ValueError):
            return Structure("is damaged: one of its blocks ends in the middle")
    return found if isinstance(found, Structure) else Structure(None, tuple(found or ()))


def _check_of(head: bytes) -> Check | None:
    """Return the check of the format that the first bytes identify; None for formats that do not state a length."""
    if head[4:8] in MP4_TYPES:
        return check_boxes
    if is_h264(head[:8]):
        return check_h264
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return check_riff
    if len(head) > TS_PACKET and head[0] == head[TS_PACKET] == TS_SYNC:
        return partial(check_transport_stream, packet=TS_PACKET)
    if len(head) > TS_TIMED_PACKET + 4 and head[4] == head[TS_TIMED_PACKET + 4] == TS_SYNC:
        return partial(check_transport_stream, packet=TS_TIMED_PACKET)
    return next((check for magic, check in _CHECKS.items() if head.startswith(magic)), None)


_CHECKS: dict[bytes, Check] = {
    EBML_MAGIC: check_ebml,
    GIF_MAGIC: check_gif,
    ASF_HEADER: check_asf,
    FLV_MAGIC: check_flv,
    OGG_MAGIC: check_ogg,
    MXF_PREFIX: check_mxf,
    DV_MAGIC: check_dv,
}
