"""Labels for videos: a checkpoint and a path in, a label for every frame out; and the same for whole folders.

T frames, K classes.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from pipeline.checkpoint import Checkpoint, CheckpointSpec, load_checkpoint
from pipeline.datasets.features import read_feature_file
from pipeline.encode import choose_device, encode_video
from pipeline.errors import InputError, describe_os_error
from pipeline.labels.annotations import write_frames, write_segments
from pipeline.labels.colors import class_colors
from pipeline.labels.smoothing import smooth
from pipeline.labels.temperature import tempered
from pipeline.runtime import Precision, Runtime, exports_beside, open_runtime
from pipeline.video.overlay import write_overlay
from pipeline.video.reader import VIDEO_SUFFIXES, VideoReader, open_scaled, open_video

FEATURE_SUFFIX = ".npy"
FRAMES, SEGMENTS, OVERLAY = ".frames.csv", ".segments.csv", ".overlay.mp4"  # after a video's stem: what is written
MLFLOW_SCHEMES = ("models:", "runs:", "mlflow-artifacts:", "file:", "s3:", "gs:", "http:", "https:")


@dataclass(frozen=True)
class VideoLabels:
    """labels int64 [T]; probabilities float64 [T], of each frame's label; pts_seconds float64 [T], NaN for features."""

    labels: np.ndarray
    probabilities: np.ndarray
    pts_seconds: np.ndarray
    frame_seconds: float  # how long the last frame stands


@dataclass(frozen=True)
class Model:
    """A checkpoint ready to label videos, with how its encoder is to run.

    exports: the folder where the encoder, exported for a CPU, is kept; None: it is exported anew each time.
    """

    checkpoint: Checkpoint
    precision: Precision = "full"
    exports: Path | None = None

    @property
    def spec(self) -> CheckpointSpec:
        return self.checkpoint.spec

    @cached_property
    def runtime(self) -> Runtime | None:
        """Its encoder, None where the model takes ready features; opened when it is first asked for."""
        frames = self.checkpoint.frames
        return open_runtime(frames, precision=self.precision, exports=self.exports) if frames else None


def load_model(location: str, *, device: str, precision: Precision = "full") -> Model:
    """The model in a checkpoint folder, or behind an MLflow URI (models:/name/1, runs:/<id>/model).

    For a CPU its encoder is exported at the first use, and the export kept beside the checkpoint folder.

    Raises InputError where there is none, the device is absent or cannot compute with the precision.
    """
    folder = find_checkpoint(location)
    exports = None if location.startswith(MLFLOW_SCHEMES) else exports_beside(folder)
    model = Model(load_checkpoint(folder, device=choose_device(device)), precision, exports)
    model.runtime  # noqa: B018  opened now, so that what is wrong with it is told before there is work to lose
    return model


def find_checkpoint(location: str) -> Path:
    """The checkpoint folder named, or behind an MLflow URI. Raises InputError where MLflow has no such model."""
    if not location.startswith(MLFLOW_SCHEMES):
        return Path(location)
    from pipeline.training.tracking import fetch_checkpoint  # mlflow takes seconds to import

    return fetch_checkpoint(location)


def label_video(path: Path, model: Model, *, tell: Callable[[str], None] = lambda progress: None) -> VideoLabels:
    """Label every frame of a video, or of a file of ready features where the model was trained on features.

    `tell` is given the progress through a video, in words.
    Raises InputError where the file cannot be read, or is not of the kind that the model takes.
    """
    if model.runtime is None:
        features = _read_given_features(path, model)
        probabilities = model.checkpoint.labeller.predict([features])
        times, frame_seconds = np.full(len(features), np.nan), float("nan")
    else:
        if path.suffix.lower() == FEATURE_SUFFIX:
            raise InputError(f"{path}: the model was trained on videos, it cannot read ready features")
        parts: list[np.ndarray] = []
        with open_scaled(path, model.runtime.frames.preprocess) as reader:
            probabilities = model.checkpoint.labeller.predict(_encode(reader, model.runtime, parts, tell))
            times, frame_seconds = np.concatenate(parts), float(1 / reader.properties.frame_rate)
    return decide(probabilities, model, pts_seconds=times, frame_seconds=frame_seconds)


def decide(probabilities: np.ndarray, model: Model, *, pts_seconds: np.ndarray, frame_seconds: float) -> VideoLabels:
    """From probabilities [T,K] to labels: smoothed as the checkpoint says, each with its tempered probability."""
    min_segment_frames = model.spec.labeller.min_segment_frames
    assert min_segment_frames != "auto", "a checkpoint holds numbers"
    labels = smooth(probabilities, min_segment_frames=min_segment_frames)
    if model.spec.temperature != 1:
        probabilities = tempered(probabilities, model.spec.temperature)
    chosen = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    return VideoLabels(labels, chosen, pts_seconds, frame_seconds)


def _encode(
    reader: VideoReader, runtime: Runtime, times: list[np.ndarray], tell: Callable[[str], None]
) -> Iterator[torch.Tensor]:
    """The features of a video, chunk by chunk; the times of its frames are added to `times` on the way."""
    num_done = 0
    for chunk in encode_video(reader, runtime):
        times.append(chunk.pts_seconds)
        yield chunk.features
        num_done += len(chunk.pts_seconds)
        tell(f"{reader.properties.path.name}: frame {num_done} of {reader.properties.num_frames}")


def _read_given_features(path: Path, model: Model) -> torch.Tensor:
    if path.suffix.lower() != FEATURE_SUFFIX:
        raise InputError(f"{path}: the model was trained on ready features, expected a {FEATURE_SUFFIX} file")
    features = read_feature_file(path)
    if features.shape[1] != model.spec.num_features:
        raise InputError(
            f"{path}: has {features.shape[1]} features a frame, the model was trained on {model.spec.num_features}"
        )
    return torch.from_numpy(features.astype(np.float32))


def find_inputs(paths: Sequence[Path], model: Model) -> list[Path]:
    """The files to label, each once: those named, and those in the folders named that the model could read, sorted.

    Overlays that an earlier call wrote are not found in a folder. Raises InputError where a folder holds nothing.
    """
    if model.runtime:
        return find_files(paths, VIDEO_SUFFIXES, kind="video")
    return find_files(paths, {FEATURE_SUFFIX}, kind=f"{FEATURE_SUFFIX} file, which is what the model was trained on")


def find_files(paths: Sequence[Path], suffixes: Collection[str], *, kind: str) -> list[Path]:
    """Each once: the files named, and those in the folders named that have one of the suffixes, sorted.

    Hidden files and overlays that an earlier call wrote are not found in a folder. `kind`: what is looked for, in
    words. Raises InputError where a folder holds none.
    """
    found: dict[Path, Path] = {}  # by its resolved path
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes and p.is_file())
            inside = [p for p in inside if not p.name.startswith(".") and not p.name.endswith(OVERLAY)]
            if not inside:
                raise InputError(f"{path}: holds no {kind}")
        for file in inside:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def label_files(
    paths: Iterable[Path],
    model: Model,
    out: Path,
    *,
    overlay: bool,
    refuse: Callable[[str], None],
    tell: Callable[[str], None] = lambda progress: None,
) -> int:
    """Label files one after the other and write their CSVs (and overlays) into `out`. Returns how many failed.

    A file that cannot be labelled is told to `refuse` in one sentence and the rest go on. It writes nothing into `out`;
    what an earlier call wrote for it stays.
    """
    num_failed = 0
    labelled: dict[str, Path] = {}
    for path in paths:
        other = labelled.get(path.stem)
        if other is not None:
            refuse(f"{path}: its labels would replace those of {other}: label it into another folder")
            num_failed += 1
            continue
        try:
            label_file(path, model, out, overlay=overlay, tell=tell)
            labelled[path.stem] = path
            continue
        except InputError as error:
            refuse(str(error))
        except OSError as error:  # no permission to read it, or no space left to write
            refuse(f"{path}: could not be labelled: {describe_os_error(error)}")
        num_failed += 1
    return num_failed


def label_file(
    path: Path,
    model: Model,
    out: Path,
    *,
    overlay: bool,
    tell: Callable[[str], None] = lambda progress: None,
) -> None:
    """Label one file and write <stem>.frames.csv, <stem>.segments.csv and, with `overlay`, <stem>.overlay.mp4.

    They appear in `out` together, when all of them are written, in place of those of an earlier call.
    """
    result = label_video(path, model, tell=tell)
    classes, labels, probabilities = model.spec.classes, result.labels, result.probabilities
    with TemporaryDirectory(prefix=".labelling.", dir=out) as folder:
        staging = Path(folder)
        if overlay:
            _draw(path, staging / f"{path.stem}{OVERLAY}", result, model.spec, tell)
        write_segments(
            staging / f"{path.stem}{SEGMENTS}",
            labels,
            probabilities=probabilities,
            pts_seconds=result.pts_seconds,
            classes=classes,
            frame_duration_seconds=result.frame_seconds,
        )
        write_frames(
            staging / f"{path.stem}{FRAMES}",
            labels,
            probabilities=probabilities,
            pts_seconds=result.pts_seconds,
            classes=classes,
        )
        for file in staging.iterdir():
            file.replace(out / file.name)
    if not overlay:
        (out / f"{path.stem}{OVERLAY}").unlink(missing_ok=True)


def _draw(
    path: Path, overlay_path: Path, result: VideoLabels, spec: CheckpointSpec, tell: Callable[[str], None]
) -> None:
    background = None if spec.background is None else spec.classes.index(spec.background)
    with open_video(path) as video:
        write_overlay(
            video,
            overlay_path,
            labels=result.labels,
            probabilities=result.probabilities,
            classes=spec.classes,
            colors=class_colors(len(spec.classes), background=background),
            on_frames=lambda num_drawn: tell(f"{path.name}: drawing frame {num_drawn} of {len(result.labels)}"),
        )
