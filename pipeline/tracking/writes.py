"""What a run gets, one function for each: they may be called again with the same, and then add nothing.

So a write whose answer was lost is repeated, and a write that was kept is done later, by another process. Arguments are
what JSON can hold; `path` is a file or a folder. Times are milliseconds since 1970.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag

from pipeline.tracking.models import write_model
from pipeline.tracking.registry import register


def params(run_id: str, values: Mapping[str, Any]) -> None:
    """Log parameters."""
    MlflowClient().log_batch(run_id, params=[Param(name, str(value)) for name, value in values.items()])


def tags(run_id: str, values: Mapping[str, str]) -> None:
    """Set tags."""
    MlflowClient().log_batch(run_id, tags=[RunTag(name, value) for name, value in values.items()])


def dataset(run_id: str, name: str, fingerprint: str, folder: str, split: str, rows: list[dict[str, Any]]) -> None:
    """Log a split of a data set, with a row for each of its files."""
    source = get_dataset_source_from_json(json.dumps({"uri": folder}), "local")
    table = mlflow.data.from_pandas(pd.DataFrame(rows), source=source, name=name, digest=fingerprint)
    context = InputTag("mlflow.data.context", split)
    MlflowClient().log_inputs(run_id, [DatasetInput(table._to_mlflow_entity(), [context])])


def metrics(run_id: str, values: Mapping[str, float], time: int) -> None:
    """Log metrics without a step; where the run has a model, also as those of the model, by which MLflow ranks it."""
    client = MlflowClient()
    outputs = client.get_run(run_id).outputs
    models = [output.model_id for output in outputs.model_outputs] if outputs else []
    model_id = models[0] if models else None  # a training has one
    client.log_batch(run_id, [Metric(name, value, time, 0, model_id=model_id) for name, value in values.items()])


def new_metrics(run_id: str, values: Mapping[str, float], time: int) -> None:
    """Log those metrics that the run does not have."""
    known = MlflowClient().get_run(run_id).data.metrics
    metrics(run_id, {name: value for name, value in values.items() if name not in known}, time)


def epoch(run_id: str, values: Mapping[str, float], step: int, time: int) -> None:
    """Log the scores of an epoch, unless the run has them."""
    client = MlflowClient()
    if all(metric.step != step for metric in client.get_metric_history(run_id, next(iter(values)))):
        client.log_batch(run_id, [Metric(name, value, time, step) for name, value in values.items()])


def curve(run_id: str, name: str, values: Sequence[float], time: int) -> None:
    """Log a curve at steps 0, 1, .., unless the run has it."""
    client = MlflowClient()
    if not client.get_metric_history(run_id, name):
        client.log_batch(run_id, [Metric(name, value, time, step) for step, value in enumerate(values)])


def artifact(run_id: str, path: str, place: str | None) -> None:
    """Log a file under its own name, or all files below a folder, as artifacts of `place`."""
    client = MlflowClient()
    (client.log_artifacts if Path(path).is_dir() else client.log_artifact)(run_id, path, place)


def model(run_id: str, path: str, name: str, example: str, signature: dict[str, Any]) -> None:
    """Log a checkpoint folder as a model."""
    write_model(run_id, Path(path), name=name, example=example, signature=signature)


def end(run_id: str, status: str, time: int) -> None:
    """Mark the run as ended."""
    MlflowClient().set_terminated(run_id, status, time)


Write = Callable[..., None]
WRITES: dict[str, Write] = {
    write.__name__: write
    for write in (params, tags, dataset, metrics, new_metrics, epoch, curve, artifact, model, register, end)
}
PATIENT = {artifact.__name__, model.__name__}  # may be large: MLflow's own limit of time holds
