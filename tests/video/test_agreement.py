"""decord and OpenCV give the pixels of PyAV for any stored format, or refuse the video in one sentence."""

from pathlib import Path

import numpy as np
import pytest
from made_videos import MakeVideo, decode_fully

from pipeline.errors import InputError
from pipeline.video.open import open_scaled, open_video
from pipeline.video.readers.agreement import MAX_MEAN_DIFFERENCE, check_first_frame
from pipeline.video.region import Region
from pipeline.video.survey import index_video
from pipeline.video.types import Backend, VideoError

OTHERS: tuple[Backend, ...] = ("decord", "opencv")
CLIP = {"size": (128, 96), "num_frames": 8}

# Codec and pixel format: all decoders convert these to the same RGB, except for rounding.
SAME = {
    **{f"{name}.mkv": ("ffv1", name) for name in ("gray", "gray10le", "gray16le", "bgr0", "bgra", "gbrp10le")},
    "alpha.mkv": ("ffv1", "yuva420p"),
    **{f"{name}.mp4": ("libx264", name) for name in ("yuv422p", "yuvj420p", "yuv444p", "yuv444p10le")},
    "rgb24.mov": ("qtrle", "rgb24"),
    "argb.mov": ("qtrle", "argb"),
    "raw.mov": ("rawvideo", "rgb24"),
    "packed.mov": ("rawvideo", "uyvy422"),
    "prores.mov": ("prores_ks", "yuv422p10le"),
    "jpeg.mov": ("mjpeg", "yuvj420p"),
}  # fmt: skip
# Decoders place the subsampled chroma of these differently between the pixels.
OTHER_CHROMA = {
    **{f"{name}.mp4": ("libx264", name) for name in ("yuv420p10le", "yuv422p10le")},
    **{f"{name}.mkv": ("ffv1", name) for name in ("yuv410p", "yuv411p", "yuv440p", "yuv420p16le")},
}
PALETTES = {"raw_grey.mov": ("rawvideo", "gray"), "qtrle_grey.mov": ("qtrle", "gray")}
INTERLACED = {"options": {"x264-params": "tff=1"}}
HDR = {"pix_fmt": "yuv420p10le", "options": {"x264-params": "transfer={}:colorprim=bt2020:colormatrix=bt2020nc"}}


def pixels_by(path: Path, reader: Backend) -> np.ndarray:
    with open_video(path, backend=reader) as video:
        return np.concatenate([batch.pixels for batch in video.read(batch_size=3)]).astype(int)


def made(make_video: MakeVideo, name: str, codec: str, pix_fmt: str) -> Path:
    return make_video(name, codec=codec, pix_fmt=pix_fmt, **CLIP)


def refusal_of(path: Path, reader: Backend) -> str:
    """The message, which is one sentence and the same for whole and for scaled frames."""
    with pytest.raises(VideoError) as caught:
        open_video(path, backend=reader)
    with pytest.raises(VideoError) as of_scaled:
        open_scaled(path, Region((8, 8)), reader=reader)
    message = str(caught.value)
    assert message == str(of_scaled.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith("; use --reader auto or pyav (dataset.reader in params.yaml)")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("reader", OTHERS)
def test_pixels_equal_those_of_pyav_except_for_rounding(reader: Backend, name: str, make_video: MakeVideo) -> None:
    path = made(make_video, name, *SAME[name])
    assert np.abs(pixels_by(path, reader) - decode_fully(path)[0]).max() <= 4


@pytest.mark.parametrize("name", OTHER_CHROMA)
@pytest.mark.parametrize("reader", OTHERS)
def test_pixels_with_subsampled_chroma_are_close_to_those_of_pyav(
    reader: Backend, name: str, make_video: MakeVideo
) -> None:
    path = made(make_video, name, *OTHER_CHROMA[name])
    difference = np.abs(pixels_by(path, reader) - decode_fully(path)[0])
    assert difference.mean(axis=(1, 2, 3)).max() <= MAX_MEAN_DIFFERENCE


@pytest.mark.parametrize("name", PALETTES)
def test_decord_refuses_palettes_and_the_other_readers_show_their_colours(name: str, make_video: MakeVideo) -> None:
    path = made(make_video, name, *PALETTES[name])
    whole, _ = decode_fully(path)
    assert whole.mean() > 50, "not black"
    assert "black frames for colours by palette" in refusal_of(path, "decord")
    for reader in ("auto", "pyav", "opencv"):
        np.testing.assert_array_equal(pixels_by(path, reader), whole)  # type: ignore[arg-type]


@pytest.mark.parametrize("reader", OTHERS)
def test_only_pyav_reads_interlaced_frames(reader: Backend, make_video: MakeVideo) -> None:
    path = make_video(**CLIP, **INTERLACED)
    assert "interlaced frames" in refusal_of(path, reader)
    np.testing.assert_array_equal(pixels_by(path, "auto"), decode_fully(path)[0])


@pytest.mark.parametrize(("transfer", "kind"), [("smpte2084", "PQ"), ("arib-std-b67", "HLG")])
def test_opencv_refuses_high_dynamic_range(transfer: str, kind: str, make_video: MakeVideo) -> None:
    options = {"x264-params": HDR["options"]["x264-params"].format(transfer)}
    path = make_video(**CLIP, pix_fmt=HDR["pix_fmt"], options=options)
    assert f"high dynamic range ({kind})" in refusal_of(path, "opencv")
    difference = np.abs(pixels_by(path, "decord") - decode_fully(path)[0])
    assert difference.mean(axis=(1, 2, 3)).max() <= MAX_MEAN_DIFFERENCE


def test_a_first_frame_in_other_colours_is_refused(make_video: MakeVideo) -> None:
    path = make_video(**CLIP)
    first = decode_fully(path)[0][0]
    index = index_video(path)
    check_first_frame(index, first, name="a reader")
    for other in (np.zeros_like(first), first[..., ::-1], first[::-1], 255 - first):
        with pytest.raises(VideoError, match="a reader gives its first frame in other colours"):
            check_first_frame(index, other, name="a reader")


@pytest.mark.parametrize("reader", OTHERS)
def test_only_pyav_reads_a_damaged_video_in_part(reader: Backend, make_video: MakeVideo) -> None:
    path = make_video("clip.mkv", num_frames=60, options={"g": "8"})
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + content[middle + 300 :] + bytes(300))
    with open_scaled(path, Region((8, 8)), surveyed=True) as video:
        assert video.report().problems
    with pytest.raises(VideoError, match="use --reader auto or pyav"):
        open_scaled(path, Region((8, 8)), surveyed=True, reader=reader)


@pytest.mark.parametrize("reader", OTHERS)
def test_a_region_outside_the_video_is_refused_before_it_is_decoded(reader: Backend, make_video: MakeVideo) -> None:
    path = make_video("animation.gif", codec="gif", pix_fmt="rgb8", num_frames=3)
    with pytest.raises(InputError, match="does not lie within a frame 64 wide and 48 high"):
        open_scaled(path, Region((8, 8), crop=(10, 0, 64, 48)), reader=reader)


def test_an_unknown_reader_is_refused(make_video: MakeVideo) -> None:
    with pytest.raises(ValueError, match="reader must be one of auto, pyav, decord, opencv, nvdec, got 'ffmpeg'"):
        open_scaled(make_video(), Region((8, 8)), reader="ffmpeg")  # type: ignore[arg-type]


def test_auto_scales_like_pyav_to_the_bit(make_video: MakeVideo) -> None:
    path = make_video()
    by_default, by_auto, by_pyav = (
        np.concatenate([batch.pixels for batch in open_scaled(path, Region((20, 30)), **options).read()])
        for options in ({}, {"reader": "auto"}, {"reader": "pyav"})  # type: ignore[arg-type]
    )
    np.testing.assert_array_equal(by_default, by_pyav)
    np.testing.assert_array_equal(by_auto, by_pyav)
