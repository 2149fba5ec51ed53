"""Counts of classes that may overlap, from which `overlapping` computes the scores: they do not grow with the video.

T frames, K classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import PRESENT, LabelSpace
from pipeline.annotations.segments import Segment
from pipeline.metrics import segments
from pipeline.scores import IOU_PERCENTS

BOUTS = LabelSpace(("absent", "present"), background="absent")  # the label space of one class by itself


class Video(NamedTuple):
    """The labels of a video.

    Attributes:
        is_known: bool [T, K], whether the truth is known.
        is_true: bool [T, K], whether the class is known to be present.
        is_predicted: bool [T, K], whether the class is predicted; False where the truth is not known.
        probabilities: float [T, K]; None where there are none.
    """

    is_known: np.ndarray
    is_true: np.ndarray
    is_predicted: np.ndarray
    probabilities: np.ndarray | None

    @classmethod
    def of(
        cls, truth: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray | None, label_space: LabelSpace
    ) -> "Video":
        """Take the labels of a video, and check its probabilities; see `evaluate`."""
        is_known = label_space.is_labelled(truth)
        if probabilities is not None:
            if probabilities.shape != truth.shape:
                raise ValueError(f"got probabilities of shape {probabilities.shape} for labels of shape {truth.shape}")
            if not np.isfinite(probabilities[is_known]).all():
                raise ValueError("a labelled frame has no probability, or one that is not finite")
        return cls(is_known, truth == PRESENT, (predicted == PRESENT) & is_known, probabilities)

    def of_classes(self, indices: Sequence[int]) -> "Video":
        """Return the video with some of the classes only."""
        probabilities = None if self.probabilities is None else self.probabilities[:, indices]
        return Video(self.is_known[:, indices], self.is_true[:, indices], self.is_predicted[:, indices], probabilities)


class Counts(NamedTuple):
    """The counts of a video, or of several.

    Attributes:
        num_frames: The number of frames with a known pair.
        num_right: The number of those in which every known pair is right.
        num_known: int [K], the number of known pairs of each class.
        num_both: int [K], the number of pairs that are present in truth and prediction.
        num_true: int [K], the number of pairs that are present in the truth.
        num_predicted: int [K], the number of pairs that are present in the prediction.
        num_bouts: int [K], the number of true bouts.
        edits: [K, 2], the `EditCount` of each class.
        matches: [K, 3] by the IoU in percent, the `MatchCount` of each class.
    """

    num_frames: int
    num_right: int
    num_known: np.ndarray
    num_both: np.ndarray
    num_true: np.ndarray
    num_predicted: np.ndarray
    num_bouts: np.ndarray
    edits: np.ndarray
    matches: dict[int, np.ndarray]


def class_bouts(truth: np.ndarray, predicted: np.ndarray) -> tuple[list[Segment], list[Segment]]:
    """Return the true and the predicted bouts of one class; frames in which it is unknown are cut out.

    Args:
        truth: [T], the true labels of the class.
        predicted: [T], the predicted ones.
    """
    sides = truth.astype(np.int64), predicted.astype(np.int64)
    return segments.scored_segments(*sides, BOUTS, background=BOUTS.background_index)


def _count(video: Video) -> Counts:
    is_known, is_true, is_predicted, _ = video
    is_scored = is_known.any(axis=1)
    bouts = [class_bouts(is_true[known, index], is_predicted[known, index]) for index, known in enumerate(is_known.T)]
    return Counts(
        num_frames=int(is_scored.sum()),
        num_right=int((is_scored & (is_true == is_predicted).all(axis=1)).sum()),
        num_known=is_known.sum(axis=0),
        num_both=(is_true & is_predicted).sum(axis=0),
        num_true=is_true.sum(axis=0),
        num_predicted=is_predicted.sum(axis=0),
        num_bouts=np.array([len(true) for true, _ in bouts], dtype=np.int64),
        edits=np.array([segments.count_edits(*both) for both in bouts], dtype=np.int64).reshape(-1, 2),
        matches={
            percent: np.array(
                [segments.count_matches(*both, min_iou=percent / 100) for both in bouts], dtype=np.int64
            ).reshape(-1, 3)
            for percent in IOU_PERCENTS
        },
    )


class VideoCounts(NamedTuple):
    """What all scores but those of probabilities need of a video: it does not grow with the video.

    Attributes:
        counts: Of all classes.
        without_background: Of all but the background; None where there is no background class.
        together_true: int64 [K, K], the frames in which two classes are both present.
        together_predicted: Likewise, as predicted.
    """

    counts: Counts
    without_background: Counts | None
    together_true: np.ndarray
    together_predicted: np.ndarray

    @classmethod
    def of(cls, video: Video, label_space: LabelSpace) -> "VideoCounts":
        """Count a video."""
        others = [index for index in range(label_space.num_classes) if index != label_space.background_index]
        return cls(
            _count(video),
            None if label_space.background_index is None else _count(video.of_classes(others)),
            _co_occurrence(video.is_true),
            _co_occurrence(video.is_predicted),
        )


def total_counts(counts: Sequence[Counts]) -> Counts:
    """Add the counts of videos, at least one."""
    added = {name: sum(getattr(count, name) for count in counts) for name in Counts._fields if name != "matches"}
    matches = {percent: np.sum([count.matches[percent] for count in counts], axis=0) for percent in IOU_PERCENTS}
    return Counts(**added, matches=matches)


def _co_occurrence(is_present: np.ndarray) -> np.ndarray:
    """Count the frames in which two classes are both present, of a video bool [T, K]: int64 [K, K]."""
    # In float64, as NumPy multiplies matrices of integers without BLAS; counts below 2^53 are exact.
    present = is_present.astype(np.float64)
    return np.rint(present.T @ present).astype(np.int64)
