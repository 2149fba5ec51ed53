"""The steps from probabilities to labels, fitted on the validation split after training; the network does not change.

The temperature is fitted by cross-entropy (`postprocessing.temperature`). The shortest segment, and the weight of the
segments that labels are decoded with, are those with the best F1@50. At last the probabilities of the labels are fitted
to how often these are right (`postprocessing.confidence`). T frames, K classes.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segment_model import SegmentModel
from pipeline.annotations.segments import median_segment_frames, segments_from_frames
from pipeline.annotations.video_kinds import VideoKinds
from pipeline.config.labeller import LabellerSettings
from pipeline.errors import InputError
from pipeline.metrics.calibration import calibration_error
from pipeline.metrics.report import evaluate, flatten
from pipeline.postprocessing.confidence import Curve, calibrate_confidence, fit_confidence
from pipeline.postprocessing.kinds import weigh_by_kind
from pipeline.postprocessing.smoothing import smooth
from pipeline.postprocessing.temperature import fit_temperature, tempered
from pipeline.postprocessing.viterbi import decode_segments
from pipeline.scores import LABEL_SCORES, LOSS, kind_of_labels, monitored

MAX_CANDIDATES = 16
WEIGHTS = tuple(2.0**power for power in range(-4, 5))  # of the segments against the frames
MIN_SEGMENT_SHARE = 0.4  # of the median training segment: the shortest segment where it is `auto` and not tuned
RANKING = "mean_average_precision"  # the score that needs probabilities


class Split(NamedTuple):
    """The videos of a split, by their stems.

    Attributes:
        truth: int64 [T], the true labels.
        probabilities: [T, K], the network's probabilities.
        label_space: The classes.
    """

    truth: Mapping[str, np.ndarray]
    probabilities: Mapping[str, np.ndarray]
    label_space: LabelSpace

    def temperature(self) -> float:
        """Fit the temperature on all frames together."""
        stems = list(self.truth)
        return fit_temperature(
            np.concatenate([self.probabilities[stem] for stem in stems]),
            np.concatenate([self.truth[stem] for stem in stems]),
            self.label_space,
        )

    def scores(self, min_segment_frames: int) -> dict[str, float]:
        """Compute the monitored scores, pooled, as training watches them: those of segments are without the background.

        Args:
            min_segment_frames: Shorter predicted segments are merged into a neighbour.
        """
        return watched_scores(self.truth, self.smoothed(min_segment_frames), self.label_space)

    def smoothed(self, min_segment_frames: int) -> dict[str, np.ndarray]:
        """Return the labels int64 [T] of each video where segments shorter than that are merged into a neighbour."""
        return {
            stem: smooth(probabilities, min_segment_frames=min_segment_frames)
            for stem, probabilities in self.probabilities.items()
        }

    def best_min_segment_frames(self) -> tuple[int, dict[str, float]]:
        """Find the shortest segment, at most the median true one, with the highest f1_at_50; the smaller of equal ones.

        Returns:
            Its length in frames, and the scores with it.
        """
        longest = max(1, int(median_segment_frames(self.truth.values())))
        candidates = np.unique(np.geomspace(1, longest, MAX_CANDIDATES).round().astype(int)).tolist()
        scores = {candidate: self.scores(candidate) for candidate in candidates}
        best = max(candidates, key=lambda candidate: (scores[candidate]["f1_at_50"], -candidate))
        return best, scores[best]

    def segment_scores(self, segments: SegmentModel, temperature: float) -> dict[str, float]:
        """Compute the scores as `scores` does, of labels that are decoded.

        Args:
            segments: The segments to decode with.
            temperature: The temperature of the probabilities.
        """
        return watched_scores(self.truth, self.decoded(segments, temperature), self.label_space)

    def decoded(self, segments: SegmentModel, temperature: float) -> dict[str, np.ndarray]:
        """Return the labels int64 [T] of each video that are decoded from probabilities at that temperature."""
        weighed = self._weighed(temperature, segments.kinds)
        return {stem: decode_segments(probabilities, segments) for stem, probabilities in weighed.items()}

    def _weighed(self, temperature: float, kinds: VideoKinds | None) -> dict[str, np.ndarray]:
        """Return the probabilities [T, K] of each video at that temperature, weighed by its kind."""
        return {stem: weigh_by_kind(tempered(found, temperature), kinds) for stem, found in self.probabilities.items()}

    def confidence(
        self, predicted: Mapping[str, np.ndarray], temperature: float, kinds: VideoKinds | None = None
    ) -> tuple[Curve, dict[str, float]]:
        """Fit how probable it is that labels are right.

        Args:
            predicted: int64 [T], the labels of each video.
            temperature: The temperature of the probabilities.
            kinds: The training videos, by which probabilities were weighed before they became labels.

        Returns:
            The curve, and "calibration_error_before" and "calibration_error_after", in percent.
        """
        weighed = self._weighed(temperature, kinds)
        of_labels, correct, num_segments = [], [], 0
        for stem, truth in self.truth.items():
            labelled = self.label_space.is_labelled(truth)
            labels = predicted[stem][labelled]
            found = weighed[stem][labelled]
            of_labels.append(np.take_along_axis(found, labels[:, None], axis=1)[:, 0])
            correct.append(labels == truth[labelled])
            num_segments += len(segments_from_frames(truth))
        before, right = np.concatenate(of_labels), np.concatenate(correct)
        curve = fit_confidence(before, right, num_segments=num_segments)
        after = calibrate_confidence(before, curve)
        errors = {"before": calibration_error(before, right), "after": calibration_error(after, right)}
        return curve, {f"calibration_error_{when}": error for when, error in errors.items() if error is not None}

    def best_segments(self, segments: SegmentModel, temperature: float) -> tuple[SegmentModel, dict[str, float]]:
        """Find the weight of segments with the highest f1_at_50; of equal ones the nearest to 1.

        Args:
            segments: The segments of the training labels.
            temperature: The temperature of the probabilities.

        Returns:
            The segments with that weight, and the scores with them.
        """
        found = [segments.model_copy(update={"weight": weight}) for weight in WEIGHTS]
        scores = {of_weight.weight: self.segment_scores(of_weight, temperature) for of_weight in found}
        best = max(found, key=lambda each: (scores[each.weight]["f1_at_50"], -abs(math.log(each.weight))))
        return best, scores[best.weight]


def watched_scores(
    truth: Mapping[str, np.ndarray],
    predicted: Mapping[str, np.ndarray],
    label_space: LabelSpace,
    probabilities: Mapping[str, np.ndarray] | None = None,
) -> dict[str, float]:
    """Compute the monitored scores, pooled over videos; those of segments are without the background.

    Args:
        truth: The true labels of each video, by its stem: int64 [T], or int8 [T, K] where classes overlap.
        predicted: The predicted labels likewise.
        label_space: The classes.
        probabilities: [T, K], the probability of each class likewise. Without them, the mean average precision is left
            out.

    Returns:
        The scores by name, in percent.
    """
    scores = flatten(evaluate(truth, predicted, label_space, probabilities))
    suffix = "_without_background" if label_space.background else ""
    # Undefined scores: where there is no segment to find and none was found, all is right; where no frame has a class,
    # the ranking of the frames was not put to a test.
    undefined = {score.name: 100.0 if score.of == "segments" else 0.0 for score in LABEL_SCORES}
    names = {
        score.name: f"{score.name}_pooled{suffix if score.of == 'segments' else ''}"
        for score in monitored(LABEL_SCORES, kind_of_labels(label_space.is_exclusive))
        if score.name != RANKING or probabilities is not None
    }
    return {name: scores.get(key, undefined[name]) for name, key in names.items()}


def check_decoding(settings: LabellerSettings, label_space: LabelSpace) -> None:
    """Check that labels of these classes can be decoded as the settings say.

    Args:
        settings: The settings.
        label_space: The classes.

    Raises:
        InputError: Segments are to be decoded, and classes overlap.
    """
    if settings.always_decodes and not label_space.is_exclusive:
        raise InputError(
            f"the setting labeller.decoding is {settings.decoding}, which needs classes that exclude each other: these"
            " classes overlap, so that segments do not follow each other: expected merge"
        )


def check_monitor(monitor: str, label_space: LabelSpace) -> None:
    """Check that training computes the score by which the best epoch is to be chosen.

    Args:
        monitor: The setting `monitor`.
        label_space: The classes.

    Raises:
        InputError: The score is not computed for labels of this kind.
    """
    kind = kind_of_labels(label_space.is_exclusive)
    names = (LOSS, *(score.name for score in monitored(LABEL_SCORES, kind)))
    if monitor not in names:
        raise InputError(
            f"the setting monitor is {monitor}, which training does not compute where classes are {kind}:"
            f" expected one of {', '.join(names)}"
        )
