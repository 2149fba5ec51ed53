"""Frames in any order have the bytes of the forward read, whatever the file."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from made_numbers import read_number, write_numbered
from made_videos import MEDIA, MakeVideo

from pipeline.video.entries import is_unreferenced, may_begin
from pipeline.video.ffmpeg import StrictDecoder, video_stream
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.seeking import NUM_KEPT, SeekingReader, StoppedError
from pipeline.video.survey import index_video
from pipeline.video.types import VideoError
from pipeline.video.units import Units

X264 = {"x264-params": "keyint=250:min-keyint=250:scenecut=0:bframes=3:b-adapt=0"}
KINDS: dict[str, Callable[[Path], Path]] = {
    "long groups": lambda path: write_numbered(path / "a.mp4", num_frames=300, options=X264),
    "open groups": lambda path: write_numbered(
        path / "a.mp4", options={"x264-params": "open-gop=1:keyint=24:min-keyint=24:bframes=3:scenecut=0"}
    ),
    "open groups, mkv": lambda path: write_numbered(
        path / "a.mkv", options={"x264-params": "open-gop=1:keyint=24:min-keyint=24:bframes=3:scenecut=0"}
    ),
    "gradual refresh": lambda path: write_numbered(
        path / "a.mp4", options={"x264-params": "intra-refresh=1:keyint=24:bframes=0"}
    ),
    "variable": lambda path: write_numbered(
        path / "a.mp4", ticks=np.cumsum([1500] + [20, 33, 40, 100, 7] * 20).tolist(), options={"g": "24"}
    ),
    "begins before 0": lambda path: write_numbered(path / "a.mp4", ticks=[-400 + 40 * i for i in range(100)]),
    "hevc": lambda path: write_numbered(
        path / "a.mp4", codec="libx265", options={"x265-params": "log-level=none:keyint=24:open-gop=1"}
    ),
    "av1": lambda path: write_numbered(path / "a.mkv", codec="libsvtav1", options={"preset": "10", "g": "24"}),
    "vp8": lambda path: write_numbered(
        path / "a.webm", codec="libvpx", options={"deadline": "realtime", "cpu-used": "8", "g": "24"}
    ),
    "vp9": lambda path: write_numbered(
        path / "a.webm", codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8", "g": "24"}
    ),
    "avi": lambda path: write_numbered(path / "a.avi", codec="mpeg4", options={"bf": "2", "b": "2M"}),
    "avi of pictures": lambda path: write_numbered(path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p"),
    "broadcast": lambda path: write_numbered(path / "a.ts", options={"g": "24"}),
    "program stream": lambda path: write_numbered(path / "a.mpg", codec="mpeg2video", options={"g": "12", "bf": "2"}),
    "one frame": lambda path: write_numbered(path / "a.mp4", num_frames=1),
    "bare stream": lambda path: write_numbered(path / "a.h264", options={"g": "24"}),
}
WITHOUT_SEEKS = ("avi", "program stream", "bare stream")


def order_of(num_frames: int, seed: int = 0) -> list[int]:
    """Frames at random, steps back and forward, and both ends."""
    generator = random.Random(seed)
    places = [generator.randrange(num_frames) for _ in range(25)]
    middle = num_frames // 2
    back, forward = range(middle, max(-1, middle - 2 * NUM_KEPT), -1), range(middle, min(num_frames, middle + 12))
    return [*places, *back, *forward, num_frames - 1, 0, num_frames - 1]


def wrong_frames(path: Path) -> tuple[list[int], SeekingReader]:
    index = index_video(path)
    with PyAVReader(index) as reader:
        expected = [hash(batch.pixels.tobytes()) for batch in reader.read(batch_size=1)]
    reader = SeekingReader(index)
    order = order_of(len(expected))
    wrong = [place for place in order if hash(reader.pixels(place).tobytes()) != expected[place]]
    reader.close()
    return wrong, reader


@pytest.mark.parametrize("kind", list(KINDS))
def test_frames_in_any_order_have_the_bytes_of_the_forward_read(tmp_path: Path, kind: str) -> None:
    path = KINDS[kind](tmp_path)
    wrong, reader = wrong_frames(path)
    assert wrong == []
    if kind not in WITHOUT_SEEKS:
        assert reader.num_failures == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in MEDIA.glob("*.*") if path.suffix != ".csv"))
def test_real_frames_in_any_order_have_the_bytes_of_the_forward_read(name: str) -> None:
    assert wrong_frames(MEDIA / name)[0] == []


def test_the_frames_are_those_of_their_numbers(tmp_path: Path) -> None:
    reader = SeekingReader(index_video(write_numbered(tmp_path / "a.mp4", num_frames=300, options=X264)))
    for place in order_of(300, seed=1):
        assert read_number(reader.pixels(place)) == place
    reader.close()


def test_a_frame_inside_a_long_group_needs_less_than_half_of_it(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", num_frames=240, options=X264)
    reader = SeekingReader(index_video(path))
    calls: list[int] = []
    reader.picture(200, is_wanted=lambda: calls.append(1) is None)
    assert len(calls) < 130  # of 201: the others are referred to by none
    calls.clear()
    reader.picture(201, is_wanted=lambda: calls.append(1) is None)
    assert len(calls) == 1
    for place in (200, 199, 198):
        reader.picture(place)  # kept
    reader.close()


def test_a_seek_that_lands_elsewhere_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_numbered(tmp_path / "a.mp4", num_frames=100, options={"x264-params": "keyint=20:scenecut=0"})
    index = index_video(path)
    reader = SeekingReader(index)
    dropped = 0

    class Dropping:
        """A decoder that loses its fifth frame."""

        def __init__(self, decoder: StrictDecoder) -> None:
            self._decoder, self._count = decoder, 0

        def restart(self) -> None:
            self._count = 0
            self._decoder.restart()

        def decode(self, packet: av.Packet) -> list[av.VideoFrame]:
            nonlocal dropped
            frames = list(self._decoder.decode(packet))
            self._count += len(frames)
            if frames and self._count >= 5 and self._count - len(frames) < 5:
                dropped += 1
                return frames[:-1]
            return frames

    jumps = reader._jumps
    assert jumps is not None
    monkeypatch.setattr(jumps, "_decoder", Dropping(jumps._decoder))
    for place in (70, 15, 95):
        assert read_number(reader.pixels(place)) == place
    assert dropped
    assert reader.num_failures
    reader.close()


def test_a_damaged_frame_is_an_error_and_the_others_are_given(make_video: MakeVideo) -> None:
    path = make_video(num_frames=60, options={"x264-params": "keyint=10:scenecut=0:bframes=0"})
    index = index_video(path)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    start, size = packets[34]
    content[start + 6 : start + size] = bytes(255 - byte for byte in content[start + 6 : start + size])
    path.write_bytes(content)
    reader = SeekingReader(index)
    with pytest.raises(VideoError, match="cannot be decoded"):
        reader.picture(36)
    assert reader.pixels(55).shape == (48, 64, 3)
    reader.close()


def test_a_frame_that_is_no_longer_wanted_is_given_up_and_the_reader_goes_on(tmp_path: Path) -> None:
    reader = SeekingReader(index_video(write_numbered(tmp_path / "a.mp4", num_frames=120, options=X264)))
    with pytest.raises(StoppedError):
        reader.picture(100, is_wanted=lambda: False)
    assert read_number(reader.pixels(101)) == 101
    with pytest.raises(ValueError, match="got frame 120, expected 0 to 119"):
        reader.picture(120)
    reader.close()


def test_decoding_begins_only_where_the_pictures_say_so(tmp_path: Path) -> None:
    def entries(options: str) -> tuple[int, int]:
        path = write_numbered(tmp_path / "b.mp4", options={"x264-params": options})
        with av.open(str(path)) as container:
            stream = video_stream(path, container)
            units = Units(stream)
            packets = [packet for packet in container.demux(stream) if packet.size]
        return sum(packet.is_keyframe for packet in packets), sum(may_begin(packet, units) for packet in packets)

    assert entries("keyint=20:min-keyint=20:scenecut=0") == (5, 5)
    keys, begins = entries("keyint=20:min-keyint=20:scenecut=0:open-gop=1:bframes=2")
    assert keys == begins > 3
    keys, begins = entries("keyint=20:intra-refresh=1:bframes=0")
    assert keys > 1 == begins


def test_the_unreferenced_pictures_are_those_that_the_decoder_knows(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", options=X264)
    with av.open(str(path)) as container:
        stream = video_stream(path, container)
        units = Units(stream)
        kept = {packet.pts for packet in container.demux(stream) if packet.size and not is_unreferenced(packet, units)}
    with av.open(str(path)) as container:
        stream = video_stream(path, container)
        stream.codec_context.skip_frame = "NONREF"
        assert {frame.pts for frame in container.decode(stream)} == kept
    assert 20 < len(kept) < 80


def test_an_encoder_of_the_tests_leaves_the_priority_of_their_process_alone(tmp_path):
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    KINDS["av1"](tmp_path)
    assert (os.sched_getscheduler(0), os.sched_getparam(0)) == before
