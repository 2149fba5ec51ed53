"""Labels for one video: from a checkpoint and a path to a label for every frame.

T frames, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.files import InputFile, check_name, read_unchanged
from pipeline.labelling.averaging import average, calibrated
from pipeline.labelling.model import Model
from pipeline.labelling.reading import FEATURE_SUFFIX, Reading, predict, read_given_features, read_video
from pipeline.postprocessing.confidence import calibrate_confidence
from pipeline.postprocessing.decisions import decide
from pipeline.postprocessing.kinds import weigh_by_kind
from pipeline.postprocessing.smoothing import smooth
from pipeline.postprocessing.viterbi import decode_segments
from pipeline.video.open import open_scaled
from pipeline.video.types import DecodeReport, OpenScaled

if TYPE_CHECKING:
    from pipeline.video.types import VideoIndex


@dataclass(frozen=True)
class VideoLabels:
    """The labels of a video.

    Attributes:
        labels: int64 [T], or int8 [T, K] where classes overlap; a frame that was not decoded has none.
        probabilities: float32 [T], how probable it is that each frame's label is right; NaN for a frame that was not
            decoded. Where classes overlap: `class_probabilities`.
        class_probabilities: float32 [T, K], of all classes, tempered; NaN for a frame that was not decoded.
        pts_seconds: float64 [T], the times of the frames; NaN for ready features.
        frame_seconds: How long the last frame is shown; NaN for ready features.
        novelty: float32 [T], how unlike the training frames each frame is, NaN for a frame that was not decoded; None
            where the model does not know.
        num_encoded: The number of frames that were encoded; None for ready features.
        report: What became of the frames; None for ready features.
        index: The index of the file, with which it can be read again; None for ready features.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    class_probabilities: np.ndarray
    pts_seconds: np.ndarray
    frame_seconds: float
    novelty: np.ndarray | None = None
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
            novelty=None if self.novelty is None else self.novelty[nearest],
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
    if not model.sees_videos:
        features = read_given_features(path, model)
        (members,) = model.by_encoder
        probabilities, novelty = predict(path, members, [features])
        on_progress(len(features))
        times = np.full(len(features), np.nan)
        found = postprocess(_joined(probabilities, model), model, pts_seconds=times, frame_seconds=float("nan"))
        return replace(found, novelty=novelty)
    if path.suffix.lower() == FEATURE_SUFFIX:
        raise InputError(f"{path}: the model was trained on videos, it cannot read ready features")
    readings: list[Reading] = []
    num_groups, num_done = len(model.by_encoder), 0
    for members in model.by_encoder:

        def advance(num_frames: int, before: int = num_done) -> None:
            on_progress((before + num_frames) // num_groups)

        reading = read_video(
            path, members, frame_rate=model.frame_rate, partial=partial, on_progress=advance, opening=opening
        )
        readings.append(reading)
        num_done += len(reading.index.pts_seconds)
    return label_readings(readings, model)


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
        found = weigh_by_kind(found, spec.segments.kinds)
        labels = decode_segments(found, spec.segments)
    chosen = np.take_along_axis(found, labels[:, None], axis=1)[:, 0]
    if spec.confidence:
        chosen = calibrate_confidence(chosen, spec.confidence)
    return VideoLabels(labels, chosen, found, pts_seconds, frame_seconds)


def _joined(probabilities: Sequence[np.ndarray], model: Model) -> np.ndarray:
    """Return the probabilities of the model; where several label together, the average of theirs, group by group."""
    if not model.members:
        return probabilities[0]
    return average(probabilities, [member.spec for members in model.by_encoder for member in members])


def label_readings(readings: Sequence[Reading], model: Model) -> VideoLabels:
    """Label a video.

    Args:
        readings: What was computed from it for each group of `Model.by_encoder`.
        model: The labeller.
    """
    first = readings[0]
    pts_seconds, is_lost = first.index.pts_seconds, first.index.is_lost
    probabilities = _joined([found for reading in readings for found in reading.probabilities], model)
    times = pts_seconds[first.choice.positions]
    postprocessed = postprocess(probabilities, model, pts_seconds=times, frame_seconds=first.frame_seconds)
    postprocessed = replace(postprocessed, novelty=first.novelty).spread(first.choice.nearest, pts_seconds)
    if is_lost is not None:
        postprocessed.labels[is_lost] = model.spec.label_space.unlabelled(int(is_lost.sum()))
        postprocessed.probabilities[is_lost] = np.nan
        postprocessed.class_probabilities[is_lost] = np.nan
        if postprocessed.novelty is not None:
            postprocessed.novelty[is_lost] = np.nan
    return replace(postprocessed, num_encoded=first.num_encoded, report=first.report, index=first.index)
