"""The registry: versions, and the champion, which only a better score replaces."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service.utils import _get_store

from pipeline.errors import InputError
from pipeline.tracking import models, store
from pipeline.tracking.connection import connect


@pytest.fixture
def fast_models(workspace, monkeypatch):
    """Models without files: the registry does not look at them."""

    def write(run_id: str, checkpoint: Path, *, name: str, **options: object) -> None:
        client = MlflowClient()
        client.finalize_logged_model(models.own_model(client, run_id, name).model_id, "READY")

    monkeypatch.setattr("pipeline.tracking.writes.write_model", write)


def train(checkpoint: Path, scores: dict[str, float], *, monitor: str = "f1_at_50", data: str = "f00d") -> str:
    """Log and register a training of which these are the scores of the best epoch."""
    with store.open_run(None, name="labeller-gru-x") as run_id:
        store.log_start({"seed": 0}, store.Datasets("x", data, Path("x"), {}), model="labeller")
        signature = models.LABELS_SIGNATURE
        store.log_model(run_id, checkpoint, name="labeller", example="a.npy", signature=signature)
        store.log_best_scores(run_id, {"train_loss": 9.0} | {f"val_{name}": value for name, value in scores.items()})
        store.register_model(run_id, "labeller", registered="tiny", monitor=monitor)
    return run_id


def champion() -> int:
    return int(MlflowClient().get_model_version_by_alias("tiny", "champion").version)


@pytest.mark.usefixtures("fast_models")
def test_only_a_better_score_moves_the_champion_and_the_output_says_by_what(feature_model, capsys):
    train(feature_model, {"f1_at_50": 60.0, "loss": 0.5})
    assert capsys.readouterr().out == (
        "tiny: registered as version 1, which is now the champion (f1_at_50 on the validation split: 60; there was no"
        " champion)\n"
    )
    f1, loss = "f1_at_50 on the validation split", "loss on the validation split"
    for scores, monitor, best, said in (
        ({"f1_at_50": 60.0}, "f1_at_50", 1, f"version 1 stays the champion ({f1}: 60, against 60 of version 1)"),
        ({"f1_at_50": 59.0, "loss": 0.1}, "f1_at_50", 1, "version 1 stays the champion"),
        ({"f1_at_50": 50.0, "loss": 0.3}, "loss", 4, f"now the champion ({loss}: 0.3, against 0.5 of version 1)"),
        ({"f1_at_50": 70.0, "loss": 0.9}, "loss", 4, f"version 4 stays the champion ({loss}: 0.9"),
        ({"f1_at_50": 71.0}, "f1_at_50", 6, f"now the champion ({f1}: 71, against 50 of version 4)"),
        ({}, "f1_at_50", 6, f"version 7; it has no {f1}, so version 6 stays the champion"),
        ({"loss": 0.1}, "loss", 6, f"version 8; version 6 stays the champion, which has no {loss} to compare with"),
    ):
        train(feature_model, scores, monitor=monitor)
        assert said in capsys.readouterr().out
        assert champion() == best
    train(feature_model, {"f1_at_50": 99.0}, data="beef")
    assert "against 71 of version 6, on other data)" in capsys.readouterr().out
    assert champion() == 9


@pytest.mark.usefixtures("fast_models")
def test_a_champion_whose_run_is_gone_for_good_stays(feature_model, capsys):
    run_id = train(feature_model, {"f1_at_50": 60.0})
    MlflowClient().delete_run(run_id)
    _get_store()._hard_delete_run(run_id)  # as `mlflow gc` does
    train(feature_model, {"f1_at_50": 99.0})
    assert "version 1 stays the champion, which has no f1_at_50" in capsys.readouterr().out
    assert champion() == 1


@pytest.mark.usefixtures("fast_models")
def test_a_score_that_is_no_number_does_not_count(feature_model, capsys):
    train(feature_model, {"f1_at_50": float("nan")})
    assert "it has no f1_at_50 on the validation split, so there is still no champion" in capsys.readouterr().out


@pytest.mark.usefixtures("fast_models")
def test_a_model_is_registered_once_and_can_be_named_later(feature_model, capsys):
    run_id = train(feature_model, {"f1_at_50": 60.0})
    store.register_model(run_id, "labeller", registered="tiny", monitor="f1_at_50")
    assert "version 1 is the champion already" in capsys.readouterr().out
    store.register_model(run_id, "labeller", registered="other name", monitor="f1_at_50")
    store.register_model(run_id, "labeller", registered=None, monitor="f1_at_50")
    client = MlflowClient()
    assert sorted(model.name for model in client.search_registered_models()) == ["other name", "tiny"]
    assert [version.version for version in client.search_model_versions("name = 'tiny'")] in (["1"], [1])


@pytest.mark.usefixtures("fast_models")
def test_mlflow_ranks_the_models_by_their_scores(feature_model):
    by_score = {train(feature_model, {"f1_at_50": score}): score for score in (60.0, 80.0, 70.0)}
    with store.open_run(max(by_score, key=by_score.__getitem__)):
        store.log_scores({"test/f1_at_50": 75.0})  # an evaluation's
    order = [{"field_name": "metrics.best/val_f1_at_50", "ascending": False}]
    ranked = MlflowClient().search_logged_models([connect()], order_by=order)
    assert [by_score[model.source_run_id] for model in ranked] == [80.0, 70.0, 60.0]
    assert {metric.key: metric.value for metric in ranked[0].metrics} == {
        "best/val_f1_at_50": 80.0,
        "test/f1_at_50": 75.0,
    }


@pytest.mark.usefixtures("fast_models")
def test_a_name_without_a_champion_is_explained(feature_model):
    train(feature_model, {})
    with pytest.raises(InputError, match="models:/tiny@champion: MLflow has no such model"):
        models.fetch_checkpoint("models:/tiny@champion")
