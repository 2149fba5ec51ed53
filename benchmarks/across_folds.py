"""Calibration of probabilities without a validation split: each fold by the others, whose test groups it trained on.

The temperature of a fold is fitted on the predictions of the other folds' models for their own test videos, which they
have not seen. The labels of the fold's test videos are used only in the training of those models. The temperature is
the one at which labels are right as often as their probabilities say on average. Cross-entropy, by which the pipeline
fits its own temperature, gives other temperatures after label smoothing, which takes probability from the label equally
for all classes.

A few videos are not an exact measure: the frames of a segment are right or wrong together. `error_by_chance` shows how
large a calibration error seems where every probability is exactly right.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.datasets.features import SUFFIX, read_features
from pipeline.datasets.manifest import read_manifest
from pipeline.labelling.model import load_model
from pipeline.labelling.video import postprocess
from pipeline.metrics.calibration import calibration_error
from pipeline.postprocessing.temperature import search_temperature, tempered
from pipeline.stages.paths import FEATURES, LABELLER, PREPARED

NUM_THROWS = 200


class Calibration(NamedTuple):
    """Calibration errors in percent, each at the temperature of the other folds unless noted.

    Attributes:
        of_folds: Of the test videos of each fold.
        of_folds_by_chance: See `Tested.error_by_chance`, for each fold.
        together: Of all test videos of all folds.
        together_as_they_are: Of all test videos of all folds, without a temperature.
        together_by_chance: See `Tested.error_by_chance`, for all test videos of all folds.
    """

    of_folds: list[float]
    of_folds_by_chance: list[float]
    together: float
    together_as_they_are: float
    together_by_chance: float


class Tested(NamedTuple):
    """The N labelled frames of a fold's test videos, with K classes.

    Attributes:
        probabilities: [N, K].
        truth: int64 [N], the true labels.
        labels: int64 [N], the predicted labels.
    """

    probabilities: np.ndarray
    truth: np.ndarray
    labels: np.ndarray

    def chosen(self, temperature: float = 1.0) -> np.ndarray:
        """Return the probabilities [N] of the predicted labels at this temperature."""
        return np.take_along_axis(tempered(self.probabilities, temperature), self.labels[:, None], axis=1)[:, 0]

    def error(self, temperature: float = 1.0) -> float:
        """Return the calibration error of the predicted labels at this temperature."""
        return _error(self.chosen(temperature), self.labels == self.truth)

    def error_by_chance(self) -> float:
        """Return the mean calibration error of labels that are right exactly as often as their probabilities say.

        One random number decides for all frames of a stretch with one predicted and one true label.
        """
        generator = np.random.default_rng(0)
        changes = (np.diff(self.labels) != 0) | (np.diff(self.truth) != 0)
        stretch = np.concatenate([[0], np.cumsum(changes)])
        chosen = self.chosen()
        thrown = (generator.random(stretch[-1] + 1)[stretch] for _ in range(NUM_THROWS))
        return float(np.mean([_error(chosen, dice < chosen) for dice in thrown]))

    def even_temperature(self) -> float:
        """Return the temperature at which the mean probability of the predicted labels is the share of right labels."""
        share_right = (self.labels == self.truth).mean()
        return search_temperature(lambda tried: float(self.chosen(tried).mean() - share_right))


def _error(probabilities: np.ndarray, correct: np.ndarray) -> float:
    error = calibration_error(probabilities, correct)
    assert error is not None, "a fold has test videos"
    return error


def name_test_videos(work: Path) -> Tested:
    """Label the test videos, which are ready features, with the labeller of the stages that ran in `work`."""
    manifest, labels = read_manifest(work / PREPARED)
    model = load_model(str(work / LABELLER), device="cpu")
    parts = []
    for source in manifest.of_split("test"):
        features = read_features(work / FEATURES / f"{source.stem}{SUFFIX}")
        probabilities = model.checkpoint.labeller.predict([features])
        times = np.full(len(features), np.nan)
        given = postprocess(probabilities, model, pts_seconds=times, frame_seconds=float("nan"))
        labelled = manifest.label_space.is_labelled(labels[source.stem])
        parts.append((given.class_probabilities[labelled], labels[source.stem][labelled], given.labels[labelled]))
    return Tested(*map(np.concatenate, zip(*parts, strict=True)))


def join(folds: Iterable[Tested]) -> Tested:
    """Join the frames of all folds."""
    return Tested(*map(np.concatenate, zip(*folds, strict=True)))


def calibrate(works: Sequence[Path]) -> Calibration:
    """Compute the calibration errors of the labellers of the stages that ran in these folders, one per fold."""
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
