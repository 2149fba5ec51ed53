"""Slices of H.264 and HEVC with a blank part are damaged; zeros elsewhere are not."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from made_videos import MakeVideo

from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.survey import index_video
from pipeline.video.types import VideoError

OPTIONS = {"libx264": {"bf": "2", "g": "8"}, "libx265": {"x265-params": "log-level=none:keyint=8"}}
MESSAGES = {"libx264": b"\x06", "libx265": b"\x4e\x01"}  # the header of a unit that holds side messages
DAMAGED = 13


def write_changed(source: Path, target: Path, change: Callable[[bytes], bytes]) -> None:
    """Copy an mp4 of one unit per frame, apart from the first one, with one of its units changed."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for index, packet in enumerate(packet for packet in given.demux(video=0) if packet.size):
            content = bytes(packet)
            if index == DAMAGED:
                assert int.from_bytes(content[:4], "big") == len(content) - 4
                content = change(content[4:])
                content = b"".join(len(unit).to_bytes(4, "big") + unit for unit in content.split(b"SPLIT"))
            copy = av.Packet(content)
            copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
            copy.time_base, copy.is_keyframe, copy.stream = packet.time_base, packet.is_keyframe, stream
            made.mux(copy)


def with_blank_part(unit: bytes) -> bytes:
    middle = len(unit) * 2 // 3
    return unit[:middle] + bytes(5) + b"\x9a" + unit[middle + 6 :]


@pytest.mark.parametrize("suffix", [".mp4", ".flv", ".ts"])
@pytest.mark.parametrize("codec", OPTIONS)
def test_a_slice_with_a_blank_part_is_a_lost_frame(codec: str, suffix: str, make_video: MakeVideo) -> None:
    source = make_video("source.mp4", codec=codec, num_frames=30, size=(128, 96), options=OPTIONS[codec])
    path = source.with_name(f"damaged{suffix}")
    write_changed(source, path, with_blank_part)
    with pytest.raises(VideoError, match="is damaged"), PyAVReader(index_video(path, surveyed=False)) as video:
        list(video.read())
    index = index_video(path, surveyed=True)
    assert index.num_failed >= 1
    assert index.problems[-1].endswith("frames cannot be decoded; the file is damaged")


@pytest.mark.parametrize("codec", OPTIONS)
@pytest.mark.parametrize(
    "harmless",
    [
        lambda unit, message: unit + bytes(7),  # filled up
        lambda unit, message: message + b"\x04\x08ab" + bytes(5) + b"c\x80SPLIT" + unit,  # in a side message
    ],
)
def test_zeros_outside_of_slices_cost_no_frame(
    codec: str, harmless: Callable[[bytes, bytes], bytes], make_video: MakeVideo
) -> None:
    source = make_video("source.mp4", codec=codec, num_frames=30, options=OPTIONS[codec])
    path = source.with_name("whole.mp4")
    write_changed(source, path, lambda unit: harmless(unit, MESSAGES[codec]))
    pixels = []
    for name in (source, path):
        with PyAVReader(index_video(name, surveyed=True)) as video:
            assert video.report().problems == ()
            pixels.append(np.concatenate([batch.pixels for batch in video.read()]))
    np.testing.assert_array_equal(*pixels)
