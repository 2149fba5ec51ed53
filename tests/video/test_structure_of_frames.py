"""Damage that a decoder conceals, or a demuxer skips, is found in the structure of the file."""

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_videos import MakeVideo
from PIL import Image

from pipeline.video.containers.asf import ASF_DATA, ASF_NO_PACKETS
from pipeline.video.containers.dv import BLOCK_BYTES, DV_FRAMES
from pipeline.video.containers.registry import check_structure

MAKINGS: dict[str, dict] = {
    "clip.dv": {"codec": "dvvideo", "size": (720, 576), "num_frames": 3},
    "clip.gif": {"codec": "gif", "pix_fmt": "rgb8", "num_frames": 12},
    "clip.wmv": {"codec": "wmv2", "options": {"g": "12"}, "num_frames": 60, "size": (128, 96)},
    "clip.avi": {"codec": "mpeg4"},
}


def blank_block_of_second_frame(content: bytearray) -> None:
    start = DV_FRAMES[1] + 100 * BLOCK_BYTES
    content[start : start + BLOCK_BYTES] = bytes(BLOCK_BYTES)


def flip_bits_of_an_image(content: bytearray) -> None:
    place = content.index(b"\x2c", len(content) // 2) + 40
    content[place : place + 60] = bytes(byte ^ 0x5A for byte in content[place : place + 60])


def find_packets(content: bytes) -> tuple[int, int, int]:
    """Return the place of the first packet of a wmv, the size of each, and their number."""
    start = content.index(ASF_DATA)
    (size,) = struct.unpack_from("<Q", content, start + 16)
    (number,) = struct.unpack_from("<Q", content, start + 40)
    return start + ASF_NO_PACKETS, (size - ASF_NO_PACKETS) // number, number


def blank_a_packet(content: bytearray) -> None:
    first, packet_bytes, _ = find_packets(content)
    content[first + packet_bytes : first + packet_bytes + 200] = bytes(200)


def repeat_the_last_frame_behind_the_index(content: bytearray) -> None:
    frame = content.rindex(b"00dc", 0, content.index(b"idx1"))
    content += b"\xff" * 8 + content[frame : content.index(b"idx1")]


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        ("clip.dv", blank_block_of_second_frame, "1 of 1800 blocks of frame 1 have a wrong header"),
        ("clip.gif", flip_bits_of_an_image, "of 12 cannot be decoded"),
        ("clip.wmv", blank_a_packet, "is damaged: "),
        ("clip.avi", repeat_the_last_frame_behind_the_index, "frames (00dc) follow after its last chunk"),
    ],
)
def test_damage_is_found_that_decoding_does_not_show(
    name: str, damage: Callable[[bytearray], None], expected: str, make_video: MakeVideo
) -> None:
    path = make_video(name, **MAKINGS[name])
    assert check_structure(path).damage is None
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    found = check_structure(path).damage
    assert found is not None
    assert expected in found


def test_a_wmv_without_one_of_its_packets_lacks_frames(make_video: MakeVideo) -> None:
    path = make_video("clip.wmv", codec="wmv2", num_frames=60, size=(128, 96))
    whole = path.read_bytes()
    first, packet_bytes, num_packets = find_packets(whole)
    assert num_packets >= 3
    for number in range(1, num_packets - 1):
        content = bytearray(whole)
        start = first + number * packet_bytes
        content[start : start + packet_bytes] = content[first : first + packet_bytes]
        path.write_bytes(content)
        assert "a part of stream 1 is missing" in str(check_structure(path).damage)


def test_an_animation_that_another_program_wrote_is_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (31, 47, 3), dtype=np.uint8)) for _ in range(4)]
    images[0].save(tmp_path / "pillow.gif", save_all=True, append_images=images[1:], duration=40)
    assert check_structure(tmp_path / "pillow.gif").damage is None


@pytest.mark.parametrize(
    "x264",
    [
        "bframes=0",
        "bframes=3:b-pyramid=normal:ref=4",
        "bframes=2:b-pyramid=strict:open-gop=1:keyint=8",
        "intra-refresh=1",
        "slices=3:bframes=2",
        "tff=1:interlaced=1",
        "aud=1:keyint=1",
        "cqm=jvt",
    ],
)
def test_bare_streams_of_many_settings_are_whole(x264: str, make_video: MakeVideo) -> None:
    path = make_video("clip.h264", options={"x264-params": x264})
    assert check_structure(path).damage is None
    content = path.read_bytes()
    path.write_bytes(content + content)  # joined, as such streams may be
    assert check_structure(path).damage is None
    unspecified = b"\0\0\1\x18to be ignored"
    path.write_bytes(content + bytes(3_000_000) + unspecified + bytes(3_000_000))  # filled up, as recorders do
    assert check_structure(path).damage is None


@pytest.mark.parametrize("change", ["blanked", "lost", "twice", "reserved"])
@pytest.mark.parametrize("profile", ["baseline", "high"])
def test_a_bare_stream_without_one_of_its_reference_frames_is_damaged(
    profile: str, change: str, make_video: MakeVideo
) -> None:
    path = make_video("clip.h264", options={"x264-params": "bframes=0:keyint=40:scenecut=0", "profile": profile})
    content = path.read_bytes()
    units = [match.start() for match in re.finditer(rb"\x00\x00\x01[\x21\x41\x61]", content)]
    assert len(units) == 39
    start, stop = units[20], units[21]
    between = {
        "blanked": bytes(stop - start - 3) + b"\x80",
        "lost": b"",
        "twice": content[start:stop] * 2,
        "reserved": content[start : start + 3] + b"\x38" + content[start + 4 : stop],
    }
    path.write_bytes(content[:start] + between[change] + content[stop:])
    assert str(check_structure(path).damage).startswith("is damaged")
