"""The place of the store, which is made whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from alembic.ddl.impl import DefaultImpl
from import_graph import ROOT
from made_data import Killed
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.errors import InputError
from pipeline.tracking import store as tracking_store
from pipeline.tracking.connection import address, connect, has_run, store_folder, without_password
from pipeline.tracking.models import fetch_checkpoint
from pipeline.tracking.searches import read_search


def test_the_store_is_in_the_repository_even_from_within_a_copy_of_dvc(workspace, monkeypatch):
    assert store_folder() == Path.cwd()
    copy = workspace / ".dvc" / "tmp" / "exps" / "tmp1"
    copy.mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(workspace))
    monkeypatch.chdir(copy)
    with tracking_store.open_run(None, name="x") as run_id:
        pass
    assert not list(copy.iterdir())
    run = MlflowClient().get_run(run_id)
    assert run.info.artifact_uri.startswith((workspace / "mlartifacts").as_uri())


@pytest.mark.parametrize("num_steps", [0, 1, 9])
def test_a_store_is_made_whole_after_a_process_was_killed_while_it_made_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, num_steps: int
) -> None:
    Path("mlflow.db").unlink(missing_ok=True)
    add_column, steps = DefaultImpl.add_column, iter(range(1000))

    def kill(*arguments: object, **options: object) -> None:
        if next(steps) == num_steps:
            raise Killed
        add_column(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(DefaultImpl, "add_column", kill)
        with pytest.raises(Killed):
            connect()
    assert not Path("mlflow.db").exists()
    assert connect()
    assert not list(Path().glob(".mlflow*"))


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ("http://ann:secret@tracker:5000", "http://tracker:5000"),
        ("http://ann:sec/ret@x@tracker:5000", "http://tracker:5000"),
        ("postgresql+psycopg2://ann:secret@tracker/runs", "postgresql+psycopg2://tracker/runs"),
        ("http://tracker:5000", "http://tracker:5000"),
        ("postgresql://tracker/runs?user=ann&password=secret", "postgresql://tracker/runs"),
        ("http:/ann:secret@tracker", "http:/tracker"),
        ("ann:secret@tracker:5000", "tracker:5000"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
    ],
)
def test_the_address_is_shown_without_a_password(workspace, monkeypatch, named, shown):
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: named)
    assert address() == shown
    assert without_password(f"API request to {named}/api failed") == f"API request to {shown}/api failed"


@pytest.mark.parametrize("place", ["127.0.0.1:9", "tracker:99999"])
@pytest.mark.parametrize("search", [lambda: fetch_checkpoint("models:/typo@champion"), lambda: read_search("typo")])
def test_no_message_has_the_password_of_a_server(workspace, monkeypatch, place, search):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@{place}")
    with pytest.raises(InputError) as raised:
        search()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "named",
    ["tracker:5000", "postgresql://ann:secret@127.0.0.1:9/runs", "sqlite:////dev/null/f.db", "http://ann:secret@[::1"],
)
def test_an_address_that_names_no_store_is_refused_in_words(workspace, monkeypatch, named):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI names .* which cannot be used .*: expected") as raised:
        connect()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("code", ["TEMPORARILY_UNAVAILABLE", "BAD_REQUEST", "INTERNAL_ERROR"])
def test_a_busy_store_does_not_say_that_a_run_is_gone(workspace, monkeypatch, code):
    with tracking_store.open_run(None, name="x") as run_id:
        pass
    assert has_run(run_id)
    assert not has_run("0" * 32)

    def fail(run_id):
        raise MlflowException("database is locked", error_code=code)

    monkeypatch.setattr(mlflow, "get_run", fail)
    with pytest.raises(InputError, match="cannot say whether it has run"):
        has_run(run_id)


def test_a_run_is_resumed_in_its_own_experiment(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mice")
    with tracking_store.open_run(None, name="x") as run_id:
        pass
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    with tracking_store.open_run(run_id, name="x") as resumed:
        assert resumed == run_id
    with tracking_store.open_run(None, name="y") as other:
        pass
    assert MlflowClient().get_run(other).info.experiment_id != MlflowClient().get_run(run_id).info.experiment_id


@pytest.mark.parametrize(("said", "is_disabled"), [(None, True), ("false", False)])
def test_mlflow_reports_nothing_to_its_makers_unless_asked_to(monkeypatch, said, is_disabled):
    names = ("CI", "PYTEST_CURRENT_TEST", "MLFLOW_DISABLE_TELEMETRY")  # each would turn it off too
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": said} if said else {}
    program = (
        "import pipeline.tracking.connection; from mlflow.telemetry.utils import is_telemetry_disabled as is_disabled;"
        " print(is_disabled())"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == [str(is_disabled)], done.stderr
