"""The runs: their scores and how they end."""

import pytest
from mlflow import MlflowClient

from pipeline.tracking import store as tracking_store
from pipeline.tracking.connection import has_run


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
