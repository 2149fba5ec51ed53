"""Side messages (SEI) that state a wrong length cost no frame of H.264 and HEVC, in files and in live sources."""

import struct
from pathlib import Path
from threading import Event

import av
import numpy as np
import pytest
from made_videos import MakeVideo, decode_fully

from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.region import Region
from pipeline.video.sources.growing_file import GrowingFile
from pipeline.video.survey import index_video

HEADERS = {"libx264": b"\x06", "libx265": b"\x4e\x01"}  # of units that hold side messages
OPTIONS = {"libx264": {"bf": "2", "g": "8"}, "libx265": {"x265-params": "log-level=none:keyint=8"}}
USER_DATA = b"\x05"
TEXT = bytes(range(1, 17)) + b"camera time 12:00" + b"\x80"  # an id, content, and the bit that ends a unit
WRONG = {
    "longer than its unit": USER_DATA + bytes([200]) + TEXT,
    "much longer": USER_DATA + b"\xff\xff\xff\x10" + TEXT,
    "shorter than an id": USER_DATA + b"\x03abc\x80",
    "after a correct one": USER_DATA + bytes([len(TEXT) - 1]) + TEXT[:-1] + b"\x04\xc8" + TEXT,
}


def add_messages(source: Path, target: Path, unit: bytes, *, every: int) -> None:
    """Copy a video, with a unit before those of every so many frames."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        packets = [packet for packet in given.demux(video=0) if packet.size]
        for index, packet in enumerate(packets):
            content = bytes(packet)
            if index % every == 0:
                content = len(unit).to_bytes(4, "big") + unit + content
            copy = av.Packet(content)
            copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
            copy.time_base, copy.is_keyframe, copy.stream = packet.time_base, packet.is_keyframe, stream
            made.mux(copy)


@pytest.mark.parametrize("every", [1, 1000])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("message", WRONG)
@pytest.mark.parametrize("codec", HEADERS)
def test_a_message_of_a_wrong_length_costs_no_frame(
    codec: str, message: str, suffix: str, every: int, make_video: MakeVideo
) -> None:
    source = make_video("source.mp4", codec=codec, num_frames=20, options=OPTIONS[codec])
    whole, _ = decode_fully(source)
    path = source.with_name(f"camera{suffix}")
    add_messages(source, path, HEADERS[codec] + WRONG[message], every=every)
    for surveyed in (False, True):
        with PyAVReader(index_video(path, surveyed=surveyed)) as video:
            np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in video.read()]), whole)
            report = video.report()
        assert report.problems == ()
        assert report.notes == (
            f"a side message (SEI) of {len(range(0, 20, every))} of its frames states a wrong length; pixels do not"
            " depend on it",
        )
    growing = GrowingFile(path, Region(whole.shape[1:3]), idle_seconds=0.1)
    frames = [] if suffix == ".mp4" else [frame.pixels for frame in growing.frames(Event())]
    assert len(frames) in (0, 20)
    assert suffix == ".mp4" or np.array_equal(np.stack(frames), whole)


def add_to_description(source: Path, target: Path, kind: int, unit: bytes) -> None:
    """Copy a video of HEVC, with another unit in its description, in an array of its own."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        description = bytearray(given.streams.video[0].codec_context.extradata or b"")
        description[22] += 1
        stream.codec_context.extradata = bytes(description) + struct.pack(">BHH", 0x80 | kind, 1, len(unit)) + unit
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                made.mux(packet)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".flv"])
@pytest.mark.parametrize("message", WRONG)
@pytest.mark.parametrize(("kind", "header"), [(39, b"\x4e\x01"), (40, b"\x50\x01")])
def test_a_message_of_a_wrong_length_in_the_description_costs_no_frame(
    kind: int, header: bytes, message: str, suffix: str, make_video: MakeVideo
) -> None:
    source = make_video("source.mp4", codec="libx265", num_frames=12, options=OPTIONS["libx265"])
    whole, _ = decode_fully(source)
    path = source.with_name(f"camera{suffix}")
    add_to_description(source, path, kind, header + WRONG[message])
    for surveyed in (False, True):
        with PyAVReader(index_video(path, surveyed=surveyed)) as video:
            np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in video.read()]), whole)
            report = video.report()
        assert report.problems == ()
        assert report.notes == ("a side message (SEI) in its header states a wrong length; pixels do not depend on it",)
    with av.open(str(path)) as container:
        largest = max((bytes(packet) for packet in container.demux(video=0)), key=len)
    path.write_bytes(path.read_bytes().replace(largest, b"\xff" * len(largest)))
    assert index_video(path, surveyed=True).problems


# Units that hold no picture, by their types: unspecified and reserved ones, delimiters, ends, filler, extensions.
WITHOUT_PICTURE = {
    "libx264": [bytes([kind]) for kind in (0, 9, 11, 12, 14, 16, 18, 22, 24, 31)],
    "libx265": [bytes([kind << 1, 1]) for kind in (35, 38, 41, 47, 48, 63)],
}


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\xff\x17\x99\x80", bytes(range(1, 100)) + b"\x80"])
@pytest.mark.parametrize("codec", HEADERS)
def test_units_without_a_picture_cost_no_frame(codec: str, payload: bytes, make_video: MakeVideo) -> None:
    source = make_video("source.mp4", codec=codec, num_frames=12, options=OPTIONS[codec])
    whole, _ = decode_fully(source)
    path = source.with_name("camera.mp4")
    for header in WITHOUT_PICTURE[codec]:
        add_messages(source, path, header + payload, every=1)
        for surveyed in (False, True):
            with PyAVReader(index_video(path, surveyed=surveyed)) as video:
                np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in video.read()]), whole)
                assert video.report().problems == ()


@pytest.mark.parametrize("codec", HEADERS)
def test_a_correct_message_is_not_noted(codec: str, make_video: MakeVideo) -> None:
    source = make_video("source.mp4", codec=codec, num_frames=20, options=OPTIONS[codec])
    path = source.with_name("camera.mp4")
    add_messages(source, path, HEADERS[codec] + USER_DATA + bytes([len(TEXT) - 1]) + TEXT, every=1)
    assert index_video(path).notes == index_video(path, surveyed=True).notes == ()


def test_damaged_pictures_are_still_reported(make_video: MakeVideo) -> None:
    source = make_video("source.mp4", num_frames=20, options=OPTIONS["libx264"])
    path = source.with_name("camera.mp4")
    add_messages(source, path, b"\x06" + WRONG["longer than its unit"], every=1)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    assert index_video(path, surveyed=True).num_failed > 0
