"""What training labels say of whole videos: which classes occur together, and how much of a video each of them takes.

Videos of one data set may be of different kinds: who makes coffee stirs, and who makes a sandwich spreads. Each
training video is taken as a kind of its own. `postprocessing.kinds` weighs the classes of a new video by the training
videos that it is like.

Shapes: T frames, K classes, V training videos.
"""

from collections.abc import Iterable
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import segments_from_frames

Share = Annotated[float, Field(gt=0, le=1)]

MAX_VIDEOS = 256  # of more training videos, so many are kept
MIN_SHARE = 0.003  # what a class is given in a training video that does not show it, and in every other one
SEGMENTS_PER_OBSERVATION = 2  # the frames of so many segments count as one, as they are right or wrong together


class VideoKinds(BaseModel):
    """How much of the frames each class takes.

    Attributes:
        shares: [V, K], in each training video.
        usual: [K], in all of them together.
        observation_frames: So many frames count as one when a video is compared with the training videos.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    shares: Annotated[tuple[tuple[Share, ...], ...], Field(min_length=1, max_length=MAX_VIDEOS)]
    usual: tuple[Share, ...]
    observation_frames: Annotated[float, Field(ge=1)]

    @model_validator(mode="after")
    def _is_of_one_number_of_classes(self) -> Self:
        if sizes := {len(shares) for shares in self.shares} - {self.num_classes}:
            raise ValueError(f"got shares of {sorted(sizes)} classes, expected {self.num_classes} as in usual")
        return self

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.usual)


def fit_video_kinds(videos: Iterable[np.ndarray], label_space: LabelSpace) -> VideoKinds:
    """Count how much of each training video each class takes. Frames without a label do not count.

    Args:
        videos: The labels int64 [T] of each training video; at least one frame has a label.
        label_space: The classes, which exclude each other.

    >>> kinds = fit_video_kinds([np.array([0] * 20), np.array([1] * 60)], LabelSpace(("rests", "runs")))
    >>> [[round(share, 3) for share in shares] for shares in (*kinds.shares, kinds.usual)]
    [[0.997, 0.003], [0.003, 0.997], [0.251, 0.749]]
    >>> kinds.observation_frames
    80.0
    """
    videos = list(videos)
    labelled = [found for labels in videos if len(found := labels[label_space.is_labelled(labels)])]
    kept = np.unique(np.linspace(0, len(labelled) - 1, MAX_VIDEOS).round().astype(int))
    num_segments = sum(len(segments_from_frames(labels)) for labels in videos)
    num_frames = sum(map(len, labelled))
    return VideoKinds(
        shares=tuple(_shares(labelled[index], label_space.num_classes) for index in kept),
        usual=_shares(np.concatenate(labelled), label_space.num_classes),
        observation_frames=max(1.0, SEGMENTS_PER_OBSERVATION * num_frames / num_segments),
    )


def _shares(labels: np.ndarray, num_classes: int) -> tuple[float, ...]:
    counts = np.bincount(labels, minlength=num_classes) / len(labels) + MIN_SHARE
    return tuple((counts / counts.sum()).tolist())
