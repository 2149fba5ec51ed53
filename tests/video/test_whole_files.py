"""Files that other programs wrote carelessly are whole: every frame is read, and what does not fit becomes a note."""

import io
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from made_videos import MakeVideo, decode_fully
from PIL import Image

from pipeline.video.containers.registry import check_structure
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.survey import index_video, survey_video
from pipeline.video.types import VideoError

QUICK = {"cpu-used": "8", "deadline": "realtime", "g": "12"}
H264 = {"options": {"bf": "2", "g": "12"}}
MAKINGS: dict[str, dict] = {
    "clip.webm": {"codec": "libvpx-vp9", "options": QUICK},
    "clip.mkv": H264,
    "clip.wmv": {"codec": "wmv2"},
    "clip.ts": H264,
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"bf": "2", "g": "12"}},
    "clip.m2ts": H264,
    "clip.flv": H264,
    "clip.ogv": {"codec": "libvpx", "options": QUICK},
    "clip.mxf": {"codec": "mpeg2video", "options": {"bf": "2", "g": "12"}},
    "clip.mpg": {"codec": "mpeg1video", "options": {"bf": "2", "g": "12"}},
    "clip.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "clip.mp4": H264,
    "clip.avi": {"codec": "mpeg4"},
}
# A file of these formats does not say where it ends: what follows its last packet is read as a part of it.
WITHOUT_NOTE = {"clip.mpg"}


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("notes.txt", "what was seen " * 200)
    return content.getvalue()


def picture() -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)).save(content, "JPEG")
    return content.getvalue()


BEHIND = {
    "text": b"recorded by a camera\n" * 40,
    "a word": b"hello",
    "zeros": bytes(5000),
    "random bytes": np.random.default_rng(0).bytes(7000),
    "a picture": picture(),
    "an archive": archive(),
}


def check_is_whole(path: Path, whole: np.ndarray) -> tuple[str, ...]:
    """Check that all frames are read without a complaint, by the packets and by a survey; return the notes."""
    notes = set()
    for surveyed in (None, True):
        with PyAVReader(index_video(path, surveyed=surveyed)) as video:
            np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in video.read()]), whole)
            report = video.report()
        assert report.problems == ()
        notes.add(report.notes)
    assert len(notes) == 1
    return notes.pop()


@pytest.mark.parametrize("name", MAKINGS)
def test_bytes_behind_the_end_of_a_file_are_a_note(name: str, make_video: MakeVideo) -> None:
    path = make_video(name, **MAKINGS[name], num_frames=20)
    whole, _ = decode_fully(path)
    content = path.read_bytes()
    for behind in BEHIND.values():
        path.write_bytes(content + behind)
        notes = check_is_whole(path, whole)
        assert len(notes) == (name not in WITHOUT_NOTE)
        if notes and not (name == "clip.avi" and len(behind) < 8):
            assert f"the {len(behind)} bytes after its " in notes[0]


@pytest.mark.parametrize("name", sorted(set(MAKINGS) - WITHOUT_NOTE))
def test_a_file_that_lacks_its_end_is_damaged_whatever_lies_behind_it(name: str, make_video: MakeVideo) -> None:
    path = make_video(name, **MAKINGS[name], num_frames=20, size=(128, 96))
    content = path.read_bytes()
    latest = 3 * len(content) // 4  # behind it are indexes
    cuts = np.random.default_rng(2).integers(len(content) // 4, latest, 12)
    behinds = [b"", BEHIND["zeros"], BEHIND["random bytes"]]
    packet = {".ts": 188, ".m2ts": 192}.get(path.suffix)
    if packet:  # a transport stream does not say where it ends; random bytes may pass for the end of a small frame
        cuts, behinds = cuts[cuts % packet > 4], behinds[:2]
    for cut in cuts.tolist():
        for behind in behinds:
            path.write_bytes(content[:cut] + behind)
            assert is_reported(path), (cut, len(content), behind[:4])


def is_reported(path: Path) -> bool:
    try:
        with PyAVReader(index_video(path, surveyed=True)) as video:
            return bool(video.report().problems)
    except Exception as error:
        return str(path) in str(error)


@pytest.mark.parametrize("name", sorted(set(MAKINGS) - WITHOUT_NOTE - {"clip.gif"}))
def test_frames_behind_bytes_that_are_no_part_of_a_file_are_damage(name: str, make_video: MakeVideo) -> None:
    path = make_video(name, **MAKINGS[name], num_frames=20, size=(128, 96))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    for start in range(middle, middle + 1000, 97):
        changed = content.copy()
        changed[start : start + 700] = BEHIND["random bytes"][:700]
        path.write_bytes(changed)
        assert is_reported(path), start


def test_an_animation_without_its_end_mark_is_whole(make_video: MakeVideo) -> None:
    path = make_video("clip.gif", codec="gif", pix_fmt="rgb8", num_frames=12)
    whole, _ = decode_fully(path)
    content = path.read_bytes()
    assert content.endswith(b"\x3b")
    path.write_bytes(content[:-1])
    assert check_is_whole(path, whole) == ("it has no end mark (0x3B); its last image is whole",)
    path.write_bytes(content[:-2])
    assert check_structure(path).damage is not None


def test_an_animation_that_ends_before_an_announced_image_is_cut_short(make_video: MakeVideo) -> None:
    path = make_video("clip.gif", codec="gif", pix_fmt="rgb8", num_frames=12)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"\x21\xf9\x04") + 8])  # its delay is there
    assert "is cut short" in str(check_structure(path).damage)


def chunks(content: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield place, name and length of each chunk of an avi file; the name of a list is that of its content."""
    place = 0
    while place + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, place)
        is_list = name in (b"RIFF", b"LIST")
        yield place, content[place + 8 : place + 12] if is_list else name, length
        place += 12 if is_list else 8 + length + length % 2


def without_padding(content: bytes) -> bytes:
    """Return an avi file whose frames of an odd length are not filled up; its other sizes fit."""
    places, made = {}, bytearray()
    for place, name, length in chunks(content):
        places[place] = len(made)
        is_list = name in (b"AVI ", b"hdrl", b"strl", b"INFO", b"movi")
        made += content[place : place + (12 if is_list else 8 + length + (length % 2 and name != b"00dc"))]
    for place, name, length in chunks(content):
        if name == b"AVI ":
            struct.pack_into("<I", made, 4, len(made) - 8)
        elif name == b"movi":
            struct.pack_into("<I", made, places[place] + 4, places[place + 8 + length] - places[place] - 8)
        elif name == b"idx1":
            movi, made_movi = content.index(b"movi"), made.index(b"movi")
            for entry in range(places[place] + 16, places[place] + 8 + length, 16):
                (offset,) = struct.unpack_from("<I", made, entry)
                struct.pack_into("<I", made, entry, places[movi + offset] - made_movi)
    return bytes(made)


@pytest.mark.parametrize(("codec", "pix_fmt"), [("mpeg4", "yuv420p"), ("mjpeg", "yuvj420p")])
def test_chunks_of_an_odd_length_need_not_be_filled_up(codec: str, pix_fmt: str, make_video: MakeVideo) -> None:
    path = make_video("clip.avi", codec=codec, pix_fmt=pix_fmt)
    whole, _ = decode_fully(path)
    content = without_padding(path.read_bytes())
    num_odd = len(path.read_bytes()) - len(content)
    assert num_odd > 5
    path.write_bytes(content)
    assert check_is_whole(path, whole) == (
        f"{num_odd} of its chunks are not filled up to an even length; they are whole",
    )
    path.write_bytes(content[: content.index(b"idx1") - 5])
    assert "is cut short" in str(check_structure(path).damage)


SIZES: dict[str, Callable[[int], int]] = {
    "none": lambda length: 0,
    "of a pipe": lambda length: 0xFFFFFFFF,
    "too large": lambda length: length + 1000,
    "too small": lambda length: length // 4 * 2,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["AVI ", "hdrl", "strl", "movi", "JUNK"])
def test_wrong_sizes_of_what_holds_no_picture_cost_no_frame(name: str, size: str, make_video: MakeVideo) -> None:
    path = make_video("clip.avi", codec="mpeg4")
    whole, _ = decode_fully(path)
    content = bytearray(path.read_bytes())
    for place, found, length in list(chunks(bytes(content))):
        if found == name.encode():
            struct.pack_into("<I", content, place + 4, SIZES[size](length))
    path.write_bytes(content)
    notes = check_is_whole(path, whole)
    assert all(re.search("its header says|before its frames, is wrong", note) for note in notes)
    assert bool(notes) == (name == "JUNK" or (name == "AVI " and size.startswith("too")))


@pytest.mark.parametrize("num_lost", [1, 2, 100, 250, 615, 900])
def test_frames_that_a_wrong_length_before_them_hides_are_damage(num_lost: int, make_video: MakeVideo) -> None:
    path = make_video("clip.avi", num_frames=30, size=(96, 64), codec="mpeg4", options={"g": "12"})
    content = path.read_bytes()
    last_before_frames = [place for place, name, _ in chunks(content) if name == b"JUNK"][-1]
    path.write_bytes(content[: last_before_frames + 8] + content[last_before_frames + 8 + num_lost :])
    index = survey_video(path)
    assert bool(index.problems) == (index.properties.num_frames < 30)
    if num_lost == 615:
        assert index.problems == ("is damaged, 29 of 30 frames can be found",)
        with pytest.raises(VideoError, match="is damaged, 29 of 30 frames can be found"):
            index_video(path)
