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

from pipeline.annotations.label_space import PRESENT, LabelSpace
from pipeline.annotations.segments import Segment
from pipeline.metrics import frames, segments
from pipeline.metrics.calibration import calibration_error
from pipeline.metrics.detection import average_precision
from pipeline.metrics.videos import Report, Scores, Values, assemble, labelled_stems, mean
from pipeline.scores import IOU_PERCENTS

BOUTS = LabelSpace(("absent", "present"), background="absent")  # the label space of one class by itself


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
    counts = [_count(video) for video in videos]
    without_background = None
    if label_space.background_index is not None:
        others = [index for index in range(label_space.num_classes) if index != label_space.background_index]
        rest = [video.of_classes(others) for video in videos]
        without_background = _scores(rest, [_count(video) for video in rest])
    of_classes = dict(zip(label_space.classes, _class_reports(videos, _total(counts)), strict=True))
    return assemble(
        stems,
        [count.num_frames for count in counts],
        label_space,
        scores=_scores(videos, counts),
        without_background=without_background,
        classes=of_classes,
        never_predicted=[
            name
            for name, num_predicted in zip(label_space.classes, _total(counts).num_predicted, strict=True)
            if of_classes[name]["support"] and not num_predicted
        ],
        counts={
            "co_occurrence": {
                "truth": _co_occurrence([video.is_true for video in videos]),
                "predicted": _co_occurrence([video.is_predicted for video in videos]),
            }
        },
    )


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


class _Counts(NamedTuple):
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


def _count(video: Video) -> _Counts:
    is_known, is_true, is_predicted, _ = video
    is_scored = is_known.any(axis=1)
    bouts = [class_bouts(is_true[known, index], is_predicted[known, index]) for index, known in enumerate(is_known.T)]
    return _Counts(
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


def _total(counts: Sequence[_Counts]) -> _Counts:
    added = {name: sum(getattr(count, name) for count in counts) for name in _Counts._fields if name != "matches"}
    matches = {percent: np.sum([count.matches[percent] for count in counts], axis=0) for percent in IOU_PERCENTS}
    return _Counts(**added, matches=matches)


def _scores(videos: Sequence[Video], counts: Sequence[_Counts]) -> Scores:
    """Compute each score, by its flat name: of all videos pooled, and of each video."""
    pooled = _scores_of(_total(counts), _average_precisions(videos))
    of_videos = [_scores_of(count, _average_precisions([video])) for video, count in zip(videos, counts, strict=True)]
    return {name: Values(score, [scores[name] for scores in of_videos]) for name, score in pooled.items()}


def _scores_of(counts: _Counts, average_precisions: Sequence[float | None]) -> dict[str, float | None]:
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


def _frame_scores(counts: _Counts) -> list[frames.ClassScores]:
    columns = (counts.num_both, counts.num_true, counts.num_predicted)
    return [frames.scores_of_counts(*of_class) for of_class in zip(*(c.tolist() for c in columns), strict=True)]


def _bout_scores(counts: _Counts) -> list[dict[str, float | None]]:
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


def _class_reports(videos: Sequence[Video], counts: _Counts) -> list[Report]:
    """Return the scores of each class, pooled."""
    reports = []
    of_bouts, precisions = _bout_scores(counts), _average_precisions(videos)
    for index, scores in enumerate(_frame_scores(counts)):
        known = _known(videos, index)
        reports.append(
            scores._asdict()
            | {"segments": int(counts.num_bouts[index]), "scored_frames": int(counts.num_known[index])}
            | {"average_precision": precisions[index]}
            | of_bouts[index]
            | {"calibration_error": None if known is None else calibration_error(known[1], known[0])}
        )
    return reports


def _co_occurrence(videos: Sequence[np.ndarray]) -> list[list[int]]:
    """Count the frames in which two classes are both present, of videos bool [T, K]: [K][K]."""
    # In float64, as NumPy multiplies matrices of integers without BLAS; counts below 2^53 are exact.
    return np.rint(sum(video.T.astype(np.float64) @ video for video in videos)).astype(np.int64).tolist()
