"""The reader for NVDEC gives the frames and times of PyAV, and leaves to PyAV what it cannot read.

No test but the last ones has a GPU, see `made_nvdec`.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from interpreter import interpreted
from made_models import write_video
from made_nvdec import stand_in
from made_videos import MakeVideo
from torch import Tensor

from pipeline.errors import InputError
from pipeline.labelling.folder import label_videos, needs_decoder_processes
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.outputs import OutputOptions
from pipeline.labelling.video import label_video
from pipeline.video.open import open_scaled
from pipeline.video.readers import nvdec
from pipeline.video.region import Region
from pipeline.video.types import VideoError

SIZE = (192, 160)
REGION = Region((24, 32))
MAX_MEAN_DIFFERENCE = 2.0  # grey levels


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)


def read(path: Path, reader: str, region: Region = REGION, **options: int) -> tuple[np.ndarray, list[float], str]:
    """Pixels and times of all frames, and the reader in the report."""
    with open_scaled(path, region, reader=reader) as video:
        batches = list(video.read(batch_size=5, **options))
        report = video.report()
    times = [float(time) for batch in batches for time in batch.pts_seconds]
    return np.concatenate([batch.pixels for batch in batches]).astype(int), times, report.reader


def check_equal(path: Path, region: Region = REGION, *, limit: float = MAX_MEAN_DIFFERENCE, **options: int) -> None:
    found, times, reader = read(path, "nvdec", region, **options)
    expected, expected_times, _ = read(path, "pyav", region, **options)
    assert reader == "nvdec"
    assert times == expected_times
    assert found.shape == expected.shape
    differences = np.abs(found - expected).mean(axis=(1, 2, 3))
    assert differences.max() <= limit


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("reordered.mp4", {"options": {"bf": "3", "g": "12"}}),
        ("full_range.mp4", {"pix_fmt": "yuvj420p"}),
        ("hevc.mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}),
        ("uneven.mp4", {"ticks": [0, 40, 50, 200, 210, 900, 1000, 1040]}),
        ("hd.ts", {"options": {"x264-params": "colormatrix=bt709:bframes=2"}}),
    ],
)
def test_frames_and_times_are_those_of_pyav(name: str, options: dict, make_video: MakeVideo) -> None:
    check_equal(make_video(name, **{"size": SIZE, "num_frames": 23} | options))


@pytest.mark.usefixtures("without_gpu")
def test_a_range_and_an_earlier_one_are_those_of_pyav(make_video: MakeVideo) -> None:
    path = make_video("clip.mp4", size=SIZE, num_frames=23, options={"bf": "2"})
    check_equal(path, start=7, stop=16)
    with open_scaled(path, REGION, reader="nvdec") as video, open_scaled(path, REGION, reader="pyav") as expected:
        for start, stop in ((9, 12), (2, 4), (22, 23)):
            found, wanted = (next(reader.read(start, stop)).pixels.astype(int) for reader in (video, expected))
            assert np.abs(found - wanted).mean() <= MAX_MEAN_DIFFERENCE


@pytest.mark.usefixtures("without_gpu")
def test_a_region_of_interest_is_cut_out(make_video: MakeVideo) -> None:
    path = make_video("clip.mp4", size=SIZE, num_frames=6)
    # PyAV converts the whole frame to RGB first, which is less exact.
    check_equal(path, Region((20, 30), crop=(31, 17, 90, 60)), limit=4)
    check_equal(path, Region((20, 30), crop=(0.5, 0.25, 0.5, 0.5), crop_unit="fractions"), limit=4)


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"pix_fmt": "yuv420p10le"}, id="10 bits"),
        pytest.param({"pix_fmt": "yuv444p"}, id="4:4:4"),
        pytest.param({"size": (96, 80)}, id="small"),
        pytest.param({"codec": "mpeg4"}, id="another codec"),
        pytest.param({"options": {"x264-params": "tff=1"}}, id="interlaced"),
    ],
)
def test_pyav_reads_what_nvdec_does_not_decode(options: dict, make_video: MakeVideo) -> None:
    path = make_video("clip.mp4", **{"size": SIZE, "num_frames": 6} | options)
    found, _, reader = read(path, "nvdec")
    assert reader == "pyav"
    assert np.array_equal(found, read(path, "pyav")[0])


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("error", [RuntimeError("no stream is compatible"), av.ExternalError(-542398533, "no device")])
def test_pyav_reads_where_the_hardware_cannot_be_opened(
    error: Exception, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(nvdec, "_hardware", fail)
    assert read(make_video("clip.mp4", size=SIZE, num_frames=6), "nvdec")[2] == "pyav"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_pyav_reads_where_there_is_no_driver(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video("clip.mp4", size=SIZE, num_frames=6)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert read(path, "nvdec")[2] == "pyav"
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert read(path, "nvdec")[2] == "pyav"


def in_other_colours(luma: Tensor, chroma: Tensor, *rest: object) -> Tensor:
    (kernel,) = interpreted("pipeline.video.nv12")
    return kernel.scale_nv12(luma, chroma.flip(2), *rest)


@pytest.mark.usefixtures("without_gpu")
def test_other_colours_are_noticed_and_labelled_by_pyav(
    make_video: MakeVideo, video_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video("clip.mp4", size=SIZE, num_frames=6)
    monkeypatch.setattr(nvdec, "scale_nv12", in_other_colours)
    with pytest.raises(VideoError, match="nvdec gives its first frame in other colours than FFmpeg"):
        read(path, "nvdec")
    checkpoint = load_model(str(video_model), device="cpu").checkpoint
    by_nvdec, by_pyav = (label_video(path, Model(checkpoint, reader=reader)) for reader in ("nvdec", "pyav"))
    assert by_nvdec.report is not None
    assert by_nvdec.report.reader == "pyav"
    assert np.array_equal(by_nvdec.labels, by_pyav.labels)


@pytest.mark.usefixtures("without_gpu")
def test_a_folder_is_labelled_and_its_report_names_each_reader(
    make_video: MakeVideo, spread_model: Path, tmp_path: Path
) -> None:
    whole = make_video("whole.mp4", size=SIZE, num_frames=30, options={"bf": "2"})
    deep = make_video("deep.mp4", size=SIZE, num_frames=8, pix_fmt="yuv420p10le")
    cut = make_video("cut.ts", size=SIZE, num_frames=30)
    content = bytearray(cut.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    cut.write_bytes(content)
    checkpoint = load_model(str(spread_model), device="cpu").checkpoint
    tables: dict[str, Callable[[str], bytes]] = {}
    for reader in ("nvdec", "pyav"):
        out = tmp_path / reader
        out.mkdir()
        outcome = label_videos(
            [whole, deep, cut],
            Model(checkpoint, reader=reader),
            out,
            outputs=OutputOptions(on_error="partial"),
            num_parallel=2,
            on_failure=lambda message: None,
        )
        assert (outcome.num_labelled, outcome.num_failed) == (3, 0)
        tables[reader] = lambda name, out=out: (out / name).read_bytes()
    for stem in ("deep", "cut"):
        assert tables["nvdec"](f"{stem}.frames.csv") == tables["pyav"](f"{stem}.frames.csv")
    rows = csv.DictReader(tables["nvdec"]("decode_report.csv").decode().splitlines())
    assert {row["stem"]: row["reader"] for row in rows} == {"whole": "nvdec", "deep": "pyav", "cut": "pyav"}
    labels = [
        [row.split(",")[2] for row in tables[reader]("whole.frames.csv").decode().splitlines()[1:]]
        for reader in ("nvdec", "pyav")
    ]
    assert np.mean(np.array(labels[0]) == labels[1]) >= 0.9


def test_without_a_gpu_the_reader_is_refused(video_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reader nvdec decodes on the GPU of the labeller, which computes on a CPU"):
        load_model(str(video_model), device="cpu", reader="nvdec")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="torch sees none here"):
            open_scaled(write_video(tmp_path / "clip.mp4", num_frames=3), REGION, reader="nvdec")


@pytest.mark.parametrize(("reader", "expected"), [("auto", False), ("nvdec", False)])
def test_a_cpu_needs_no_decoder_processes(reader: str, expected: bool, video_model: Path) -> None:
    checkpoint = load_model(str(video_model), device="cpu").checkpoint
    assert needs_decoder_processes(Model(checkpoint, reader=reader)) is expected


@pytest.mark.gpu
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_gpu_gives_the_frames_and_times_of_pyav(codec: str, make_video: MakeVideo) -> None:
    check_equal(make_video("clip.mp4", codec=codec, size=(640, 360), num_frames=60))
