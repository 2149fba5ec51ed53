"""MLflow, in one place: runs, curves, lineage, pictures, data sets and models. Nothing else imports mlflow.

The store is SQLite with an absolute path, beside the repository's other results; MLFLOW_TRACKING_URI overrides it.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from pipeline.datasets.manifest import Manifest
from pipeline.errors import InputError

EXPERIMENT = "framescribe"
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


def repository_root() -> Path:
    """The folder of the tracking store: the working tree, also from inside one of DVC's temporary copies."""
    here = Path.cwd().resolve()
    copies = [parent.parent for parent in (here, *here.parents) if parent.name == ".dvc"]
    return copies[-1] if copies else here


def connect() -> None:
    """Point mlflow at the store, and make the experiment where it is not there yet."""
    if "MLFLOW_TRACKING_URI" in os.environ:
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))
        return
    root = repository_root()
    mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        mlflow.create_experiment(EXPERIMENT, artifact_location=(root / "mlartifacts").as_uri())
    mlflow.set_experiment(EXPERIMENT)


@contextmanager
def open_run(run_id: str | None, *, name: str | None = None) -> Iterator[str]:
    """Open a run, or go on in the one of `run_id`; yields its id. An exception marks the run FAILED."""
    connect()
    mlflow.set_system_metrics_sampling_interval(2)
    with mlflow.start_run(run_id=run_id, run_name=name, log_system_metrics=True) as run:
        yield run.info.run_id


def git_commit() -> str:
    """The commit that is checked out, with `-dirty` where the tree differs from it; `unknown` outside of git."""
    try:
        command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def log_start(params: Mapping[str, Any], manifest: Manifest) -> None:
    """Parameters, lineage tags and the data set of the open run."""
    mlflow.log_params(flatten_params(params))
    mlflow.set_tags(
        {
            "git_commit": git_commit(),
            "dvc_stage": os.environ.get("DVC_STAGE", ""),
            "dvc_experiment": os.environ.get("DVC_EXP_NAME", ""),
            "data_fingerprint": manifest.fingerprint(),
        }
    )
    for split in ("train", "val", "test"):
        sources = manifest.of_split(split)
        if sources:
            table = pd.DataFrame([{"stem": s.stem, "group": s.group, "num_frames": s.num_frames} for s in sources])
            dataset = mlflow.data.from_pandas(
                table, source=str(Path(sources[0].path).parent), name=f"{manifest.name}-{split}"
            )
            mlflow.log_input(dataset, context=split)


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
    """The scores of one epoch, once: an epoch that is already there (a run gone on with) is left as it is."""
    client = mlflow.MlflowClient()
    first = next(iter(scores))
    if any(metric.step == epoch for metric in client.get_metric_history(run_id, first)):
        return
    mlflow.log_metrics(dict(scores), step=epoch)


def log_scores(scores: Mapping[str, float]) -> None:
    """Final scores of the open run; a character that MLflow refuses in a name (a class's, say) becomes `_`."""
    mlflow.log_metrics({re.sub(r"[^\w\-. :/]", "_", name): score for name, score in scores.items()})


def log_figure(figure: Figure, name: str) -> None:
    """A picture of the open run, `name` with its suffix."""
    mlflow.log_figure(figure, name)


def log_model(checkpoint: Path, *, name: str) -> str:
    """The checkpoint as a pyfunc with a signature: video paths in, frames and labels out. Returns its URI.

    The weights stay what they are, a checkpoint folder: nothing is pickled.
    """
    model = mlflow.pyfunc.log_model(
        name=name,
        loader_module="pipeline.pyfunc",
        data_path=str(checkpoint),
        code_paths=[str(Path(__file__).parents[1])],
        signature=LABELS_SIGNATURE,
        pip_requirements=_requirements(),
    )
    return model.model_uri


def _requirements() -> list[str]:
    names = [
        requirement.split(">")[0].split("=")[0]
        for requirement in requires("framescribe") or []
        if ";" not in requirement
    ]
    return [f"{name}=={version(name).split('+')[0]}" for name in names if name not in TRAINING_ONLY]


def fetch_checkpoint(uri: str) -> Path:
    """The checkpoint folder behind an MLflow model URI (models:/..., runs:/...), downloaded where it is remote."""
    connect()
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
    except (MlflowException, OSError) as error:
        raise InputError(f"{uri}: MLflow has no such model at {mlflow.get_tracking_uri()}: {error}") from None
    found = sorted(path.parent for path in folder.rglob("checkpoint.json"))
    if not found:
        raise InputError(f"{uri}: is no Framescribe model, it holds no checkpoint.json")
    return found[0]


def dvc_experiment() -> str | None:
    """The DVC experiment that this process belongs to; None outside of one."""
    return os.environ.get("DVC_EXP_NAME") or None


def log_folder(folder: Path, name: str) -> None:
    """All files below `folder` as artifacts of the open run, under `name`."""
    mlflow.log_artifacts(str(folder), name)
