"""From the probabilities of a live video to labels: one class a frame, or any number where classes overlap.

n frames, K classes.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pipeline.checkpoints.labeller import CheckpointSpec
from pipeline.postprocessing.decisions import CausalDecisions
from pipeline.postprocessing.smoothing import CausalSmoother
from pipeline.postprocessing.temperature import tempered, tempered_groups


class LiveDecisions(Protocol):
    """It is given the probabilities of one video in order, and says which labels are known so far."""

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
        """Return what is written of a frame's tempered probabilities [K]: that of its class, or all."""
        ...


def live_decisions(spec: CheckpointSpec) -> LiveDecisions:
    """Return the decisions as the checkpoint says."""
    return _Exclusive(spec) if spec.label_space.is_exclusive else _Overlapping(spec)


class _Exclusive:
    def __init__(self, spec: CheckpointSpec) -> None:
        self._smoother = CausalSmoother(spec.min_segment_frames)
        self._temperature = spec.temperature

    def add(self, probabilities: np.ndarray) -> tuple[np.ndarray, list[int]]:
        found = [label for best in probabilities.argmax(1).tolist() for label in self._smoother.add(best)]
        return tempered(probabilities, self._temperature), found

    def end(self) -> list[int]:
        return self._smoother.end()

    def of_label(self, label: int | np.ndarray, probabilities: np.ndarray) -> float:
        return float(probabilities[label])


class _Overlapping:
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
