"""Scores of classes that may overlap: a frame may have any number of them.

T frames, K classes. A pair is one frame and one class; labels are int8 [T, K]. Conventions:

- Every score is in percent, 100 being perfect. Counts are counts.
- *Unknown*: pairs without a label in the truth count for nothing, class by class, whatever was predicted for them.
- Precision, recall, F1 and support of a class are those of `frames`, over its known pairs: None where the class is in
  neither truth nor prediction, 0 where it is in one of them only.
- *Macro*: the mean over the classes that are in truth or prediction. *Micro*: the score of the sum of all classes'
  counts. Both are None where no class is in either.
- Frame accuracy: of the frames with a known pair, the share in which every known pair is right.
- Average precision (AP) is that of `detection`; None where no known frame has the class, and where there are no
  probabilities. The mean average precision (mAP) is the mean over the classes that have one.
- Edit score and F1@IoU are those of `segments`, for each class by itself: the frames in which it is unknown are cut
  out, its runs of frames are the segments (its *bouts*), and its absence is background. As all bouts of a class are
  alike, its edit score is 100 * min(P, G) / max(P, G) for P predicted and G true bouts. A class that has no bout in
  truth and prediction has neither score (None).
- Edit score and F1@IoU of several classes: the mean over the classes that have a bout in truth or prediction; 100
  where there is none, as there was nothing to find.
- Calibration error of a class: that of `calibration` over its known pairs, of the probability of the class against
  whether the frame has it.
- *Pooled* over videos: counts are summed first, class by class; probabilities of all videos are ranked together.
  *Averaged over videos*: the mean of the videos' scores.
- Co-occurrence: the number of frames in which two classes are both present, and both known. The diagonal is the number
  of frames of each class. That of the prediction counts the same known pairs.
- Without background: all scores over the other classes, as if there was no such class.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.metrics import frames, segments
from pipeline.metrics.calibration import calibration_error
from pipeline.metrics.detection import average_precision
from pipeline.metrics.overlapping_counts import Counts, Video, VideoCounts, total_counts
from pipeline.metrics.videos import Report, Scores, Values, assemble, labelled_stems, mean
from pipeline.scores import IOU_PERCENTS


def evaluate(
    truth: Mapping[str, np.ndarray],
    predicted: Mapping[str, np.ndarray],
    label_space: LabelSpace,
    probabilities: Mapping[str, np.ndarray] | None = None,
) -> Report:
    """Score predicted labels of classes that overlap against true ones.

    Args:
        truth: int8 [T, K], the true labels of each video, by its stem.
        predicted: int8 [T, K], the predicted labels likewise.
        label_space: The classes of both.
        probabilities: float [T, K], the predicted probability of each class likewise; None where there are none.

    Returns:
        The report, whose layout is at the top of `metrics.report`. Videos without a label are not in it.

    Raises:
        InputError: See `labelled_stems`.
        ValueError: Probabilities have another shape than the labels, or are not finite where the truth is known.
    """
    stems = labelled_stems(truth, predicted, label_space)
    videos = [
        Video.of(truth[stem], predicted[stem], None if probabilities is None else probabilities[stem], label_space)
        for stem in stems
    ]
    precisions = _Ranked.of(videos)
    return _report(
        {stem: VideoCounts.of(video, label_space) for stem, video in zip(stems, videos, strict=True)},
        label_space,
        precisions,
    )


def report(videos: Mapping[str, VideoCounts], label_space: LabelSpace) -> Report:
    """Put the report of `evaluate` without probabilities together.

    Args:
        videos: The counts of each video with a label, by its stem; at least one.
        label_space: The classes.
    """
    return _report(videos, label_space, _Ranked.unknown(len(videos), label_space.num_classes))


def _report(videos: Mapping[str, VideoCounts], label_space: LabelSpace, ranked: "_Ranked") -> Report:
    counts = [video.counts for video in videos.values()]
    total = total_counts(counts)
    rest = [video.without_background for video in videos.values() if video.without_background is not None]
    of_classes = dict(zip(label_space.classes, _class_reports(total, ranked), strict=True))
    others = [index for index in range(label_space.num_classes) if index != label_space.background_index]
    return assemble(
        list(videos),
        [count.num_frames for count in counts],
        label_space,
        scores=_scores(counts, ranked),
        without_background=_scores(rest, ranked.of_classes(others)) if rest else None,
        classes=of_classes,
        never_predicted=[
            name
            for name, num_predicted in zip(label_space.classes, total.num_predicted, strict=True)
            if of_classes[name]["support"] and not num_predicted
        ],
        counts={
            "co_occurrence": {
                "truth": np.sum([video.together_true for video in videos.values()], axis=0).tolist(),
                "predicted": np.sum([video.together_predicted for video in videos.values()], axis=0).tolist(),
            }
        },
    )


class _Ranked(NamedTuple):
    """The scores of the probabilities; None where they are not known.

    Attributes:
        pooled: The average precision of each of the K classes, of all videos.
        of_videos: Those of each video.
        calibration_errors: That of each class, of all videos.
    """

    pooled: list[float | None]
    of_videos: list[list[float | None]]
    calibration_errors: list[float | None]

    @classmethod
    def of(cls, videos: Sequence[Video]) -> "_Ranked":
        known = [_known(videos, index) for index in range(videos[0].is_known.shape[1])]
        return cls(
            _average_precisions(videos),
            [_average_precisions([video]) for video in videos],
            [None if pairs is None else calibration_error(pairs[1], pairs[0]) for pairs in known],
        )

    @classmethod
    def unknown(cls, num_videos: int, num_classes: int) -> "_Ranked":
        return cls([None] * num_classes, [[None] * num_classes] * num_videos, [None] * num_classes)

    def of_classes(self, indices: Sequence[int]) -> "_Ranked":
        columns = [[of_class[index] for index in indices] for of_class in (self.pooled, *self.of_videos)]
        return _Ranked(columns[0], columns[1:], [self.calibration_errors[index] for index in indices])


def _scores(counts: Sequence[Counts], ranked: _Ranked) -> Scores:
    """Compute each score, by its flat name: of all videos pooled, and of each video."""
    pooled = _scores_of(total_counts(counts), ranked.pooled)
    of_videos = [_scores_of(count, precisions) for count, precisions in zip(counts, ranked.of_videos, strict=True)]
    return {name: Values(score, [scores[name] for scores in of_videos]) for name, score in pooled.items()}


def _scores_of(counts: Counts, average_precisions: Sequence[float | None]) -> dict[str, float | None]:
    """Compute each score of some counts, by its flat name."""
    of_classes = _frame_scores(counts)
    micro = frames.scores_of_counts(
        int(counts.num_both.sum()), int(counts.num_true.sum()), int(counts.num_predicted.sum())
    )
    of_bouts = [scores for scores in _bout_scores(counts) if scores["edit"] is not None]
    return {
        "frame_accuracy": 100.0 * counts.num_right / counts.num_frames if counts.num_frames else None,
        "frame_macro_f1": mean([scores.f1 for scores in of_classes]),
        "frame_macro_precision": mean([scores.precision for scores in of_classes]),
        "frame_macro_recall": mean([scores.recall for scores in of_classes]),
        "frame_micro_f1": micro.f1,
        "frame_micro_precision": micro.precision,
        "frame_micro_recall": micro.recall,
        "mean_average_precision": mean(average_precisions),
        **{
            name: mean([scores[name] for scores in of_bouts]) if of_bouts else 100.0
            for name in ("edit", *(f"f1_at_{percent}" for percent in IOU_PERCENTS))
        },
    }


def _frame_scores(counts: Counts) -> list[frames.ClassScores]:
    columns = (counts.num_both, counts.num_true, counts.num_predicted)
    return [frames.scores_of_counts(*of_class) for of_class in zip(*(c.tolist() for c in columns), strict=True)]


def _bout_scores(counts: Counts) -> list[dict[str, float | None]]:
    """Compute the edit score and F1@IoU of each class, by its flat name."""
    scores: list[dict[str, float | None]] = []
    for index, edit in enumerate(counts.edits.tolist()):
        count = segments.EditCount(*edit)
        of_class: dict[str, float | None] = {"edit": segments.edit_score(count) if count.length else None}
        for percent, matches in counts.matches.items():
            match = segments.MatchCount(*matches[index].tolist())
            of_class[f"f1_at_{percent}"] = segments.f1_score(match) if count.length else None
        scores.append(of_class)
    return scores


def _known(videos: Sequence[Video], index: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return whether a class is present, and its probability, over its known pairs; None without probabilities."""
    known = [(video.is_known[:, index], video) for video in videos]
    probabilities = [v.probabilities[is_known, index] for is_known, v in known if v.probabilities is not None]
    if not probabilities:
        return None
    is_present = np.concatenate([video.is_true[is_known, index] for is_known, video in known])
    return is_present, np.concatenate(probabilities)


def _average_precisions(videos: Sequence[Video]) -> list[float | None]:
    known = [_known(videos, index) for index in range(videos[0].is_known.shape[1])]
    return [None if pairs is None else average_precision(*pairs) for pairs in known]


def _class_reports(counts: Counts, ranked: _Ranked) -> list[Report]:
    """Return the scores of each class, pooled."""
    of_bouts = _bout_scores(counts)
    return [
        scores._asdict()
        | {"segments": int(counts.num_bouts[index]), "scored_frames": int(counts.num_known[index])}
        | {"average_precision": ranked.pooled[index]}
        | of_bouts[index]
        | {"calibration_error": ranked.calibration_errors[index]}
        for index, scores in enumerate(_frame_scores(counts))
    ]
