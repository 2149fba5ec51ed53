"""Labelling by --reader nvdec on a GPU: what it reads like PyAV, what damage it hides, and how fast it is.

    python benchmarks/nvdec.py --out FOLDER [--media FOLDER] [--seconds 420]
    python benchmarks/nvdec.py --out FOLDER --device cpu    # a small run of the same code, whose numbers mean nothing

It prints tables, and writes them to FOLDER/nvdec.json after each part. A part that no time is left for is named, and
one that fails prints why. The videos are those of label_gpu.py, besides the files of --media; models have random
weights. Rates are frames per second of one run each.

agree    each file by nvdec and by PyAV: which one read it, frames, times, and the distance of the pixels at 224x224
damage   damaged copies of H.264 and HEVC: how many PyAV reports, and how many nvdec shows as whole
decode   decoding and scaling alone, 1 to 16 videos in parallel: nvdec in threads, PyAV in processes
rival    PyNvVideoCodec, decoding alone, where it is installed
label    `framescribe label` by both readers, how busy the GPU was, how many labels are the same, and whether nvdec
         gives the same bytes whatever --jobs is
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from label_gpu import ON_CPU, ON_GPU, Run, Utilization, decode_all, write_video

from pipeline.errors import InputError
from pipeline.labelling.model import Model
from pipeline.text.wording import format_table
from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.open import open_scaled
from pipeline.video.preprocess import Preprocess
from pipeline.video.types import Backend

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # where videos are damaged, and a GPU is stood in for
from damaged_copies import damage
from made_nvdec import stand_in

READERS: tuple[Backend, ...] = ("nvdec", "pyav")
SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
VISIBLE = 8  # grey levels, as in damage.py
NUM_DAMAGED = 60


class HardwareRun(Run):
    """The parts of this benchmark, on the videos and models of `label_gpu.Run`.

    Args:
        device: "cuda" or "cpu".
        folder: A temporary folder.
        media: A folder of videos of all kinds; None for none.
        out: The folder of the results.
    """

    def __init__(self, device: str, folder: Path, media: Path | None, out: Path) -> None:
        on_gpu, on_cpu = replace(ON_GPU, video_sizes=SIZES, num_copies=4), replace(ON_CPU, jobs=(1, 2))
        scale = on_gpu if device == "cuda" else on_cpu
        super().__init__(device, scale, folder)
        self._media, self._out = media, out
        self._results: dict[str, Any] = {"device": device, "torch": torch.__version__, "av": av.__version__}
        if device == "cuda":
            self._results["gpu"] = torch.cuda.get_device_name()
        self._preprocess = self.frames(scale.networks[0], "cpu").preprocess

    def keep(self, part: str, header: list[str], rows: list[list[object]]) -> None:
        """Write the rows of a part so far, with the parts before it."""
        self._results[part] = [dict(zip(header, row, strict=True)) for row in rows]
        (self._out / "nvdec.json").write_text(json.dumps(self._results, indent=1, default=str) + "\n")

    def table(self, part: str, header: list[str], rows: list[list[object]]) -> None:
        """Write the rows of a part, and print them."""
        self.keep(part, header, rows)
        print(format_table([header, *([str(cell) for cell in row] for row in rows)], gap="  "), flush=True)

    def agree(self) -> None:
        """Compare nvdec with PyAV, file by file."""
        made = [paths[0] for paths in self.videos.values()]
        files = sorted(self._media.iterdir()) if self._media else []
        rows: list[list[object]] = []
        for path in [*made, *(file for file in files if file.suffix != ".csv")]:
            try:
                rows.append([path.name, *compare(path, self._preprocess)])
            except InputError as error:
                rows.append([path.name, str(error)[:80], "", "", "", ""])
        self.table("agree", ["file", "read by", "frames", "same times", "mean levels", "worst frame"], rows)

    def damage(self) -> None:
        """Count what becomes of damaged copies by both readers."""
        rows: list[list[object]] = []
        seeds = range(NUM_DAMAGED if self.device == "cuda" else 7)
        h264, hevc = self.folder / "h264.mp4", self.folder / "hevc.mp4"
        recode(write_video(h264, 320, 240, 40), hevc, "libx265")
        for whole in (h264, hevc):
            for reader in READERS:
                expected = read(whole, self._preprocess, reader)[0]
                found = [self.outcome(whole, seed, reader, expected) for seed in seeds]
                counts = [found.count(name) for name in ("reported", "unharmed", "wrong")]
                rows.append([whole.stem, reader, *counts])
        self.table("damage", ["codec", "reader", "reported", "unharmed", "wrong without a word"], rows)

    def outcome(self, whole: Path, seed: int, reader: Backend, expected: np.ndarray) -> str:
        """Read a damaged copy of a video with the pixels `expected`: "reported", "unharmed" or "wrong"."""
        copy = whole.with_name(f"copy{whole.suffix}")
        copy.write_bytes(damage(whole.read_bytes(), seed)[1])
        try:
            found = read(copy, self._preprocess, reader)[0]
        except InputError:
            return "reported"
        same = found.shape == expected.shape and int(np.abs(found - expected).max()) <= VISIBLE
        return "unharmed" if same else "wrong"

    def decode(self) -> None:
        """Measure decoding and scaling alone."""
        header = ["size", "in parallel", "nvdec", "pyav", "ratio"]
        rows: list[list[object]] = []
        for name, paths in self.videos.items():
            for jobs in self.scale.jobs:
                by_nvdec = self.decoding_rate(paths, jobs, partial(open_scaled, reader="nvdec"))
                with DecoderProcesses(jobs) as processes:
                    self.decoding_rate(paths[:jobs], jobs, processes.open_scaled)  # the processes start
                    by_pyav = self.decoding_rate(paths, jobs, processes.open_scaled)
                rows.append([name, jobs, round(by_nvdec), round(by_pyav), round(by_nvdec / by_pyav, 2)])
                self.keep("decode", header, rows)
        self.table("decode", header, rows)

    def decoding_rate(self, paths: list[Path], jobs: int, opening: Callable[..., Any]) -> float:
        """Return the frames per second of decoding and scaling each video once, `jobs` at a time."""
        with ThreadPoolExecutor(jobs) as threads:
            began = time.perf_counter()
            work = partial(decode_all, preprocess=self._preprocess, opening=opening)
            return sum(threads.map(work, paths)) / (time.perf_counter() - began)

    def rival(self) -> None:
        """Measure PyNvVideoCodec, which keeps its frames on the GPU unscaled."""
        if importlib.util.find_spec("PyNvVideoCodec") is None:
            print("  PyNvVideoCodec is not installed")
            return
        rows: list[list[object]] = []
        for name, paths in self.videos.items():
            for jobs in (8, 16):
                with ThreadPoolExecutor(jobs) as threads:
                    began = time.perf_counter()
                    rate = sum(threads.map(count_by_rival, paths)) / (time.perf_counter() - began)
                rows.append([name, jobs, round(rate)])
        self.table("rival", ["size", "in parallel", "PyNvVideoCodec, not scaled"], rows)

    def label(self) -> None:
        """Measure the whole of labelling, and compare the labels."""
        header = ["precision", "size", "reader", "jobs", "frames/s", "GPU", "labels of PyAV", "same bytes"]
        rows: list[list[object]] = []
        for precision in ("full", "reduced"):
            for name, paths in self.videos.items():
                labels: dict[tuple[str, int], list[bytes]] = {}
                for reader, jobs in ((reader, jobs) for jobs in self.scale.jobs[1:] for reader in READERS):
                    model = self.reading_by(reader, precision)
                    out = self.folder / f"{precision}_{name}_{reader}_{jobs}"
                    with Utilization(self.device) as busy:
                        rate, _ = self.label_some(paths, model, jobs, out, decoder_processes=reader != "nvdec")
                    labels[reader, jobs] = [(out / f"{path.stem}.frames.csv").read_bytes() for path in paths]
                    first = {by: next(found for (of, _), found in labels.items() if of == by) for by, _ in labels}
                    same = share_of_equal_labels(first.get("pyav", labels[reader, jobs]), labels[reader, jobs])
                    repeats = labels[reader, jobs] == first[reader]
                    rows.append([precision, name, reader, jobs, round(rate), str(busy), f"{same:.2%}", repeats])
                    self.keep("label", header, rows)
        self.table("label", header, rows)

    def reading_by(self, reader: Backend, precision: Any) -> Model:
        """Return the labeller of the first network that decodes with a reader; it has been used once."""
        model = self.model(self.scale.networks[0], precision)
        found = replace(model, reader=reader)
        found.__dict__["runtime"] = model.runtime
        return found


def compare(path: Path, preprocess: Preprocess) -> list[object]:
    """Read a file by both readers: the one that read it, the frames, whether times are equal, and how pixels differ."""
    found, times, reader = read(path, preprocess, "nvdec")
    expected, expected_times, _ = read(path, preprocess, "pyav")
    if found.shape != expected.shape:
        return [reader, f"{len(found)} of {len(expected)}", False, "", ""]
    of_frames = np.abs(found - expected).mean(axis=(1, 2, 3))
    same_times = np.array_equal(times, expected_times)
    return [reader, len(found), same_times, round(float(of_frames.mean()), 3), round(float(of_frames.max()), 3)]


def read(path: Path, preprocess: Preprocess, reader: Backend) -> tuple[np.ndarray, np.ndarray, str]:
    """Return pixels int16 [T, h, w, 3] and times [T] of at most 300 frames, and which reader read them."""
    with open_scaled(path, preprocess, reader=reader) as video:
        stop = min(300, video.properties.num_frames)
        batches = list(video.read(0, stop))
        name = video.report().reader
    pixels = np.concatenate([batch.pixels for batch in batches]).astype(np.int16)
    return pixels, np.concatenate([batch.pts_seconds for batch in batches]), name


def recode(path: Path, target: Path, codec: str) -> None:
    """Encode a video again with another codec."""
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        read = source.streams.video[0]
        stream = container.add_stream(codec, rate=30, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = read.width, read.height, "yuv420p"
        for frame in source.decode(read):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def count_by_rival(path: Path) -> int:
    """Decode a video by PyNvVideoCodec, and return the number of its frames."""
    import PyNvVideoCodec  # type: ignore[import-not-found]

    native = PyNvVideoCodec.OutputColorType.NATIVE
    decoder = PyNvVideoCodec.SimpleDecoder(str(path), gpu_id=0, use_device_memory=True, output_color_type=native)
    num_frames, done = len(decoder), 0
    while done < num_frames:
        done += len(decoder.get_batch_frames(min(32, num_frames - done)))
    return done


def share_of_equal_labels(expected: list[bytes], found: list[bytes]) -> float:
    """Return the share of frames with the same label in tables of frames."""
    pairs = [
        (a, b)
        for one, other in zip(expected, found, strict=True)
        for a, b in zip(rows_of(one), rows_of(other), strict=True)
    ]
    return sum(a == b for a, b in pairs) / len(pairs)


def rows_of(table: bytes) -> Iterator[str]:
    """Yield the label of each frame."""
    header, *rows = table.decode().splitlines()
    column = header.split(",").index("label")
    for row in rows:
        yield row.split(",")[column]


@contextmanager
def hardware(device: str) -> Iterator[None]:
    """Stand in for NVDEC on a CPU."""
    if device == "cuda":
        yield
        return
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        yield


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder of nvdec.json")
    parser.add_argument("--media", type=Path, help="a folder of videos of all kinds")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=420, help="no part begins later (default: 420)")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("not measured: no GPU")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{os.cpu_count()} cores; torch {torch.__version__}, PyAV {av.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        run = HardwareRun(options.device, Path(folder), options.media, options.out)
        with hardware(options.device):
            for part in (run.agree, run.decode, run.label, run.rival, run.damage):
                run.do(part, options.seconds)


if __name__ == "__main__":
    main()
