"""Files whose structure does not fit together are refused only where frames are missing from it."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_videos import MakeVideo, decode_fully

from pipeline.video.containers.registry import check_structure
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.survey import index_video

FAST = {"movflags": "faststart"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}
RELATIVE = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}  # frames are found from their fragment on
TRAILERS = {
    "text": b"<GPS>lat=51.5 lon=-0.1</GPS>\n" * 40,
    "no box": b"\x11" * 5000 + b"metadata of the camera, not in a box",
    "ones": b"\xff" * 20_000,
    "zeros": bytes(40_000),
    "three bytes": b"abc",
}


def check_read_whole(path: Path, expected: np.ndarray, note: str) -> None:
    """Check that every frame is read as from a whole file, and that the report has the note ("" for none)."""
    for surveyed in (False, True):
        with PyAVReader(index_video(path, surveyed=surveyed)) as video:
            np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in video.read()]), expected)
            report = video.report()
        assert report.problems == ()
        assert [note in text for text in report.notes] == ([True] if note else [])


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("options", [{}, FAST])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov"])
def test_bytes_after_the_last_box_do_not_matter(
    name: str, options: dict[str, str], trailer: str, make_video: MakeVideo
) -> None:
    path = make_video(name, num_frames=5, container_options=options)
    whole, _ = decode_fully(path)
    path.write_bytes(path.read_bytes() + TRAILERS[trailer])
    check_read_whole(path, whole, f"the {len(TRAILERS[trailer])} bytes after its last box are no box")


def test_text_after_the_last_fragment_does_not_matter(make_video: MakeVideo) -> None:
    path = make_video(num_frames=5, container_options=FRAGMENTED)
    whole, _ = decode_fully(path)
    path.write_bytes(path.read_bytes() + TRAILERS["text"])
    check_read_whole(path, whole, "bytes after its last box are no box")


def test_a_last_box_that_is_too_long_matters_only_if_frames_are_missing(make_video: MakeVideo) -> None:
    path = make_video(num_frames=5, container_options=FAST)
    whole, _ = decode_fully(path)
    content = bytearray(path.read_bytes())
    place = content.index(b"mdat") - 4
    (size,) = struct.unpack_from(">I", content, place)
    assert place + size == len(content)
    content[place : place + 4] = struct.pack(">I", size + 8)
    path.write_bytes(content)
    check_read_whole(path, whole, "its last box says 8 bytes more than there are")
    path.write_bytes(content[:-1])
    assert "is cut short" in str(check_structure(path).damage)


def test_bytes_that_were_lost_before_a_box_with_frames_are_damage(make_video: MakeVideo) -> None:
    path = make_video(num_frames=5)
    content = path.read_bytes()
    place = content.index(b"mdat") + 100
    path.write_bytes(content[:place] + content[place + 30 :])  # the next box is read at a wrong place
    assert "is " in str(check_structure(path).damage)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {}),
        ("clip.mov", {}),
        ("clip.mp4", {"container_options": FAST}),
        ("clip.mp4", {"container_options": FRAGMENTED}),
        ("clip.wmv", {"codec": "wmv2"}),
    ],
)
def test_joined_files_of_which_only_the_first_can_be_read_are_reported(
    name: str, options: dict, make_video: MakeVideo
) -> None:
    path = make_video(name, num_frames=5, **options)
    path.write_bytes(path.read_bytes() * 2)
    assert "joined byte by byte" in str(check_structure(path).damage)


def test_a_stream_that_repeats_its_index_before_each_part_is_whole(make_video: MakeVideo) -> None:
    path = make_video(num_frames=24, options={"g": "12", "bf": "0"}, container_options=RELATIVE)
    whole, _ = decode_fully(path)
    content = path.read_bytes()
    first = content.index(b"moof") - 4
    second, end = content.index(b"moof", first + 8) - 4, content.index(b"mfra") - 4
    path.write_bytes(content[:second] + content[:first] + content[second:end])
    check_read_whole(path, whole, "")


def resize_riff(change: Callable[[int], int]) -> Callable[[bytearray], None]:
    def apply(content: bytearray) -> None:
        (size,) = struct.unpack_from("<I", content, 4)
        struct.pack_into("<I", content, 4, change(size))

    return apply


def resize_movi(content: bytearray) -> None:
    struct.pack_into("<I", content, content.index(b"movi") - 4, 77)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (resize_riff(lambda size: size - 70), "its chunks are whole"),
        (resize_riff(lambda size: size + 8), "its chunks are whole"),
        (resize_riff(lambda size: size // 2), "its chunks are whole"),
        (resize_movi, ""),
        (lambda content: content.extend(b"made by a camera"), "no frame is in them"),
    ],
)
def test_the_sizes_of_lists_in_an_avi_do_not_matter(
    change: Callable[[bytearray], None], note: str, make_video: MakeVideo
) -> None:
    path = make_video("clip.avi", codec="mpeg4", num_frames=10)
    whole, _ = decode_fully(path)
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    check_read_whole(path, whole, note)


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg", "rawvideo"])
def test_an_avi_that_was_killed_in_the_middle_of_a_frame_is_cut_short(codec: str, make_video: MakeVideo) -> None:
    path = make_video("clip.avi", codec=codec, num_frames=10, pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p")
    whole, _ = decode_fully(path)
    content = bytearray(path.read_bytes())
    movi = content.index(b"movi")
    content[4:8] = content[movi - 4 : movi] = bytes(4)  # sizes are written when a recording ends
    place = movi + 4
    for _ in range(6):
        place += 8 + (struct.unpack_from("<I", content, place + 4)[0] + 1) // 2 * 2
    for rest in (3, 8, 40):  # in the middle of the header of a chunk, after it, and in the middle of a frame
        path.write_bytes(content[: place + rest])
        assert "is cut short" in str(check_structure(path).damage)
    with PyAVReader(index_video(path, surveyed=True)) as video:
        np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in video.read()]), whole[:6])
