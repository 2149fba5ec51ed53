"""The place of the store, which is made whole or not at all."""

from pathlib import Path

import pytest
from alembic.ddl.impl import DefaultImpl
from made_data import Killed
from mlflow import MlflowClient

from pipeline.tracking import store as tracking_store
from pipeline.tracking.connection import connect, store_folder


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
