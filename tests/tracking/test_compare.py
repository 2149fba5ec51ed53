"""The tables of a search: what they show of its runs, and over which runs they average."""

import mlflow
import numpy as np
import pytest

from pipeline.cli.main import main
from pipeline.tracking import compare, searches, store
from pipeline.tracking.compare import COLUMNS, choices, format_runs
from pipeline.tracking.searches import SearchRun, known_searches

F1, ACCURACY = COLUMNS["val F1@50"], COLUMNS["test accuracy"]
SETTINGS = {"seed": "0", "dataset.fold": "0", "labeller.cell": "gru", "training.epochs": "3"}


def run_of(
    name: str, *, model: str = "labeller", scores: tuple[float, float] | None = None, **changes: str
) -> SearchRun:
    """Make a run with `changes` of settings by section__key. Its scores are F1@50 on val and accuracy on test."""
    params = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    return SearchRun(name, model, params, dict(zip((F1, ACCURACY), scores, strict=True)) if scores else {})


def table_of(runs: list[SearchRun]) -> list[list[str]]:
    return [line.split() for line in format_runs("labeller", runs, ["val F1@50", "test accuracy"]).splitlines()]


def test_the_best_run_on_validation_is_first_with_the_settings_that_differ():
    runs = [
        run_of("a", scores=(50.0, 90.0), labeller__cell="lstm"),
        run_of("b", labeller__cell="rnn"),
        run_of("c", scores=(60.0, 20.0), labeller__cell="gru"),
    ]
    title, header, _, *rows = table_of(runs)
    assert " ".join(title) == "labeller: 3 runs, 2 of them evaluated"
    assert header == ["labeller.cell", "run", "val", "F1@50", "test", "accuracy"]
    assert rows == [
        ["gru", "c", "60.0", "20.0"],
        ["lstm", "a", "50.0", "90.0"],
        ["rnn", "b", "-", "-"],
        ["mean", "55.0", "55.0"],
        ["deviation", "7.1", "49.5"],
    ]


def test_without_a_validation_split_rows_are_ordered_by_their_settings():
    runs = [run_of(str(fold), scores=(0.0, 10.0 * fold), dataset__fold=str(fold)) for fold in (2, 0, 1)]
    lines = format_runs("labeller", runs, ["test accuracy"]).splitlines()
    assert [line.split()[0] for line in lines[3:6]] == ["0", "1", "2"]


def test_each_combination_is_averaged_over_its_folds_and_seeds():
    generator = np.random.default_rng(0)
    scores = {
        (cell, fold, seed): tuple(generator.uniform(0, 100, 2))
        for cell in ("gru", "lstm")
        for fold in "01"
        for seed in "78"
    }
    runs = [
        run_of(f"{cell}{fold}{seed}", scores=of_run, labeller__cell=cell, dataset__fold=fold, seed=seed)
        for (cell, fold, seed), of_run in scores.items()
    ]
    text = format_runs("labeller", runs, ["val F1@50", "test accuracy"])
    per_choice = [line.split() for line in text.split("\n\n")[1].splitlines()]
    assert per_choice[0] == ["labeller.cell", "runs", "val", "F1@50", "test", "accuracy"]
    expected = {}
    for cell in ("gru", "lstm"):
        of_cell = np.array([of_run for key, of_run in scores.items() if key[0] == cell])
        means, deviations = of_cell.mean(axis=0), of_cell.std(axis=0, ddof=1)
        expected[cell] = [
            f"{means[0]:.1f}",
            "±",
            f"{deviations[0]:.1f}",
            f"{means[1]:.1f}",
            "±",
            f"{deviations[1]:.1f}",
        ]
    assert {row[0]: row[2:] for row in per_choice[2:]} == expected
    assert {row[1] for row in per_choice[2:]} == {"4"}
    assert float(per_choice[2][2]) > float(per_choice[3][2]), "the best combination is first"


def test_settings_that_only_follow_from_the_fold_are_not_shown():
    folds = [run_of(fold, dataset__fold=fold, labeller__pool_frames=str(3 + int(fold))) for fold in "012"]
    assert choices(folds) == []
    both = [run._replace(params={**run.params, "training.epochs": epochs}) for run in folds for epochs in ("3", "9")]
    assert choices(both) == ["training.epochs"]
    assert "labeller.pool_frames" not in format_runs("labeller", both, ["val F1@50"])


def logged(monkeypatch, runs: list[SearchRun]) -> tuple[str, dict[str, float]]:
    """The text that `compare` gives, and the metrics that it logs, for a search with these runs."""
    kept: dict[str, float] = {}
    monkeypatch.setattr(searches, "read_search", lambda search: runs)
    monkeypatch.setattr(searches, "log_comparison", lambda search, scores, text: kept.update(scores))
    return compare.compare("cells"), kept


def test_the_last_evaluated_run_counts_among_those_with_the_same_settings(monkeypatch):
    runs = [
        run_of("first", scores=(10.0, 10.0), encoder_fingerprint="a"),
        run_of("second", scores=(20.0, 30.0), encoder_fingerprint="b"),
        run_of("killed"),
        run_of("baseline", model="baseline", scores=(1.0, 2.0)),
        run_of("encoder", model="frame_classifier"),
    ]
    text, scores = logged(monkeypatch, runs)
    assert scores == {f"{model}/{name}_mean": value for model, name, value in (
        ("labeller", F1, 20.0), ("labeller", ACCURACY, 30.0), ("baseline", F1, 1.0), ("baseline", ACCURACY, 2.0)
    )}  # fmt: skip
    assert "second" in text
    assert "first" not in text
    assert "killed" not in text
    assert "frame_classifier: 1 run, 0 of them evaluated" in text
    assert "encoder_fingerprint" not in text


def test_the_command_prints_the_table_and_refuses_a_missing_search(workspace, capsys):
    for cell in ("gru", "lstm"):
        with store.open_run(None, name=f"labeller-{cell}", search="cells"):
            store.log_start({"labeller": {"cell": cell}}, store.Datasets("x", "f", workspace, {}), model="labeller")
            store.log_scores({F1: 50.0 if cell == "gru" else 70.0})
    assert main(["compare", "cells"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[-1] for line in shown.splitlines()[3:]] == ["70.0", "50.0", "60.0", "14.1"]
    assert main(["compare", "sells"]) == 2
    assert "search sells: MLflow has no run of this name" in capsys.readouterr().err
    run = mlflow.get_run(known_searches()["cells"])
    assert run.data.metrics == {f"labeller/{F1}_mean": 60.0, f"labeller/{F1}_deviation": pytest.approx(200**0.5)}
