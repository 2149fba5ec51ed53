"""Probabilities calibrated without a validation split: each fold by the others, whose test groups it was trained on.

A fold's temperature is fitted on what the models of the other folds say of their own test videos, which they have not
seen. No label of the fold's test videos takes part but in training those models. It is the temperature at which labels
are right as often as their probabilities say on the mean. Cross-entropy, by which the pipeline fits its own, asks for
other ones after label smoothing, which takes probability from the label for all classes alike.

What few videos say is no exact measure: the frames of a segment are right or wrong together. `error_by_chance` tells
how large a calibration error looks where every probability is exactly right.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.datasets.features import SUFFIX, read_features
from pipeline.datasets.manifest import read_manifest
from pipeline.labelling.model import load_model
from pipeline.metrics.calibration import calibration_error
from pipeline.postprocessing.smoothing import smooth
from pipeline.postprocessing.temperature import search_temperature, tempered
from pipeline.stages.paths import FEATURES, LABELLER, PREPARED

NUM_THROWS = 200


class Calibration(NamedTuple):
    """Calibration errors in percent, each at the temperature of the other folds but for `together_as_they_are`."""

    of_folds: list[float]
    of_folds_by_chance: list[float]
    together: float  # all test videos of all folds
    together_as_they_are: float
    together_by_chance: float


class Tested(NamedTuple):
    """The labelled frames of a fold's test videos, N in all: probabilities [N, K], true and given labels int64 [N]."""

    probabilities: np.ndarray
    truth: np.ndarray
    labels: np.ndarray

    def chosen(self, temperature: float = 1.0) -> np.ndarray:
        """The probabilities [N] of the given labels."""
        return np.take_along_axis(tempered(self.probabilities, temperature), self.labels[:, None], axis=1)[:, 0]

    def error(self, temperature: float = 1.0) -> float:
        """The calibration error of the given labels at this temperature."""
        return _error(self.chosen(temperature), self.labels == self.truth)

    def error_by_chance(self) -> float:
        """The mean calibration error if labels were right exactly as often as their probabilities say, but all frames
        of a stretch with one label and one true label by one throw of the dice."""
        generator = np.random.default_rng(0)
        changes = (np.diff(self.labels) != 0) | (np.diff(self.truth) != 0)
        stretch = np.concatenate([[0], np.cumsum(changes)])
        chosen = self.chosen()
        thrown = (generator.random(stretch[-1] + 1)[stretch] for _ in range(NUM_THROWS))
        return float(np.mean([_error(chosen, dice < chosen) for dice in thrown]))

    def even_temperature(self) -> float:
        """At which the mean probability of the given labels is the share of them that is right."""
        share_right = (self.labels == self.truth).mean()
        return search_temperature(lambda tried: float(self.chosen(tried).mean() - share_right))


def _error(probabilities: np.ndarray, correct: np.ndarray) -> float:
    error = calibration_error(probabilities, correct)
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
        labelled = manifest.label_space.is_labelled(labels[source.stem])
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
        temperature = join(folds[:index] + folds[index + 1 :]).even_temperature()
        errors.append(fold.error(temperature))
        tempered_folds.append(fold._replace(probabilities=tempered(fold.probabilities, temperature)))
    together = join(folds)
    return Calibration(
        errors,
        [fold.error_by_chance() for fold in folds],
        join(tempered_folds).error(),
        together.error(),
        together.error_by_chance(),
    )
