"""The parts that all trainings share.

A folder from which a killed run resumes, its run in MLflow, and its curves at the end.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from pipeline.checkpoints.storage import Lineage
from pipeline.drawing.plots import plot_curves
from pipeline.imports import SourceTree
from pipeline.tracking import store
from pipeline.tracking.connection import has_run
from pipeline.tracking.description import dvc_experiment, git_commit
from pipeline.training.loop import Progress, TrainingState


def open_state(
    out: Path, *, params: Mapping[str, object], data_fingerprint: str, training_module: str
) -> TrainingState:
    """Open the state of a training with exactly these settings and data.

    It is a new state where the folder holds another training, or where MLflow no longer has the run.

    Args:
        out: The checkpoint folder of the training.
        params: All settings that decide the model.
        data_fingerprint: The fingerprint of the data set.
        training_module: The name of the module that trains. All code that decides the model's weights, and what is
            written beside them, is that which this module imports; a stage adds to it settings and data alone.
    """
    key = hashlib.sha256(json.dumps([params, data_fingerprint], sort_keys=True).encode()).hexdigest()
    state = TrainingState(out / "training_state.pt", key=key, code=_code_fingerprint(training_module))
    if state.run_id is not None and not has_run(state.run_id):
        state.forget()
    if state.run_id is not None and state.complete:
        store.end_run(state.run_id)
    return state


@cache
def _code_fingerprint(training_module: str) -> str:
    """Return the hex digest over the source of a module and of everything of this package that it imports.

    A process runs the code that it has imported, so it is read once.
    """
    return SourceTree().fingerprint_of(training_module)


@contextmanager
def open_training_run(state: TrainingState, out: Path, *, name: str, search: str | None) -> Iterator[str]:
    """Open the run of a training in MLflow: the one that `state` belongs to, or a new one.

    A new training finds `out` empty: the best of one model never lies beside the last of another.

    Args:
        state: The state of the training.
        out: The checkpoint folder of the training.
        name: The name of a new run.
        search: The search that a new run belongs to; None for no search.

    Yields:
        The id of the run.
    """
    training = hashlib.sha256(f"{state.key} {out.resolve()}".encode()).hexdigest()
    with store.open_run(state.run_id, name=name, search=search, training=training) as run_id:
        if state.run_id is None:
            shutil.rmtree(out, ignore_errors=True)
            state.begin(run_id)
        for half_written in out.glob(".*.partial.*"):
            half_written.unlink()
        yield run_id


def lineage_of(run_id: str, *, data_fingerprint: str) -> Lineage:
    """Return the origin of a model that is being trained now.

    Args:
        run_id: The run of the training.
        data_fingerprint: The fingerprint of the data set.
    """
    return Lineage(
        run_id=run_id,
        git_commit=git_commit(),
        data_fingerprint=data_fingerprint,
        dvc_experiment=dvc_experiment(),
    )


def log_history(progress: Progress, *, run_id: str) -> None:
    """Log the scores of every epoch as one picture of curves in the open run.

    Args:
        progress: The progress of the training.
        run_id: The open run.
    """
    store.log_scores_once(run_id, {"best_epoch": progress.best_epoch})
    curves = [{name: scores[name] for name in scores if not name.startswith("rnn/")} for scores in progress.history]
    store.log_figure(plot_curves(curves, best_epoch=progress.best_epoch), "curves.png")


def log_best(progress: Progress, *, run_id: str) -> None:
    """Log the scores of the best epoch as those of the model, which is logged already.

    Args:
        progress: The progress of the training.
        run_id: The open run.
    """
    store.log_best_scores(run_id, progress.history[progress.best_epoch])


def register_trained(state: TrainingState, name: str, *, registered: str | None, monitor: str) -> None:
    """Register the model of a training that is complete already, where it has a name for the registry.

    Args:
        state: The state of the training.
        name: The kind of model.
        registered: The name in the registry; None registers nothing.
        monitor: The score by which models compete.
    """
    assert state.run_id is not None, "a training that is complete has one"
    store.register_model(state.run_id, name, registered=registered, monitor=monitor)
