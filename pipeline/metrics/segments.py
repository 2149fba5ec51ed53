"""Scores of segments: edit score and F1@IoU. They punish flicker and missed segments, which frame accuracy hardly sees.

T frames. Conventions, those of Lea et al., "Temporal Convolutional Networks for Action Segmentation and Detection"
(CVPR 2017), and of the scores published since:

- Every score is in percent, 100 being perfect.
- Frames without a label in the truth are cut out of truth and prediction BEFORE they are split into segments, so that
  labelled frames on both sides of a gap are neighbours, and one segment if they agree.
- Background segments are left out AFTER splitting: two segments on both sides of a background segment stay two.
- Edit score: 100 * (1 - d / max(P, G)), with d the Levenshtein distance between the P predicted and the G true classes
  in order, times not counting.
- F1@IoU: each predicted segment, in order, is compared with the true segment of its class with the highest intersection
  over union (the first, where they tie). It is a true positive if that IoU reaches the threshold and that true segment
  was not hit before, otherwise a false positive; true segments not hit are false negatives.
  F1 = 2 TP / (2 TP + FP + FN).
- *Averaged over videos* is the mean of the videos' scores. *Pooled* sums the counts first: TP, FP and FN; for the edit
  score, d and max(P, G). Published edit scores are averaged; published F1 is averaged or pooled, as the authors choose.
- Empty: no segment in truth and none predicted is 100, only one of the two is 0.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import Segment, segments_from_frames


class EditCount(NamedTuple):
    """The parts of the edit score.

    Attributes:
        distance: The Levenshtein distance between two sequences of segments.
        length: The length of the longer one.
    """

    distance: int
    length: int


class MatchCount(NamedTuple):
    """The parts of F1@IoU, at one IoU threshold.

    Attributes:
        true_positives: The number of segments found.
        false_positives: The number of segments found wrongly.
        false_negatives: The number of segments missed.
    """

    true_positives: int
    false_positives: int
    false_negatives: int


def scored_segments(
    truth: np.ndarray, predicted: np.ndarray, label_space: LabelSpace, *, background: int | None = None
) -> tuple[list[Segment], list[Segment]]:
    """Split the labelled frames into true and predicted segments, without those of the background.

    Args:
        truth: int64 [T], the true labels.
        predicted: int64 [T], the predicted labels.
        label_space: The classes.
        background: The class that is left out; None leaves out none.

    Returns:
        The true and the predicted segments. Their frame numbers count labelled frames only.
    """
    labelled = label_space.is_labelled(truth)
    both = segments_from_frames(truth[labelled]), segments_from_frames(predicted[labelled])
    true_segments, predicted_segments = ([s for s in side if s.class_index != background] for side in both)
    return true_segments, predicted_segments


def edit_distance(first: Sequence[int], second: Sequence[int]) -> int:
    """Compute the Levenshtein distance of two sequences.

    It is the least number of insertions, deletions and substitutions from one to the other. Wagner and Fischer, "The
    String-to-String Correction Problem" (1974), a row at a time. In a row the insertions chain, row[j] = min over k <=
    j of best[k] + (j - k), which is j plus a running minimum of best[k] - k.

    Args:
        first: A sequence of classes.
        second: The other one.

    >>> edit_distance([0, 1, 2], [0, 2, 2, 1])
    2
    """
    symbols = np.asarray(second, dtype=np.int64)
    positions = np.arange(len(symbols) + 1)
    row = positions
    for symbol in first:
        substituted = row[:-1] + (symbols != symbol)
        best = np.concatenate([row[:1] + 1, np.minimum(row[1:] + 1, substituted)])
        row = np.minimum.accumulate(best - positions) + positions
    return int(row[-1])


def count_edits(truth: Sequence[Segment], predicted: Sequence[Segment]) -> EditCount:
    """Count the parts of the edit score of a video; `total_edits` adds up the counts of several videos.

    Args:
        truth: The true segments, in order.
        predicted: The predicted segments, in order.
    """
    distance = edit_distance([s.class_index for s in truth], [s.class_index for s in predicted])
    return EditCount(distance, max(len(truth), len(predicted)))


def total_edits(counts: Iterable[EditCount]) -> EditCount:
    """Add up the counts of all videos."""
    return EditCount(*(sum(column) for column in zip(*counts, strict=True)))


def edit_score(count: EditCount) -> float:
    """Compute the edit score in percent: 100 where the classes follow each other as in the truth."""
    return 100.0 * (1.0 - count.distance / count.length) if count.length else 100.0


def count_matches(truth: Sequence[Segment], predicted: Sequence[Segment], *, min_iou: float) -> MatchCount:
    """Count the parts of F1@IoU of a video.

    Args:
        truth: The true segments, in order.
        predicted: The predicted segments, in order.
        min_iou: The threshold, 0 < min_iou <= 1.

    Raises:
        ValueError: The threshold is not in (0, 1].
    """
    if not 0 < min_iou <= 1:
        raise ValueError(f"got min_iou {min_iou}, expected a share in (0, 1]")
    starts, stops, classes = np.array(truth, dtype=np.int64).reshape(-1, 3).T
    hit = np.zeros(len(truth), dtype=bool)
    for start, stop, class_index in predicted:
        same_class = np.flatnonzero(classes == class_index)
        if len(same_class) == 0:
            continue
        shared = np.minimum(stops[same_class], stop) - np.maximum(starts[same_class], start)
        # Disjoint segments share a number of frames <= 0 here, and reach no threshold.
        union = stops[same_class] - starts[same_class] + (stop - start) - shared
        iou = shared / union
        best = int(iou.argmax())
        hit[same_class[best]] |= iou[best] >= min_iou
    found = int(hit.sum())  # a true segment is hit once: every further prediction of it is a false positive
    return MatchCount(found, len(predicted) - found, len(truth) - found)


def total_matches(counts: Iterable[MatchCount]) -> MatchCount:
    """Add up the counts of all videos."""
    return MatchCount(*(sum(column) for column in zip(*counts, strict=True)))


def f1_score(count: MatchCount) -> float:
    """Compute F1 in percent: 100 where every true segment is found and no other is predicted."""
    segments = 2 * count.true_positives + count.false_positives + count.false_negatives
    return 200.0 * count.true_positives / segments if segments else 100.0
