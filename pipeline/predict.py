"""Labels for videos: a checkpoint and a path in, a label for every frame out; and the same for whole folders.

T frames, K classes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.checkpoint import Checkpoint, load_checkpoint
from pipeline.datasets.manifest import read_feature_file
from pipeline.encode import choose_device, encode_video
from pipeline.errors import InputError
from pipeline.labels.annotations import write_frames, write_segments
from pipeline.labels.smoothing import smooth
from pipeline.video.overlay import write_overlay
from pipeline.video.reader import VIDEO_SUFFIXES, VideoReader, open_video

FEATURE_SUFFIX = ".npy"
MLFLOW_SCHEMES = ("models:", "runs:", "mlflow-artifacts:", "file:", "s3:", "gs:", "http:", "https:")


@dataclass(frozen=True)
class VideoLabels:
    """labels int64 [T]; probabilities float64 [T], of each frame's label; pts_seconds float64 [T], NaN for features."""

    labels: np.ndarray
    probabilities: np.ndarray
    pts_seconds: np.ndarray
    frame_seconds: float  # how long the last frame stands


def load_model(location: str, *, device: str) -> Checkpoint:
    """The model in a checkpoint folder, or behind an MLflow URI (models:/name/1, runs:/<id>/model).

    Raises InputError where there is none, or the device is absent.
    """
    if location.startswith(MLFLOW_SCHEMES):
        from pipeline.training.tracking import fetch_checkpoint  # mlflow takes seconds to import

        return load_checkpoint(fetch_checkpoint(location), device=choose_device(device))
    return load_checkpoint(Path(location), device=choose_device(device))


def label_video(path: Path, model: Checkpoint) -> VideoLabels:
    """Label every frame of a video, or of a file of ready features where the model was trained on features.

    Raises InputError where the file cannot be read, or is not of the kind that the model takes.
    """
    if model.frames is None:
        features = _read_given_features(path, model)
        probabilities = model.labeller.predict([features])
        times, frame_seconds = np.full(len(features), np.nan), float("nan")
    else:
        if path.suffix.lower() == FEATURE_SUFFIX:
            raise InputError(f"{path}: the model was trained on videos, it cannot read ready features")
        parts: list[np.ndarray] = []
        with open_video(path) as reader:
            probabilities = model.labeller.predict(_encode(reader, model, parts))
            times, frame_seconds = np.concatenate(parts), float(1 / reader.properties.frame_rate)
    return decide(probabilities, model, pts_seconds=times, frame_seconds=frame_seconds)


def decide(
    probabilities: np.ndarray, model: Checkpoint, *, pts_seconds: np.ndarray, frame_seconds: float
) -> VideoLabels:
    """From probabilities [T,K] to labels: smoothed as the checkpoint says, each with its class's probability."""
    labels = smooth(probabilities, min_segment_frames=model.spec.labeller.min_segment_frames)
    chosen = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    return VideoLabels(labels, chosen, pts_seconds, frame_seconds)


def _encode(reader: VideoReader, model: Checkpoint, times: list[np.ndarray]) -> Iterator[torch.Tensor]:
    """The features of a video, chunk by chunk; the times of its frames are added to `times` on the way."""
    assert model.frames is not None
    frames = model.frames
    for chunk in encode_video(reader, frames.encoder, frames.preprocess, batch_size=frames.spec.batch_size):
        times.append(chunk.pts_seconds)
        yield chunk.features


def _read_given_features(path: Path, model: Checkpoint) -> torch.Tensor:
    if path.suffix.lower() != FEATURE_SUFFIX:
        raise InputError(f"{path}: the model was trained on ready features, expected a {FEATURE_SUFFIX} file")
    features = read_feature_file(path)
    if features.shape[1] != model.spec.num_features:
        raise InputError(
            f"{path}: has {features.shape[1]} features a frame, the model was trained on {model.spec.num_features}"
        )
    return torch.from_numpy(features.astype(np.float32))


def find_inputs(paths: Sequence[Path]) -> list[Path]:
    """The files to label: those named, and those of video (or .npy) suffixes inside the folders named, sorted."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            suffixes = VIDEO_SUFFIXES | {FEATURE_SUFFIX}
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))
            if not inside:
                raise InputError(f"{path}: holds no video and no {FEATURE_SUFFIX} file")
            found += inside
        else:
            found.append(path)
    return found


def label_files(
    paths: Iterable[Path], model: Checkpoint, out: Path, *, overlay: bool, refuse: Callable[[str], None]
) -> int:
    """Label files one after the other and write their CSVs (and overlays) into `out`. Returns how many failed.

    A file that cannot be labelled is told to `refuse` in one sentence, leaves nothing in `out`, and the rest go on.
    """
    num_failed = 0
    written: dict[str, Path] = {}
    for path in paths:
        try:
            if path.stem in written:
                raise InputError(
                    f"{path}: its labels would replace those of {written[path.stem]}: label it into another folder"
                )
            label_file(path, model, out, overlay=overlay)
            written[path.stem] = path
        except InputError as error:
            num_failed += 1
            refuse(str(error))
    return num_failed


def label_file(path: Path, model: Checkpoint, out: Path, *, overlay: bool) -> None:
    """Label one file and write <stem>.frames.csv, <stem>.segments.csv and, with `overlay`, <stem>.overlay.mp4."""
    result = label_video(path, model)
    classes = model.spec.classes
    if overlay:
        overlay_path = out / f"{path.stem}.overlay.mp4"
        write_overlay(path, overlay_path, labels=result.labels, probabilities=result.probabilities, classes=classes)
    write_segments(
        out / f"{path.stem}.segments.csv",
        result.labels,
        probabilities=result.probabilities,
        pts_seconds=result.pts_seconds,
        classes=classes,
        frame_duration_seconds=result.frame_seconds,
    )
    write_frames(
        out / f"{path.stem}.frames.csv",
        result.labels,
        probabilities=result.probabilities,
        pts_seconds=result.pts_seconds,
        classes=classes,
    )
