"""The tuning of classes that overlap, on the validation split: temperature, threshold and shortest bout of each.

- The temperature of a group has the smallest cross-entropy in the frames in which the group is known.
- The threshold of a class is the one at which the class has the best score, those of the other classes of its group
  being what they are by then.
- The shortest bout, and gap, of a class is the one with the best F1@50 of its segments.

A class of fewer than MIN_BOUTS bouts says too little: it keeps the defaults, and the temperature of all groups together
where its group has too few bouts too. The default of its shortest bout comes from its own training bouts, as that of
all classes would erase a rare class of short bouts.

Shapes: N frames, K classes, n classes in a group.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from pipeline.annotations.label_space import PRESENT, LabelSpace
from pipeline.annotations.segments import segments_from_frames
from pipeline.metrics.frames import scores_of_counts
from pipeline.metrics.overlapping_counts import BOUTS, class_bouts
from pipeline.metrics.segments import count_matches, f1_score, total_matches
from pipeline.postprocessing.decisions import DEFAULT_THRESHOLD, decide, decide_group, plain_labels, reached_thresholds
from pipeline.postprocessing.groups import group_labels, group_probabilities
from pipeline.postprocessing.temperature import fit_common_temperature, tempered_groups
from pipeline.training.tuning import MIN_SEGMENT_SHARE

MIN_BOUTS = 3
MAX_LENGTHS = 16  # candidates for the shortest bout
MAX_THRESHOLDS = 64  # candidates by the score of segments; by that of frames all are tried
ThresholdScore = Literal["f1", "segment_f1"]
Videos = Mapping[str, np.ndarray]


class Decisions(NamedTuple):
    """The values of each class, in the order of the classes; see `postprocessing.decisions`."""

    thresholds: list[float]
    min_segment_frames: list[int]
    temperatures: list[float]


class ClassSplit(NamedTuple):
    """The videos of a split, by their stems.

    Attributes:
        truth: int8 [T, K], the true labels.
        probabilities: [T, K], the network's probabilities.
        label_space: The classes, which overlap.
    """

    truth: Videos
    probabilities: Videos
    label_space: LabelSpace

    def num_bouts(self) -> list[int]:
        """Count the true bouts of each class. Frames in which it is unknown are cut out, as in its scores."""
        return [len(lengths) for lengths in bout_lengths(self.truth.values(), self.label_space)]

    def untuned(self) -> tuple[str, ...]:
        """Return the names of the classes that have too few bouts."""
        return tuple(
            name for name, num in zip(self.label_space.classes, self.num_bouts(), strict=True) if num < MIN_BOUTS
        )

    def tune(self, *, min_segment_frames: Sequence[int], shortest: bool, threshold_score: ThresholdScore) -> Decisions:
        """Find the values of all classes.

        Args:
            min_segment_frames: The shortest bout of each class where it is not tuned.
            shortest: Whether to tune the shortest bouts.
            threshold_score: The score by which thresholds are chosen.
        """
        num_classes, num_bouts = self.label_space.num_classes, self.num_bouts()
        temperatures = self._temperatures(num_bouts)
        tempered = self._replace(probabilities=self._tempered(temperatures))
        found = Decisions([DEFAULT_THRESHOLD] * num_classes, list(min_segment_frames), temperatures)
        for members in self.label_space.group_members:
            tuned = [index for index in members if num_bouts[index] >= MIN_BOUTS]
            for index in tuned:
                found.thresholds[index] = tempered._best_threshold(index, members, found, threshold_score)
            for index in tuned if shortest else ():
                found.min_segment_frames[index] = tempered._best_length(index, members, found)
        return found

    def decide(self, decisions: Decisions) -> dict[str, np.ndarray]:
        """Return the labels int8 [T, K] that each video gets."""
        thresholds, lengths, temperatures = decisions
        return {
            stem: decide(probabilities, self.label_space, thresholds, lengths)
            for stem, probabilities in self._tempered(temperatures).items()
        }

    def plain(self) -> dict[str, np.ndarray]:
        """Return the labels that each video gets untuned."""
        return {stem: plain_labels(found, self.label_space) for stem, found in self.probabilities.items()}

    def class_scores(self, predicted: Videos) -> dict[str, float]:
        """Compute "f1/<class>" and "segment_f1/<class>", the F1 of frames and the F1@50 of segments, in percent.

        Args:
            predicted: int8 [T, K], the predicted labels.
        """
        scores = {}
        for index, name in enumerate(self.label_space.classes):
            columns = [(self.truth[stem][:, index], predicted[stem][:, index]) for stem in self.truth]
            scores[f"f1/{name}"] = frame_f1(columns)
            scores[f"segment_f1/{name}"] = segment_f1(columns)
        return scores

    def _temperatures(self, num_bouts: Sequence[int]) -> list[float]:
        problems = [self._problem(members) for members in self.label_space.group_members]
        of_all = fit_common_temperature(problems, self.label_space)
        temperatures = [of_all] * self.label_space.num_classes
        for members, problem in zip(self.label_space.group_members, problems, strict=True):
            if sum(num_bouts[index] for index in members) >= MIN_BOUTS:
                of_group = fit_common_temperature([problem], self.label_space)
                for index in members:
                    temperatures[index] = of_group
        return temperatures

    def _problem(self, members: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the probabilities [N, n + 1] and labels [N] of a group in all videos."""
        probabilities = np.concatenate([group_probabilities(self.probabilities[stem], members) for stem in self.truth])
        return probabilities, np.concatenate([group_labels(labels, members) for labels in self.truth.values()])

    def _tempered(self, temperatures: Sequence[float]) -> dict[str, np.ndarray]:
        return {
            stem: tempered_groups(found, self.label_space, temperatures) for stem, found in self.probabilities.items()
        }

    def _best_threshold(
        self, index: int, members: tuple[int, ...], found: Decisions, threshold_score: ThresholdScore
    ) -> float:
        thresholds, position = [found.thresholds[member] for member in members], members.index(index)
        reached = np.concatenate(
            [reached_thresholds(self.probabilities[stem][:, members], thresholds, position) for stem in self.truth]
        )
        if threshold_score == "f1":
            labels = np.concatenate([self.truth[stem][:, index] for stem in self.truth])
            is_known = self.label_space.is_labelled(labels)
            return best_f1_threshold(reached[is_known], labels[is_known] == PRESENT)

        def score(threshold: float) -> float:
            tried = [*thresholds[:position], threshold, *thresholds[position + 1 :]]
            return self._segment_f1(index, members, tried, [found.min_segment_frames[member] for member in members])

        candidates = np.unique(np.clip(np.quantile(reached, np.linspace(0, 1, MAX_THRESHOLDS)), 0, 1)).tolist()
        return _best([DEFAULT_THRESHOLD, *candidates], score, nearest_to=DEFAULT_THRESHOLD)

    def _best_length(self, index: int, members: tuple[int, ...], found: Decisions) -> int:
        thresholds, position = [found.thresholds[member] for member in members], members.index(index)
        lengths = [found.min_segment_frames[member] for member in members]
        bouts = [run for labels in self.truth.values() for run in segments_from_frames(labels)]
        longest = max(1, int(np.median([run.stop - run.start for run in bouts if run.class_index == index])))

        def score(length: float) -> float:
            tried = [*lengths[:position], int(length), *lengths[position + 1 :]]
            return self._segment_f1(index, members, thresholds, tried)

        candidates = np.unique(np.geomspace(1, longest, MAX_LENGTHS).round().astype(int)).tolist()
        return int(_best(candidates, score, nearest_to=1))

    def _segment_f1(
        self, index: int, members: tuple[int, ...], thresholds: Sequence[float], lengths: Sequence[int]
    ) -> float:
        """Compute the F1@50 of the segments of one class, whose group is decided so."""
        columns = []
        for stem, labels in self.truth.items():
            decided = decide_group(self.probabilities[stem][:, members], thresholds, lengths)
            columns.append((labels[:, index], (decided == members.index(index)).astype(np.int8)))
        return segment_f1(columns)


def bout_lengths(videos: Iterable[np.ndarray], label_space: LabelSpace) -> list[list[int]]:
    """Return the lengths of the bouts of each class in frames. Frames in which it is unknown are cut out.

    Args:
        videos: The labels int8 [T, K] of each video.
        label_space: The classes, which overlap.
    """
    lengths: list[list[int]] = [[] for _ in label_space.classes]
    for labels in videos:
        for of_class, column in zip(lengths, labels.T, strict=True):
            bouts = segments_from_frames(column[label_space.is_labelled(column)][:, None])
            of_class += [bout.stop - bout.start for bout in bouts]
    return lengths


def shortest_bouts(videos: Iterable[np.ndarray], label_space: LabelSpace) -> list[int]:
    """Return the shortest bout of each class in frames, where it is not tuned.

    It is MIN_SEGMENT_SHARE of the median of the bouts of the class, and 1 at least, as for a class without a bout.

    Args:
        videos: The labels int8 [T, K] of each training video.
        label_space: The classes, which overlap.

    >>> videos = [np.array([[1, 0]] * 10, dtype=np.int8)]
    >>> shortest_bouts(videos, LabelSpace.independent(("mounts", "ejaculates")))
    [4, 1]
    """
    return [
        max(1, round(MIN_SEGMENT_SHARE * float(np.median(lengths)))) if lengths else 1
        for lengths in bout_lengths(videos, label_space)
    ]


def best_f1_threshold(scores: np.ndarray, is_present: np.ndarray) -> float:
    """Find the threshold at which a class has the best F1 of frames: of all that differ, by sorting.

    Args:
        scores: [N], the class is on where its score reaches the threshold.
        is_present: bool [N], the truth, which is True for one frame at least.

    Returns:
        The threshold, half way between two scores; of equally good ones that nearest to DEFAULT_THRESHOLD.

    >>> best_f1_threshold(np.array([0.9, 0.3, 0.25, 0.125]), np.array([True, True, False, False]))
    0.275
    """
    order = np.argsort(-scores, kind="stable")
    descending = scores[order].astype(np.float64)
    num_on = np.arange(1, len(scores) + 1)
    f1 = 2 * np.cumsum(is_present[order]) / (num_on + is_present.sum())
    following = np.append(descending[1:], 0.0)
    halfway = (descending + following) / 2
    thresholds = np.where(halfway > following, halfway, descending)
    is_last = np.append(descending[:-1] > descending[1:], True)  # of those with the same score
    candidates = np.flatnonzero(is_last & (f1 == f1[is_last].max()))
    nearest = candidates[np.abs(thresholds[candidates] - DEFAULT_THRESHOLD).argmin()]
    return min(1.0, float(thresholds[nearest]))


def frame_f1(columns: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Compute the F1 of the frames of one class in percent: 100 where it neither occurs nor is predicted.

    Args:
        columns: Of each video, the true and the predicted labels int8 [T] of the class.
    """
    num_right = num_true = num_predicted = 0
    for truth, predicted in columns:
        is_true, is_predicted = truth == PRESENT, (predicted == PRESENT) & BOUTS.is_labelled(truth)
        num_right += int((is_true & is_predicted).sum())
        num_true += int(is_true.sum())
        num_predicted += int(is_predicted.sum())
    f1 = scores_of_counts(num_right, num_true, num_predicted).f1
    return 100.0 if f1 is None else f1


def segment_f1(columns: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Compute the F1@50 of the segments of one class in percent, pooled over videos; `columns` as in `frame_f1`."""
    return f1_score(total_matches(count_matches(*class_bouts(*pair), min_iou=0.5) for pair in columns))


def _best(candidates: Sequence[float], score: Callable[[float], float], *, nearest_to: float) -> float:
    """Return the candidate with the highest score; of equal ones the nearest to a value."""
    scores = {candidate: score(candidate) for candidate in candidates}
    return max(candidates, key=lambda candidate: (scores[candidate], -abs(candidate - nearest_to)))
