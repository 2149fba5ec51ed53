"""Labels for one video: from a checkpoint and a path to a label for every frame.

T frames, K classes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.datasets.features import describe_transposed, read_feature_file
from pipeline.encoding.types import Runtime
from pipeline.encoding.video import EncodedFrames, encode_video
from pipeline.errors import InputError
from pipeline.files import InputFile, check_name, read_unchanged
from pipeline.labelling.averaging import average, calibrated
from pipeline.labelling.model import Model
from pipeline.models.ensemble import predict_each
from pipeline.postprocessing.decisions import decide
from pipeline.postprocessing.smoothing import smooth
from pipeline.postprocessing.viterbi import decode_segments
from pipeline.text.wording import counted
from pipeline.video.frame_choice import FrameChoice, choose_frames
from pipeline.video.open import open_scaled
from pipeline.video.preprocess import Preprocess
from pipeline.video.types import (
    DamagedVideoError,
    DecodeReport,
    OpenScaled,
    ReaderName,
    ScaledReader,
    VideoError,
    scaling_reader,
)

if TYPE_CHECKING:
    from pipeline.video.types import VideoIndex

FEATURE_SUFFIX = ".npy"


@dataclass(frozen=True)
class VideoLabels:
    """The labels of a video.

    Attributes:
        labels: int64 [T], or int8 [T, K] where classes overlap; a frame that was not decoded has none.
        probabilities: float32 [T], of each frame's label, tempered; NaN for a frame that was not decoded. Where classes
            overlap: `class_probabilities`.
        class_probabilities: float32 [T, K], of all classes, tempered; NaN for a frame that was not decoded.
        pts_seconds: float64 [T], the times of the frames; NaN for ready features.
        frame_seconds: How long the last frame is shown; NaN for ready features.
        num_encoded: The number of frames that were encoded; None for ready features.
        report: What became of the frames; None for ready features.
        index: The index of the file, with which it can be read again; None for ready features.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    class_probabilities: np.ndarray
    pts_seconds: np.ndarray
    frame_seconds: float
    num_encoded: int | None = None
    report: DecodeReport | None = None
    index: "VideoIndex | None" = None

    def spread(self, nearest: np.ndarray, pts_seconds: np.ndarray) -> "VideoLabels":
        """Give every frame of a video the label of one of these, which are the frames that were encoded.

        Args:
            nearest: int64 [T], the index of that one for each frame, see `FrameChoice`.
            pts_seconds: float64 [T], the times of all frames.
        """
        if len(self.labels) == len(pts_seconds):  # every frame was encoded
            return self
        return replace(
            self,
            labels=self.labels[nearest],
            probabilities=self.probabilities[nearest],
            class_probabilities=self.class_probabilities[nearest],
            pts_seconds=pts_seconds,
        )


def label_video(
    path: InputFile,
    model: Model,
    *,
    partial: bool = False,
    on_progress: Callable[[int], None] = lambda num_frames: None,
    opening: OpenScaled = open_scaled,
) -> VideoLabels:
    """Label every frame of a video, or of a file of ready features where the model was trained on features.

    Args:
        path: The file.
        model: The labeller.
        partial: Whether to label the frames of a damaged video that can be decoded; those that cannot be decoded get no
            label. This works by PyAV only: the other readers do not report which frames they lost.
        on_progress: It is called with the number of frames that are labelled so far.
        opening: How the video is opened.

    Raises:
        DamagedVideoError: Not all frames of a video can be read, and `partial` is not set or none can be; or the
            model's reader refuses the video.
        InputError: The file is not of the kind that the model takes, its name is not text, or it changed twice while
            it was read: where it changed once, it is read again.
    """
    return read_unchanged(
        path, lambda: label_video_once(path, model, partial=partial, on_progress=on_progress, opening=opening)
    )


def label_video_once(
    path: InputFile,
    model: Model,
    *,
    partial: bool = False,
    on_progress: Callable[[int], None] = lambda num_frames: None,
    opening: OpenScaled = open_scaled,
) -> VideoLabels:
    """Label a video as `label_video` does, but leave it to the caller to notice whether the file changed meanwhile."""
    check_name(path)
    if model.runtime is None:
        features = _read_given_features(path, model)
        (members,) = model.by_encoder
        probabilities = _predict(path, members, [features])
        on_progress(len(features))
        times = np.full(len(features), np.nan)
        return postprocess(_joined(probabilities, model), model, pts_seconds=times, frame_seconds=float("nan"))
    if path.suffix.lower() == FEATURE_SUFFIX:
        raise InputError(f"{path}: the model was trained on videos, it cannot read ready features")
    readings: list[_Reading] = []
    num_groups, num_done = len(model.by_encoder), 0
    for members in model.by_encoder:

        def advance(num_frames: int, before: int = num_done) -> None:
            on_progress((before + num_frames) // num_groups)

        reading = _read_video(
            path, members, frame_rate=model.frame_rate, partial=partial, on_progress=advance, opening=opening
        )
        readings.append(reading)
        num_done += len(reading.index.pts_seconds)
    return _label_readings(readings, model)


def check_numbers(source: InputFile | str, probabilities: np.ndarray) -> None:
    """Raise InputError where the network computed something else than numbers, which smoothing would make labels of."""
    if not np.isfinite(probabilities).all():
        raise InputError(f"{source}: the model computes NaN for it: were its weights or its preprocessing changed?")


def postprocess(
    probabilities: np.ndarray, model: Model, *, pts_seconds: np.ndarray, frame_seconds: float
) -> VideoLabels:
    """Turn probabilities into labels: smooth, decode or decide them as the checkpoint says, and temper them.

    Args:
        probabilities: float32 [T, K], from the network.
        model: The labeller.
        pts_seconds: float64 [T], the times of the frames.
        frame_seconds: How long the last frame is shown.
    """
    spec = model.spec
    found = calibrated(probabilities, spec)
    if not spec.label_space.is_exclusive:
        thresholds = [decision.threshold for decision in spec.class_decisions]
        lengths = [decision.min_segment_frames for decision in spec.class_decisions]
        labels = decide(found, spec.label_space, thresholds, lengths)
        return VideoLabels(labels, found, found, pts_seconds, frame_seconds)
    if spec.segments is None:
        labels = smooth(probabilities, min_segment_frames=spec.min_segment_frames)
    else:
        labels = decode_segments(found, spec.segments)
    chosen = np.take_along_axis(found, labels[:, None], axis=1)[:, 0]
    return VideoLabels(labels, chosen, found, pts_seconds, frame_seconds)


@dataclass(frozen=True)
class _Reading:
    """A video as the models with one encoder read it.

    Attributes:
        probabilities: float32 [n, K], from each model, of the frames that were chosen.
        choice: The frames that were chosen, n of T.
        frame_seconds: How long the last frame is shown.
        num_encoded: The number of frames that were encoded.
        report: What became of the frames.
        index: The index of the file.
    """

    probabilities: list[np.ndarray]
    choice: FrameChoice
    frame_seconds: float
    num_encoded: int
    report: DecodeReport
    index: "VideoIndex"


def _read_video(
    path: InputFile,
    members: Sequence[Model],
    *,
    frame_rate: float | None,
    partial: bool,
    on_progress: Callable[[int], None],
    opening: OpenScaled,
) -> _Reading:
    """Decode and encode a video once, for all models that share an encoder."""
    runtime, name = members[0].runtime, scaling_reader(members[0].reader)
    assert runtime is not None, "a model of videos"
    preprocess = runtime.frame_encoder.preprocess
    # A video that PyAV cannot read as its packets promise is surveyed below, so that it can be labelled in part.
    surveyed = False if name == "pyav" else None
    try:
        with opening(path, preprocess, surveyed=surveyed, reader=name) as reader:
            return _predict_frames(reader, members, runtime, frame_rate, on_progress)
    except VideoError as error:
        if name != "pyav":
            raise _unreadable(path, error, name) from error
        with _open_surveyed(path, preprocess, error, opening, partial=partial) as reader:
            return _predict_frames(reader, members, runtime, frame_rate, on_progress)


def _predict_frames(
    reader: ScaledReader,
    members: Sequence[Model],
    runtime: Runtime,
    frame_rate: float | None,
    on_progress: Callable[[int], None],
) -> _Reading:
    index, frame_seconds = reader.index, float(1 / reader.properties.frame_rate)
    choice = choose_frames(index.pts_seconds, frame_rate, frame_seconds=frame_seconds, is_lost=index.is_lost)
    encoding = _Encoding(choice.positions, len(index.pts_seconds), on_progress)
    static_threshold = members[0].static_threshold
    chunks = encode_video(reader, runtime, positions=choice.positions, static_threshold=static_threshold)
    with _own_stream(members[0].device), closing(chunks):
        probabilities = _predict(reader.properties.path, members, encoding.features(chunks))
    return _Reading(probabilities, choice, frame_seconds, encoding.num_encoded, reader.report(), index)


def _predict(source: InputFile | str, members: Sequence[Model], chunks: Iterable[torch.Tensor]) -> list[np.ndarray]:
    """Compute the probabilities of a video by each model, from features of all."""
    found = predict_each([member.checkpoint.labeller for member in members], chunks)
    for probabilities in found:
        check_numbers(source, probabilities)
    return found


def _joined(probabilities: Sequence[np.ndarray], model: Model) -> np.ndarray:
    """Return the probabilities of the model; where several label together, the average of theirs, group by group."""
    if not model.members:
        return probabilities[0]
    return average(probabilities, [member.spec for members in model.by_encoder for member in members])


def _label_readings(readings: Sequence[_Reading], model: Model) -> VideoLabels:
    first = readings[0]
    pts_seconds, is_lost = first.index.pts_seconds, first.index.is_lost
    probabilities = _joined([found for reading in readings for found in reading.probabilities], model)
    times = pts_seconds[first.choice.positions]
    postprocessed = postprocess(probabilities, model, pts_seconds=times, frame_seconds=first.frame_seconds)
    postprocessed = postprocessed.spread(first.choice.nearest, pts_seconds)
    if is_lost is not None:
        postprocessed.labels[is_lost] = model.spec.label_space.unlabelled(int(is_lost.sum()))
        postprocessed.probabilities[is_lost] = np.nan
        postprocessed.class_probabilities[is_lost] = np.nan
    return replace(postprocessed, num_encoded=first.num_encoded, report=first.report, index=first.index)


def _own_stream(device: torch.device) -> AbstractContextManager[object]:
    """Return a CUDA stream of this thread, whose many small steps go before the large ones of other threads."""
    return nullcontext() if device.type == "cpu" else torch.cuda.stream(torch.cuda.Stream(device, priority=-1))


def _open_surveyed(
    path: InputFile, preprocess: Preprocess, error: VideoError, opening: OpenScaled, *, partial: bool
) -> ScaledReader:
    """Open a video with the frames that can be decoded, after `error` was raised while it was read."""
    try:
        reader = opening(path, preprocess, surveyed=True)
    except VideoError:
        raise _unreadable(path, error, "pyav") from error
    report = reader.report()
    if report.problems and not partial:
        reader.close()
        num_frames = counted(report.decoded_frames, "frame")
        problems = "; ".join(report.problems)  # a survey's, whose words do not depend on FFmpeg's threads
        raise DamagedVideoError(
            f"{path}: {problems} ({num_frames} can be decoded: --on-error partial labels those)", report
        ) from error
    return reader


def _unreadable(path: InputFile, error: VideoError, reader: ReaderName) -> DamagedVideoError:
    report = DecodeReport.of_unreadable(str(error).removeprefix(f"{path}: "), reader)
    return DamagedVideoError(str(error), report)


class _Encoding:
    """Follows the encoding of a video, and counts the frames that are encoded.

    Args:
        positions: int64 [n], the frames that are wanted.
        num_frames: T, the number of all frames.
        on_progress: See `label_video`.
    """

    def __init__(self, positions: np.ndarray, num_frames: int, on_progress: Callable[[int], None]) -> None:
        self.num_encoded = 0
        self._positions, self._stops = positions, np.append(positions[1:], num_frames)
        self._on_progress = on_progress

    def features(self, chunks: Iterable[EncodedFrames]) -> Iterator[torch.Tensor]:
        """Yield the features of each chunk [t, F]."""
        for chunk in chunks:
            yield chunk.features
            self.num_encoded += chunk.num_encoded
            self._on_progress(int(self._stops[np.searchsorted(self._positions, chunk.index[-1])]))


def _read_given_features(path: InputFile, model: Model) -> torch.Tensor:
    if not isinstance(path, Path):
        raise InputError(f"{path}: ready features are read from files only: copy it to this machine")
    if path.suffix.lower() != FEATURE_SUFFIX:
        raise InputError(f"{path}: the model was trained on ready features, expected a {FEATURE_SUFFIX} file")
    features = read_feature_file(path)
    if features.shape[1] != model.spec.num_features:
        if features.shape[0] == model.spec.num_features:
            expected = f"a model of {model.spec.num_features} features"
            raise InputError(f"{path}: {describe_transposed(features.shape, expected)}")
        raise InputError(
            f"{path}: has {features.shape[1]} features a frame, the model was trained on {model.spec.num_features}"
        )
    return torch.from_numpy(features.astype(np.float32))
