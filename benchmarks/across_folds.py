"""Probabilities calibrated without a validation split: each fold by the others, whose test groups it was trained on.

A fold's temperature is fitted on what the models of the other folds say of their own test videos, which they have not
seen. No label of the fold's test videos takes part but in training those models.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.datasets.features import SUFFIX, read_features
from pipeline.datasets.manifest import read_manifest
from pipeline.labels.segments import IGNORE_INDEX
from pipeline.labels.smoothing import smooth
from pipeline.labels.temperature import fit_temperature, tempered
from pipeline.metrics.calibration import calibration_error
from pipeline.predict import load_model
from pipeline.stages.paths import FEATURES, LABELLER, PREPARED


class Calibration(NamedTuple):
    """Calibration errors in percent, each at the temperature of the other folds but for `together_as_they_are`."""

    of_folds: list[float]
    together: float  # all test videos of all folds
    together_as_they_are: float


class Tested(NamedTuple):
    """The labelled frames of a fold's test videos, N in all: probabilities [N, K], true and given labels int64 [N]."""

    probabilities: np.ndarray
    truth: np.ndarray
    labels: np.ndarray

    def error(self, temperature: float) -> float:
        """The calibration error of the given labels at this temperature."""
        chosen = np.take_along_axis(tempered(self.probabilities, temperature), self.labels[:, None], axis=1)[:, 0]
        error = calibration_error(chosen, self.labels == self.truth)
        assert error is not None, "a fold has test videos"
        return error


def name_test_videos(work: Path) -> Tested:
    """What the labeller of the stages that ran in `work` says of its test videos, which are ready features."""
    manifest, labels = read_manifest(work / PREPARED)
    model = load_model(str(work / LABELLER), device="cpu")
    parts = []
    for source in manifest.of_split("test"):
        features = read_features(work / FEATURES / f"{source.stem}{SUFFIX}")
        probabilities = model.checkpoint.labeller.predict([features])
        given = smooth(probabilities, min_segment_frames=model.spec.min_segment_frames)
        labelled = labels[source.stem] != IGNORE_INDEX
        parts.append((probabilities[labelled], labels[source.stem][labelled], given[labelled]))
    return Tested(*map(np.concatenate, zip(*parts, strict=True)))


def join(folds: Iterable[Tested]) -> Tested:
    """The frames of all folds as those of one."""
    return Tested(*map(np.concatenate, zip(*folds, strict=True)))


def calibrate(works: Sequence[Path]) -> Calibration:
    """Those of the labellers of the stages that ran in these folders, one a fold."""
    folds = [name_test_videos(work) for work in works]
    errors, tempered_folds = [], []
    for index, fold in enumerate(folds):
        others = join(folds[:index] + folds[index + 1 :])
        temperature = fit_temperature(others.probabilities, others.truth)
        errors.append(fold.error(temperature))
        tempered_folds.append(fold._replace(probabilities=tempered(fold.probabilities, temperature)))
    return Calibration(errors, join(tempered_folds).error(1.0), join(folds).error(1.0))
