"""The decoders that are chosen give FFmpeg's pixels, and notice damage that its own decoders do not."""

import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from made_videos import MakeVideo

from pipeline.video.ffmpeg import DECODING_ERRORS, StrictDecoder, decode_packets, open_file, video_stream

QUICK = {"cpu-used": "8", "deadline": "realtime", "g": "12"}
SAME_BYTES = {"cpu-used": "4", "deadline": "good", "g": "12", "b": "400k"}  # at each time, unlike QUICK


def decode_by_default(path: Path) -> list[tuple]:
    with av.open(str(path)) as container:
        return [describe(frame) for frame in container.decode(video=0)]


def describe(frame: av.VideoFrame) -> tuple:
    return frame.pts, frame.time, frame.format.name, frame.color_range, frame.colorspace, frame.to_ndarray().tobytes()


@pytest.mark.parametrize("frame_threads", [False, True])
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("clip.webm", "libvpx", "yuv420p"),
        ("clip.mkv", "libvpx", "yuv420p"),
        ("clip.webm", "libvpx-vp9", "yuv420p"),
        ("clip.mp4", "libvpx-vp9", "yuv444p"),
        ("clip.mp4", "libx264", "yuv420p"),
    ],
)
def test_frames_are_those_of_the_default_decoder(name, codec, pix_fmt, frame_threads, make_video: MakeVideo):
    path = make_video(name, codec=codec, pix_fmt=pix_fmt, options=QUICK if "vpx" in codec else None)
    with open_file(path) as container:
        stream = video_stream(path, container)
        found = [describe(frame) for frame in decode_packets(container, stream, frame_threads=frame_threads)]
    assert found == decode_by_default(path)
    assert len(found) == 40


def test_10_bits_are_decoded_too(tmp_path: Path):
    path = tmp_path / "deep.webm"
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.4"]
    coding = ["-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p10le", "-deadline", "realtime", "-cpu-used", "8"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, *coding, str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with open_file(path) as container:
        stream = video_stream(path, container)
        found = [describe(frame) for frame in decode_packets(container, stream, frame_threads=False)]
    assert found == decode_by_default(path)
    assert found[0][2] == "yuv420p10le"


def test_pictures_of_vp9_that_end_too_early_are_noticed(make_video: MakeVideo):
    path = make_video("clip.webm", codec="libvpx-vp9", size=(192, 108), options=QUICK | {"b": "400k"})
    rng = np.random.default_rng(0)
    found = {"default": 0, "strict": 0}
    for _ in range(20):
        place = rng.uniform(0.2, 0.95)
        for name in found:
            with open_file(path) as container:
                stream = video_stream(path, container)
                strict = StrictDecoder(stream, frame_threads=False)
                decode = strict.decode if name == "strict" else stream.codec_context.decode
                found[name] += fails(container, stream, decode, place)
    assert found["strict"] > found["default"] == 0


def test_damage_of_vp8_on_which_two_decoders_differ_is_noticed(make_video: MakeVideo):
    path = make_video("clip.webm", codec="libvpx", size=(192, 108), options=SAME_BYTES)
    rng = np.random.default_rng(0)
    found = {"vp8": 0, "libvpx": 0, "strict": 0}
    for _ in range(20):
        place = rng.uniform(0.2, 0.95)
        for name in found:
            with open_file(path) as container:
                stream = video_stream(path, container)
                if name == "strict":
                    decode = StrictDecoder(stream, frame_threads=False).decode
                else:
                    decode = av.VideoCodecContext.create(name, "r").decode
                found[name] += fails(container, stream, decode, place)
    assert found["strict"] > max(found["vp8"], found["libvpx"])


@pytest.mark.parametrize("options", [{"auto-alt-ref": "0"}, {"slices": "4"}, {"profile": "1"}, {"profile": "3"}])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuva420p"])
def test_two_decoders_of_vp8_agree_on_whole_files(options: dict[str, str], pix_fmt: str, make_video: MakeVideo):
    options = QUICK | {"auto-alt-ref": "0"} | options
    path = make_video("clip.webm", codec="libvpx", pix_fmt=pix_fmt, size=(97, 63), options=options)
    with open_file(path) as container:
        stream = video_stream(path, container)
        assert len(list(decode_packets(container, stream, frame_threads=True))) == 40


def fails(container, stream, decode, place: float) -> bool:
    """Whether decoding raises an error after bits were flipped in one packet, at a place from 0 to 1 in it."""
    try:
        for number, packet in enumerate(container.demux(stream)):
            if number == 13:
                content = memoryview(packet)
                content[int(len(content) * place)] ^= 0x24
            decode(packet)
    except DECODING_ERRORS:
        return True
    return False
