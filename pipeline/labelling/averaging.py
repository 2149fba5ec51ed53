"""Several labellers as one: their tempered probabilities are averaged, and then decided as the first of them says.

Training from different seeds gives networks whose errors differ, and the mean of their probabilities is right more
often than each of them: an ensemble (Lakshminarayanan, Pritzel, Blundell, "Simple and Scalable Predictive Uncertainty
Estimation using Deep Ensembles", NeurIPS 2017, arXiv 1612.01474, section 2.4).

T frames, K classes.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.checkpoints.labeller import CheckpointSpec
from pipeline.errors import InputError
from pipeline.postprocessing.temperature import tempered, tempered_groups


def average(probabilities: Sequence[np.ndarray], specs: Sequence[CheckpointSpec]) -> np.ndarray:
    """Average the probabilities of several labellers, each at its own temperature.

    Args:
        probabilities: [T, K], from each network.
        specs: The settings of each.

    Returns:
        float32 [T, K].
    """
    total = np.zeros(probabilities[0].shape)
    for found, spec in zip(probabilities, specs, strict=True):
        total += calibrated(found, spec)
    return (total / len(specs)).astype(np.float32)


def calibrated(probabilities: np.ndarray, spec: CheckpointSpec) -> np.ndarray:
    """Temper the probabilities [T, K] of a network as its checkpoint says."""
    if spec.label_space.is_exclusive:
        return tempered(probabilities, spec.temperature)
    temperatures = [decision.temperature for decision in spec.class_decisions]
    return tempered_groups(probabilities, spec.label_space, temperatures)


def spec_of_average(first: CheckpointSpec) -> CheckpointSpec:
    """Return the settings by which an average is decided: those of the first model, but nothing is tempered again."""
    decisions = first.decisions and {
        name: decision.model_copy(update={"temperature": 1.0}) for name, decision in first.decisions.items()
    }
    return first.model_copy(update={"temperature": 1.0, "decisions": decisions, "confidence": None})


def check_alike(specs: Sequence[CheckpointSpec], locations: Sequence[str]) -> None:
    """Check that the probabilities of models can be averaged.

    Args:
        specs: The settings of each model.
        locations: Where each model is.

    Raises:
        InputError: Models differ from the first one in their classes or in what they read; all differences are named.
    """
    (first, *others), (first_location, *other_locations) = specs, locations
    problems = []
    for spec, location in zip(others, other_locations, strict=True):
        if change := spec.label_space.describe_change(first.label_space, name=first_location):
            problems.append(f"{location}: {change}")
        if _inputs(spec) != _inputs(first):
            problems.append(f"{location}: reads {_inputs(spec)}, {first_location} reads {_inputs(first)}")
    if problems:
        raise InputError("\n".join(["models with different classes or inputs cannot label together:", *problems]))


def _inputs(spec: CheckpointSpec) -> str:
    if spec.encoder is None:
        return f"ready features of {spec.num_features} numbers"
    return "videos" if spec.frame_rate is None else f"videos at {spec.frame_rate:g} frames per second"
