"""MLflow, in one place: runs, curves, lineage, pictures, data sets and models. Nothing else imports mlflow.

The store is SQLite with an absolute path, beside the repository's other results; MLFLOW_TRACKING_URI overrides it.
"""

import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import pandas as pd
from filelock import FileLock
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

from pipeline.checkpoints.storage import SPEC, WEIGHTS
from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.tracking.description import dvc_experiment, flatten_params, git_commit, requirements
from pipeline.tracking.relocation import ARTIFACTS, DATABASE, relocate

EXPERIMENT = "framescribe"
PARENT = "mlflow.parentRunId"  # the tag by which MLflow's page shows one run below another
SEARCH, MODEL, TRAINED_BY, EXPERIMENT_TAG, TRAINING = "search", "model", "trained_by", "dvc_experiment", "training"
LONGEST_METRIC_NAME = 250  # MLflow's limit
OF_FRAMES = (ColSpec("string", "path"), ColSpec("long", "frame"), ColSpec("double", "time_seconds"))
LABELS_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", "path")]),
    outputs=Schema([*OF_FRAMES, ColSpec("string", "label"), ColSpec("double", "probability")]),
)
CAPTIONS_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", "path")]),
    outputs=Schema([ColSpec("string", "path"), ColSpec("string", "caption"), ColSpec("double", "probability")]),
)


def overlapping_signature(classes: Iterable[str]) -> ModelSignature:
    """Return what LABELS_SIGNATURE is where the classes overlap: the names of a frame, and a probability of each."""
    of_classes = [ColSpec("double", f"probability_{name}") for name in classes]
    return ModelSignature(
        inputs=Schema([ColSpec("string", "path")]),
        outputs=Schema([*OF_FRAMES, ColSpec("string", "labels"), *of_classes]),
    )


def store_folder() -> Path:
    """Return the folder of the tracking store: the repository, which DVC names also in its temporary copies."""
    return Path(os.environ.get("DVC_ROOT", "")).resolve()


def _alone() -> AbstractContextManager[object]:
    """Return a lock that only one process of this repository holds at a time.

    Workers of DVC's queue start together, and must not make the same thing twice. A process that cannot write here
    makes nothing.
    """
    root = store_folder()
    return FileLock(root / "mlflow.db.lock", is_singleton=True) if os.access(root, os.W_OK) else nullcontext()


def connect() -> str:
    """Point mlflow at the store, corrected if it was moved and made if it is missing; return the experiment's id."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it reports every step that succeeds
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    with _alone():
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            root = store_folder()
            if not (root / DATABASE).exists():
                _make_database(root / DATABASE)
            mlflow.set_tracking_uri(f"sqlite:///{root / DATABASE}")
            if (known := mlflow.get_experiment_by_name(experiment)) is None:
                mlflow.create_experiment(experiment, artifact_location=(root / ARTIFACTS).as_uri())
            else:
                relocate(root, known.artifact_location)
        return mlflow.set_experiment(experiment).experiment_id


def _make_database(path: Path) -> None:
    """Make MLflow's database, whole or not at all.

    MLflow makes the tables in some dozen steps, and cannot go on where a killed process left off.
    """
    with replacing(path) as temporary:
        MlflowClient(f"sqlite:///{temporary}").search_experiments()


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
    mlflow.set_system_metrics_sampling_interval(2)
    if run_id is None and training:
        # log_start comes next, so such a run has no parameters.
        run_id = next((run.info.run_id for run in _runs_with(TRAINING, training) if not run.data.params), None)
    tags = {} if training is None else {TRAINING: training}
    if search and run_id is None:
        tags[PARENT] = _search_run(search)
    options: dict[str, Any] = {"run_name": name, "tags": tags} if run_id is None else {"run_id": run_id}
    with mlflow.start_run(**options, log_system_metrics=True) as run:
        yield run.info.run_id


def has_run(run_id: str) -> bool:
    """Return whether the store holds a run: a checkpoint may be from another machine, or the store may be new."""
    connect()
    try:
        return mlflow.get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException:
        return False


def end_run(run_id: str) -> None:
    """Mark a run as FINISHED: its process may have been killed after all was done, and before it could say so."""
    if mlflow.get_run(run_id).info.status != "FINISHED":
        mlflow.MlflowClient().set_terminated(run_id, "FINISHED")


def searches() -> dict[str, str]:
    """Return the run of each search, the parent of all its runs, by the search's name."""
    connect()
    return {run.data.tags[SEARCH]: run.info.run_id for run in reversed(_runs_with(SEARCH))}


def _runs_with(tag: str, value: str | None = None) -> list[Run]:
    """Return the runs of this experiment with a tag, of this value where one is given; the first made comes first."""
    filter_string = f"tags.`{tag}` = '{value}'" if value else f"tags.`{tag}` != ''"
    return mlflow.search_runs(filter_string=filter_string, order_by=["attributes.start_time ASC"], output_format="list")


def _search_run(search: str) -> str:
    """Return the id of the run of a search; the run is made where it does not exist."""
    with _alone():
        return searches().get(search) or _make_run(search, {SEARCH: search})


def _make_run(name: str, tags: Mapping[str, str]) -> str:
    """Make a run that only sums up others: it is finished from the start."""
    experiment_id, client = connect(), mlflow.MlflowClient()
    run_id = client.create_run(experiment_id, run_name=name, tags=dict(tags)).info.run_id
    client.set_terminated(run_id)
    return run_id


def runs_of_model(run_id: str, search: str | None, *, results: Path) -> list[str]:
    """Return the runs that get the scores of a model: `run_id`, which trained it, and its run in `search`, where given.

    There are none where the store does not hold that run: then a note is printed, that scores are in `results` alone.
    """
    if not has_run(run_id):
        print(f"note: MLflow has no run {run_id}, which trained this model: its scores are in {results} alone")
        return []
    return list(dict.fromkeys([run_id, _run_in_search(run_id, search)])) if search else [run_id]


def _run_in_search(run_id: str, search: str) -> str:
    """Return the child of a search that stands for the model which the run `run_id` trained.

    It is that run itself, where the model was trained in this search. Else the search found it trained already, as DVC
    does not train again what it has: a child of the same parameters, whose tag trained_by names the run.
    """
    parent = _search_run(search)
    trained = mlflow.get_run(run_id)
    if trained.data.tags.get(PARENT) == parent:
        return run_id
    tags = {name: value for name, value in trained.data.tags.items() if not name.startswith("mlflow.")}
    tags |= {PARENT: parent, TRAINED_BY: run_id}
    if experiment := dvc_experiment():
        tags[EXPERIMENT_TAG] = experiment
    with _alone():
        known = [run.info.run_id for run in _runs_with(TRAINED_BY, run_id) if run.data.tags.get(PARENT) == parent]
        child = known[0] if known else _make_run(trained.info.run_name, tags)
    params = [Param(name, value) for name, value in trained.data.params.items()]
    mlflow.MlflowClient().log_batch(child, params=params)
    return child


class SearchRun(NamedTuple):
    """A run of a search: its model (labeller, baseline, ..), settings by section.key, scores by split/name."""

    name: str  # DVC's name of the experiment, where DVC started it
    model: str
    params: Mapping[str, str]
    scores: Mapping[str, float]


def read_search(search: str) -> list[SearchRun]:
    """Return the runs of a search, the first made first; raise InputError where there is no such search."""
    _need_store(f"search {search}")
    known = searches()
    if search not in known:
        there = f"it has {', '.join(sorted(known))}" if known else "it has none"
        raise InputError(
            f"search {search}: MLflow has no run of this name at {mlflow.get_tracking_uri()}, {there}: start one with"
            f" `dvc exp run --queue -S search={search} ...`"
        )
    return [
        SearchRun(
            name=run.data.tags.get(EXPERIMENT_TAG) or run.info.run_name,
            model=run.data.tags.get(MODEL, run.info.run_name),
            params=run.data.params,
            scores={name: score for name, score in run.data.metrics.items() if name.startswith(("val/", "test/"))},
        )
        for run in _runs_with(PARENT, known[search])
    ]


def log_comparison(search: str, scores: Mapping[str, float], text: str) -> None:
    """Log the comparison of a search's runs in the run of the search: scores, and a text as an artifact."""
    client, run_id = mlflow.MlflowClient(), searches()[search]
    names = metric_names(scores)
    for name, score in scores.items():
        client.log_metric(run_id, names[name], score)
    client.log_text(run_id, text, "comparison.txt")


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
    mlflow.log_params(flatten_params(params))
    tags = {
        MODEL: model,
        "git_commit": git_commit(),
        "dvc_stage": os.environ.get("DVC_STAGE"),
        EXPERIMENT_TAG: dvc_experiment(),
        "data_fingerprint": datasets.fingerprint,
    }
    mlflow.set_tags({name: value for name, value in tags.items() if value})
    source = get_dataset_source_from_json(json.dumps({"uri": str(datasets.folder)}), "local")
    for split, rows in datasets.rows.items():
        if rows:
            name = f"{datasets.name}-{split}"
            table = mlflow.data.from_pandas(pd.DataFrame(rows), source=source, name=name, digest=datasets.fingerprint)
            mlflow.log_input(table, context=split)


def log_found(params: Mapping[str, str]) -> None:
    """Log what training found, in words, as parameters of the open run. The same again adds nothing."""
    mlflow.log_params(params)


def log_epoch(run_id: str, epoch: int, scores: Mapping[str, float]) -> None:
    """Log the scores of one epoch, once: an epoch that is already there (in a resumed run) is left as it is.

    They are named epoch/..., the first group of charts that MLflow's page of a run shows.
    """
    client = mlflow.MlflowClient()
    curves = {f"epoch/{name}": score for name, score in scores.items()}
    if any(metric.step == epoch for metric in client.get_metric_history(run_id, next(iter(curves)))):
        return
    mlflow.log_metrics(curves, step=epoch)


def log_curve(run_id: str, name: str, values: Iterable[float]) -> None:
    """Log a curve that is known as a whole, at steps 0, 1, ..; once, as `log_epoch`."""
    client = mlflow.MlflowClient()
    if client.get_metric_history(run_id, name):
        return
    now = int(time.time() * 1000)
    client.log_batch(run_id, [Metric(name, float(value), now, step) for step, value in enumerate(values)])


def log_scores_once(run_id: str, scores: Mapping[str, float]) -> None:
    """Log scores of the open run that never change, so that a resumed run has each of them once."""
    known = mlflow.MlflowClient().get_run(run_id).data.metrics
    log_scores({name: score for name, score in scores.items() if name not in known})


def log_scores(scores: Mapping[str, float]) -> None:
    """Log final scores of the open run, under names that MLflow takes."""
    names = metric_names(scores)
    mlflow.log_metrics({names[name]: score for name, score in scores.items()})


def metric_names(names: Iterable[str]) -> dict[str, str]:
    """Find for each name one that MLflow takes: a class may be called anything. No two become the same.

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
    """Log a picture of the open run, under `name` with its suffix."""
    mlflow.log_figure(figure, name)


def log_file(path: Path) -> None:
    """Log a file as an artifact of the open run."""
    mlflow.log_artifact(str(path))


def log_labelling(model: Mapping[str, str], counts: Mapping[str, int], report: Path) -> str:
    """Log a call of `framescribe label` as a run of its own, below the run that trained the model, where there is one.

    Args:
        model: The origin of the model: run_id, data_fingerprint, git_commit.
        counts: The numbers of videos and frames.
        report: The decode report, which becomes an artifact, where there is one.
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
    """Log all files below `folder` as artifacts of the open run, under `name`."""
    mlflow.log_artifacts(str(folder), name)


def log_model(run_id: str, checkpoint: Path, *, name: str, example: str, signature: ModelSignature) -> None:
    """Log a checkpoint as a pyfunc: a table of paths in (`example` is one), what `signature` says out.

    The weights stay as they are, a checkpoint folder: nothing is pickled. A resumed run has one model: one that is
    whole is kept, and one that is not is written again under its id, which `mlflow.pyfunc.log_model` cannot do.
    """
    client = mlflow.MlflowClient()
    model = _own_model(client, run_id, name)
    if model.status == "READY":
        return
    with tempfile.TemporaryDirectory() as folder:
        data, whole = Path(folder, "data"), Path(folder, "model")
        data.mkdir()
        for file in (SPEC, WEIGHTS):  # and nothing of the training
            shutil.copy(checkpoint / file, data)
        mlflow.pyfunc.save_model(
            path=whole,
            mlflow_model=Model(artifact_path=model.artifact_location, run_id=run_id, model_id=model.model_id),
            loader_module="pipeline.pyfunc",
            data_path=data,
            code_paths=[str(Path(__file__).parents[1])],
            signature=signature,
            input_example=pd.DataFrame({"path": [example]}),
            pip_requirements=requirements(_encoder_name(data / SPEC)),
        )
        for cache in whole.rglob("__pycache__"):
            shutil.rmtree(cache)
        client.log_model_artifacts(model.model_id, str(whole))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _encoder_name(spec: Path) -> str:
    """Return the name of the encoder of a checkpoint; "" where it takes ready features."""
    encoder = json.loads(spec.read_text(encoding="utf-8")).get("encoder")
    return str(encoder["name"]) if encoder else ""


def _own_model(client: mlflow.MlflowClient, run_id: str, name: str) -> LoggedModel:
    """The model of this name that the run has, made where it has none."""
    run = client.get_run(run_id)
    known = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'")
    model = next((model for model in known if model.name == name), None)
    if model is None:
        model = client.create_logged_model(run.info.experiment_id, name, source_run_id=run_id, params=run.data.params)
    if model.model_id not in [output.model_id for output in (run.outputs.model_outputs if run.outputs else ())]:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def fetch_checkpoint(uri: str) -> Path:
    """Find or download the checkpoint folder of an MLflow URI (models:/.., runs:/..); raise InputError for none."""
    if uri.startswith(("models:", "runs:")):
        _need_store(uri)
    connect()
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))
    except (MlflowException, OSError) as error:
        raise InputError(f"{uri}: MLflow has no such model at {mlflow.get_tracking_uri()}: {error}") from None
    found = sorted(path.parent for path in folder.rglob(SPEC))
    if not found:
        raise InputError(f"{uri}: is not a Framescribe model, it holds no {SPEC}")
    return found[0]


def _need_store(purpose: str) -> None:
    """Raise InputError where there is no store to search: connecting would make an empty one."""
    store = store_folder() / DATABASE
    if not os.environ.get("MLFLOW_TRACKING_URI") and not store.exists():
        raise InputError(
            f"{purpose}: there is no MLflow store {store}: run from the repository, or set MLFLOW_TRACKING_URI"
        )
