"""Training and labelling with a real tracking server, whose artifacts are on S3; and without it, when it dies."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_data import write_feature_dataset, write_params
from made_stores import BUCKET, serving_store
from made_trackers import Server, serving_tracker
from made_training import open_training_data, read_history
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.cli.main import main
from pipeline.config.params import load_params
from pipeline.tracking import store
from pipeline.training.labeller import train

pytestmark = pytest.mark.slow


@pytest.fixture
def server(workspace: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with the ready features of a small data set in the current folder."""
    write_feature_dataset(workspace / "dataset", num_videos=10)
    write_params(workspace, training__epochs=6, tracking__register_labeller="tiny")
    folder = workspace.with_name("server")
    with serving_store(), serving_tracker(folder, f"s3://{BUCKET}/mlflow", store=empty_store) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        yield server


def runs(server: Server) -> list[Run]:
    """Return the runs, the newest first."""
    client = MlflowClient(server.address)
    found = client.get_experiment_by_name("framescribe")
    assert found is not None
    return list(client.search_runs([found.experiment_id]))


def logged(server: Server, run: Run) -> tuple[object, ...]:
    """Return all that a training told of itself, but its id and times."""
    client = MlflowClient(server.address)
    names = [name for name in run.data.metrics if not name.startswith("system/")]
    curves = {name: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)] for name in names}
    (output,) = run.outputs.model_outputs
    return (
        curves,
        run.data.params,
        {name: value for name, value in run.data.tags.items() if name in ("model", "git_commit", "data_fingerprint")},
        {(data.dataset.name, data.dataset.digest) for data in run.inputs.dataset_inputs},
        [file.path for file in client.list_artifacts(run.info.run_id)],
        run.info.status,
        client.get_logged_model(output.model_id).status,
    )


def train_with(monkeypatch: pytest.MonkeyPatch, out: str, events: dict[int, Callable[[], None]]) -> None:
    """Train into `out`; before an epoch is logged, what `events` has for it happens."""
    log_epoch = store.log_epoch

    def log(run_id: str, epoch: int, scores: dict[str, float]) -> None:
        events.get(epoch, lambda: None)()
        log_epoch(run_id, epoch, scores)

    with monkeypatch.context() as patch:
        patch.setattr(store, "log_epoch", log)
        train(load_params(), open_training_data(), Path(out), name="labeller")


def test_a_model_trained_with_a_server_labels_by_its_name(server, monkeypatch, capsys):
    train_with(monkeypatch, "model", {})
    assert not Path("mlartifacts").exists()
    (run,) = runs(server)
    assert logged(server, run)[-2:] == ("FINISHED", "READY")
    assert "tiny: registered as version 1, which is now the champion" in capsys.readouterr().out
    written = []
    models = ("model", "models:/tiny@champion", "models:/tiny/1", f"runs:/{run.info.run_id}/labeller")
    for number, model in enumerate(models):
        assert main(["label", "dataset/features", "--model", model, "--out", f"labels{number}"]) == 0, (
            capsys.readouterr()
        )
        written.append({path.name: path.read_bytes() for path in sorted(Path(f"labels{number}").glob("*.csv"))})
    assert len(written[0]) > 10
    assert written[1:] == [written[0]] * 3
    requests = Path("../server/log.txt").read_text()
    assert "GET /api/2.0/mlflow-artifacts/artifacts" in requests
    assert not re.search(r"GET \S+/artifacts/code", requests)  # the code of a model is for servers of models
    assert main(["label", "dataset/features", "--model", "models:/tiny@nobody", "--out", "x"]) == 2
    assert "models:/tiny@nobody: MLflow has no such model at http://127.0.0.1" in capsys.readouterr().err


def test_a_training_outlives_its_server_which_gets_everything_when_it_is_back(server, monkeypatch, capsys):
    train_with(monkeypatch, "undisturbed", {})
    capsys.readouterr()
    train_with(monkeypatch, "model", {1: server.kill, 4: server.start})
    shown = capsys.readouterr().err
    said = rf"warning: MLflow at {server.address} does not answer \(.+\): the work goes on"
    assert len(re.findall(said, shown)) == 1, shown
    assert shown.count(f"note: MLflow at {server.address} answers again, and has got what run") == 1
    newest, oldest = runs(server)
    assert logged(server, newest) == logged(server, oldest)
    assert Path("model/weights.safetensors").read_bytes() == Path("undisturbed/weights.safetensors").read_bytes()
    assert not list(Path("mlflow_unsent").glob("*"))


def test_a_training_whose_server_stays_dead_is_whole_and_is_logged_later(server, monkeypatch, capsys):
    train_with(monkeypatch, "undisturbed", {})
    capsys.readouterr()
    train_with(monkeypatch, "model", {2: server.kill})
    shown = capsys.readouterr().err
    assert "still does not answer (Connection refused)" in shown
    assert "and so does `framescribe log`" in shown
    assert Path("model/weights.safetensors").read_bytes() == Path("undisturbed/weights.safetensors").read_bytes()
    assert main(["log"]) == 2
    assert "MLflow does not answer (Connection refused)" in capsys.readouterr().err
    server.start()
    assert main(["log"]) == 0
    assert "tiny: registered as version 2; version 1 stays the champion" in capsys.readouterr().out
    newest, oldest = runs(server)
    assert logged(server, newest) == logged(server, oldest)
    assert len(read_history(Path("model"))) == 6
    assert main(["log"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "MLflow has got everything"
