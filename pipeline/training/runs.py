"""What every training shares: a folder that a killed run is gone on with, its run in MLflow, its curves at the end."""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.checkpoints.storage import Lineage
from pipeline.drawing.plots import plot_curves
from pipeline.files import replacing
from pipeline.imports import SourceTree
from pipeline.tracking import store
from pipeline.training.loop import Progress, TrainingState


def open_state(
    out: Path, *, params: Mapping[str, object], data_fingerprint: str, training_module: str
) -> TrainingState:
    """The state of a training in the folder `out`, of exactly these settings and data; else, and where MLflow no longer
    has its run, a new one.

    Args:
        out: The checkpoint folder that is trained into.
        params: All settings that decide the model.
        data_fingerprint: Of the data set.
        training_module: The name of the module that trains. All code that decides the model's weights, and what is
            written beside them, is that which this module imports; a stage adds to it settings and data alone.
    """
    key = hashlib.sha256(json.dumps([params, data_fingerprint], sort_keys=True).encode()).hexdigest()
    state = TrainingState(out / "training_state.pt", key=key, code=_code_fingerprint(training_module))
    if state.run_id is not None and not store.has_run(state.run_id):
        state.forget()
    return state


def _code_fingerprint(training_module: str) -> str:
    """Hex digest over the source of a module and of all that it imports, of this package."""
    return SourceTree().fingerprint_of(training_module)


@contextmanager
def open_training_run(state: TrainingState, out: Path, *, name: str, search: str | None) -> Iterator[str]:
    """The run of this training in MLflow, a new one, in `search`, or the one that `state` goes on with; yields its id.

    A new training finds `out` empty: the best of one model never stands beside the last of another.
    """
    with store.open_run(state.run_id, name=name, search=search) as run_id:
        if state.run_id is None:
            shutil.rmtree(out, ignore_errors=True)
            state.begin(run_id)
        for half_written in out.glob(".*.partial.*"):
            half_written.unlink()
        yield run_id


def lineage_of(run_id: str, *, data_fingerprint: str) -> Lineage:
    """Where a model that is being trained now comes from."""
    return Lineage(
        run_id=run_id,
        git_commit=store.git_commit(),
        data_fingerprint=data_fingerprint,
        dvc_experiment=store.dvc_experiment(),
    )


def log_history(progress: Progress, out: Path) -> None:
    """The scores of every epoch, as history.csv and as one picture of curves in the open run."""
    names = dict.fromkeys(name for scores in progress.history for name in scores)
    with replacing(out / "history.csv") as path, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", *names])
        writer.writeheader()
        writer.writerows({"epoch": epoch, **scores} for epoch, scores in enumerate(progress.history))
    store.log_scores({"best_epoch": progress.best_epoch})
    curves = [{name: scores[name] for name in scores if not name.startswith("rnn/")} for scores in progress.history]
    store.log_figure(plot_curves(curves, best_epoch=progress.best_epoch), "curves.png")
