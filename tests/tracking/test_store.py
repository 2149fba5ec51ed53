"""The tracker: valid names, the store that it writes to, and missing models."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.ddl.impl import DefaultImpl
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data import Killed
from mlflow import MlflowClient
from mlflow.utils.validation import _validate_metric_name

from pipeline.errors import InputError
from pipeline.tracking import store as tracking_store
from pipeline.tracking.connection import connect, has_run, store_folder
from pipeline.tracking.description import flatten_params
from pipeline.tracking.models import fetch_checkpoint
from pipeline.tracking.names import LONGEST_METRIC_NAME, metric_names
from pipeline.tracking.searches import known_searches, read_search, runs_of_model


@given(st.lists(st.text(max_size=300).map("test/class_f1/{}".format), unique=True, max_size=8))
@settings(deadline=None, max_examples=100)
def test_any_class_name_becomes_a_metric_name_of_its_own(names):
    taken = metric_names(names)
    assert list(taken) == names
    assert len(set(taken.values())) == len(names)
    for name in taken.values():
        _validate_metric_name(name)
        assert len(name) <= LONGEST_METRIC_NAME


def test_plain_names_stay_unchanged():
    names = ["val/frame_accuracy_pooled", "test/class_f1/moves_left", "train_loss", "f1/zieht nach oben"]
    assert metric_names(names) == {name: name for name in names}


def test_scores_of_odd_classes_are_logged(workspace):
    with tracking_store.open_run(None, name="x") as run_id:
        tracking_store.log_scores({"f1/a?": 1.0, "f1/a!": 2.0, "f1/..": 3.0, "f1/a//b": 4.0})
    metrics = MlflowClient().get_run(run_id).data.metrics
    assert sorted(metrics.values()) == [1, 2, 3, 4]


def test_an_exception_marks_the_run_as_failed(workspace):
    with pytest.raises(ZeroDivisionError), tracking_store.open_run(None, name="x") as run_id:
        raise ZeroDivisionError
    assert MlflowClient().get_run(run_id).info.status == "FAILED"
    assert has_run(run_id)
    assert not has_run("0" * 32)


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


def test_a_missing_model_is_refused(workspace, monkeypatch):
    with pytest.raises(InputError, match="models:/nothing/1: MLflow has no such model"):
        fetch_checkpoint("models:/nothing/1")
    Path("mlflow.db").unlink()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # mlflow sets it for the processes that it starts
    with pytest.raises(InputError, match=r"there is no MLflow store .*mlflow.db: run from the repository, or set"):
        fetch_checkpoint("models:/nothing/1")
    assert not Path("mlflow.db").exists()


def test_nested_settings_become_flat_parameters():
    assert flatten_params({"seed": 0, "a": {"b": {"c": [1, 2]}, "d": None}}) == {
        "seed": 0,
        "a.b.c": [1, 2],
        "a.d": None,
    }


def tags_of(run_id: str) -> dict[str, str]:
    return MlflowClient().get_run(run_id).data.tags


def make_run(*, name: str = "labeller-gru-x", search: str | None = None, **params: object) -> str:
    """Make a run of a training in the store."""
    with tracking_store.open_run(None, name=name, search=search) as run_id:
        tracking_store.log_start(params, tracking_store.Datasets("x", "f00d", Path("x"), {}), model=name.split("-")[0])
    return run_id


def test_the_runs_of_one_search_are_children_of_one_run(workspace):
    first, second, other = (make_run(search=search) for search in ("cells", "cells", "rates"))
    alone = make_run()
    searches = known_searches()
    assert searches.keys() == {"cells", "rates"}
    assert tags_of(first)["mlflow.parentRunId"] == tags_of(second)["mlflow.parentRunId"] == searches["cells"]
    assert tags_of(other)["mlflow.parentRunId"] == searches["rates"]
    assert "mlflow.parentRunId" not in tags_of(alone)
    parent = MlflowClient().get_run(searches["cells"])
    assert (parent.info.run_name, parent.info.status) == ("cells", "FINISHED")
    assert parent.info.experiment_id == MlflowClient().get_run(first).info.experiment_id
    assert len(read_search("cells")) == 2


def test_a_resumed_run_stays_in_its_search(workspace):
    run_id = make_run(search="cells")
    with tracking_store.open_run(run_id, search="rates") as again:
        assert again == run_id
    assert known_searches().keys() == {"cells"}
    assert tags_of(run_id)["mlflow.parentRunId"] == known_searches()["cells"]


@pytest.mark.slow
def test_workers_that_start_at_the_same_time_make_one_store_and_one_search(workspace):
    Path("mlflow.db").unlink()
    program = """
from pipeline.tracking import store
with store.open_run(None, search="cells"):
    pass
"""
    workers = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for worker in workers:
        _, printed = worker.communicate(timeout=120)
        assert worker.returncode == 0, printed
    connect()
    runs = MlflowClient().search_runs(["1"])
    assert sorted(run.info.run_name == "cells" for run in runs) == [False, False, True]
    assert len(read_search("cells")) == 2


def runs_with_scores(run_id: str, search: str | None) -> list[str]:
    return runs_of_model(run_id, search, results=Path("results"))


def test_a_model_trained_before_a_search_gets_a_child_run_in_the_search(workspace, monkeypatch):
    inside = make_run(search="cells", seed=0)
    assert runs_with_scores(inside, "cells") == [inside]
    before = make_run(seed=3, a={"b": None})
    assert runs_with_scores(before, None) == [before]
    monkeypatch.setenv("DVC_EXP_NAME", "brave-fox")
    trained, child = runs_with_scores(before, "cells")
    assert trained == before
    assert "mlflow.parentRunId" not in tags_of(before)
    tags = tags_of(child)
    assert tags["mlflow.parentRunId"] == known_searches()["cells"]
    assert tags["trained_by"] == before
    assert tags["dvc_experiment"] == "brave-fox"
    assert tags["data_fingerprint"] == "f00d"
    assert MlflowClient().get_run(child).data.params == {"seed": "3", "a.b": "None"}
    assert runs_with_scores(before, "cells") == [before, child], "a second evaluation uses the same child run"
    assert runs_with_scores(inside, "rates") == [inside, runs_with_scores(inside, "rates")[1]]
    runs = read_search("cells")
    assert [(run.name, run.model, run.params["seed"]) for run in runs] == [
        ("labeller-gru-x", "labeller", "0"),
        ("brave-fox", "labeller", "3"),
    ]


def test_a_missing_search_is_refused(workspace, monkeypatch):
    with pytest.raises(InputError, match=r"search cells: MLflow has no run of this name .*, it has none: start one"):
        read_search("cells")
    make_run(search="rates")
    with pytest.raises(InputError, match=r"it has rates: start one with `dvc exp run --queue -S search=it's"):
        read_search("it's")
    Path("mlflow.db").unlink()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(InputError, match=r"search rates: there is no MLflow store"):
        read_search("rates")
