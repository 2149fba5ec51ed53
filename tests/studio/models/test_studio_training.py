"""Training from the studio: the command, its progress by a stand-in for dvc, and a real `dvc exp run`."""

import os
import signal
import stat
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_models import CLASSES, EXCLUSIVE, OVERLAPPING, write_video
from made_predictions import put_model, put_prediction, sure_of
from made_studio import Studio, copy_project, is_alive, opened, reload, serving, until
from playwright.sync_api import Browser

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT
from pipeline.studio.listing import Row
from pipeline.studio.models.changes import accuracy
from pipeline.studio.models.training_plan import Plan, find_config, make_plan, quote
from pipeline.studio.places import find_places

REPOSITORY = Path(__file__).parents[3]
FAKE = f"""#!{sys.executable}
import os, sys, time
from pathlib import Path
Path("arguments").write_text("\\n".join(sys.argv[1:]))
if "NOTHING" in os.environ:
    sys.exit(0)
Path("params.yaml").write_text("training: {{epochs: 4, monitor: f1_at_50}}")
print("Running stage 'prepare':", flush=True)
print("checking:   0%|   | 0/1\\rchecking: 100%|###| 1/1", flush=True)
print("Running stage 'train_labeller':", flush=True)
folder = Path("models/labeller")
folder.mkdir(parents=True, exist_ok=True)
lines = ["epoch,train_loss,val_loss,val_f1_at_50"]
for epoch in range(4):
    time.sleep(float(os.environ.get("SECONDS_OF_EPOCH", "0.1")))
    lines.append(f"{{epoch}},{{1 / (epoch + 1)}},{{2 / (epoch + 1)}},{{20.0 * epoch}}")
    (folder / "new.csv").write_text("\\n".join(lines))
    os.replace(folder / "new.csv", folder / "history.csv")
    (folder / "checkpoint.json").write_text('{{"lineage": {{"run_id": "' + "a" * 32 + '"}}}}')
print("<script>alert(1)</script>", flush=True)
print("Running stage 'evaluate_labeller':", flush=True)
sys.exit(int(os.environ.get("CODE", "0")))
"""


def row(stem: str, labelled: float = 1.0, state: Any = "done") -> Row:
    return Row(stem, stem, f"{stem}.mp4", state, labelled=labelled)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a project, in which `dvc` writes the progress of a training of 4 epochs."""
    folder = tmp_path / "project"
    for name in ("configs/dataset", ".dvc", ".git", "bin"):
        (folder / name).mkdir(parents=True)
    (folder / "dvc.yaml").write_text("stages: {}")
    (folder / "bin" / "dvc").write_text(FAKE)
    (folder / "bin" / "dvc").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def labelled(dataset: Path) -> Path:
    """A data set of one labelled video, and one without labels."""
    (dataset / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    for stem in "ab":
        write_video(dataset / "videos" / f"{stem}.mp4")
    (dataset / "labels").mkdir()
    (dataset / "labels" / "a.csv").write_text("start,stop,class\n0,10,left\n10,20,right\n")
    return dataset


def plan_of(project: Path, dataset: Path, rows: list[Row], space: Any = EXCLUSIVE) -> Plan:
    return make_plan(project, find_places(dataset, None, state=dataset / "s"), rows, space)


def test_the_command_names_the_data_set(project: Path, labelled: Path) -> None:
    plan = plan_of(project, labelled, [row("a"), row("b"), row("c")])
    assert plan.problem is None
    assert plan.holds_out
    assert plan.command[1:4] == ("exp", "run", "evaluate_labeller")
    assert plan.command[4::2] == ("-S",) * len(plan.command[5::2])
    settings = plan.command[5::2]
    assert settings[0] == "dataset=template"
    assert f"dataset.root={labelled}" in settings
    assert "dataset.background=idle" in settings
    assert "dataset.test_fraction=0" not in settings


@pytest.mark.parametrize("num_videos", [1, 2])
def test_few_videos_are_not_held_back_and_a_note_says_so(project: Path, labelled: Path, num_videos: int) -> None:
    plan = plan_of(project, labelled, [row(str(k)) for k in range(num_videos)])
    assert {"dataset.val_fraction=0", "dataset.test_fraction=0"} <= set(plan.command)
    assert not plan.holds_out
    assert "prove nothing" in " ".join(plan.notes)


def test_many_videos_of_one_group_are_not_held_back(project: Path, labelled: Path) -> None:
    (labelled / "groups.csv").write_text("stem,group\na,mouse\nb,mouse\nc,mouse\n")
    plan = plan_of(project, labelled, [row("a"), row("b"), row("c")])
    assert "dataset.test_fraction=0" in plan.command


def test_overlapping_classes_are_trained_as_the_documentation_says(project: Path, labelled: Path) -> None:
    plan = plan_of(project, labelled, [row("a")], OVERLAPPING)
    assert "training.monitor=mean_average_precision" in plan.command
    assert "dataset.independent_classes=true" in plan.command


def test_the_settings_of_the_project_are_used(project: Path, labelled: Path) -> None:
    (project / "configs/dataset/broken.yaml").write_text("a: [")
    (project / "configs/dataset/template.yaml").write_text(f"root: {labelled}")
    assert find_config(project, labelled) is None
    (project / "configs/dataset/mine.yaml").write_text(f"name: mine\nroot: {labelled}\n")
    assert find_config(project, labelled) == "mine"
    (project / "configs/dataset/mine.yaml").write_text(f"# @package _global_\ndataset: {{root: {labelled}}}\n")
    assert find_config(project, labelled) == "mine"
    assert "dataset=mine" in plan_of(project, labelled, [row("a")]).command


def test_videos_without_labels_are_named(project: Path, labelled: Path) -> None:
    plan = plan_of(project, labelled, [row("a"), row("b", 0.0, "unlabelled"), row("c", 0.5, "problem")])
    assert "b.mp4, c.mp4" in " ".join(plan.notes)
    assert "dataset.skip_broken=true" in plan.command


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("dvc.yaml", "no folder of a Framescribe project"),
        (".git", "git init"),
        ("configs", "no folder of a Framescribe"),
    ],
)
def test_what_is_missing_is_said(project: Path, labelled: Path, missing: str, words: str) -> None:
    (project / missing).rename(project / "elsewhere")
    problem = plan_of(project, labelled, [row("a")]).problem
    assert problem is not None
    assert words in problem


def test_nothing_is_trained_without_labels(project: Path, labelled: Path) -> None:
    assert "No video has a label" in str(plan_of(project, labelled, [row("a", 0.0, "unlabelled")]).problem)
    assert "still being read" in str(plan_of(project, labelled, [row("a", 0.0, "reading")]).problem)


@pytest.mark.parametrize("text", ["data/mine", "my data", "it's", "a,b", "{x}", "a=b", "ü", "1", "null", "a: b"])
def test_a_value_is_what_hydra_reads(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([f"dataset.name={quote(text)}"])
    assert override.value() == text


def wait(studio: Studio, is_reached: Any, *, seconds: float = 120) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while True:
        status: dict[str, Any] = studio.get("/api/training").json
        if is_reached(status):
            return status
        assert time.monotonic() < end, status
        time.sleep(0.05)


def test_a_training_shows_its_progress_and_ends(project: Path, labelled: Path) -> None:
    with serving(labelled) as studio:
        before = wait(studio, lambda status: status["problem"] is None)
        assert "b.mp4" in " ".join(before["notes"])
        assert before["notes"][0].startswith("1 of 2 videos is labelled.")
        assert studio.post("/api/training").status == 200
        assert studio.post("/api/training").status == 409
        status = wait(studio, lambda status: not status["running"])
        assert (status["outcome"], len(status["epochs"]), status["num_epochs"]) == ("done", 4, 4)
        assert status["epochs"][3] == {"epoch": 3, "train_loss": 0.25, "val_loss": 0.5, "val_f1_at_50": 60.0}
        assert status["run_id"] == "a" * 32
        assert status["log"].count("checking: 100%|###| 1/1") == 1
        assert not any("0/1" in line for line in status["log"])
        assert "dataset.test_fraction=0" in (project / "arguments").read_text().splitlines()


def test_a_training_that_fails_says_so(project: Path, labelled: Path) -> None:
    with serving(labelled, environment={"CODE": "1"}) as studio:
        wait(studio, lambda status: status["problem"] is None)
        studio.post("/api/training")
        assert wait(studio, lambda status: not status["running"])["outcome"] == "failed"


def test_a_training_with_nothing_changed_says_so(project: Path, labelled: Path) -> None:
    with serving(labelled, environment={"NOTHING": ""}) as studio:
        wait(studio, lambda status: status["problem"] is None)
        studio.post("/api/training")
        assert wait(studio, lambda status: not status["running"])["outcome"] == "same"


def test_an_unfinished_training_is_resumed_where_its_settings_are_the_same(project: Path, labelled: Path) -> None:
    with serving(labelled, environment={"SECONDS_OF_EPOCH": "0.5"}) as studio:
        wait(studio, lambda status: status["problem"] is None)
        studio.post("/api/training")
        wait(studio, lambda status: len(status["epochs"]) >= 1)
    with serving(labelled) as studio:
        status = wait(studio, lambda status: status["problem"] is None)
        assert (status["resumes"], status["command"]) == (True, "dvc repro evaluate_labeller")
        (project / "params.yaml").write_text("training: {epochs: 5}")
        assert not studio.get("/api/training").json["resumes"]
        studio.post("/api/training")
        wait(studio, lambda status: not status["running"])
        assert not studio.get("/api/training").json["resumes"]


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


@pytest.mark.parametrize("end", ["cancel", "terminate", "kill"])
def test_nothing_is_left_of_a_training_that_is_ended(project: Path, labelled: Path, end: str) -> None:
    with serving(labelled, environment={"SECONDS_OF_EPOCH": "1"}) as studio:
        wait(studio, lambda status: status["problem"] is None)
        studio.post("/api/training")
        wait(studio, lambda status: len(status["epochs"]) >= 1)
        processes = descendants(studio.process.pid)
        assert len(processes) >= 2
        if end == "cancel":
            studio.post("/api/training/cancel")
            assert wait(studio, lambda status: not status["running"])["outcome"] == "cancelled"
        elif end == "terminate":
            studio.process.send_signal(signal.SIGTERM)
            studio.process.wait(timeout=120)
        else:
            studio.kill()
        limit = time.monotonic() + 60
        while any(is_alive(pid) for pid in processes):
            assert time.monotonic() < limit
            time.sleep(0.05)


def test_a_studio_outside_of_a_project_says_why_it_cannot_train(
    labelled: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(labelled) as studio:
        assert "no folder of a Framescribe project" in studio.get("/api/training").json["problem"]
        assert studio.post("/api/training").status == 409


def test_the_page_shows_a_training(project: Path, labelled: Path, browser: Browser) -> None:
    with serving(labelled) as studio:
        wait(studio, lambda status: status["problem"] is None)
        with opened(browser, studio.address) as page:
            page.click("#tab-train")
            page.click("#training-start:enabled")
            until(page, "document.querySelectorAll('#view-train svg').length === 2")
            until(page, "document.getElementById('training-state').textContent.startsWith('The training is done')")
            assert "best: 60.0" in str(page.text_content("#view-train .curves"))
            assert page.locator("#notices p[data-key=training-end] button:text('Show')").count() == 0
            reload(page)
            page.click("#tab-train")
            until(page, "document.querySelectorAll('#view-train svg').length === 2")
            assert "<script>" in page.text_content("#view-train pre")


def test_what_changed_is_shown(labelled: Path, browser: Browser, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    truth = np.repeat([1, 2], 10)
    other = truth.copy()
    other[5:8] = 0
    for key, created, labels in (("0" * 16, 1.0, other), ("1" * 16, 2.0, truth)):
        folder = put_model(labelled, EXCLUSIVE, key=key, created=created)
        for stem in "ab":
            put_prediction(folder, labelled / "videos" / f"{stem}.mp4", labels, sure_of(labels, 3))
    with serving(labelled) as studio:
        answer = studio.get("/api/training/changes").json
        by_stem = {video["stem"]: video for video in answer["videos"]}
        assert by_stem["a"] | {"id": ""} == {
            "id": "", "stem": "a", "differs": 0.15, "first": 5, "new_accuracy": 1.0, "old_accuracy": 0.85,
        }  # fmt: skip
        assert by_stem["b"]["new_accuracy"] is None
        with opened(browser, studio.address) as page:
            page.click("#tab-train")
            page.click("#training-changes tbody button >> nth=0")
            until(page, "studio.view === 'watch' && studio.frame === 5")


def test_older_models_are_not_compared_while_the_new_one_has_labelled_nothing(
    labelled: Path, tmp_path: Path, video_model: Path
) -> None:
    for key, created in (("0" * 16, 1.0), ("1" * 16, 2.0)):
        put_model(labelled, EXCLUSIVE, key=key, created=created)
    with serving(labelled, "--model", video_model) as studio:
        answer = studio.get("/api/training/changes").json
        assert (answer["new"], answer["is_awaited"]) == (None, True)


def test_accuracy_counts_the_frames_with_a_given_label() -> None:
    given = np.array([0, 1, IGNORE_INDEX])
    assert accuracy(np.array([0, 2, 2]), given, EXCLUSIVE) == 0.5
    assert accuracy(np.array([0, 2, 2]), EXCLUSIVE.unlabelled(3), EXCLUSIVE) is None
    known = np.array([[PRESENT, ABSENT, IGNORE_INDEX], [IGNORE_INDEX] * 3], np.int8)
    assert accuracy(np.array([[1, 0, 1], [1, 1, 1]], np.int8), known, OVERLAPPING) == 1.0
    assert accuracy(np.array([[1, 1, 1], [1, 1, 1]], np.int8), known, OVERLAPPING) == 0.0


@pytest.mark.slow
def test_a_real_training_on_one_video_is_resumed_and_its_model_labels(
    labelled: Path, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "copy"
    project.mkdir()
    variables = copy_project(project, empty_store)
    for name in list(os.environ):
        if name.startswith(("DVC_", "MLFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(project)
    with serving(labelled, environment=variables) as studio:
        wait(studio, lambda status: status["problem"] is None)
        studio.post("/api/training")
        wait(studio, lambda status: len(status["epochs"]) >= 2, seconds=400)
        studio.post("/api/training/cancel")
        status = wait(studio, lambda status: not status["running"])
        assert status["outcome"] == "cancelled"
        num_done, run_id = len(status["epochs"]), status["run_id"]
        before = (project / "models/labeller/history.csv").read_text().splitlines()
        studio.post("/api/training")
        status = wait(studio, lambda status: not status["running"], seconds=400)
        assert status["outcome"] == "done", status["log"]
        after = (project / "models/labeller/history.csv").read_text().splitlines()
        assert after[: len(before)] == before  # it was resumed
        assert len(status["epochs"]) == status["num_epochs"] > num_done
        assert status["run_id"] == run_id
        video = studio.ids()["a"]
        end = time.monotonic() + 120
        while not (found := studio.get(f"/api/videos/{video}/predictions").json["models"]):
            assert time.monotonic() < end
            time.sleep(0.2)
        assert found[0]["is_current"]
        answer = studio.post("/api/training/mlflow").json
        assert answer["address"].endswith(f"/#/runs/{run_id}")
        while not studio.post("/api/training/mlflow").json["answers"]:
            assert time.monotonic() < end
            time.sleep(0.5)
