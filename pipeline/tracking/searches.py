"""Searches and cross-validations: the runs of one name, below one run of MLflow."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import mlflow
from mlflow.entities import Param, Run

from pipeline.errors import InputError
from pipeline.tracking.connection import address, alone, connect, has_run, need_store
from pipeline.tracking.description import dvc_experiment
from pipeline.tracking.names import metric_names

PARENT = "mlflow.parentRunId"  # the tag by which MLflow's page shows one run below another
SEARCH, MODEL, TRAINED_BY, EXPERIMENT_TAG = "search", "model", "trained_by", "dvc_experiment"


def known_searches() -> dict[str, str]:
    """Return the run of each search, the parent of all its runs, by the search's name."""
    connect()
    return {run.data.tags[SEARCH]: run.info.run_id for run in reversed(runs_with(SEARCH))}


def runs_with(tag: str, value: str | None = None) -> list[Run]:
    """Return the runs of this experiment with a tag, of this value where one is given; the first made comes first."""
    filter_string = f"tags.`{tag}` = '{value}'" if value else f"tags.`{tag}` != ''"
    return mlflow.search_runs(filter_string=filter_string, order_by=["attributes.start_time ASC"], output_format="list")


def search_run(search: str) -> str:
    """Return the id of the run of a search; the run is made where it does not exist."""
    with alone():
        return known_searches().get(search) or _make_run(search, {SEARCH: search})


def _make_run(name: str, tags: Mapping[str, str]) -> str:
    """Make a run that only sums up others: it is finished from the start."""
    experiment_id, client = connect(), mlflow.MlflowClient()
    run_id = client.create_run(experiment_id, run_name=name, tags=dict(tags)).info.run_id
    client.set_terminated(run_id)
    return run_id


def runs_of_model(run_id: str, search: str | None, *, results: Path) -> list[str]:
    """Return the runs that get the scores of a model: `run_id`, which trained it, and its run in `search`, where given.

    There are none where the store does not hold that run, or does not answer: then the user is told that scores are in
    `results` alone.
    """
    try:
        known = has_run(run_id)
    except InputError as error:
        print(f"warning: {error}. The scores are in {results}; evaluate again to have them in MLflow", file=sys.stderr)
        return []
    if not known:
        print(f"note: MLflow has no run {run_id}, which trained this model: its scores are in {results} alone")
        return []
    return list(dict.fromkeys([run_id, _run_in_search(run_id, search)])) if search else [run_id]


def _run_in_search(run_id: str, search: str) -> str:
    """Return the child of a search that stands for the model which the run `run_id` trained.

    It is that run itself, where the model was trained in this search. Else the search found it trained already, as DVC
    does not train again what it has: a child of the same parameters, whose tag trained_by names the run.
    """
    parent = search_run(search)
    trained = mlflow.get_run(run_id)
    if trained.data.tags.get(PARENT) == parent:
        return run_id
    tags = {name: value for name, value in trained.data.tags.items() if not name.startswith("mlflow.")}
    tags |= {PARENT: parent, TRAINED_BY: run_id}
    if experiment := dvc_experiment():
        tags[EXPERIMENT_TAG] = experiment
    with alone():
        known = [run.info.run_id for run in runs_with(TRAINED_BY, run_id) if run.data.tags.get(PARENT) == parent]
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
    need_store(f"search {search}")
    known = known_searches()
    if search not in known:
        there = f"it has {', '.join(sorted(known))}" if known else "it has none"
        raise InputError(
            f"search {search}: MLflow has no run of this name at {address()}, {there}: start one with"
            f" `dvc exp run --queue -S search={search} ...`"
        )
    return [
        SearchRun(
            name=run.data.tags.get(EXPERIMENT_TAG) or run.info.run_name,
            model=run.data.tags.get(MODEL, run.info.run_name),
            params=run.data.params,
            scores={name: score for name, score in run.data.metrics.items() if name.startswith(("val/", "test/"))},
        )
        for run in runs_with(PARENT, known[search])
    ]


def log_comparison(search: str, scores: Mapping[str, float], text: str) -> None:
    """Log the comparison of a search's runs in the run of the search: scores, and a text as an artifact."""
    client, run_id = mlflow.MlflowClient(), known_searches()[search]
    names = metric_names(scores)
    for name, score in scores.items():
        client.log_metric(run_id, names[name], score)
    client.log_text(run_id, text, "comparison.txt")
