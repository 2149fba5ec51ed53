"""Training data of the ready features in ./dataset, as the stages before training leave them."""

import csv
from pathlib import Path

import numpy as np

from pipeline.config.params import load_params
from pipeline.datasets.features import SUFFIX, read_feature_file, write_features
from pipeline.stages.prepare import prepare
from pipeline.training.labeller_data import TrainingData


def open_training_data(*, change=None) -> TrainingData:
    """Prepare ./dataset and write its features, which `change(stem, features)` can change before."""
    manifest = prepare(load_params(), Path("prepared"))
    for source in manifest.sources:
        features = read_feature_file(Path(source.path))
        features = change(source.stem, features) if change else features
        write_features(Path("features") / f"{source.stem}{SUFFIX}", features, np.zeros(len(features)), fingerprint="x")
    return TrainingData.open(Path("prepared"), Path("features"), None, from_pixels=False)


def read_history(folder: Path) -> list[dict[str, str]]:
    """Read the scores of each epoch of the training in `folder`."""
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))
