"""What models say of the videos of a data set, written as the studio keeps it, without a model."""

from pathlib import Path

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.files import version_of
from pipeline.studio.models.prediction_files import KnownModel, write_prediction
from pipeline.studio.models.predictions import PREDICTIONS
from pipeline.studio.places import id_of


def put_model(
    dataset: Path, space: LabelSpace, *, key: str = "0" * 16, name: str = "labeller", created: float = 1
) -> Path:
    """Write a model into the studio's folder of a data set, and return the model's folder."""
    folder = dataset / ".studio" / PREDICTIONS / key
    model = KnownModel(
        key=key,
        name=name,
        created=created,
        classes=space.classes,
        background=space.background,
        groups=space.groups,
        thresholds=(),
        stamp=[],
        about={},
    )
    model.write(folder)
    return folder


def put_prediction(folder: Path, video: Path, labels: np.ndarray, probabilities: np.ndarray) -> None:
    """Write what the model of a folder says of a video."""
    version = version_of(video)
    assert version is not None
    times = np.arange(len(labels)) / 25
    path = folder / f"{id_of(video.stem)}.npz"
    write_prediction(path, labels=labels, probabilities=probabilities, pts_seconds=times, version=version)


def sure_of(labels: np.ndarray, num_classes: int, *, probability: float = 0.99) -> np.ndarray:
    """Return probabilities [T, K] of a model that is sure of exclusive labels."""
    rest = (1 - probability) / (num_classes - 1)
    return np.where(np.arange(num_classes) == labels[:, None], probability, rest)
