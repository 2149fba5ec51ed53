"""A training that is killed at any moment and called again ends as an undisturbed one: weights, metrics, one model."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import torch
from made_data import Killed, write_caption_dataset, write_feature_dataset, write_params
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run

from pipeline.config.params import load_params
from pipeline.stages.paths import CAPTIONER, FEATURES, LABELLER, PREPARED
from pipeline.tracking import store
from pipeline.tracking.connection import EXPERIMENT, connect
from pipeline.training import runs as training_runs
from pipeline.training.labeller import train
from pipeline.training.labeller_data import TrainingData
from pipeline.training.loop import TrainingState

# A kill takes half a minute with all that follows: CI kills few labellers, and captioners at chosen moments alone.
ASKED = os.environ.get("FRAMESCRIBE_KILLS")
NUM_KILLS = {"train_labeller": int(ASKED or 2)} | ({"train_captioner": int(ASKED)} if ASKED else {})
# What follows the last epoch, in order, each with how often it was called before. After one of them is before the next.
LAST_STEPS = {
    "tuning": (store, "log_scores_once", 0),
    "best epoch": (store, "log_scores_once", 1),
    "curves": (store, "log_figure", 0),
    "gradients": (store, "log_curve", 1),
    "the model is made": (MlflowClient, "create_logged_model", 0),
    "the model is in the run": (MlflowClient, "log_outputs", 0),
    "the model is copied": (MlflowClient, "log_model_artifacts", 0),
    "the model is whole": (MlflowClient, "finalize_logged_model", 0),
    "the end": (TrainingState, "finish", 0),
}
FAST = [("best epoch", True), ("the end", True)]
MOMENTS = [*((step, False) for step in LAST_STEPS), *FAST]


def run_stage(name: str, **options) -> subprocess.Popen:
    """Start a stage in the current folder."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-m", f"pipeline.stages.{name}"], stdout=quiet, stderr=quiet, **options)


def experiment() -> str:
    connect()
    found = mlflow.get_experiment_by_name(EXPERIMENT)
    assert found is not None
    return found.experiment_id


def runs_and_models() -> tuple[list[Run], list[LoggedModel]]:
    place, client = [experiment()], MlflowClient()
    return list(client.search_runs(place)), list(client.search_logged_models(place))


def metrics_of(run: Run) -> dict[str, list[tuple[int, float]]]:
    """Every point of every metric of a run, except what MLflow measures of the machine."""
    client = MlflowClient()
    return {
        name: sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))
        for name in run.data.metrics
        if not name.startswith("system/")
    }


def weights_of(folder: Path) -> tuple[bytes, dict[str, torch.Tensor]]:
    """The best weights, and the last ones."""
    state = torch.load(folder / "training_state.pt", weights_only=True)
    assert state["complete"]
    last = {
        f"{part}.{name}": tensor
        for part, values in state["learner"].items()
        if isinstance(values, dict)
        for name, tensor in values.items()
        if isinstance(tensor, torch.Tensor)
    }
    assert last
    return (folder / "weights.safetensors").read_bytes(), last


def check_same(folder: Path, undisturbed: Path, runs: list[Run], models: list[LoggedModel]) -> None:
    """`folder` was trained by the newest of `runs`, `undisturbed` by the oldest one."""
    newest, oldest = runs[0], runs[-1]
    assert metrics_of(newest) == metrics_of(oldest)
    assert newest.info.status == "FINISHED"
    assert [(m.source_run_id, m.status) for m in models].count((newest.info.run_id, "READY")) == 1
    assert len([m for m in models if m.source_run_id == newest.info.run_id]) == 1
    assert len(newest.outputs.model_outputs) == 1
    (best, last), (best_before, last_before) = weights_of(folder), weights_of(undisturbed)
    assert best == best_before
    assert last.keys() == last_before.keys()
    assert all(torch.equal(last[name], last_before[name]) for name in last)
    assert (folder / "history.csv").read_bytes() == (undisturbed / "history.csv").read_bytes()
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("step", "after"), [pytest.param(*moment, marks=() if moment in FAST else pytest.mark.slow) for moment in MOMENTS]
)
def test_a_training_killed_after_its_last_epoch_logs_everything_once(workspace, monkeypatch, step, after):
    prepare_in_process(workspace)
    data = TrainingData.open(PREPARED, FEATURES, None, from_pixels=False)
    train(load_params(), data, Path("whole"), name="labeller")
    module, name, num_calls = LAST_STEPS[step]
    original, calls = getattr(module, name), iter(range(1000))

    def kill(*arguments, **options):
        due = next(calls) == num_calls
        if due and not after:
            raise Killed
        result = original(*arguments, **options)
        if due:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(module, name, kill)
        with pytest.raises(Killed):
            train(load_params(), data, Path("killed"), name="labeller")
    train(load_params(), data, Path("killed"), name="labeller")
    runs, models = runs_and_models()
    assert len(runs) == 2
    check_same(Path("killed"), Path("whole"), runs, models)
    tuned = [name for name in metrics_of(runs[0]) if name.startswith("tuning/")]
    assert "tuning/temperature" in tuned
    assert all(len(points) == 1 for name, points in metrics_of(runs[0]).items() if name in ("best_epoch", *tuned))


def prepare_in_process(folder: Path, **changes: int) -> None:
    from pipeline.stages import extract_features, finetune_encoder, prepare

    write_feature_dataset(folder / "dataset", num_videos=10)
    write_params(folder, **{"training__epochs": 2, "labeller__min_segment_frames": "auto"} | changes)
    for stage in (prepare, finetune_encoder, extract_features):
        stage.main()


def test_the_run_of_a_training_killed_before_it_remembered_its_run_is_resumed(workspace, monkeypatch):
    prepare_in_process(workspace)
    monkeypatch.setattr(store, "log_model", lambda *arguments, **options: None)
    data = TrainingData.open(PREPARED, FEATURES, None, from_pixels=False)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "begin", lambda state, run_id: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            train(load_params(), data, Path("model"), name="labeller")
    train(load_params(), data, Path("other"), name="labeller")
    train(load_params(), data, Path("model"), name="labeller")
    runs, _ = runs_and_models()
    assert len(runs) == 2, "one for each folder"
    shutil.rmtree("model")
    train(load_params(), data, Path("model"), name="labeller")
    assert len(runs_and_models()[0]) == 3, "a finished run is never taken for another training"
    assert training_runs.store is store


@pytest.mark.slow
@pytest.mark.parametrize("stage", NUM_KILLS)
def test_a_training_killed_at_random_moments_ends_as_an_undisturbed_one(workspace, stage):
    """It is killed with SIGKILL again and again until it is through."""
    if stage == "train_labeller":
        prepare_in_process(workspace, training__epochs=4, training__patience=3)
        out = LABELLER
    else:
        write_caption_dataset(workspace / "pictures")
        write_params(workspace)
        for earlier in ("prepare_captions", "finetune_image_encoder", "encode_images"):
            assert run_stage(earlier).wait(200) == 0
        out = CAPTIONER
    start = time.monotonic()
    assert run_stage(stage).wait(200) == 0
    seconds = time.monotonic() - start
    shutil.move(out, "whole")
    generator, num_kills = random.Random(0), 0
    while num_kills < NUM_KILLS[stage]:
        shutil.rmtree(out, ignore_errors=True)
        while True:
            process = run_stage(stage, start_new_session=True)
            try:
                assert process.wait(generator.uniform(0.3, 1.1) * seconds) == 0
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                num_kills += 1
        runs, models = runs_and_models()
        check_same(out, Path("whole"), runs, models)
    finished = [run for run in runs if run.info.status == "FINISHED"]
    assert len(finished) == len(runs), "each round has one run"
