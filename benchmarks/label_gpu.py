"""How fast videos are labelled on a GPU, and how busy it is, in one run of two minutes.

docs/results/benchmarks/labelling_gpu.md has the results.

    python benchmarks/label_gpu.py                 # says so where there is no GPU
    python benchmarks/label_gpu.py --device cpu    # a small run of the same code, whose numbers mean nothing

Everything is made on the spot: videos of moving textures with noise, models of random weights. Rates are frames a
second of one run each; nothing is asserted. Parts that no time is left for are named, one that fails prints why.

encoder   EfficientNet-Lite0 and ResNet-50 at 224x224 alone: torch as it is (eager, float32 without TF32), the runtime
          of `framescribe label` with --precision full and reduced, each with both layouts of images in memory; the
          faster layout, if by 5%, is taken for what follows
agree     features and labels beside those of a CPU in float32
label     a folder of videos as `framescribe label` does it, --jobs 1, 4, 8, 16, each decoded in a process of its own,
          and in threads instead of these; how full the batches were (a GPU is as busy with a batch that is half
          empty), and how busy the GPU was, by NVML, sampled every 50 ms (a time in which any kernel ran counts as
          busy); whether the labels are the same bytes each time
profile   the time in which any kernel ran, and the sum of all kernels' times (which overlap), by torch.profiler (CUPTI)
          over the wall time of such a run
decode    decoding and scaling alone, 1, 4, 8, 16 videos in parallel, in processes and in threads; "1 thread each":
          threads, and FFmpeg with one thread for each video
batches   the runtime with other sizes of batches
"""

import argparse
import os
import shutil
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Self
from unittest.mock import patch

import av
import cv2
import numpy as np
import torch
from label import LITE0, make_model
from torch import Tensor
from torch._C._autograd import DeviceType
from torch.nn.functional import cosine_similarity
from torch.profiler import ProfilerActivity, profile

from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.checkpoints.labeller import load_checkpoint
from pipeline.encoding import cuda_graph
from pipeline.encoding.batches import BatchEncoder, SharedBatches
from pipeline.encoding.cuda_graph import CUDARuntime, make_pixel_encoder
from pipeline.encoding.torch_runtime import TorchRuntime
from pipeline.encoding.types import Precision, Runtime
from pipeline.labelling.folder import label_videos
from pipeline.labelling.model import Model
from pipeline.labelling.outputs import OutputOptions
from pipeline.labelling.video import label_video
from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.ffmpeg import decode_packets
from pipeline.video.open import open_scaled
from pipeline.video.preprocess import Preprocess
from pipeline.video.readers import pyav
from pipeline.video.types import OpenScaled

PRECISIONS: tuple[Precision, ...] = ("full", "reduced")
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
FASTER = 1.05  # a layout that is faster by less is not used
SAMPLE_SECONDS = 0.05
# FFmpeg with one thread for each video, instead of one for each core.
ONE_THREAD_EACH = patch.object(
    pyav,
    "decode_packets",
    lambda container, stream, frame_threads: decode_packets(container, stream, frame_threads=False),
)


@dataclass(frozen=True)
class Scale:
    """The size of the run."""

    networks: tuple[str, ...]  # most is measured with the first one
    image_size: tuple[int, int]
    video_sizes: dict[str, tuple[int, int]]
    lengths: tuple[int, ...]  # of videos, in frames
    num_copies: int  # of a video of each length
    jobs: tuple[int, ...]
    rate_seconds: float


ON_GPU = Scale(
    networks=(LITE0, "resnet50"),
    image_size=(224, 224),
    video_sizes={"360p": (640, 360), "720p": (1280, 720)},
    lengths=(240, 280, 320, 360),
    num_copies=12,
    jobs=(1, 4, 8, 16),
    rate_seconds=0.6,
)
ON_CPU = Scale(
    networks=(LITE0, "resnet18"),
    image_size=(64, 64),
    video_sizes={"90p": (160, 90), "180p": (320, 180)},
    lengths=(12, 20),
    num_copies=2,
    jobs=(1, 4),
    rate_seconds=0.1,
)


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=95, help="no part begins later (default: 95)")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("not measured: no GPU")
        return
    name = torch.cuda.get_device_name() if options.device == "cuda" else "a CPU, so that the numbers mean nothing"
    print(f"{name}; {os.cpu_count()} cores; torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    with tempfile.TemporaryDirectory() as folder:
        run = Run(options.device, ON_GPU if options.device == "cuda" else ON_CPU, Path(folder))
        for part in (run.encoder, run.agree, run.label, run.profile, run.decode, run.label_more, run.batches):
            run.do(part, options.seconds)


class Run:
    """The parts of the benchmark, which share models and videos in a temporary folder.

    Args:
        device: "cuda" or "cpu".
        scale: The size of the run.
        folder: The temporary folder.
    """

    def __init__(self, device: str, scale: Scale, folder: Path) -> None:
        self.device, self.scale, self.folder = device, scale, folder
        self.start = time.perf_counter()
        self.models = {
            name: make_model(folder / name, encoder=name, size=scale.image_size, is_random=True)
            for name in scale.networks
        }
        self.num_frames: dict[Path, int] = {}
        self.batches_seen: list[int] = []  # the number of frames in each batch
        self.videos = {name: self.make_videos(name, *size) for name, size in scale.video_sizes.items()}
        self.default = self.videos[next(iter(scale.video_sizes))]

    def do(self, part: Callable[[], None], seconds: float) -> None:
        """Run one part, unless more than `seconds` have passed; a part that fails prints why."""
        began = time.perf_counter() - self.start
        if began > seconds:
            print(f"\n{part.__name__}: left out, no time")
            return
        print(f"\n{part.__name__}, {began:.0f} s after the start", flush=True)
        try:
            part()
        except Exception:
            traceback.print_exc()
            print(f"{part.__name__}: failed", flush=True)

    def make_videos(self, name: str, width: int, height: int) -> list[Path]:
        """Write a video of each length and its copies, into the folder `name`, and return them sorted by name."""
        paths = []
        (self.folder / name).mkdir()
        for length in self.scale.lengths:
            first = write_video(self.folder / name / f"00_{length}.mp4", width, height, length)
            paths += [first.with_name(f"{copy:02}_{length}.mp4") for copy in range(self.scale.num_copies)]
            for path in paths[-self.scale.num_copies + 1 :]:
                shutil.copy(first, path)
            self.num_frames |= dict.fromkeys(paths[-self.scale.num_copies :], length)
        return sorted(paths)

    def frames(self, network: str, device: str | None = None) -> FrameEncoder:
        """Load the encoder of a network onto a device; None for the device of the run."""
        found = load_checkpoint(self.models[network], device=torch.device(device or self.device)).frame_encoder
        assert found is not None
        return found

    def open(self, frames: FrameEncoder, precision: Precision) -> Runtime:
        """Open the runtime of an encoder, which records the sizes of its batches."""
        runtime = (CUDARuntime if self.device == "cuda" else StandIn)(frames, precision=precision)
        runtime._batches._free = [self.counted(encoder) for encoder in runtime._batches._free]
        return runtime

    def counted(self, encoder: BatchEncoder) -> BatchEncoder:
        """Return an encoder that also records the sizes of its batches."""

        def encode(parts: list[np.ndarray]) -> Tensor:
            self.batches_seen.append(sum(map(len, parts)))
            return encoder(parts)

        return encode

    def model(self, network: str, precision: Precision) -> Model:
        """Load the labeller of a network, and use it once."""
        model = Model(load_checkpoint(self.models[network], device=torch.device(self.device)), precision)
        assert model.checkpoint.frame_encoder is not None
        model.__dict__["runtime"] = self.open(model.checkpoint.frame_encoder, precision)
        self.label_some(self.default[:1], model, 1, self.folder / "warm")  # as parts are set up at the first use
        return model

    def encoder(self) -> None:
        """Print the rates of encoding alone."""
        pixels = some_pixels(64, self.scale.image_size)
        for network in self.scale.networks:
            frames = self.frames(network)
            print(f"{network}, images a second")
            print(f"  torch, float32                     {self.rate(TorchRuntime(frames), pixels):8.0f}", flush=True)
            for precision in PRECISIONS:
                self.choose_layout(frames, precision, pixels, is_chosen=network == self.scale.networks[0])

    def choose_layout(self, frames: FrameEncoder, precision: Precision, pixels: np.ndarray, *, is_chosen: bool) -> None:
        """Print the rates of both layouts; with `is_chosen`, the faster one is used afterwards.

        Args:
            frames: The encoder.
            precision: The precision.
            pixels: uint8 [T, h, w, 3], of the encoder's size.
            is_chosen: Whether to use the faster layout afterwards, if it is faster by FASTER.
        """
        usual, rates = cuda_graph.LAYOUTS[precision], {}
        for name, layout in LAYOUTS.items():
            cuda_graph.LAYOUTS[precision] = layout
            began = time.perf_counter()
            runtime = self.open(frames, precision)
            opened = time.perf_counter() - began
            rates[layout] = self.rate(runtime, pixels)
            title = f"runtime, {precision}, {name}" + (", as it is" if layout == usual else "")
            print(f"  {title:42}{rates[layout]:8.0f}   opened in {opened:.1f} s", flush=True)
        best = max(rates, key=rates.__getitem__)
        cuda_graph.LAYOUTS[precision] = usual
        if is_chosen and rates[best] > FASTER * rates[usual]:
            cuda_graph.LAYOUTS[precision] = best
            print(f"  from here on {precision} is computed with the other layout")

    def rate(self, runtime: Runtime, pixels: np.ndarray) -> float:
        """Measure the images per second of a runtime that always has enough to do."""
        runtime.submit(pixels).result()
        waiting = deque(runtime.submit(pixels) for _ in range(8))
        num_images, began = 0, time.perf_counter()
        while time.perf_counter() < began + self.scale.rate_seconds:
            num_images += len(waiting.popleft().result())
            waiting.append(runtime.submit(pixels))
        taken = time.perf_counter() - began
        for pending in waiting:
            pending.result()
        return num_images / taken

    def agree(self) -> None:
        """Compare features and labels with those of a CPU in float32."""
        network, path = self.scale.networks[0], self.default[0]
        on_cpu = self.frames(network, "cpu")
        with open_scaled(path, on_cpu.preprocess) as reader:
            pixels = next(reader.read(batch_size=64)).pixels
        expected = TorchRuntime(on_cpu).submit(pixels).result()
        reference = Model(load_checkpoint(self.models[network], device=torch.device("cpu")))
        reference.__dict__["runtime"] = TorchRuntime(on_cpu)
        labels = label_video(path, reference).labels
        print(f"{network}, features of {len(pixels)} frames and labels of {len(labels)}, beside a CPU in float32")
        describe = partial(print_agreement, expected)
        describe("torch, float32", TorchRuntime(self.frames(network)).submit(pixels).result())
        for precision in PRECISIONS:
            model = self.model(network, precision)
            assert model.runtime is not None
            same = (label_video(path, model).labels == labels).mean()
            describe(f"runtime, {precision}", model.runtime.submit(pixels).result(), f", labels agree {same:.2%}")

    def label(self) -> None:
        """Print the rates of labelling by the number of parallel videos, and whether the labels are always the same."""
        for precision in PRECISIONS:
            model, seen = self.model(self.scale.networks[0], precision), []
            for jobs in self.scale.jobs:
                videos = self.default[: 8 * jobs]
                out = self.folder / f"{precision}_{jobs}"
                self.print_labelling(f"{precision}, {jobs} in parallel", videos, model, jobs, out)
                seen.append(self.labels_in(out))
            for jobs in self.scale.jobs[1:3]:
                videos, title = self.default[: 8 * jobs], f"{precision}, {jobs} in parallel, in threads"
                self.print_labelling(title, videos, model, jobs, out, decoder_processes=False)
                seen.append(self.labels_in(out))
            print(f"  the same bytes each time: {all(found == seen[0] for found in seen)}")

    def labels_in(self, out: Path) -> list[bytes]:
        """Return the labels of the videos that are labelled each time."""
        return [(out / f"{path.stem}.frames.csv").read_bytes() for path in self.default[:8]]

    def label_more(self) -> None:
        """Print the rates of labelling with larger frames, and with a larger network."""
        jobs = self.scale.jobs[-1]
        large = list(self.scale.video_sizes)[-1]
        for precision in PRECISIONS:
            model = self.model(self.scale.networks[0], precision)
            videos = self.videos[large][: 2 * jobs]
            self.print_labelling(
                f"{large}, {precision}, {jobs} in parallel", videos, model, jobs, self.folder / "large"
            )
        for precision in PRECISIONS:
            model = self.model(self.scale.networks[1], precision)
            title = f"{self.scale.networks[1]}, {precision}, {jobs} in parallel"
            self.print_labelling(title, self.default[: 2 * jobs], model, jobs, self.folder / "larger_network")

    def print_labelling(
        self, title: str, videos: list[Path], model: Model, jobs: int, out: Path, *, decoder_processes: bool = True
    ) -> None:
        """Label videos, and print the rate, how full the batches were, and how busy the GPU was.

        Args:
            title: The title of the line.
            videos: The videos.
            model: The labeller.
            jobs: The number of parallel videos.
            out: The folder of the labels.
            decoder_processes: Whether each video is decoded in its own process, and not in a thread.
        """
        self.batches_seen.clear()
        with Utilization(self.device) as utilization:
            rate, seconds = self.label_some(videos, model, jobs, out, decoder_processes=decoder_processes)
        full = np.mean(self.batches_seen) / cuda_graph.fitting_batch_frames(*self.scale.image_size)
        rates = f"{rate:8.0f} frames per second for {seconds:4.1f} s, batches {full:.0%} full"
        print(f"  {title:42}{rates}, {utilization}", flush=True)

    def label_some(
        self, videos: list[Path], model: Model, jobs: int, out: Path, *, decoder_processes: bool = True
    ) -> tuple[float, float]:
        """Label videos; `print_labelling` documents the arguments.

        Returns:
            The frames per second, and the seconds.
        """
        out.mkdir(exist_ok=True)
        began = time.perf_counter()
        label_videos(
            videos,
            model,
            out,
            outputs=OutputOptions(overwrite=True),
            num_parallel=jobs,
            decoder_processes=decoder_processes,
            on_failure=on_failure,
        )
        taken = time.perf_counter() - began
        return sum(self.num_frames[path] for path in videos) / taken, taken

    def profile(self) -> None:
        """Print the time in which kernels ran."""
        jobs = self.scale.jobs[-1]
        kind = ProfilerActivity.CUDA if self.device == "cuda" else ProfilerActivity.CPU
        for network in self.scale.networks:
            model = self.model(network, "full")
            with profile(activities=[kind]) as profiler:
                rate, seconds = self.label_some(self.default[: 2 * jobs], model, jobs, self.folder / "profiled")
            kernels = describe_kernels(profiler, seconds, DeviceType.CUDA if self.device == "cuda" else DeviceType.CPU)
            print(f"  {network}, full, {jobs} in parallel: {rate:.0f} frames per second, {kernels}", flush=True)

    def decode(self) -> None:
        """Print the rates of decoding and scaling alone."""
        preprocess = self.frames(self.scale.networks[0], "cpu").preprocess

        def rate(paths: list[Path], num_parallel: int, opening: OpenScaled) -> float:
            with ThreadPoolExecutor(num_parallel) as threads:
                began = time.perf_counter()
                num_frames = sum(threads.map(partial(decode_all, preprocess=preprocess, opening=opening), paths))
                return num_frames / (time.perf_counter() - began)

        for name, paths in self.videos.items():
            for jobs in self.scale.jobs:
                with DecoderProcesses(jobs) as processes:
                    rate(paths[:jobs], jobs, processes.open_scaled)  # the processes start
                    in_processes = rate(paths[: 2 * jobs], jobs, processes.open_scaled)
                in_threads = rate(paths[: 2 * jobs], jobs, open_scaled)
                with ONE_THREAD_EACH:
                    one_each = rate(paths[: 2 * jobs], jobs, open_scaled)
                found = (
                    f"{in_processes:.0f} in processes, {in_threads:.0f} in threads, {one_each:.0f} with 1 thread each"
                )
                print(f"  {name}, {jobs:2} in parallel, frames per second: {found}", flush=True)

    def batches(self) -> None:
        """Print the rates of encoding with other sizes of batches."""
        frames, pixels = self.frames(self.scale.networks[0]), some_pixels(64, self.scale.image_size)
        height, width = self.scale.image_size
        for precision in PRECISIONS:
            for size in (32, 128):
                with patch.object(cuda_graph, "BATCH_PIXELS", size * height * width):
                    rate = self.rate(self.open(frames, precision), pixels)
                print(f"  {self.scale.networks[0]}, {precision}, batches of {size:3}: {rate:8.0f}", flush=True)


def decode_all(path: Path, *, preprocess: Preprocess, opening: OpenScaled) -> int:
    """Decode and scale a video that `opening` opens, and return the number of its frames."""
    with opening(path, preprocess, surveyed=False) as reader:
        return sum(len(batch.pixels) for batch in reader.read())


class StandIn:
    """A substitute for `CUDARuntime` on a CPU, so that everything around it can run there.

    Args:
        frames: The encoder.
        precision: The precision.
    """

    def __init__(self, frames: FrameEncoder, *, precision: Precision) -> None:
        self.frame_encoder = frames
        encode = make_pixel_encoder(frames, precision=precision)
        encoders = [lambda parts: encode(torch.from_numpy(np.concatenate(parts)))] * cuda_graph.NUM_PLACES
        self._batches = SharedBatches(encoders, batch_size=cuda_graph.fitting_batch_frames(*frames.preprocess.size))

    def submit(self, pixels: np.ndarray) -> Future[Tensor]:
        """Encode frames, see `Runtime.submit`."""
        return self._batches.submit(pixels)


class Utilization:
    """Measures with NVML how busy the GPU is; use it in a `with` statement, and print it afterwards.

    Args:
        device: "cuda"; with any other device nothing is measured.
    """

    def __init__(self, device: str) -> None:
        self._is_open = threading.Event()
        self._samples: list[int] = []
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._has_gpu = device == "cuda"

    def _sample(self) -> None:
        import pynvml

        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        while not self._is_open.wait(SAMPLE_SECONDS):
            self._samples.append(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu)

    def __enter__(self) -> Self:
        if self._has_gpu:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_open.set()
        if self._has_gpu:
            self._thread.join()

    def __str__(self) -> str:
        if not self._samples:
            return "GPU busy: not measured"
        middle = self._samples[len(self._samples) // 5 :]  # NVML reports values of the time before the sample
        return f"GPU busy {np.mean(self._samples):.0f}% ({np.mean(middle):.0f}% without the first fifth), by NVML"


def on_failure(message: str) -> None:
    """Raise a RuntimeError with the message of a video that cannot be labelled."""
    raise RuntimeError(message)


def some_pixels(num_frames: int, size: tuple[int, int]) -> np.ndarray:
    """Draw random pixels, uint8 [num_frames, height, width, 3], where `size` is (height, width)."""
    return np.random.default_rng(0).integers(0, 256, (num_frames, *size, 3), dtype=np.uint8)


def print_agreement(expected: Tensor, title: str, found: Tensor, more: str = "") -> None:
    """Print how far features are from the expected ones.

    Args:
        expected: [T, F].
        title: The title of the line.
        found: [T, F].
        more: The end of the line.
    """
    worst = float((found - expected).abs().max() / expected.abs().max())
    cosine = float(cosine_similarity(found, expected).min())
    print(f"  {title:42}off by at most {worst:.1e} of the largest feature, cosine {cosine:.6f}{more}", flush=True)


def describe_kernels(profiler: profile, seconds: float, device: DeviceType) -> str:
    """Describe the time in which any kernel ran, and the sum of their times, as shares of the wall time.

    Args:
        profiler: The profiler, after the run.
        seconds: The wall time of the run.
        device: The device of the kernels.
    """
    assert profiler.profiler is not None
    result = profiler.profiler.kineto_results
    assert result is not None
    kernels = [e for e in result.events() if e.device_type() == device and not e.name().startswith("Mem")]
    if not kernels:
        return "no kernel was seen"
    starts = np.array([e.start_ns() for e in kernels], np.int64)
    order = starts.argsort()
    starts = starts[order]
    durations = np.array([e.duration_ns() for e in kernels], np.int64)[order]
    latest = np.maximum.accumulate(starts + durations)
    gaps = np.maximum(starts[1:] - latest[:-1], 0)
    busy, total = (latest[-1] - starts[0] - gaps.sum()) / 1e9 / seconds, durations.sum() / 1e9 / seconds
    return f"{len(kernels)} kernels; any ran in {busy:.1%} of {seconds:.1f} s, their sum is {total:.1%}"


def write_video(path: Path, width: int, height: int, num_frames: int) -> Path:
    """Write a video of textures that move over a moving texture, with noise: H.264, 30 frames per second."""
    generator = np.random.default_rng(0)
    canvas = texture(generator, 2 * height, 2 * width)
    shapes = [texture(generator, height // 3, width // 4) for _ in range(4)]
    noise = generator.integers(0, 3, (2 * height, 2 * width), dtype=np.uint8)
    colors = np.stack([texture(generator, height, width) // 4 + 96 for _ in range(2)])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(num_frames):
            row, column = index // 2 % height, index % width
            luma = canvas[row : row + height, column : column + width].copy()
            for number, shape in enumerate(shapes):
                top = (index * (number + 1)) % (height - height // 3)
                left = (index * (4 - number) + 90 * number) % (width - width // 4)
                luma[top : top + height // 3, left : left + width // 4] = shape
            row, column = int(generator.integers(height)), int(generator.integers(width))
            luma += noise[row : row + height, column : column + width]
            chroma = np.roll(colors, index, axis=2)[:, : height // 2, : width // 2]
            planes = np.concatenate([luma.reshape(-1), chroma.reshape(-1)]).reshape(height * 3 // 2, width)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def texture(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw grey levels 16 to 231, uint8 [height, width], with structure of all sizes: noise at several scales."""
    values = np.zeros((height, width), np.float32)
    for scale in (6, 20, 60):
        coarse = generator.standard_normal((height // scale + 1, width // scale + 1), dtype=np.float32)
        values += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(120 + 30 * values, 16, 231).astype(np.uint8)


if __name__ == "__main__":
    main()
