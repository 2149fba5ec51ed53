"""What makes labels of probabilities, fitted on the validation split once the network stands: it is not trained anew.

The temperature is fitted by cross-entropy (`postprocessing.temperature`), the shortest segment is the one of the best
F1@50.
T frames, K classes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import median_segment_frames
from pipeline.metrics.report import evaluate, flatten
from pipeline.postprocessing.smoothing import smooth
from pipeline.postprocessing.temperature import fit_temperature
from pipeline.scores import LABEL_SCORES, monitored

MAX_CANDIDATES = 16


class Split(NamedTuple):
    """The videos of a split: true labels int64 [T] and the network's probabilities [T, K], under their stems."""

    truth: Mapping[str, np.ndarray]
    probabilities: Mapping[str, np.ndarray]
    label_space: LabelSpace

    def temperature(self) -> float:
        """Of all frames together."""
        stems = list(self.truth)
        return fit_temperature(
            np.concatenate([self.probabilities[stem] for stem in stems]),
            np.concatenate([self.truth[stem] for stem in stems]),
            self.label_space,
        )

    def scores(self, min_segment_frames: int) -> dict[str, float]:
        """The monitored scores, pooled, as training watches them: those of segments are without the background."""
        predicted = {
            stem: smooth(probabilities, min_segment_frames=min_segment_frames)
            for stem, probabilities in self.probabilities.items()
        }
        return watched_scores(self.truth, predicted, self.label_space)

    def best_min_segment_frames(self) -> tuple[int, dict[str, float]]:
        """The shortest segment, at most the median true one, with the highest f1_at_50; the smaller of equal ones.

        And its scores.
        """
        longest = max(1, int(median_segment_frames(self.truth.values())))
        candidates = np.unique(np.geomspace(1, longest, MAX_CANDIDATES).round().astype(int)).tolist()
        scores = {candidate: self.scores(candidate) for candidate in candidates}
        best = max(candidates, key=lambda candidate: (scores[candidate]["f1_at_50"], -candidate))
        return best, scores[best]


def watched_scores(
    truth: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray], label_space: LabelSpace
) -> dict[str, float]:
    """The monitored scores of labels int64 [T], pooled over videos; those of segments are without the background."""
    scores = flatten(evaluate(truth, predicted, label_space))
    suffix = "_without_background" if label_space.background else ""
    nothing = 100.0  # undefined: there is no segment to find, and none was found
    return {
        score.name: scores.get(f"{score.name}_pooled{suffix if score.of == 'segments' else ''}", nothing)
        for score in monitored(LABEL_SCORES)
    }
