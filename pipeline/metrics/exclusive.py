"""The scores of videos in which every labelled frame has exactly one class: see `frames` and `segments`.

T frames, K classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.metrics import frames, segments
from pipeline.metrics.videos import Report, Scores, Values, assemble, labelled_stems
from pipeline.scores import IOU_PERCENTS


class SegmentCounts(NamedTuple):
    """What the scores of segments need of a video.

    Attributes:
        edits: See `segments.count_edits`.
        matches: See `segments.count_matches`, by the IoU in percent.
    """

    edits: segments.EditCount
    matches: dict[int, segments.MatchCount]

    @classmethod
    def of(
        cls, truth: np.ndarray, predicted: np.ndarray, label_space: LabelSpace, *, background: int | None
    ) -> "SegmentCounts":
        """Count the segments of a video: labels int64 [T]; `background` is left out where it is not None."""
        both = segments.scored_segments(truth, predicted, label_space, background=background)
        matches = {percent: segments.count_matches(*both, min_iou=percent / 100) for percent in IOU_PERCENTS}
        return cls(segments.count_edits(*both), matches)


class VideoCounts(NamedTuple):
    """What all scores need of a video: it does not grow with the video.

    Attributes:
        confusion: int64 [K, K], row = truth, column = predicted.
        num_segments: The number of true segments of each class, by its index.
        segments: Of all classes.
        without_background: Of all but the background; None where there is no background class.
    """

    confusion: np.ndarray
    num_segments: Counter[int]
    segments: SegmentCounts
    without_background: SegmentCounts | None

    @classmethod
    def of(cls, truth: np.ndarray, predicted: np.ndarray, label_space: LabelSpace) -> "VideoCounts":
        """Count a video: labels int64 [T], with a prediction for each labelled frame."""
        background = label_space.background_index
        counts = partial(SegmentCounts.of, truth, predicted, label_space)
        return cls(
            frames.confusion_matrix(truth, predicted, label_space),
            Counter(s.class_index for s in segments.scored_segments(truth, predicted, label_space)[0]),
            counts(background=None),
            None if background is None else counts(background=background),
        )


def evaluate(truth: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray], label_space: LabelSpace) -> Report:
    """Score predicted labels of exclusive classes against true ones.

    Args:
        truth: int64 [T], the true labels of each video, by its stem.
        predicted: int64 [T], the predicted labels likewise.
        label_space: The classes of both.

    Returns:
        The report, whose layout is at the top of `metrics.report`. Videos without a labelled frame are not in it.

    Raises:
        InputError: See `labelled_stems`.
    """
    stems = labelled_stems(truth, predicted, label_space)
    return report({stem: VideoCounts.of(truth[stem], predicted[stem], label_space) for stem in stems}, label_space)


def report(videos: Mapping[str, VideoCounts], label_space: LabelSpace) -> Report:
    """Put the report of `evaluate` together.

    Args:
        videos: The counts of each video with a labelled frame, by its stem; at least one.
        label_space: The classes.
    """
    counts = list(videos.values())
    confusion = np.sum([count.confusion for count in counts], axis=0)
    num_segments = sum((count.num_segments for count in counts), Counter[int]())
    without = [count.without_background for count in counts if count.without_background is not None]
    of_classes = {
        name: score._asdict() | {"segments": num_segments[index]}
        for index, (name, score) in enumerate(zip(label_space.classes, frames.class_scores(confusion), strict=True))
    }
    confusions = [count.confusion for count in counts]
    return assemble(
        list(videos),
        [int(count.sum()) for count in confusions],
        label_space,
        scores=_scores(confusions, [count.segments for count in counts], background=None),
        without_background=_scores(confusions, without, background=label_space.background_index) if without else None,
        classes=of_classes,
        never_predicted=[
            name
            for name, column in zip(label_space.classes, confusion.T, strict=True)
            if of_classes[name]["support"] and not column.any()
        ],
        counts={"confusion": confusion.tolist()},
    )


def _scores(counts: Sequence[np.ndarray], of_segments: Sequence[SegmentCounts], *, background: int | None) -> Scores:
    """Compute each score, by its flat name: of all videos pooled, and of each video."""
    confusion = np.sum(counts, axis=0)
    edits = [count.edits for count in of_segments]
    scores = {
        "frame_accuracy": Values(
            frames.accuracy(confusion, background=background),
            [frames.accuracy(count, background=background) for count in counts],
        ),
        "frame_macro_f1": Values(
            frames.macro_f1(confusion, background=background),
            [frames.macro_f1(count, background=background) for count in counts],
        ),
        "edit": Values(
            segments.edit_score(segments.total_edits(edits)), [segments.edit_score(count) for count in edits]
        ),
    }
    for percent in IOU_PERCENTS:
        matches = [count.matches[percent] for count in of_segments]
        pooled = segments.f1_score(segments.total_matches(matches))
        scores[f"f1_at_{percent}"] = Values(pooled, [segments.f1_score(count) for count in matches])
    return scores
