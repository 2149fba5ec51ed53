"""MLflow, in one place: runs, curves, lineage, pictures, data sets and models. Nothing else imports mlflow.

The store is SQLite with an absolute path, beside the repository's other results; MLFLOW_TRACKING_URI overrides it.
"""

import json
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from pipeline.checkpoint import SPEC, WEIGHTS
from pipeline.errors import InputError

EXPERIMENT = "framescribe"
LONGEST_METRIC_NAME = 250  # MLflow's limit
TRAINING_ONLY = {"dvc", "hydra-core", "omegaconf"}  # a model that only labels does without them
LABELS_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", "path")]),
    outputs=Schema(
        [
            ColSpec("string", "path"),
            ColSpec("long", "frame"),
            ColSpec("double", "time_seconds"),
            ColSpec("string", "label"),
            ColSpec("double", "probability"),
        ]
    ),
)
CAPTIONS_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", "path")]),
    outputs=Schema([ColSpec("string", "path"), ColSpec("string", "caption"), ColSpec("double", "probability")]),
)


def store_folder() -> Path:
    """Where the tracking store lies: the repository, which DVC names also from inside its temporary copies."""
    return Path(os.environ.get("DVC_ROOT", "")).resolve()


def connect() -> None:
    """Point mlflow at the store, and make the experiment where it is not there yet."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every step that goes well
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        root = store_folder()
        mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
        if mlflow.get_experiment_by_name(experiment) is None:
            mlflow.create_experiment(experiment, artifact_location=(root / "mlartifacts").as_uri())
    mlflow.set_experiment(experiment)


@contextmanager
def open_run(run_id: str | None, *, name: str | None = None) -> Iterator[str]:
    """Open a run, or go on in the one of `run_id`; yields its id. An exception marks the run FAILED."""
    connect()
    mlflow.set_system_metrics_sampling_interval(2)
    with mlflow.start_run(run_id=run_id, run_name=name, log_system_metrics=True) as run:
        yield run.info.run_id


def has_run(run_id: str) -> bool:
    """Whether the store holds this run: a checkpoint may come from another machine, or the store may be a new one."""
    connect()
    try:
        return mlflow.get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException:
        return False


def git_commit() -> str:
    """The commit that is checked out, with `-dirty` where the tree differs from it; `unknown` outside of git."""
    try:
        command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def dvc_experiment() -> str | None:
    """The DVC experiment that this process belongs to (`dvc exp run` names it); None in `dvc repro` and by hand."""
    return os.environ.get("DVC_EXP_NAME") or None


class Datasets(NamedTuple):
    """The data of a run: its name and fingerprint, the folder it lies in, a row for each file of each split."""

    name: str
    fingerprint: str
    folder: Path
    rows: Mapping[str, list[dict[str, Any]]]


def log_start(params: Mapping[str, Any], datasets: Datasets) -> None:
    """Parameters, lineage tags and the data set of the open run. The same again, in a run gone on with, adds nothing.

    A run that DVC did not start has no tag of its stage.
    """
    mlflow.log_params(flatten_params(params))
    tags = {
        "git_commit": git_commit(),
        "dvc_stage": os.environ.get("DVC_STAGE"),
        "dvc_experiment": dvc_experiment(),
        "data_fingerprint": datasets.fingerprint,
    }
    mlflow.set_tags({name: value for name, value in tags.items() if value})
    source = get_dataset_source_from_json(json.dumps({"uri": str(datasets.folder)}), "local")
    for split, rows in datasets.rows.items():
        if rows:
            name = f"{datasets.name}-{split}"
            table = mlflow.data.from_pandas(pd.DataFrame(rows), source=source, name=name, digest=datasets.fingerprint)
            mlflow.log_input(table, context=split)


def flatten_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `section.key`."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten_params(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def log_epoch(run_id: str, epoch: int, scores: Mapping[str, float]) -> None:
    """The scores of one epoch, once: an epoch that is already there (a run gone on with) is left as it is.

    They are named epoch/..., the first group of charts that MLflow's page of a run shows.
    """
    client = mlflow.MlflowClient()
    curves = {f"epoch/{name}": score for name, score in scores.items()}
    if any(metric.step == epoch for metric in client.get_metric_history(run_id, next(iter(curves)))):
        return
    mlflow.log_metrics(curves, step=epoch)


def log_curve(run_id: str, name: str, values: Iterable[float]) -> None:
    """A curve that is known as a whole, at steps 0, 1, ..; once, as `log_epoch`."""
    client = mlflow.MlflowClient()
    if client.get_metric_history(run_id, name):
        return
    now = int(time.time() * 1000)
    client.log_batch(run_id, [Metric(name, float(value), now, step) for step, value in enumerate(values)])


def log_scores(scores: Mapping[str, float]) -> None:
    """Final scores of the open run, under names that MLflow takes."""
    names = metric_names(scores)
    mlflow.log_metrics({names[name]: score for name, score in scores.items()})


def metric_names(names: Iterable[str]) -> dict[str, str]:
    """For each name, one that MLflow takes: a class may be called anything. No two become the same.

    >>> metric_names(["f1/cut (left)", "f1/cut [left]", "f1/.."])
    {'f1/cut (left)': 'f1/cut _left_', 'f1/cut [left]': 'f1/cut _left__2', 'f1/..': 'f1/__'}
    """
    taken: dict[str, str] = {}
    for name in names:
        parts = re.sub(r"[^\w\-. :/]", "_", name).split("/")
        plain = "/".join("_" * max(1, len(part)) if part.strip(".") == "" else part for part in parts)
        candidate, count = plain[:LONGEST_METRIC_NAME], 1
        while candidate in taken.values():
            count += 1
            ending = f"_{count}"
            candidate = plain[: LONGEST_METRIC_NAME - len(ending)] + ending
        taken[name] = candidate
    return taken


def log_figure(figure: Figure, name: str) -> None:
    """A picture of the open run, `name` with its suffix."""
    mlflow.log_figure(figure, name)


def log_file(path: Path) -> None:
    """A file as an artifact of the open run."""
    mlflow.log_artifact(str(path))


def log_labelling(model: Mapping[str, str], counts: Mapping[str, int], report: Path) -> str:
    """A call of `framescribe label` as a run of its own, below the one that trained the model where the store has that.

    model   where the model comes from: run_id, data_fingerprint, git_commit
    counts  of videos and frames
    report  the decode report, which becomes an artifact, where there is one
    """
    parent = model["run_id"] if has_run(model["run_id"]) else None
    with open_run(None, name=f"label {report.parent.name}") as run_id:
        tags = {f"model_{name}": value for name, value in model.items()}
        mlflow.set_tags(tags | ({"mlflow.parentRunId": parent} if parent else {}))
        mlflow.log_metrics({name: float(count) for name, count in counts.items()})
        if report.exists():
            log_file(report)
    return run_id


def log_folder(folder: Path, name: str) -> None:
    """All files below `folder` as artifacts of the open run, under `name`."""
    mlflow.log_artifacts(str(folder), name)


def log_model(run_id: str, checkpoint: Path, *, name: str, example: str, signature: ModelSignature) -> None:
    """The checkpoint as a pyfunc: a table of paths in (`example` is one), what `signature` says out.

    The weights stay what they are, a checkpoint folder: nothing is pickled. A run gone on with that has its model
    already keeps that one.
    """
    if _has_model(run_id, name):
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in (SPEC, WEIGHTS):  # and nothing of the training
            shutil.copy(checkpoint / file, folder)
        mlflow.pyfunc.log_model(
            name=name,
            loader_module="pipeline.pyfunc",
            data_path=folder,
            code_paths=[str(Path(__file__).parents[1])],
            signature=signature,
            input_example=pd.DataFrame({"path": [example]}),
            pip_requirements=_requirements(),
        )


def _has_model(run_id: str, name: str) -> bool:
    client = mlflow.MlflowClient()
    outputs = client.get_run(run_id).outputs
    models = [client.get_logged_model(output.model_id) for output in (outputs.model_outputs if outputs else ())]
    return any(model.name == name and model.status == "READY" for model in models)


def _requirements() -> list[str]:
    names = [
        requirement.split(">")[0].split("=")[0]
        for requirement in requires("framescribe") or []
        if ";" not in requirement
    ]
    return [f"{name}=={version(name).split('+')[0]}" for name in names if name not in TRAINING_ONLY]


def fetch_checkpoint(uri: str) -> Path:
    """The checkpoint folder behind an MLflow model URI (models:/..., runs:/...), downloaded where it is remote."""
    store = store_folder() / "mlflow.db"
    if uri.startswith(("models:", "runs:")) and not os.environ.get("MLFLOW_TRACKING_URI") and not store.exists():
        raise InputError(
            f"{uri}: there is no MLflow store {store}: run from the repository, or set MLFLOW_TRACKING_URI"
        )
    connect()
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
    except (MlflowException, OSError) as error:
        raise InputError(f"{uri}: MLflow has no such model at {mlflow.get_tracking_uri()}: {error}") from None
    found = sorted(path.parent for path in folder.rglob(SPEC))
    if not found:
        raise InputError(f"{uri}: is no Framescribe model, it holds no {SPEC}")
    return found[0]
