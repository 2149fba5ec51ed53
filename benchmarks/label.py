"""How fast videos are labelled, part by part, beside the limits, in one run.

docs/results/benchmarks/labelling_speed.md has the results.

    python benchmarks/label.py --video clip.mp4

The video is encoded again (H.264) at 360p, 720p and 1080p. The model is EfficientNet-Lite0 at 224x224 with a GRU of
random weights, or --model. Rates are frames per second, medians of rounds in which the parts take turns; nothing is
asserted.

torch          the encoder in batches of 32, channels last, float32: what the limits of the encoder are counted from
script         what one would write: OpenCV's VideoCapture, resize, the encoder on a frame at a time
decode         frames decoded and scaled, alone
encode full    the encoder as `framescribe label` runs it;  encode reduced: with --precision reduced
label          decoding, encoding, recurrence and writing, as `framescribe label` does it for one video
bound          1 / (1 / decode + 1 / encode): the one after the other
many clips     a folder of clips of three seconds at 360p, one at a time and two in parallel

`--all` continues with memory.py, still.py and live.py on the same video, which takes half an hour.
"""

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from turns import take_turns

from pipeline.checkpoints.encoder import FrameEncoder, make_frame_encoder
from pipeline.checkpoints.labeller import CheckpointSpec, save_checkpoint
from pipeline.checkpoints.storage import Lineage
from pipeline.config.data import Pixels
from pipeline.config.params import load_params
from pipeline.encoding.torch_runtime import TorchRuntime
from pipeline.encoding.types import Precision, Runtime
from pipeline.labelling.folder import label_videos
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.outputs import OutputOptions
from pipeline.labelling.video import label_video
from pipeline.models.labeller import Labeller
from pipeline.video.open import open_scaled

LITE0 = "efficientnet_lite0"
SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
LIMITS: dict[Precision, dict[str, float]] = {
    "full": {"torch": 4.0, "script": 3.0},
    "reduced": {"torch": 7.0, "script": 4.5},
}
BOUND_LIMIT = 0.9
SCRIPT_FRAMES = 200  # the slowest part is measured on fewer frames
TORCH_FRAMES = 128
NUM_CLIPS, CLIP_FRAMES = 16, 75


def main() -> None:
    """Print all rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True, help="what is labelled; some hundred frames are enough")
    parser.add_argument("--model", help="checkpoint folder of a labeller that sees videos, or MLflow URI")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="also memory, a still camera, live")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        location = options.model or str(make_model(Path(folder) / "model"))
        models = {name: load_model(location, device="auto", precision=name) for name in LIMITS}
        spec = models["full"].spec
        assert spec.encoder is not None, "a model of ready features"
        print(f"{spec.encoder.name} at {spec.encoder.preprocess.size}, {spec.labeller.cell}, {options.video.name}\n")
        for name, size in SIZES.items():
            path = scaled_copy(options.video, Path(folder) / f"{name}.mp4", *size)
            print_rates(name, path, models, Path(folder), options.rounds)
        print_many_clips(Path(folder) / "360p.mp4", models["full"], Path(folder), options.rounds)
    if not torch.cuda.is_available():
        print("GPU: not measured, there is none here")
    for script in ("memory.py", "still.py", "live.py") if options.all else ():
        print(f"\n{script}", flush=True)
        subprocess.run([sys.executable, Path(__file__).with_name(script), "--video", options.video], check=True)


def make_model(
    folder: Path,
    *,
    encoder: str = LITE0,
    size: tuple[int, int] | None = None,
    is_random: bool = False,
    **changes: Any,
) -> Path:
    """Write a checkpoint of a labeller that was not trained.

    Args:
        folder: The checkpoint, which must not exist.
        encoder: The name of the encoder.
        size: (height, width) of its frames, in pixels; None for its own size.
        is_random: Whether the weights of Lite0 are random too; all others always are.
        **changes: Settings of the labeller that replace those of params.yaml.

    Returns:
        The folder.
    """
    torch.manual_seed(0)
    # Without training labels there are no segments to decode.
    settings = load_params().labeller.model_copy(update={"decoding": "merge"} | changes)
    pixels = Pixels(crop=None, crop_unit="fractions", size=size, color="rgb")
    weights = "imagenet" if encoder == LITE0 and not is_random else None
    frames = make_frame_encoder(encoder, weights=weights, grid=1, batch_norm="frozen", batch_size=32, pixels=pixels)
    classes = tuple(f"class {index}" for index in range(8))
    labeller = Labeller(settings, num_features=frames.encoder.num_features, num_classes=len(classes))
    spec = CheckpointSpec(
        classes=classes,
        background=None,
        num_features=frames.encoder.num_features,
        encoder=frames.spec,
        labeller=settings,
        lineage=Lineage(run_id="none", git_commit="none", data_fingerprint="none", dvc_experiment=None),
    )
    folder.mkdir()
    save_checkpoint(folder, spec, labeller, frames.encoder)
    return folder


def scaled_copy(source: Path, path: Path, width: int, height: int, *, max_frames: int | None = None) -> Path:
    """Write a video at another size, in H.264, at its own average frame rate.

    Args:
        source: The video.
        path: The new file.
        width: In pixels.
        height: In pixels.
        max_frames: The maximum number of frames; None for all.

    Returns:
        The new file.
    """
    with av.open(str(source)) as video, av.open(str(path), "w") as container:
        rate = video.streams.video[0].average_rate or Fraction(30)
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index, frame in enumerate(islice(video.decode(video=0), max_frames)):
            pixels = frame.to_ndarray(format="yuv420p", width=width, height=height)
            copy = av.VideoFrame.from_ndarray(pixels, format="yuv420p")
            copy.pts, copy.time_base = index, 1 / Fraction(rate)
            container.mux(stream.encode(copy))
        container.mux(stream.encode(None))
    return path


def print_rates(name: str, path: Path, models: dict[Precision, Model], out: Path, rounds: int) -> None:
    """Print the rates of all parts for one video.

    Args:
        name: The name of the video's size.
        path: The video.
        models: The labeller by precision.
        out: The folder of the labels.
        rounds: The number of rounds in which the parts take turns.
    """
    runtimes = {precision: _runtime(model) for precision, model in models.items()}
    frames = runtimes["full"].frame_encoder
    with open_scaled(path, frames.preprocess) as video:
        pixels = np.concatenate([batch.pixels for batch in video.read()])
    parts: dict[str, tuple[int, Callable[[], object]]] = {
        "torch": (min(TORCH_FRAMES, len(pixels)), lambda: encode_by_torch(frames, pixels[:TORCH_FRAMES])),
        "script": (min(SCRIPT_FRAMES, len(pixels)), lambda: run_script(path, frames)),
        "decode": (len(pixels), lambda: decode(path, frames)),
    }
    for precision, model in models.items():
        parts[f"encode {precision}"] = (len(pixels), partial(encode, runtimes[precision], pixels))
        parts[f"label {precision}"] = (len(pixels), partial(label, [path], model, out))
    seconds = take_turns({part: run for part, (_, run) in parts.items()}, rounds)
    rates = {part: num_frames / seconds[part] for part, (num_frames, _) in parts.items()}
    features = TorchRuntime(frames).submit(pixels).result()
    expected = label_video(path, by_torch(models["full"])).labels
    labels = {precision: label_video(path, model).labels for precision, model in models.items()}
    print(f"{name}, {len(pixels)} frames")
    for part in ("torch", "script", "decode"):
        print(f"  {part:16}{rates[part]:7.0f}")
    for precision, limits in LIMITS.items():
        encoded, labelled = rates[f"encode {precision}"], rates[f"label {precision}"]
        bound = 1 / (1 / rates["decode"] + 1 / encoded)
        of_bound = f"{labelled / bound:.2f} of the bound {bound:.0f}, limit {BOUND_LIMIT}"
        difference = (encode(runtimes[precision], pixels) - features).abs().max() / features.abs().max()
        agree = (labels[precision] == expected).mean()
        print(f"  {'encode ' + precision:16}{encoded:7.0f}   {encoded / rates['torch']:5.2f} of torch,"
              f" limit {limits['torch']}; features differ by {difference:.0e}, labels agree {agree:.2%}")  # fmt: skip
        print(f"  {'label ' + precision:16}{labelled:7.0f}   {labelled / rates['script']:5.2f} of the script,"
              f" limit {limits['script']}; {of_bound}")  # fmt: skip


def print_many_clips(path: Path, model: Model, folder: Path, rounds: int) -> None:
    """Print the rates of many short clips, labelled one at a time and two in parallel.

    Args:
        path: The video from whose start the clips are made.
        model: The labeller.
        folder: The folder of the clips and labels.
        rounds: The number of rounds in which the parts take turns.
    """
    clips = folder / "clips"
    clips.mkdir()
    first = scaled_copy(path, clips / "clip0.mp4", *SIZES["360p"], max_frames=CLIP_FRAMES)
    for number in range(1, NUM_CLIPS):
        shutil.copy(first, clips / f"clip{number}.mp4")
    paths = sorted(clips.iterdir())

    seconds = take_turns({str(n): partial(label, paths, model, folder, num_parallel=n) for n in (1, 2)}, rounds)
    rates = {name: NUM_CLIPS * CLIP_FRAMES / taken for name, taken in seconds.items()}
    print(f"many clips, {NUM_CLIPS} of {CLIP_FRAMES} frames\n  one at a time   {rates['1']:7.0f}\n"
          f"  two in parallel {rates['2']:7.0f}   {rates['2'] / rates['1']:5.2f} of one at a time")  # fmt: skip


def label(paths: list[Path], model: Model, out: Path, *, num_parallel: int = 1) -> None:
    """Label videos into the folder `out`, `num_parallel` of them in parallel; a failure ends the benchmark."""
    outputs = OutputOptions(overwrite=True)
    label_videos(paths, model, out, outputs=outputs, num_parallel=num_parallel, on_failure=sys.exit)


def _runtime(model: Model) -> Runtime:
    assert model.runtime is not None
    return model.runtime


def by_torch(model: Model) -> Model:
    """Return the same model with its encoder run by torch in float32, as the reference for the labels."""
    reference = replace(model)
    reference.__dict__["runtime"] = TorchRuntime(_runtime(model).frame_encoder)  # replaces the cached property
    return reference


@torch.inference_mode()
def encode_by_torch(frames: FrameEncoder, pixels: np.ndarray) -> torch.Tensor:
    """Encode scaled pixels uint8 [T, h, w, 3] with torch, in batches of 32: [T, F]."""
    images = frames.preprocess.normalize(torch.from_numpy(pixels))
    return torch.cat([frames.encoder.encode_batch(batch) for batch in images.split(32)])


@torch.inference_mode()
def run_script(path: Path, frames: FrameEncoder) -> list[torch.Tensor]:
    """Encode the first SCRIPT_FRAMES frames as a simple script does: OpenCV and torch, one frame after the other."""
    capture = cv2.VideoCapture(str(path))
    height, width = frames.preprocess.size
    features: list[torch.Tensor] = []
    while len(features) < SCRIPT_FRAMES:
        read, frame = capture.read()
        if not read:
            break
        image = cv2.cvtColor(cv2.resize(frame, (width, height)), cv2.COLOR_BGR2RGB)
        features.append(frames.encoder(frames.preprocess.normalize(torch.from_numpy(image)[None])))
    return features


def encode(runtime: Runtime, pixels: np.ndarray) -> torch.Tensor:
    """Encode scaled pixels uint8 [T, h, w, 3] with a runtime, in batches of 32: [T, F]."""
    pending = [runtime.submit(pixels[start : start + 32]) for start in range(0, len(pixels), 32)]
    return torch.cat([features.result() for features in pending])


def decode(path: Path, frames: FrameEncoder) -> int:
    """Decode and scale a video, and return the number of its frames."""
    with open_scaled(path, frames.preprocess) as video:
        return sum(len(batch.pixels) for batch in video.read())


if __name__ == "__main__":
    main()
