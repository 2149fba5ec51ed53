"""Damaged videos cause no crash, no hang and no false success, and are read in part where possible."""

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from import_graph import ROOT
from made_videos import MakeVideo, decode_fully, moving_scene

from pipeline.video.containers.asf import ASF_DATA
from pipeline.video.containers.errors import Structure
from pipeline.video.containers.registry import check_structure
from pipeline.video.index import MAX_EXCHANGED
from pipeline.video.open import open_scaled, open_video
from pipeline.video.preprocess import Preprocess
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.survey import _restarts, index_video, survey_video
from pipeline.video.types import VideoError

NUM_COPIES = int(os.environ.get("FRAMESCRIBE_DAMAGED_COPIES", "112"))  # of each kind of file: two thousand in all
SLOWEST_SECONDS = 30  # for some dozen small frames, on a busy machine
CHECKSUMMED = (".mkv", ".ogv")  # as FFmpeg writes them
# Containers that state the length of each of their parts.
SELF_DESCRIBING = (".mp4", ".webm", ".wmv", ".flv", ".mxf")
FUZZED: dict[str, dict] = {
    "h264.mp4": {"options": {"bf": "2", "g": "12"}},
    "h264.mkv": {"options": {"bf": "2", "g": "12"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "12"}},
}
FUZZED_SLOWLY: dict[str, dict] = {
    "fragments.mp4": {"options": {"g": "12"}, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "h264.ts": {"options": {"bf": "2", "g": "12"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=12"}},
    "vp8.webm": {"codec": "libvpx", "options": {"cpu-used": "8", "deadline": "realtime", "g": "12"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime", "g": "12"}},
    "vp9.mkv": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime", "g": "12"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "mpeg1.mpg": {"codec": "mpeg1video", "options": {"g": "12", "bf": "2"}},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "animation.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "wmv2.wmv": {"codec": "wmv2", "options": {"g": "12"}},
    "h264.flv": {"options": {"bf": "2", "g": "12"}},
    "vp8.ogv": {"codec": "libvpx", "options": {"cpu-used": "8", "deadline": "realtime", "g": "12"}},
    "mpeg2.mxf": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}},
}


INDEX_AT_END = {"h264.mp4", "hevc.mp4", "mpeg4.mp4"}  # when cut short, they have no index of their frames


def open_whole(path: Path, *, surveyed: bool | None = None) -> PyAVReader:
    """Open a video like the drawing of labels does."""
    return PyAVReader(index_video(path, surveyed=surveyed))


def read_damaged_copies(video: Path, num_copies: int) -> list[dict]:
    """Run `damaged_copies.py`, which reads damaged copies in a separate process, and return its results."""
    script = ROOT / "tests" / "damaged_copies.py"
    finished = subprocess.run(
        [sys.executable, str(script), str(video), "0", str(num_copies)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=ROOT,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    return [json.loads(line) for line in finished.stdout.splitlines()]


def check_damaged_copies(video: Path, num_copies: int) -> None:
    copies = read_damaged_copies(video, num_copies)
    assert [copy["seed"] for copy in copies] == list(range(num_copies))
    assert max(copy["seconds"] for copy in copies) < SLOWEST_SECONDS
    for copy in copies:
        if copy["outcome"] == "read":
            assert copy["reference"] is not None, copy
            assert sorted(copy["reference"]) == copy["times"], copy
            if video.suffix in CHECKSUMMED:
                assert copy["same"], copy
            elif video.suffix in SELF_DESCRIBING and copy["kind"] in ("cut", "lost", "twice"):
                # a file that ends where a fragment of 12 frames ends is whole
                assert copy["same"] or (video.stem == "fragments" and len(copy["times"]) in (12, 24)), copy
        else:
            assert all(reason and "\n" not in reason for reason in copy["why"]), copy
    outcomes = {copy["outcome"] for copy in copies}
    assert "partly" in outcomes
    if video.suffix != ".gif":  # each of its frames can be decoded without the rest of the file
        assert "refused" in outcomes
    if video.name in INDEX_AT_END:
        assert {copy["outcome"] for copy in copies if copy["kind"] == "cut"} == {"refused"}


@pytest.mark.parametrize("name", FUZZED)
def test_copies_damaged_at_random_cause_no_crash_no_hang_and_no_false_success(name: str, make_video: MakeVideo) -> None:
    check_damaged_copies(make_video(name, num_frames=30, size=(96, 64), **FUZZED[name]), 56)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUZZED | FUZZED_SLOWLY)
def test_thousands_of_damaged_copies_cause_no_crash_no_hang_and_no_false_success(
    name: str, make_video: MakeVideo
) -> None:
    options = (FUZZED | FUZZED_SLOWLY)[name]
    check_damaged_copies(make_video(name, num_frames=30, size=(96, 64), **options), NUM_COPIES)


def blank(path: Path, start: float, length: float) -> None:
    """Overwrite a part of a file with zeros. Start and length are shares of the file."""
    content = bytearray(path.read_bytes())
    first, num_bytes = int(start * len(content)), int(length * len(content))
    content[first : first + num_bytes] = bytes(num_bytes)
    path.write_bytes(content)


def test_frames_that_cannot_be_decoded_keep_their_places(make_video: MakeVideo) -> None:
    path = make_video(num_frames=120, size=(128, 96), options={"g": "20", "bf": "0"})
    whole, pts_seconds = decode_fully(path)
    blank(path, 0.45, 0.1)
    index = survey_video(path)
    assert index.is_lost is not None
    lost = np.flatnonzero(index.is_lost)
    assert 0 < len(lost) < 60
    assert index.num_failed == len(lost)
    assert index.problems == (f"{len(lost)} of 120 frames cannot be decoded; the file is damaged",)
    np.testing.assert_array_equal(index.pts_seconds, pts_seconds)
    with open_whole(path, surveyed=True) as video:
        pixels = np.concatenate([batch.pixels for batch in video.read(batch_size=7)])
        for number in lost:
            np.testing.assert_array_equal(pixels[number], pixels[number - 1])  # the frame before it is substituted
        whole_frames = np.setdiff1d(np.arange(120), lost)
        same = (pixels == whole).all(axis=(1, 2, 3))
        assert same[whole_frames].mean() > 0.9, "frames that refer to a lost frame are different"
        report = video.report()
        again = np.concatenate([batch.pixels for batch in video.read(30, 90)])
    np.testing.assert_array_equal(again, pixels[30:90])
    assert (report.declared_frames, report.decoded_frames) == (120, 120 - len(lost))
    assert (report.failed_frames, report.substituted_frames) == (len(lost), len(lost))


def test_a_file_cut_short_is_read_up_to_the_cut(make_video: MakeVideo) -> None:
    path = make_video("clip.mkv", num_frames=60, options={"g": "10"})
    whole, _ = decode_fully(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(VideoError, match="cut short"):
        open_whole(path)
    with open_whole(path, surveyed=True) as video:
        pixels = np.concatenate([batch.pixels for batch in video.read()])
        assert "is cut short" in video.report().problems[0]
    assert 10 < len(pixels) < 50
    np.testing.assert_array_equal(pixels, whole[: len(pixels)])


def test_a_whole_file_whose_packets_have_no_times_is_read_by_decoding_it(make_video: MakeVideo) -> None:
    path = make_video("b_frames.mpg", codec="mpeg2video", options={"bf": "2", "g": "12"})
    pixels, pts_seconds = decode_fully(path)
    with pytest.raises(VideoError, match="when it is shown"):
        open_whole(path, surveyed=False)
    for open_it in (open_video, open_whole):
        with open_it(path) as video:
            batches = list(video.read(batch_size=7))
        np.testing.assert_array_equal(np.concatenate([batch.pts_seconds for batch in batches]), pts_seconds)
        np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in batches]), pixels)


@pytest.mark.parametrize("name", ["joined.mpg", "joined.ts"])
def test_files_that_were_joined_byte_by_byte_are_read_one_after_the_other(name: str, make_video: MakeVideo) -> None:
    path = make_video(name, codec="mpeg2video", options={"bf": "2", "g": "12"})
    whole, pts_seconds = decode_fully(path)
    path.write_bytes(path.read_bytes() * 3)
    with open_whole(path, surveyed=True) as video:
        batches = list(video.read(batch_size=7))
        problems = video.report().problems
    after = np.arange(3)[:, None] * (pts_seconds[-1] + 0.04 - pts_seconds[0])
    times = np.concatenate([batch.pts_seconds for batch in batches])
    np.testing.assert_allclose(times, (pts_seconds + after).ravel(), atol=1e-4)
    np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in batches]), np.concatenate([whole] * 3))
    # a transport stream numbers its packets, and looks like one that lost some
    assert problems == (
        () if name == "joined.mpg" else ("is damaged, or joined from several, though every frame can be decoded",)
    )


def change_time(path: Path, frame: int, seconds: float) -> None:
    """Change the time of one frame of a transport stream with one video stream, in the header of its PES packet."""
    content = bytearray(path.read_bytes())
    header = [match.start() for match in re.finditer(b"\x00\x00\x01\xe0", content)][frame]
    top, middle, low = struct.unpack(">BHH", content[header + 9 : header + 14])
    ticks = ((top >> 1 & 7) << 30 | (middle >> 1) << 15 | low >> 1) + round(seconds * 90_000)
    changed = (top & 0xF0 | ticks >> 30 << 1 | 1, (ticks >> 15 & 0x7FFF) << 1 | 1, (ticks & 0x7FFF) << 1 | 1)
    content[header + 9 : header + 14] = struct.pack(">BHH", *changed)
    path.write_bytes(content)


@pytest.mark.parametrize("seconds", [-1.01, 2.01])
def test_a_frame_with_a_damaged_time_is_reported(seconds: float, make_video: MakeVideo) -> None:
    path = make_video("clip.ts", codec="mpeg2video", num_frames=60, options={"bf": "0"})
    _, pts_seconds = decode_fully(path)
    change_time(path, 40, seconds)
    with av.open(str(path)) as container:
        changed = np.array([frame.time for frame in container.decode(video=0)])
    np.testing.assert_allclose((changed - pts_seconds)[[39, 40, 41]], [0, seconds, 0], atol=1e-4)
    with pytest.raises(VideoError, match="cannot be decoded"), open_whole(path, surveyed=False) as video:
        list(video.read())
    index = survey_video(path)
    assert "are not in order; it is damaged" in index.problems[0]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_frame_whose_time_is_after_the_end_is_reported(codec: str, make_video: MakeVideo) -> None:
    parameters = {"x265-params": "log-level=none"} if codec == "libx265" else {"bf": "2"}
    path = make_video("clip.mp4", codec=codec, num_frames=60, options=parameters)
    content = bytearray(path.read_bytes())
    entry = content.index(b"ctts") + 12 + 8 * 5  # the number of samples, and by how much they are delayed
    content[entry + 4] |= 0x10
    path.write_bytes(content)
    with pytest.raises(VideoError, match="frames are to be shown after its end"):
        index_video(path, surveyed=False)
    index = survey_video(path)
    assert index.num_failed >= 1
    assert "frames cannot be decoded; the file is damaged" in index.problems[0]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_times_restart_only_where_they_go_back_further_than_a_reordering(data: st.DataObject) -> None:
    shortest = 2 * MAX_EXCHANGED + 2  # shorter parts look like a reordering
    lengths = [*data.draw(st.lists(st.integers(shortest, 90), max_size=3)), data.draw(st.integers(1, 90))]
    num_exchanged = data.draw(st.integers(1, MAX_EXCHANGED + 1))
    shuffle = np.random.default_rng(data.draw(st.integers(0, 1000))).permuted
    parts = []
    for length in lengths:
        part = np.arange(length) / 25
        for first in range(0, length, num_exchanged):  # no time moves further than this length
            part[first : first + num_exchanged] = shuffle(part[first : first + num_exchanged])
        parts.append(part)
    assert _restarts(np.concatenate(parts)) == np.cumsum(lengths[:-1]).tolist()


def test_a_bare_stream_is_read_at_its_frame_rate(make_video: MakeVideo) -> None:
    path = make_video("bare.h264", options={"bf": "2"})
    index = survey_video(path)
    assert index.problems == ()
    np.testing.assert_allclose(np.diff(index.pts_seconds), 0.04)
    assert index.properties.num_frames == 40


def write_two_sizes(path: Path) -> None:
    """Write an MPEG-2 stream of 10 frames of 64x48 and then 10 of 96x80. Each size begins with its own header."""
    parts = []
    for width, height in ((64, 48), (96, 80)):
        part = path.with_name(f"{width}.m2v")
        with av.open(str(part), "w", format="mpeg2video") as container:
            stream = container.add_stream("mpeg2video", rate=25, options={"bf": "0"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for pixels in moving_scene(10, width=width, height=height):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))


def test_a_stream_that_changes_its_size_is_scaled_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "two_sizes.m2v"
    write_two_sizes(path)
    with av.open(str(path)) as container:
        num_frames = sum(1 for _ in container.decode(video=0))
    with open_scaled(path, Preprocess(size=(24, 32)), surveyed=True) as video:
        scaled = np.concatenate([batch.pixels for batch in video.read()])
        report = video.report()
    assert scaled.shape == (num_frames, 24, 32, 3)
    assert report.sizes == ("64x48", "96x80")
    assert report.problems == ()
    with open_whole(path, surveyed=True) as video:
        assert np.concatenate([batch.pixels for batch in video.read()]).shape == (num_frames, 48, 64, 3)
    corner = Preprocess(size=(24, 32), crop=(0, 0, 60, 40))
    with open_scaled(path, corner, surveyed=True) as video:
        assert sum(len(batch.pixels) for batch in video.read()) == num_frames


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {}),
        ("clip.mkv", {"options": {"g": "8"}}),
        ("clip.avi", {"codec": "mpeg4"}),
        ("clip.gif", {"codec": "gif", "pix_fmt": "rgb8", "num_frames": 9}),
        ("clip.ts", {}),
        ("clip.m2ts", {}),
        ("clip.wmv", {"codec": "wmv2"}),
        ("clip.flv", {}),
        ("clip.ogv", {"codec": "libvpx"}),
        ("clip.mxf", {"codec": "mpeg2video"}),
        ("clip.dv", {"codec": "dvvideo", "size": (720, 576), "num_frames": 3}),
    ],
)
def test_the_structure_of_a_file_shows_every_cut_and_whole_files_pass(
    name: str, options: dict, make_video: MakeVideo
) -> None:
    path = make_video(name, **options)
    assert check_structure(path) == Structure(None)
    content = path.read_bytes()
    cuts = np.random.default_rng(0).integers(200, len(content), size=40)
    printed = []
    for cut in cuts.tolist():
        path.write_bytes(content[:cut])
        printed.append(check_structure(path).damage)
    # a transport stream that is cut between two of its packets is whole, and a wmv without the index at its end; an mp4
    # needs that
    most_whole = {"clip.ts": 2, "clip.m2ts": 2, "clip.wmv": 1}
    assert sum(reason is None for reason in printed) <= most_whole.get(name, 0)
    assert all("cut short" in reason or "damaged" in reason for reason in printed if reason)


@pytest.mark.parametrize("number", [0.0, float("nan"), float("inf")])
def test_an_flv_that_was_recorded_live_does_not_state_its_size(number: float, make_video: MakeVideo) -> None:
    path = make_video("clip.flv")
    before, name, after = path.read_bytes().partition(b"filesize\x00")
    assert name
    path.write_bytes(before + name + struct.pack(">d", number) + after[8:])
    assert check_structure(path) == Structure(None)
    with open_whole(path) as video:
        assert video.properties.num_frames == 40


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_an_avi_that_was_written_to_a_pipe_does_not_state_its_size(size: int, make_video: MakeVideo) -> None:
    path = make_video("clip.avi", codec="mpeg4")
    content = path.read_bytes()
    path.write_bytes(content[:4] + struct.pack("<I", size) + content[8:])
    assert check_structure(path) == Structure(None)


def test_a_wmv_that_was_written_to_a_pipe_does_not_state_the_size_of_its_data(make_video: MakeVideo) -> None:
    path = make_video("clip.wmv", codec="wmv2")
    before, name, after = path.read_bytes().partition(ASF_DATA)
    path.write_bytes(before + name + struct.pack("<Q", 50) + after[8:])
    assert check_structure(path) == Structure(None)


def test_a_fragmented_file_is_whole_only_where_a_fragment_ends(make_video: MakeVideo) -> None:
    path = make_video("fragments.mp4", num_frames=30, **FUZZED_SLOWLY["fragments.mp4"])
    content = path.read_bytes()
    ends_of_fragments = [start - 4 for start in range(len(content)) if content[start : start + 4] in (b"moof", b"mfra")]
    assert len(ends_of_fragments) == 4
    taken_for_whole = []
    for cut in range(ends_of_fragments[0] + 8, len(content)):
        path.write_bytes(content[:cut])
        if check_structure(path) == Structure(None):
            taken_for_whole.append(cut)
    assert taken_for_whole == ends_of_fragments[1:]


def test_a_matroska_file_that_lost_bytes_in_the_middle_is_reported(make_video: MakeVideo) -> None:
    path = make_video("clip.mkv", num_frames=60, options={"g": "8"})
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + content[middle + 300 :] + bytes(300))
    assert "is damaged" in str(check_structure(path).damage)


@pytest.mark.parametrize(("element", "matters"), [(b"\x15\x49\xa9\x66", False), (b"\x16\x54\xae\x6b", True)])
def test_a_stale_checksum_matters_only_where_frames_depend_on_it(
    element: bytes, matters: bool, make_video: MakeVideo
) -> None:
    path = make_video("clip.mkv")
    content = bytearray(path.read_bytes())
    place = content.index(b"\xbf\x84", content.rindex(element)) + 2  # the checksum of the element Info, or Tracks
    content[place] ^= 1
    path.write_bytes(content)
    structure = check_structure(path)
    if matters:
        assert "(checksum)" in str(structure.damage)
        return
    note = "the checksum of its element Info is that of other bytes; no frame is in it"
    assert structure == Structure(None, (note,))
    for surveyed in (None, True):
        with open_whole(path, surveyed=surveyed) as video:
            report = video.report()
        assert (report.notes, report.problems, report.decoded_frames) == ((note,), (), 40)
