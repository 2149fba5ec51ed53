"""What the tracker is told: names that it takes, the store that it writes to, models that it does not have."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.utils.validation import _validate_metric_name

from pipeline.errors import InputError
from pipeline.training import tracking


@given(st.lists(st.text(max_size=300).map("test/class_f1/{}".format), unique=True, max_size=8))
@settings(deadline=None, max_examples=100)
def test_any_class_name_becomes_a_metric_name_of_its_own(names):
    taken = tracking.metric_names(names)
    assert list(taken) == names
    assert len(set(taken.values())) == len(names)
    for name in taken.values():
        _validate_metric_name(name)
        assert len(name) <= tracking.LONGEST_METRIC_NAME


def test_plain_names_stay():
    names = ["val/frame_accuracy_pooled", "test/class_f1/moves_left", "train_loss", "f1/zieht nach oben"]
    assert tracking.metric_names(names) == {name: name for name in names}


def test_scores_of_odd_classes_are_logged(workspace):
    with tracking.open_run(None, name="x") as run_id:
        tracking.log_scores({"f1/a?": 1.0, "f1/a!": 2.0, "f1/..": 3.0, "f1/a//b": 4.0})
    metrics = MlflowClient().get_run(run_id).data.metrics
    assert sorted(metrics.values()) == [1, 2, 3, 4]


def test_an_exception_marks_the_run_as_failed(workspace):
    with pytest.raises(ZeroDivisionError), tracking.open_run(None, name="x") as run_id:
        raise ZeroDivisionError
    assert MlflowClient().get_run(run_id).info.status == "FAILED"
    assert tracking.has_run(run_id)
    assert not tracking.has_run("0" * 32)


def test_the_store_lies_in_the_repository_also_from_within_a_copy_of_dvc(workspace, monkeypatch):
    assert tracking.store_folder() == Path.cwd()
    copy = workspace / ".dvc" / "tmp" / "exps" / "tmp1"
    copy.mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(workspace))
    monkeypatch.chdir(copy)
    with tracking.open_run(None, name="x") as run_id:
        pass
    assert not list(copy.iterdir())
    run = MlflowClient().get_run(run_id)
    assert run.info.artifact_uri.startswith((workspace / "mlartifacts").as_uri())


def test_a_model_that_is_not_there(workspace, monkeypatch):
    with pytest.raises(InputError, match="models:/nothing/1: MLflow has no such model"):
        tracking.fetch_checkpoint("models:/nothing/1")
    Path("mlflow.db").unlink()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # which mlflow sets for the processes that it starts
    with pytest.raises(InputError, match=r"there is no MLflow store .*mlflow.db: run from the repository, or set"):
        tracking.fetch_checkpoint("models:/nothing/1")
    assert not Path("mlflow.db").exists()


def test_nested_settings_become_flat_parameters():
    assert tracking.flatten_params({"seed": 0, "a": {"b": {"c": [1, 2]}, "d": None}}) == {
        "seed": 0,
        "a.b.c": [1, 2],
        "a.d": None,
    }
