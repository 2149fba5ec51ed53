"""What trainings, evaluations and calls of `framescribe label` tell MLflow about themselves.

Where MLflow is a server that does not answer, what it should get is kept, and sent later (`unsent.py`).
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
from matplotlib.figure import Figure
from mlflow.models import ModelSignature
from tqdm import tqdm

from pipeline.checkpoints.storage import SPEC, WEIGHTS
from pipeline.text.wording import counted
from pipeline.tracking.connection import ANSWER_SECONDS, address, connect, explaining, has_run, is_server, patience
from pipeline.tracking.description import dvc_experiment, flatten_params, git_commit
from pipeline.tracking.names import metric_names
from pipeline.tracking.registry import best_score
from pipeline.tracking.searches import EXPERIMENT_TAG, MODEL, PARENT, runs_with, search_run
from pipeline.tracking.unsent import deliver, send_all, unsent_of

TRAINING = "training"  # the tag by which the run of a training is found


@contextmanager
def open_run(
    run_id: str | None, *, name: str | None = None, search: str | None = None, training: str | None = None
) -> Iterator[str]:
    """Open a new run, or resume the one of `run_id`; yields its id. An exception marks the run FAILED.

    A new run is a child of the run of `search`, where that is given; a resumed run keeps its parent.

    `training` is a digest that names a training. A run that a process began for it, and that was killed before it could
    remember the id of the run, is resumed.
    """
    connect()
    send_all()
    with patience():
        with explaining(), patience(ANSWER_SECONDS):
            run = _start(run_id, name=name, search=search, training=training)
        status = "FAILED"
        try:
            yield run
            status = "FINISHED"
        finally:
            _end(run, status)


def _start(run_id: str | None, *, name: str | None, search: str | None, training: str | None) -> str:
    """Start or resume a run of MLflow, as `open_run` says; return its id."""
    mlflow.set_system_metrics_sampling_interval(2)
    if run_id is None and training:
        # log_start comes next, so such a run has no parameters.
        run_id = next((run.info.run_id for run in runs_with(TRAINING, training) if not run.data.params), None)
    tags = {} if training is None else {TRAINING: training}
    if search and run_id is None:
        tags[PARENT] = search_run(search)
    if run_id is not None:  # MLflow resumes a run in its own experiment alone
        mlflow.set_experiment(experiment_id=mlflow.get_run(run_id).info.experiment_id)
    options: dict[str, Any] = {"run_name": name, "tags": tags} if run_id is None else {"run_id": run_id}
    return mlflow.start_run(**options, log_system_metrics=True).info.run_id


def _end(run_id: str, status: str) -> None:
    """End the open run, after a last attempt to send what MLflow has not got; say what it still has not."""
    unsent = unsent_of(run_id)
    unsent.send()
    try:
        with patience(ANSWER_SECONDS):
            mlflow.end_run(status)
    except Exception:
        if not is_server():
            raise
        deliver(run_id, "end", status=status, time=_now())
    if kept := unsent.kept():
        tqdm.write(
            f"warning: MLflow at {address()} still does not answer ({unsent.obstacle}):"
            f" {counted(len(kept), 'thing')} that it has not got of run {run_id} are kept in {unsent.folder}. The next"
            " training or evaluation here sends them, and so does `framescribe log`. The files that were written here"
            " lack nothing.",
            file=sys.stderr,
        )


def end_run(run_id: str) -> None:
    """Mark a run as FINISHED: its process may have been killed after all was done, and before it could say so."""
    send_all()
    if mlflow.get_run(run_id).info.status != "FINISHED":
        mlflow.MlflowClient().set_terminated(run_id, "FINISHED")


class Datasets(NamedTuple):
    """The data of a run: its name, fingerprint and folder, and a row for each file of each split."""

    name: str
    fingerprint: str
    folder: Path
    rows: Mapping[str, list[dict[str, Any]]]


def log_start(params: Mapping[str, Any], datasets: Datasets, *, model: str) -> None:
    """Log parameters, lineage tags and the data set of the open run. The same again, in a resumed run, adds nothing.

    `model`: what is trained: labeller, baseline, .. A run that DVC did not start has no tag of its stage.
    """
    run_id = _open()
    deliver(run_id, "params", values={name: str(value) for name, value in flatten_params(params).items()})
    tags = {
        MODEL: model,
        "git_commit": git_commit(),
        "dvc_stage": os.environ.get("DVC_STAGE"),
        EXPERIMENT_TAG: dvc_experiment(),
        "data_fingerprint": datasets.fingerprint,
    }
    deliver(run_id, "tags", values={name: value for name, value in tags.items() if value})
    for split, rows in datasets.rows.items():
        if rows:
            name, folder = f"{datasets.name}-{split}", str(datasets.folder)
            fingerprint = datasets.fingerprint
            deliver(run_id, "dataset", name=name, fingerprint=fingerprint, folder=folder, split=split, rows=rows)


def log_found(params: Mapping[str, str]) -> None:
    """Log what training found, in words, as parameters of the open run. The same again adds nothing."""
    deliver(_open(), "params", values=dict(params))


def log_epoch(run_id: str, epoch: int, scores: Mapping[str, float]) -> None:
    """Log the scores of one epoch, once: an epoch that is already there (in a resumed run) is left as it is.

    They are named epoch/..., the first group of charts that MLflow's page of a run shows.
    """
    deliver(run_id, "epoch", values={f"epoch/{name}": float(s) for name, s in scores.items()}, step=epoch, time=_now())


def log_curve(run_id: str, name: str, values: Iterable[float]) -> None:
    """Log a curve that is known as a whole, at steps 0, 1, ..; once, as `log_epoch`."""
    deliver(run_id, "curve", name=name, values=[float(value) for value in values], time=_now())


def log_scores_once(run_id: str, scores: Mapping[str, float]) -> None:
    """Log scores of a run that never change, so that a resumed run has each of them once."""
    deliver(run_id, "new_metrics", values=_named(scores), time=_now())


def log_scores(scores: Mapping[str, float]) -> None:
    """Log final scores of the open run, under names that MLflow takes."""
    deliver(_open(), "metrics", values=_named(scores), time=_now())


def log_figure(figure: Figure, name: str) -> None:
    """Log a picture of the open run, under `name` with its suffix."""
    with tempfile.TemporaryDirectory() as folder:
        figure.savefig(Path(folder, name))
        log_file(Path(folder, name))


def log_file(path: Path) -> None:
    """Log a file as an artifact of the open run."""
    deliver(_open(), "artifact", path=str(path), place=None)


def log_folder(folder: Path, name: str) -> None:
    """Log all files below `folder` as artifacts of the open run, under `name`."""
    deliver(_open(), "artifact", path=str(folder), place=name)


def log_model(run_id: str, checkpoint: Path, *, name: str, example: str, signature: ModelSignature) -> None:
    """Log a checkpoint as a model of MLflow, and nothing else of its folder; see `write_model`."""
    with tempfile.TemporaryDirectory() as folder:
        for file in (SPEC, WEIGHTS):
            shutil.copy(checkpoint / file, folder)
        deliver(run_id, "model", path=folder, name=name, example=example, signature=signature.to_dict())


def log_best_scores(run_id: str, scores: Mapping[str, float]) -> None:
    """Log the scores of the best epoch on the validation split, by which MLflow ranks the models of all runs.

    Args:
        run_id: The run, which has its model already.
        scores: All scores of that epoch.
    """
    of_validation = {name: score for name, score in scores.items() if name.startswith("val_")}
    log_scores_once(run_id, {best_score(name.removeprefix("val_")): score for name, score in of_validation.items()})


def register_model(run_id: str, name: str, *, registered: str | None, monitor: str) -> None:
    """Register the model `name` of a run, where there is a name for it in the registry; see `register`."""
    if registered is not None:
        deliver(run_id, "register", model=name, registered=registered, monitor=monitor)


def log_labelling(model: Mapping[str, str], counts: Mapping[str, int], report: Path, *, out: str) -> str:
    """Log a call of `framescribe label` as a run of its own, below the run that trained the model, where there is one.

    Args:
        model: The origin of the model: run_id, data_fingerprint, git_commit.
        counts: The numbers of videos and frames.
        report: The decode report, which becomes an artifact, where there is one.
        out: The name of the folder of the labels.
    """
    parent = model["run_id"] if has_run(model["run_id"]) else None
    with open_run(None, name=f"label {out}") as run_id:
        tags = {f"model_{name}": str(value) for name, value in model.items()} | ({PARENT: parent} if parent else {})
        deliver(run_id, "tags", values=tags)
        log_scores(counts)
        if report.exists():
            log_file(report)
    return run_id


def _open() -> str:
    """Return the id of the open run."""
    run = mlflow.active_run()
    assert run is not None, "open_run opens one"
    return run.info.run_id


def _named(scores: Mapping[str, float]) -> dict[str, float]:
    """Return scores by names that MLflow takes."""
    names = metric_names(scores)
    return {names[name]: float(score) for name, score in scores.items()}


def _now() -> int:
    """Return the time as MLflow counts it, in milliseconds."""
    return time.time_ns() // 1_000_000
