"""A project folder that was renamed or copied still works: artifacts and models are found where it is now."""

import shutil
from pathlib import Path

import mlflow
import pytest

from pipeline.checkpoints.storage import SPEC, WEIGHTS
from pipeline.errors import InputError
from pipeline.tracking import store
from pipeline.tracking.connection import EXPERIMENT, connect
from pipeline.tracking.models import LABELS_SIGNATURE, fetch_checkpoint
from pipeline.tracking.relocation import relocate


def log_run(checkpoint: Path) -> str:
    """Make a run with a text and a model."""
    with store.open_run(None, name="first") as run_id:
        mlflow.log_text("curves", "curves.txt")
        store.log_model(run_id, checkpoint, name="labeller", example="a", signature=LABELS_SIGNATURE)
        mlflow.register_model(f"runs:/{run_id}/labeller", "registered")
    return run_id


def go_to(folder: Path, monkeypatch) -> None:
    """Continue as a new process in a folder: mlflow sets the variable for the processes that it starts."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


@pytest.fixture
def project(workspace, monkeypatch):
    """A project in a folder whose name needs quotes in a URI."""
    folder = workspace / "the first 100%"
    folder.mkdir()
    shutil.copy(workspace / "mlflow.db", folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("how", ["renamed", "copied", "copied and the first is gone", "below the first"])
def test_a_project_that_was_moved_goes_on(project, feature_model, workspace, monkeypatch, how):
    run_id = log_run(feature_model)
    second = workspace / "second" if how != "below the first" else project / "second"
    if how == "renamed":
        project.rename(second)
    else:
        shutil.copytree(project, second, ignore=shutil.ignore_patterns("second"))
        if how == "copied and the first is gone":
            shutil.rmtree(project)
    before = sorted(project.rglob("*")) if project.exists() and how == "copied" else None
    go_to(second, monkeypatch)
    for uri in (f"runs:/{run_id}/labeller", "models:/registered/1"):
        found = fetch_checkpoint(uri)
        assert second in found.parents or not found.is_relative_to(workspace)
        assert {path.name for path in found.iterdir()} == {SPEC, WEIGHTS}
        assert (found / WEIGHTS).read_bytes() == (feature_model / WEIGHTS).read_bytes()
    with store.open_run(None, name="second") as new:
        mlflow.log_text("more", "more.txt")
    assert {path.parts[-3] for path in (second / "mlartifacts").rglob("more.txt")} == {new}
    assert mlflow.get_run(run_id).info.artifact_uri.startswith(f"{second.as_uri()}/mlartifacts/")
    if how == "renamed":
        assert not project.exists()
    elif before:
        assert sorted(project.rglob("*")) == before


def test_artifacts_that_others_placed_stay_where_they_are(project, workspace):
    connect()
    mlflow.MlflowClient().create_experiment("own", artifact_location="s3://bucket/mlartifacts")
    relocate(project, "s3://bucket/mlartifacts")
    relocate(project, (workspace / "elsewhere").as_uri())
    assert mlflow.get_experiment_by_name("own").artifact_location == "s3://bucket/mlartifacts"
    first = mlflow.get_experiment_by_name(EXPERIMENT).artifact_location
    assert first == (project / "mlartifacts").as_uri()


def test_only_the_database_moved_keeps_the_artifacts_where_they_are(project, feature_model, workspace, monkeypatch):
    run_id = log_run(feature_model)
    second = workspace / "second"
    second.mkdir()
    shutil.copy(project / "mlflow.db", second)
    go_to(second, monkeypatch)
    assert fetch_checkpoint(f"runs:/{run_id}/labeller").is_dir()
    assert mlflow.get_experiment_by_name(EXPERIMENT).artifact_location.startswith(project.as_uri())


def test_a_database_that_cannot_be_corrected_is_explained(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"")
    (tmp_path / "mlartifacts").mkdir()
    with pytest.raises(InputError, match=r"says that its artifacts are at file:///old/mlartifacts, expected"):
        relocate(tmp_path, "file:///old/mlartifacts")
