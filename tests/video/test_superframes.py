"""The pictures of a packet of VP9 are found, and each is decoded so that damage in it is noticed."""

from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_videos import MakeVideo

from pipeline.video.ffmpeg import DECODING_ERRORS, StrictDecoder, open_file, video_stream
from pipeline.video.superframes import split_superframe

HIDDEN = {"cpu-used": "8", "deadline": "realtime", "g": "12", "b": "400k"}


def pack(pictures: list[bytes], *, size_bytes: int) -> bytes:
    marker = bytes([0xC0 | (size_bytes - 1) << 3 | len(pictures) - 1])
    sizes = b"".join(len(picture).to_bytes(size_bytes, "little") for picture in pictures)
    return b"".join(pictures) + marker + sizes + marker


@given(st.lists(st.binary(min_size=1, max_size=255), min_size=1, max_size=8), st.integers(1, 4))
def test_the_pictures_of_a_packet_are_those_that_were_packed(pictures: list[bytes], size_bytes: int) -> None:
    packet = av.Packet(pack(pictures, size_bytes=size_bytes))
    packet.pts, packet.dts, packet.duration = 7, 5, 3
    found = split_superframe(packet)
    assert [bytes(picture) for picture in found] == pictures
    assert {(picture.pts, picture.dts, picture.duration) for picture in found} == {(7, 5, 3)}


@pytest.mark.parametrize("content", [b"\x82", b"abc", b"\xc0", b"abc\xc9"])
def test_a_packet_without_an_index_is_one_picture(content: bytes) -> None:
    packet = av.Packet(content)
    assert split_superframe(packet) == [packet]


@pytest.mark.parametrize("content", [b"ab\xc1\x01\x02\xc1", b"ab\xc1\x02\x00\xc1"])
def test_sizes_that_do_not_fit_the_packet_are_damage(content: bytes) -> None:
    with pytest.raises(ValueError, match="it is damaged"):
        split_superframe(av.Packet(content))


def test_damage_in_a_picture_that_is_not_shown_is_noticed(make_video: MakeVideo) -> None:
    path = make_video("clip.webm", codec="libvpx-vp9", size=(192, 108), options=HIDDEN)
    number, size = next((n, sizes[0]) for n, sizes in enumerate(picture_sizes(path)) if len(sizes) > 1)
    found = {"whole packets": 0, "pictures": 0}
    for place in range(20, size - 2, size // 20):
        for name in found:
            with open_file(path) as container:
                stream = video_stream(path, container)
                whole = av.VideoCodecContext.create("libvpx-vp9", "r")
                decode = whole.decode if name == "whole packets" else StrictDecoder(stream, frame_threads=False).decode
                try:
                    for index, packet in enumerate(container.demux(stream)):
                        if index == number:
                            memoryview(packet)[place] ^= 0x24
                        decode(packet)
                except DECODING_ERRORS:
                    found[name] += 1
    assert found["pictures"] > found["whole packets"]
    assert found["pictures"] >= 15


def picture_sizes(path: Path) -> list[list[int]]:
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return [[picture.size for picture in split_superframe(packet)] for packet in packets]
