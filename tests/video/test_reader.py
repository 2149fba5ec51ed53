"""All readers keep one contract, and every file that is not a readable video gets one sentence."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from made_videos import MEDIA, MakeVideo, decode_fully

from pipeline.errors import InputError
from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.open import open_scaled, open_video
from pipeline.video.preprocess import Preprocess
from pipeline.video.readers import decord as readers_decord
from pipeline.video.readers.pyav import PyAVReader
from pipeline.video.region import Region
from pipeline.video.scaling import Scaler
from pipeline.video.survey import index_video
from pipeline.video.types import VIDEO_SUFFIXES, ScaledReader, VideoError, VideoReader

PROCESS = "process"  # PyAV in a separate process
OTHERS = ("decord", "opencv")  # readers that scale whole RGB frames
BACKENDS = ("pyav", *OTHERS, PROCESS)
VARIABLE_TICKS = [0, 40, 50, 90, 91, 200, 1000, 1001, 1500, 1540, 1580, 1599, 1700, 2500, 2501, 2600, 4000]

# Arguments of `make_video` per file name.
H264_KINDS: dict[str, dict] = {
    "b_frames.mp4": {"options": {"bf": "3", "g": "12"}},
    "one_group.mp4": {"options": {"bf": "0", "g": "999"}},
    "open_groups.mp4": {"options": {"bf": "3", "g": "10", "x264-params": "open-gop=1"}},
    "variable.mp4": {"ticks": VARIABLE_TICKS, "options": {"bf": "2", "g": "4"}},
    "variable.mkv": {"ticks": VARIABLE_TICKS, "options": {"bf": "2", "g": "4"}},
    "late.mp4": {"ticks": [2000 + 40 * i for i in range(30)], "options": {"bf": "2", "g": "7"}},
    "single.mp4": {"num_frames": 1},
    "wide.mp4": {"size": (130, 34)},
    "odd.mp4": {"size": (65, 49), "pix_fmt": "yuv444p"},
    "phone.3gp": {"codec": "mpeg4", "options": {"g": "6"}},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "9"}},
    "vp9.webm": {"codec": "libvpx-vp9", "num_frames": 12, "options": {"cpu-used": "8", "deadline": "realtime"}},
}
# decord refuses these, since it would decode them wrongly.
NOT_FOR_DECORD_KINDS: dict[str, dict] = {
    "tiny.mp4": {"size": (16, 16)},
    "mpeg4.avi": {"codec": "mpeg4"},
    "animation.gif": {"codec": "gif", "pix_fmt": "rgb8", "num_frames": 9},
    "mpeg1.mpg": {"codec": "mpeg1video", "options": {"g": "6", "bf": "2"}},
    "transport.ts": {"options": {"g": "10", "bf": "2"}},
    "camcorder.m2ts": {"options": {"g": "10", "bf": "2"}},
    "b_frames.flv": {"options": {"g": "10", "bf": "2"}},
    "mpeg2.mxf": {"codec": "mpeg2video", "options": {"g": "6", "bf": "2"}},
    "vp8.ogv": {"codec": "libvpx", "num_frames": 12, "options": {"cpu-used": "8", "deadline": "realtime"}},
    "wmv2.wmv": {"codec": "wmv2", "options": {"g": "6"}},
}
KINDS = H264_KINDS | NOT_FOR_DECORD_KINDS
READABLE = [(backend, name) for backend in ("auto", "pyav", "opencv", PROCESS) for name in KINDS] + [
    ("decord", name) for name in H264_KINDS
]


processes = DecoderProcesses(1)


@pytest.fixture(autouse=True, scope="module")
def processes_end() -> Iterator[None]:
    with processes:
        yield


def opened(path: Path, backend: str) -> VideoReader:
    """Open the video by any backend, with unchanged frames."""
    if backend != PROCESS:
        return open_video(path, backend=backend)  # type: ignore[arg-type]
    with processes.open_scaled(path, Region((8, 8))) as video:
        size = video.properties.height, video.properties.width
    return processes.open_scaled(path, Region(size))


def opened_scaled(path: Path, region: Region, reader: str) -> ScaledReader:
    """Open the video by any reader, with frames scaled from a region of interest."""
    if reader == PROCESS:
        return processes.open_scaled(path, region)
    return open_scaled(path, region, reader=reader)  # type: ignore[arg-type]


@pytest.mark.parametrize(("backend", "name"), READABLE)
def test_every_frame_is_read_once_in_order_with_its_time(backend: str, name: str, make_video: MakeVideo) -> None:
    path = make_video(name, **KINDS[name])
    pixels, pts_seconds = decode_fully(path)
    with opened(path, backend) as video:
        batches = list(video.read(batch_size=3))
        properties = video.properties

    assert properties.num_frames == len(pixels)
    assert (properties.height, properties.width) == pixels.shape[1:3]
    assert [len(batch.pixels) for batch in batches[:-1]] == [3] * (len(batches) - 1)
    np.testing.assert_array_equal(np.concatenate([batch.index for batch in batches]), np.arange(len(pixels)))
    np.testing.assert_array_equal(np.concatenate([batch.pts_seconds for batch in batches]), pts_seconds)
    np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in batches]), pixels)


@pytest.mark.parametrize(("backend", "name"), READABLE)
def test_any_range_has_the_pixels_of_reading_the_whole_video(backend: str, name: str, make_video: MakeVideo) -> None:
    path = make_video(name, **KINDS[name])
    whole, _ = decode_fully(path)
    num_frames = len(whole)
    rng = np.random.default_rng(0)
    with opened(path, backend) as video:
        # One reader reads forwards and backwards.
        for _ in range(8):
            start, stop = sorted(rng.integers(0, num_frames + 1, size=2).tolist())
            batches = list(video.read(start, stop, batch_size=4))
            assert [index for batch in batches for index in batch.index] == list(range(start, stop))
            for batch in batches:
                np.testing.assert_array_equal(batch.pixels, whole[batch.index])


@pytest.mark.parametrize(("backend", "name"), READABLE)
def test_some_frames_of_a_range_have_the_pixels_of_reading_the_whole_video(
    backend: str, name: str, make_video: MakeVideo
) -> None:
    path = make_video(name, **KINDS[name])
    whole, pts_seconds = decode_fully(path)
    rng = np.random.default_rng(0)
    with opened(path, backend) as video:
        for _ in range(4):
            start = int(rng.integers(0, len(whole)))
            stop = int(rng.integers(start + 1, len(whole) + 1))
            wanted = np.sort(rng.choice(np.arange(start, stop), rng.integers(1, stop - start + 1), replace=False))
            batches = list(video.read(start, stop, batch_size=3, positions=wanted))
            assert [len(batch.pixels) for batch in batches[:-1]] == [3] * (len(batches) - 1)
            np.testing.assert_array_equal(np.concatenate([batch.index for batch in batches]), wanted)
            np.testing.assert_array_equal(np.concatenate([batch.pts_seconds for batch in batches]), pts_seconds[wanted])
            np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in batches]), whole[wanted])


@pytest.mark.parametrize("reader", ["pyav", PROCESS])
def test_damage_after_the_last_frame_that_is_wanted_is_noticed(
    reader: str, make_video: MakeVideo, tmp_path: Path
) -> None:
    content = bytearray(make_video(options={"bf": "0", "g": "10"}).read_bytes())
    end = content.find(b"moov")  # of the pictures
    content[end * 3 // 4 : end * 7 // 8] = bytes(end * 7 // 8 - end * 3 // 4)
    (tmp_path / "damaged.mp4").write_bytes(content)
    with opened_scaled(tmp_path / "damaged.mp4", Region((16, 16)), reader) as video, pytest.raises(VideoError):
        list(video.read(positions=np.array([0, 2])))


def test_frames_that_are_not_wanted_are_not_scaled(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled: list[float] = []
    scale = Scaler.__call__
    monkeypatch.setattr(Scaler, "__call__", lambda self, frame: scaled.append(frame.time) or scale(self, frame))
    with open_scaled(make_video(), Region((16, 16))) as video:
        (batch,) = video.read(positions=np.array([0, 7, 8]))
        assert scaled == batch.pts_seconds.tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reader_that_stopped_in_the_middle_continues_correctly(backend: str, make_video: MakeVideo) -> None:
    path = make_video(options={"bf": "2", "g": "5"})
    whole, _ = decode_fully(path)
    with opened(path, backend) as video:
        next(iter(video.read(batch_size=4)))
        np.testing.assert_array_equal(np.concatenate([b.pixels for b in video.read(2, 9)]), whole[2:9])


def test_every_kind_of_video_is_found_in_a_folder() -> None:
    assert {Path(name).suffix for name in KINDS} < VIDEO_SUFFIXES


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_name_with_a_colon_is_not_an_address(
    backend: str, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video("12:30:05.mp4")
    whole, _ = decode_fully(path)
    monkeypatch.chdir(path.parent)
    with opened(Path(path.name), backend) as video:
        np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in video.read()]), whole)


def test_the_last_frame_stands_as_long_as_the_usual_step(make_video: MakeVideo) -> None:
    hour = [40 * index for index in range(20)] + [3_600_000 + 40 * index for index in range(20)]
    paths = [
        make_video("tape.dv", codec="dvvideo", size=(720, 576), num_frames=5),  # it states the rate of its clock
        make_video("pause.mp4", ticks=hour, options={"bf": "2"}),
        make_video("pause.mkv", ticks=hour, options={"bf": "2"}),
        make_video("bare.h264"),
        make_video("steady.mp4"),
    ]
    for path in paths:
        for surveyed in (None, True):
            assert float(1 / index_video(path, surveyed=surveyed).properties.frame_rate) == pytest.approx(0.04)


def test_properties_describe_the_file(make_video: MakeVideo) -> None:
    with open_video(make_video("steady.mp4", num_frames=50)) as video:
        assert (video.properties.frame_rate, video.properties.declared_frames) == (25, 50)
        assert not video.properties.variable_frame_rate
    with open_video(make_video("variable.mkv", **KINDS["variable.mkv"])) as video:
        assert video.properties.variable_frame_rate
        assert video.properties.declared_frames is None


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])  # the decoder of mpeg4 shows frames without a key frame
def test_frames_cut_off_by_an_edit_list_are_not_shown(codec: str, make_video: MakeVideo) -> None:
    path = make_video(codec=codec, options={"bf": "0", "g": "10"})
    content = bytearray(path.read_bytes())
    # elst: size, "elst", version and flags, one entry: duration, media_time (in 1/16000 or so), rate.
    entry = content.index(b"elst") + 12
    media_time = int.from_bytes(content[entry + 4 : entry + 8], "big")
    timescale = int.from_bytes(content[content.index(b"mdhd") + 16 : content.index(b"mdhd") + 20], "big")
    content[entry + 4 : entry + 8] = (media_time + timescale * 6 * 40 // 1000).to_bytes(4, "big")
    path.write_bytes(content)
    pixels, pts_seconds = decode_fully(path)
    assert len(pixels) == 34
    assert not index_video(path).problems
    with open_video(path) as video:
        assert video.properties.num_frames == 34
        batch = next(iter(video.read(batch_size=64)))
    np.testing.assert_array_equal(batch.pixels, pixels)
    np.testing.assert_array_equal(batch.pts_seconds, pts_seconds)


@pytest.mark.parametrize(("reader", "name"), [pair for pair in READABLE if pair[0] != "auto"])
@pytest.mark.parametrize("crop", [None, (0.25, 0.25, 0.5, 0.5)])
def test_frames_of_every_reader_scaled_to_a_region_are_close_to_frames_scaled_later(
    reader: str, name: str, crop: tuple[float, ...] | None, make_video: MakeVideo
) -> None:
    path = make_video(name, **KINDS[name])
    whole, pts_seconds = decode_fully(path)
    preprocess = Preprocess(size=(12, 16), crop=crop, crop_unit="fractions")
    num_frames = len(whole)
    with opened_scaled(path, preprocess, reader) as video:
        batches = list(video.read(batch_size=7))
        inside = list(video.read(num_frames // 3, num_frames, batch_size=2))
        report = video.report()
    np.testing.assert_array_equal(np.concatenate([batch.pts_seconds for batch in batches]), pts_seconds)
    np.testing.assert_array_equal(np.concatenate([batch.index for batch in batches]), np.arange(num_frames))
    pixels = np.concatenate([batch.pixels for batch in batches])
    np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in inside]), pixels[num_frames // 3 :])
    assert (report.reader, report.decoded_frames) == ("pyav" if reader == PROCESS else reader, num_frames)
    assert report.problems == ()
    assert pixels.shape == (len(whole), 12, 16, 3)
    assert pixels.dtype == np.uint8
    difference = pixels.astype(int) - preprocess.resize(whole).numpy()
    assert np.abs(difference).mean() < 12, "hard edges between colours, which chroma at half the size blurs"
    assert np.abs(difference.mean((0, 1, 2))).max() < 3
    if reader not in OTHERS:
        return
    if crop is None:  # whole RGB frames are scaled, and no chroma at half the size
        assert np.abs(difference).mean() < 2
        return
    with open_scaled(path, preprocess) as video:  # PyAV cuts a region out of whole RGB frames too
        np.testing.assert_array_equal(np.concatenate([batch.pixels for batch in video.read()]), pixels)


@pytest.mark.parametrize("name", NOT_FOR_DECORD_KINDS)
def test_decord_refuses_files_that_it_would_decode_wrongly(name: str, make_video: MakeVideo) -> None:
    path = make_video(name, **KINDS[name])
    with pytest.raises(VideoError, match="pyav"):
        open_video(path, backend="decord")


def test_decord_refuses_a_video_that_does_not_fit_into_memory(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video()
    monkeypatch.setattr(readers_decord, "MAX_DECODED_BYTES", 40 * 64 * 48 * 3 - 1)
    with pytest.raises(VideoError, match="all 40 frames before they are asked for"):
        open_video(path, backend="decord")
    with open_video(path) as video:
        assert isinstance(video, PyAVReader)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("start", "stop", "batch_size"), [(-1, 4, 2), (3, 2, 2), (0, 41, 2), (0, 4, 0)])
def test_a_range_outside_the_video_is_refused(
    backend: str, start: int, stop: int, batch_size: int, make_video: MakeVideo
) -> None:
    with opened(make_video(), backend) as video, pytest.raises(ValueError, match=r"got|do not lie"):
        next(iter(video.read(start, stop, batch_size=batch_size)))


def test_a_video_smaller_than_the_region_of_interest_is_named_before_it_is_decoded(make_video: MakeVideo) -> None:
    path = make_video(size=(64, 48))
    with pytest.raises(InputError) as refused:
        open_scaled(path, Preprocess(size=(32, 32), crop=(10, 0, 64, 48)))
    assert str(refused.value).startswith(f"{path}: crop (x, y, width, height) = (10, 0, 64, 48) in pixels")
    assert "64 wide and 48 high" in str(refused.value)


def test_an_unknown_backend_is_refused(make_video: MakeVideo) -> None:
    with pytest.raises(ValueError, match="backend must be"):
        open_video(make_video(), backend="ffmpeg")  # type: ignore[arg-type]


def refusal(path: Path, backend: str) -> str:
    """The message of the VideoError that is raised when the file is opened or read."""
    with pytest.raises(VideoError) as caught, opened(path, backend) as video:
        for _ in video.read():
            pass
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_files_that_are_not_videos_are_refused(backend: str, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("these are not the frames you are looking for\n" * 50)
    (tmp_path / "noise.mkv").write_bytes(np.random.default_rng(0).bytes(5000))
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    assert "no such file" in refusal(tmp_path / "missing.mp4", backend)
    assert "folder" in refusal(tmp_path, backend)
    assert "empty" in refusal(tmp_path / "empty.mp4", backend)
    assert "cannot be read as a video" in refusal(tmp_path / "text.mp4", backend)
    assert "cannot be read as a video" in refusal(tmp_path / "noise.mkv", backend)
    assert "sound only" in refusal(tmp_path / "sound.mp4", backend)
    assert capfd.readouterr() == ("", "")


def test_a_video_stream_without_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nothing.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    assert "no frame" in refusal(path, "auto") or "cannot be read" in refusal(path, "auto")


TRUNCATED_KINDS: dict[str, dict] = {
    "index_last.mp4": {},
    "index_first.mp4": {"container_options": {"movflags": "+faststart"}},
    "fragmented.mp4": KINDS["fragmented.mp4"],
    "clip.avi": KINDS["mpeg4.avi"],
    "clip.mkv": {"options": {"g": "10"}},
    "clip.webm": KINDS["vp9.webm"],
}


@pytest.mark.parametrize("name", TRUNCATED_KINDS)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_file_cut_short_is_refused(
    name: str, share: float, make_video: MakeVideo, capfd: pytest.CaptureFixture
) -> None:
    path = make_video(name, **TRUNCATED_KINDS[name])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    for backend in ("auto", *BACKENDS):
        assert "cut short" in refusal(path, backend)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("clip.mp4", "decord"),
        *((name, backend) for name in ("clip.mp4", "clip.avi") for backend in ("pyav", "opencv", PROCESS)),
    ],
)
@pytest.mark.parametrize("fill", ["zeros", "noise"])
def test_frames_that_cannot_be_decoded_are_never_invented(
    name: str, backend: str, fill: str, make_video: MakeVideo, capfd: pytest.CaptureFixture
) -> None:
    codec = "mpeg4" if name == "clip.avi" else "libx264"
    path = make_video(name, codec=codec, num_frames=120, size=(128, 96), options={"g": "30", "bf": "0"})
    content = bytearray(path.read_bytes())
    middle, length = len(content) // 2, len(content) // 5
    content[middle : middle + length] = bytes(length) if fill == "zeros" else np.random.default_rng(1).bytes(length)
    path.write_bytes(content)
    assert "damaged" in refusal(path, "auto")
    assert "damaged" in refusal(path, backend)
    assert capfd.readouterr() == ("", "")


def test_a_matroska_file_with_a_damaged_end_is_refused(make_video: MakeVideo) -> None:
    path = make_video("clip.mkv", num_frames=120, options={"g": "30"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    assert "damaged" in refusal(path, "auto")


def test_frames_without_their_own_time_get_the_times_of_a_full_decode(make_video: MakeVideo) -> None:
    path = make_video("b_frames.avi", options={"bf": "3", "g": "12"})  # avi cannot store the times
    pixels, pts_seconds = decode_fully(path)  # the decoder counts them
    with open_video(path) as video:
        (batch,) = video.read(batch_size=64)
    np.testing.assert_array_equal(batch.pts_seconds, pts_seconds)
    np.testing.assert_array_equal(batch.pixels, pixels)


def test_the_module_imports_no_decoder() -> None:
    code = "import sys, pipeline.video.open;print({'decord', 'cv2', 'av', 'torch', 'matplotlib'} & set(sys.modules))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout == "set()\n"


def test_opencv_is_loaded_before_decord() -> None:
    code = "import sys, pipeline.video.readers.decord;print([n for n in sys.modules if n in ('decord', 'cv2')])"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout == "['cv2', 'decord']\n"


def media_rows() -> list[dict[str, str]]:
    if not (MEDIA / "media.csv").exists():
        return []
    with (MEDIA / "media.csv").open() as file:
        return list(csv.DictReader(file))


def needs_media() -> None:
    if not media_rows():
        pytest.skip(f"no media files in {MEDIA}")


def test_media_files_have_the_frames_of_a_full_decode() -> None:
    needs_media()
    for row in media_rows():
        with open_video(MEDIA / row["file"]) as video:
            assert video.properties.num_frames == int(row["decoded_frames"]), row["file"]
            num_declared = video.properties.declared_frames
            assert num_declared == (int(row["declared_frames"]) or None), row["file"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_media_files_are_read_whole(backend: str) -> None:
    needs_media()
    num_refused = 0
    for row in media_rows():
        path = MEDIA / row["file"]
        try:
            video = opened(path, backend)
        except VideoError:
            num_refused += 1
            continue
        with video, av.open(str(path)) as container:
            reference = np.sort([float(frame.time) for frame in container.decode(video=0)])
            batches = [(batch.index, batch.pts_seconds, batch.pixels[0]) for batch in video.read(batch_size=7)]
            np.testing.assert_array_equal(np.concatenate([index for index, _, _ in batches]), np.arange(len(reference)))
            np.testing.assert_array_equal(np.concatenate([pts for _, pts, _ in batches]), reference, row["file"])
            middle = len(batches) // 2
            batch = next(iter(video.read(int(batches[middle][0][0]), batch_size=1)))
            np.testing.assert_array_equal(batch.pixels[0], batches[middle][2], row["file"])
    # decord refuses avi, gif, mpg and a file with too many pixels; OpenCV refuses AV1 and two of high dynamic range.
    assert num_refused == {"decord": 6, "opencv": 3}.get(backend, 0)
