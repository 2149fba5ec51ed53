"""What training labels say of segments: how long those of each class last, and which class follows which.

It is a hidden semi-Markov model without its observations: the state is the class, and each state has a distribution of
durations of its own (Rabiner, "A Tutorial on Hidden Markov Models", Proc. IEEE 77, 1989, section IV.D; for actions in
videos: Richard and Gall, "Temporal Action Detection using a Statistical Language Model", CVPR 2016). The logarithm of a
duration has a normal distribution. `postprocessing.viterbi` decodes with the model.

Shapes: T frames, K classes.
"""

import itertools
import math
from collections.abc import Collection
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import segments_from_frames
from pipeline.annotations.video_kinds import VideoKinds, fit_video_kinds

Probability = Annotated[float, Field(ge=0, le=1)]
MIN_SPREAD, MAX_SPREAD = 0.1, 10.0  # of the logarithm of a duration: 0.1 is a tenth of the duration
POOLED_SEGMENTS = 4  # how many segments of a class its own spread must have to weigh as much as that of all classes


class SegmentModel(BaseModel):
    """Segments of exclusive classes.

    Attributes:
        first: [K], the probability that a video begins with each class.
        following: [K, K], the probability that a segment of class i is followed by one of class j: following[i][j]. It
            is 0 for i = j, as two segments of one class would be one.
        log_frames: [K], the mean of the logarithm of the length in frames.
        spreads: [K], the standard deviation of that logarithm.
        weight: How much the model counts against the probabilities of the frames.
        kinds: The training videos, by which the probabilities of a whole video are weighed before it is decoded (see
            `postprocessing.kinds`); None where they are not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    first: tuple[Probability, ...]
    following: tuple[tuple[Probability, ...], ...]
    log_frames: tuple[Annotated[float, Field(ge=0, le=100)], ...]
    spreads: tuple[Annotated[float, Field(ge=MIN_SPREAD, le=MAX_SPREAD)], ...]
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    kinds: VideoKinds | None = None

    @model_validator(mode="after")
    def _is_of_one_number_of_classes(self) -> Self:
        sizes = {len(self.first), len(self.following), len(self.log_frames), len(self.spreads)}
        sizes |= {len(row) for row in self.following}
        sizes |= {self.kinds.num_classes} if self.kinds else set()
        if len(sizes) > 1:
            raise ValueError(f"got values of {sorted(sizes)} classes, expected the same number for each")
        return self

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.first)


def fit_segment_model(
    videos: Collection[np.ndarray], label_space: LabelSpace, *, by_kind: bool = False
) -> SegmentModel:
    """Learn how long segments are and which follow which.

    Each first class and each transition counts once more than it occurs (add-one smoothing), so that none is
    impossible. Unlabelled frames break segments: no transition leads across them. A class without a segment is taken to
    be as long as all segments together, and the spread of a class with few segments is drawn to that of all.

    Args:
        videos: The labels int64 [T] of each training video.
        label_space: The classes, which exclude each other.
        by_kind: Whether the model keeps the kinds of the training videos.

    >>> model = fit_segment_model([np.array([0, 0, 1, 1, 1, 1, 0, 0])], LabelSpace(("rests", "runs")))
    >>> model.first, model.following
    ((0.6666666666666666, 0.3333333333333333), ((0.0, 1.0), (1.0, 0.0)))
    >>> [round(math.exp(log_frames), 1) for log_frames in model.log_frames]
    [2.0, 4.0]
    """
    num_classes = label_space.num_classes
    first = np.ones(num_classes)
    following = 1 - np.eye(num_classes)
    lengths: list[list[float]] = [[] for _ in range(num_classes)]
    for labels in videos:
        segments = segments_from_frames(labels)
        for segment in segments:
            lengths[segment.class_index].append(math.log(segment.stop - segment.start))
        first[[segment.class_index for segment in segments[:1] if segment.start == 0]] += 1
        for before, after in itertools.pairwise(segments):
            following[before.class_index, after.class_index] += before.stop == after.start
    pooled = np.array([length for of_class in lengths for length in of_class] or [0.0])
    variances = [
        (sum((length - _mean(of_class, pooled)) ** 2 for length in of_class) + POOLED_SEGMENTS * pooled.var())
        / (len(of_class) + POOLED_SEGMENTS)
        for of_class in lengths
    ]
    return SegmentModel(
        first=(first / first.sum()).tolist(),
        following=(following / np.maximum(following.sum(axis=1, keepdims=True), 1)).tolist(),
        log_frames=tuple(_mean(of_class, pooled) for of_class in lengths),
        spreads=np.clip(np.sqrt(variances), MIN_SPREAD, MAX_SPREAD).tolist(),
        kinds=fit_video_kinds(videos, label_space) if by_kind else None,
    )


def _mean(lengths: list[float], pooled: np.ndarray) -> float:
    return float(np.mean(lengths or pooled))
