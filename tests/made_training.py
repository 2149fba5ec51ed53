"""Training data of the ready features in ./dataset, and what a training left in its folder and in MLflow."""

import csv
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.config.params import load_params
from pipeline.datasets.features import SUFFIX, read_feature_file, write_features
from pipeline.stages.prepare import prepare
from pipeline.tracking.connection import EXPERIMENT, connect
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


def client() -> MlflowClient:
    """Return a client of the store of the current folder."""
    connect()
    return MlflowClient()


def runs() -> list[Run]:
    """Return all runs, the newest first."""
    return client().search_runs([mlflow.get_experiment_by_name(EXPERIMENT).experiment_id])


def curve(run_id: str, name: str) -> list[tuple[int, float]]:
    """Return the values of a score that a run logged after each epoch."""
    return [(point.step, point.value) for point in client().get_metric_history(run_id, f"epoch/{name}")]
