"""From the probabilities of a live video to labels: one class a frame, or any number where classes overlap.

n frames, K classes.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pipeline.checkpoints.labeller import CheckpointSpec
from pipeline.postprocessing.confidence import calibrate_confidence
from pipeline.postprocessing.decisions import CausalDecisions
from pipeline.postprocessing.smoothing import CausalSmoother
from pipeline.postprocessing.temperature import tempered, tempered_groups
from pipeline.postprocessing.viterbi import CausalDecoder


class LiveDecisions(Protocol):
    """It is given the probabilities of one video in order, and says which labels are known so far.

    Attributes:
        lag: How many more frames each label waits for.
    """

    lag: int

    def add(self, probabilities: np.ndarray) -> tuple[np.ndarray, Sequence[int | np.ndarray]]:
        """Add frames.

        Args:
            probabilities: float32 [n, K], from the network.

        Returns:
            The tempered probabilities float32 [n, K], and the labels that are now known, the oldest first: the index of
            a class, or int8 [K] where classes overlap.
        """
        ...

    def end(self) -> Sequence[int | np.ndarray]:
        """Return the labels of the frames that have none yet, as no frames follow."""
        ...

    def of_label(self, label: int | np.ndarray, probabilities: np.ndarray) -> float | np.ndarray:
        """Return what is written of a frame with these tempered probabilities [K]: of its label, or of all classes."""
        ...


def live_decisions(spec: CheckpointSpec) -> LiveDecisions:
    """Return the decisions as the checkpoint says."""
    return _Exclusive(spec) if spec.label_space.is_exclusive else _Overlapping(spec)


class _Exclusive:
    """Labels come as late as where segments are merged: without a lag, decoding was worse than the plain argmax."""

    def __init__(self, spec: CheckpointSpec) -> None:
        self.lag = spec.min_segment_frames - 1 if spec.segments else 0
        self._decoder = CausalDecoder(spec.segments, self.lag) if spec.segments and self.lag else None
        self._smoother = CausalSmoother(spec.min_segment_frames)
        self._temperature, self._confidence = spec.temperature, spec.confidence

    def add(self, probabilities: np.ndarray) -> tuple[np.ndarray, list[int]]:
        found = tempered(probabilities, self._temperature)
        if self._decoder:
            return found, [label for row in found for label in self._decoder.add(row)]
        return found, [label for best in probabilities.argmax(1).tolist() for label in self._smoother.add(best)]

    def end(self) -> list[int]:
        return self._decoder.end() if self._decoder else self._smoother.end()

    def of_label(self, label: int | np.ndarray, probabilities: np.ndarray) -> float:
        of_label = probabilities[label]
        return float(calibrate_confidence(of_label, self._confidence) if self._confidence else of_label)


class _Overlapping:
    lag = 0  # where no class may have begun, a label comes immediately

    def __init__(self, spec: CheckpointSpec) -> None:
        decisions = spec.class_decisions
        self._label_space = spec.label_space
        self._temperatures = [decision.temperature for decision in decisions]
        self._decider = CausalDecisions(
            spec.label_space,
            [decision.threshold for decision in decisions],
            [decision.min_segment_frames for decision in decisions],
        )

    def add(self, probabilities: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        found = tempered_groups(probabilities, self._label_space, self._temperatures)
        return found, [label for row in found for label in self._decider.add(row)]

    def end(self) -> list[np.ndarray]:
        return self._decider.end()

    def of_label(self, label: int | np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        return probabilities
