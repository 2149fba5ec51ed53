"""Models that are not there."""

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.tracking.models import fetch_checkpoint


def test_a_missing_model_is_refused(workspace, monkeypatch):
    with pytest.raises(InputError, match="models:/nothing/1: MLflow has no such model"):
        fetch_checkpoint("models:/nothing/1")
    Path("mlflow.db").unlink()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # mlflow sets it for the processes that it starts
    with pytest.raises(InputError, match=r"there is no MLflow store .*mlflow.db: run from the repository, or set"):
        fetch_checkpoint("models:/nothing/1")
    assert not Path("mlflow.db").exists()
