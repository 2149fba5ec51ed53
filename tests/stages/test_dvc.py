"""The pipeline by the commands of DVC, in a copy of the repository, on a tiny data set of ready features."""

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from import_graph import ROOT
from made_data import write_feature_dataset
from omegaconf import OmegaConf

pytestmark = pytest.mark.slow

STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
TINY = """# @package _global_
defaults:
  - override /encoder: given
  - override /training: tiny
dataset: {name: tiny, root: data/tiny, background: idle, independent_classes: false, val_fraction: 0.2,
          test_fraction: 0.2, folds: null, fold: 0, skip_broken: false, reader: auto, frame_rate: null,
          pixels: {crop: null, crop_unit: fractions, size: null, color: rgb}}
"""
TRAINING = "defaults: [default]\nepochs: 3\nbatch_size: 4\nwindow_frames: 16\npatience: null\ndevice: cpu\n"


class Repository:
    """A clone with its own store, whose default data set is the tiny one."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder = folder
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))
        }
        self.environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(folder.with_name("site_cache")),
            "HOME": str(folder.with_name("home")),
            **{
                f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
            },
        }
        self._copy(store)

    def _copy(self, store: Path) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).exists() and name != "dvc.lock":
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.folder / name)
        shutil.copy(store, self.folder / "mlflow.db")
        Path(self.environment["HOME"]).mkdir()
        write_feature_dataset(self.folder / "data" / "tiny", num_videos=10)
        (self.folder / "configs" / "dataset" / "tiny.yaml").write_text(TINY)
        (self.folder / "configs" / "training" / "tiny.yaml").write_text(TRAINING)
        config = self.folder / "configs" / "config.yaml"
        settings = yaml.safe_load(config.read_text())
        settings["defaults"] = [{"dataset": "tiny"} if "dataset" in entry else entry for entry in settings["defaults"]]
        settings["scenes"] |= {"num_videos": 1, "num_images": 12, "shortest_frames": 30, "longest_frames": 30}
        settings["labeller"] = {"hidden_size": 8}
        settings["captioner"] = {"hidden_size": 8, "embedding_size": 8, "training": {"epochs": 1}}
        config.write_text(yaml.safe_dump(settings, sort_keys=False))
        self.set_params()
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "start")

    def set_params(self, *overrides: str) -> None:
        """Write params.yaml as `dvc exp run -S` composes it."""
        with initialize_config_dir(str(self.folder / "configs"), version_base=None):
            params = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def run(self, *command: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            command, cwd=self.folder, env=self.environment, input=stdin, capture_output=True, text=True
        )
        assert not check or result.returncode == 0, f"{command}:\n{result.stdout}\n{result.stderr}"
        return result

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments).stdout

    def dvc(self, *arguments: str) -> str:
        return self.run("dvc", *arguments).stdout

    def stages_run(self, *arguments: str) -> list[str]:
        """Run `dvc ...`, and return the stages that it ran."""
        lines = self.dvc(*arguments).splitlines()
        return [line.split("'")[1] for line in lines if line.startswith("Running stage")]

    def runs(self) -> list[tuple[str, str, dict[str, str]]]:
        """(name, status, tags) of every MLflow run in order."""
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as store:
            rows = store.execute("SELECT run_uuid, name, status FROM runs ORDER BY start_time").fetchall()
            tags = {
                run: dict(store.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,))) for run, *_ in rows
            }
        return [(name, status, tags[run]) for run, name, status in rows]

    def history(self) -> list[dict[str, str]]:
        with (self.folder / "models" / "labeller" / "history.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def kill_when(self, happened: Callable[[], bool], *command: str) -> None:
        """Start a command, and kill it and all its child processes as soon as `happened()`."""
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while not happened():
                assert process.poll() is None, f"{command} ended before it was killed"
                time.sleep(0.05)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def repository(tmp_path_factory, empty_store) -> Repository:
    folder = tmp_path_factory.mktemp("dvc") / "repository"
    folder.mkdir()
    repository = Repository(folder, empty_store)
    assert repository.stages_run("repro") == STAGES
    repository.git("add", "--all", ".", ":!data/tiny")
    repository.git("commit", "--quiet", "--message", "ran")
    return repository


@pytest.fixture(autouse=True)
def as_committed(repository):
    """Each test starts from the committed results, and restores them."""
    yield
    repository.git("checkout", "--quiet", ".")
    repository.dvc("checkout", "--quiet")


def test_a_second_repro_runs_no_stage(repository):
    assert repository.stages_run("repro") == []
    assert "up to date" in repository.dvc("status")


AFTER_TRAINING = ["evaluate_labeller", "label_samples"]
READ_BY = {
    "labeller=lstm": ["train_labeller"],
    "labeller.num_layers=3": ["train_labeller"],
    "labeller.hidden_size=16": ["train_labeller", "train_baseline"],
    "training.epochs=4": ["train_labeller", "train_baseline"],
    "num_samples=3": [*AFTER_TRAINING, "evaluate_captioner"],
    "captioner.dropout=0.2": ["train_captioner"],
    "captions.min_word_count=2": ["train_captioner"],
    "captions.encoder.grid=3": ["finetune_image_encoder", "train_captioner"],
    "dataset.pixels.color=grey": ["finetune_encoder"],
    "dataset.val_fraction=0.3": ["prepare"],
    "dataset.folds=2": ["prepare"],
    "dataset.reader=opencv": ["prepare"],
    "search=cells": ["evaluate_labeller", "evaluate_captioner"],
    "scenes.seed=1": ["make_scenes", "make_overlapping_scenes"],
    "encoder.batch_size=64": ["finetune_encoder"],
}


# What `dvc repro --dry` would run with each of several params.yaml, by one process that has imported DVC once.
DRY_RUNS = """
import json, sys
from pathlib import Path
from dvc.repo import Repo

found = {}
for change, params in json.load(sys.stdin).items():
    Path("params.yaml").write_text(params)
    with Repo() as repo:
        found[change] = [stage.name for stage in repo.reproduce(dry=True)]
Path("found.json").write_text(json.dumps(found))
"""


def test_a_setting_is_listed_by_the_stages_that_read_it(repository):
    texts = {}
    for change in READ_BY:
        repository.set_params(change)
        texts[change] = (repository.folder / "params.yaml").read_text()
    repository.run(sys.executable, "-c", DRY_RUNS, stdin=json.dumps(texts))
    found = json.loads((repository.folder / "found.json").read_text())
    (repository.folder / "found.json").unlink()
    assert found == READ_BY, "a dry run leaves out what follows from these"


def test_an_experiment_can_be_run_shown_compared_and_plotted(repository):
    assert repository.stages_run("exp", "run", "--name", "brave-fox", "-S", "labeller=lstm") == [
        "train_labeller",
        *AFTER_TRAINING,
    ]
    shown = list(csv.DictReader(repository.dvc("exp", "show", "--csv").splitlines()))
    assert shown[0]["labeller.cell"] == "lstm"
    assert "brave-fox" in {row["Experiment"] for row in shown}
    difference = json.loads(repository.dvc("metrics", "diff", "--json"))["results/metrics.json"]
    assert "val.frame_macro_f1_pooled" in difference
    name, status, tags = repository.runs()[-1]
    assert (name.split("-")[0], status) == ("labeller", "FINISHED")
    assert tags["dvc_stage"] == "train_labeller"
    assert tags["dvc_experiment"] == "brave-fox"
    result = repository.run("dvc", "plots", "show", "--out", "plots")
    assert "WARNING" not in result.stdout + result.stderr
    assert "failed" not in result.stdout + result.stderr
    page = (repository.folder / "plots" / "index.html").read_text()
    for part in ("train_loss", "val_f1_at_50", "confusion.png", "timelines", '"actual"'):
        assert part in page, part
    shutil.rmtree(repository.folder / "plots")


def test_a_queued_search_is_logged_below_one_run_in_the_store_of_the_repository(repository):
    num_runs = len(repository.runs())
    choices = ("-S", "search=cells", "-S", "labeller=bigru,gru", "evaluate_labeller")
    repository.dvc("exp", "run", "--queue", *choices)
    repository.dvc("exp", "run", "--run-all")
    runs = repository.runs()[num_runs:]
    (search,) = [tags for name, _, tags in runs if name == "cells"]
    assert search["search"] == "cells"
    children = {name: tags for name, _, tags in runs if name != "cells"}
    assert len({tags["mlflow.parentRunId"] for tags in children.values()}) == 1
    assert children.keys() == {"labeller-bigru-tiny", "labeller-gru-tiny", "baseline-tiny"}
    stand_ins = {name for name, tags in children.items() if "trained_by" in tags}
    assert stand_ins == {"labeller-bigru-tiny", "baseline-tiny"}, "a finished training is not repeated"
    table = repository.run(sys.executable, "-m", "pipeline.cli", "compare", "cells").stdout
    assert "labeller: 2 runs\n" in table
    assert {tags["dvc_experiment"] for tags in children.values()} <= set(table.split())
    assert "cells" not in (repository.folder / "params.yaml").read_text()


def test_a_run_of_dvc_repro_names_its_stage_and_no_experiment(repository):
    first, second, *_ = [tags for *_, tags in repository.runs()]
    assert (first["dvc_stage"], second["dvc_stage"]) == ("train_labeller", "train_baseline")
    assert "dvc_experiment" not in first
    head = repository.git("rev-list", "--max-parents=0", "HEAD").strip()
    assert first["git_commit"].startswith(head)


def test_repro_resumes_after_all_its_processes_were_killed(repository):
    repository.set_params("labeller=lstm", "training.epochs=30")
    num_runs = len(repository.runs())

    def epochs_reported() -> int:
        with closing(sqlite3.connect(repository.folder / "mlflow.db", timeout=30)) as store:
            if store.execute("SELECT count(*) FROM runs").fetchone()[0] == num_runs:
                return 0
            latest = "SELECT run_uuid FROM runs ORDER BY start_time DESC LIMIT 1"
            return store.execute(
                f"SELECT count(*) FROM metrics WHERE run_uuid = ({latest}) AND key = 'epoch/train_loss'"
            ).fetchone()[0]

    only = ("repro", "--single-item", "train_labeller")
    repository.kill_when(lambda: epochs_reported() >= 9, "dvc", *only)
    assert repository.stages_run(*only) == ["train_labeller"]
    ((_, status, _),) = repository.runs()[num_runs:]
    assert status == "FINISHED"
    resumed = repository.history()
    assert [row["epoch"] for row in resumed] == [str(epoch) for epoch in range(30)]
    weights = repository.folder / "models" / "labeller" / "weights.safetensors"
    killed = weights.read_bytes()
    shutil.rmtree(repository.folder / "models" / "labeller")
    repository.dvc(*only, "--force")
    assert repository.history() == resumed, "an uninterrupted run has the same curves"
    assert weights.read_bytes() == killed


def test_a_failed_stage_reports_the_cause_in_plain_words(repository):
    labels = repository.folder / "data" / "tiny" / "labels" / "clip0.csv"
    text = labels.read_text()
    labels.write_text(text + "900,950,left\n")
    try:
        result = repository.run("dvc", "repro", check=False)
    finally:
        labels.write_text(text)
    assert result.returncode != 0
    assert "clip0.csv:7: " in result.stderr
    assert "Traceback" not in result.stderr
    assert "failed to reproduce 'prepare'" in result.stderr
