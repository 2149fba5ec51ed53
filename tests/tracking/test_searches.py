"""Searches: runs below one run, and models that were trained before."""

import subprocess
import sys
from pathlib import Path

import pytest
from made_ports import free_port
from mlflow import MlflowClient

from pipeline.errors import InputError
from pipeline.tracking import store as tracking_store
from pipeline.tracking.connection import connect
from pipeline.tracking.searches import known_searches, read_search, runs_of_model


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


def test_without_a_server_the_scores_of_an_evaluation_are_in_its_results_alone(workspace, monkeypatch, capsys):
    run_id = make_run()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert runs_with_scores(run_id, "cells") == []
    shown = capsys.readouterr().err
    assert "MLflow does not answer" in shown
    assert "The scores are in results; evaluate again to have them in MLflow" in shown
