"""The stages in the order of dvc.yaml, on ready features, and the table at the end."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_data import write_feature_dataset, write_params
from mlflow import MlflowClient

from pipeline.annotations.label_space import LabelSpace
from pipeline.cli import summary
from pipeline.config.params import load_params
from pipeline.datasets.support import CLASS_SUPPORT
from pipeline.errors import InputError
from pipeline.labelling.video import VideoLabels
from pipeline.metrics.report import evaluate
from pipeline.stages import (
    evaluate_labeller,
    extract_features,
    finetune_encoder,
    label_samples,
    prepare,
    run_stage,
    train_baseline,
    train_labeller,
)
from pipeline.stages.paths import BASELINE, FEATURES, LABELLER, OUTPUTS, PREPARED, RESULTS
from pipeline.tracking import store
from pipeline.tracking.compare import compare
from pipeline.tracking.connection import connect
from pipeline.tracking.names import metric_names
from pipeline.tracking.searches import known_searches, read_search

ARTIFACTS = {"test": {"classes.csv", "report.json"}, "pictures/test": {"confusion.png", "reliability.png", "timelines"}}
TRAINING = (prepare, finetune_encoder, extract_features, train_labeller, train_baseline)


@pytest.fixture
def trained(workspace: Path, monkeypatch) -> Path:
    """A workspace with trained models, for classes with odd names."""
    monkeypatch.setattr(store, "log_model", lambda *args, **options: None)
    write_feature_dataset(workspace / "dataset", num_videos=12)
    rename = {"left": "turn (left)!", "right": "../right"}
    for path in [*Path("dataset/labels").iterdir(), Path("dataset/classes.txt")]:
        path.write_text(re.sub("left|right", lambda found: rename[found[0]], path.read_text()))
    write_params(workspace, training__epochs=2, num_samples=1)
    for stage in TRAINING:
        stage.main()
    return workspace


def run_id_of(folder: Path) -> str:
    return json.loads((folder / "checkpoint.json").read_text())["lineage"]["run_id"]


def scores_in_mlflow(folder: Path) -> dict[str, float]:
    """The final scores (val/... and test/...) of the run that trained a model."""
    connect()
    metrics = MlflowClient().get_run(run_id_of(folder)).data.metrics
    return {name: value for name, value in metrics.items() if name.startswith(("val/", "test/"))}


def test_evaluation_gives_dvc_and_mlflow_the_same_scores(trained):
    evaluate_labeller.main()
    metrics = json.loads((RESULTS / "metrics.json").read_text())
    assert metrics.keys() == {"val", "val_without_rnn", "test", "test_without_rnn"}
    for folder, suffix in ((LABELLER, ""), (BASELINE, "_without_rnn")):
        written = {f"{s}/{name}": value for s in ("val", "test") for name, value in metrics[f"{s}{suffix}"].items()}
        names = metric_names(written)
        assert scores_in_mlflow(folder) == {names[name]: value for name, value in written.items()}
    assert any("turn (left)!" in name for name in metrics["test"])
    assert all(0 <= scores["calibration_error"] <= 100 for scores in metrics.values())
    for folder, names in ARTIFACTS.items():
        logged = {
            Path(file.path) for file in MlflowClient().list_artifacts(run_id_of(LABELLER), f"evaluation/{folder}")
        }
        assert logged == {Path("evaluation", folder, name) for name in names}
    pictures = RESULTS / "evaluation" / "pictures"
    assert {path.suffix for path in pictures.rglob("*") if path.is_file()} == {".png"}, (
        "DVC plots every file in this folder"
    )
    assert len(list((pictures / "test" / "timelines").iterdir())) == 1, "num_samples"
    with (RESULTS / "confusion.csv").open(newline="") as file:
        pairs = list(csv.DictReader(file))
    right = sum(pair["actual"] == pair["predicted"] for pair in pairs)
    assert 100 * right / len(pairs) == pytest.approx(metrics["test"]["frame_accuracy_pooled"])


def test_overlapping_classes_have_a_co_occurrence_and_a_row_for_each_pair(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    space = LabelSpace.independent(("eats", "rears"))
    truth = {"a": np.array([[1, 0], [1, -100], [-100, -100]], dtype=np.int8)}
    labels, chances = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.int8), np.array([[0.75, 0.5], [0.5, 1], [1, 1]])
    predicted = {"a": VideoLabels(labels, chances, chances, np.full(3, np.nan), float("nan"))}
    report = evaluate(truth, {"a": labels}, space, {"a": chances})
    evaluate_labeller.write_report(RESULTS / "evaluation" / "val", report, truth, predicted, space)
    assert json.loads((RESULTS / "evaluation" / "val" / "report.json").read_text()) == report
    assert (
        (RESULTS / "evaluation" / "val" / "classes.csv").read_text().startswith("class,frames,segments,scored_frames")
    )
    with (RESULTS / "confusion.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["actual", "predicted"], ["eats", "eats"], ["not rears", "not rears"], ["eats", "not eats"]]
    out = RESULTS / "evaluation" / "pictures" / "val"
    evaluate_labeller.write_pictures(
        out, report, space, truth=truth, predicted=predicted, alone=predicted, num_timelines=0
    )
    assert {path.name for path in out.iterdir()} == {"co_occurrence.png", "reliability.png", "timelines"}
    calibration = evaluate_labeller.calibration_of(truth, predicted, space)
    assert calibration == {"calibration_error": pytest.approx(100 * (0.25 + 0) / 3)}, "0.5 is right for one of two"


def test_a_class_that_is_never_predicted_is_reported_in_every_output(trained, capsys, monkeypatch):
    def all_idle(probabilities, model, **options):
        return postprocess(np.eye(3)[np.zeros(len(probabilities), dtype=int)], model, **options)

    postprocess = evaluate_labeller.postprocess
    monkeypatch.setattr(evaluate_labeller, "postprocess", all_idle)
    evaluate_labeller.main()
    printed = capsys.readouterr().err
    assert "warning: test: never predicted, though in the truth: " in printed
    assert "turn (left)!" in printed
    with (RESULTS / "evaluation" / "test" / "classes.csv").open(newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert [row["never_predicted"] for row in rows.values()] == ["", "yes", "yes"]
    assert float(rows["idle"]["recall"]) == 100
    assert scores_in_mlflow(LABELLER)["test/classes_never_predicted"] == 2
    summary.main()
    shown = capsys.readouterr().out
    assert "2 classes of test videos never predicted: results/evaluation/test/classes.csv" in shown


def test_a_model_whose_run_is_missing_in_the_store_is_evaluated(trained, capsys):
    MlflowClient().delete_run(run_id_of(LABELLER))
    evaluate_labeller.main()
    assert (RESULTS / "metrics.json").exists()
    assert f"MLflow has no run {run_id_of(LABELLER)}" in capsys.readouterr().out
    assert scores_in_mlflow(BASELINE)


def test_a_search_also_compares_models_that_were_trained_before_it(trained, capsys):
    write_params(trained, training__epochs=2, num_samples=1, search="rates")
    evaluate_labeller.main()
    write_params(trained, training__epochs=2, num_samples=1, search="rates", training__learning_rate=0.01)
    train_labeller.main()
    evaluate_labeller.main()
    metrics = json.loads((RESULTS / "metrics.json").read_text())
    table = compare("rates")
    (of_last,) = (line for line in table.splitlines() if line.startswith("0.01 "))
    assert of_last.split()[-1] == f"{metrics['test']['frame_accuracy_pooled']:.1f}"
    assert "baseline: 1 run\n" in table
    assert "labeller: 2 runs" in table
    found = MlflowClient().get_run(known_searches()["rates"])
    scores = [run.scores["test/edit_per_video"] for run in read_search("rates") if run.model == "labeller"]
    assert scores[1] == metrics["test"]["edit_per_video"]
    assert found.data.metrics["labeller/test/edit_per_video_mean"] == pytest.approx(np.mean(scores))
    assert found.data.metrics["labeller/test/edit_per_video_deviation"] == pytest.approx(np.std(scores, ddof=1))
    assert [file.path for file in MlflowClient().list_artifacts(found.info.run_id)] == ["comparison.txt"]


def test_samples_are_labelled_as_by_the_command(trained, capsys):
    label_samples.main()
    written = sorted(path.name for path in OUTPUTS.iterdir())
    assert len(written) == 3, "num_samples, with frames, segments and a report"
    evaluate_labeller.main()
    capsys.readouterr()
    summary.main()
    shown = capsys.readouterr().out
    assert "--overlay" not in shown
    assert "FEATURES.npy" in shown


def test_the_baseline_differs_only_in_the_missing_recurrent_network(trained):
    ours, alone = (json.loads((folder / "checkpoint.json").read_text()) for folder in (LABELLER, BASELINE))
    assert alone["labeller"] == ours["labeller"] | {"cell": "none"}
    assert run_id_of(LABELLER) != run_id_of(BASELINE)


def test_the_scores_are_of_the_training_videos_if_no_video_is_held_out(trained, capsys):
    write_params(trained, dataset__val_fraction=0.0, dataset__test_fraction=0.0)
    prepare.main()
    evaluate_labeller.main()
    assert set(json.loads((RESULTS / "metrics.json").read_text())) == {"train", "train_without_rnn"}
    assert (RESULTS / "confusion.csv").is_file()
    assert (RESULTS / "evaluation" / "train" / "report.json").is_file()
    assert "they say nothing of other videos" in capsys.readouterr().err


def test_killed_feature_extraction_resumes_and_removes_stray_files(workspace):
    write_feature_dataset(workspace / "dataset", num_videos=6)
    write_params(workspace)
    for stage in (prepare, finetune_encoder, extract_features):
        stage.main()
    times = {path.name: path.stat().st_mtime_ns for path in FEATURES.iterdir()}
    assert len(times) == 6
    (FEATURES / "clip0.safetensors").unlink()
    (FEATURES / "clip1.safetensors").write_bytes(b"half a file")
    (FEATURES / ".clip1.77.partial.safetensors").write_bytes(b"half a file")
    (FEATURES / "gone.safetensors").write_bytes(b"of a video that is no longer there")
    np.save("dataset/features/clip2.npy", np.load("dataset/features/clip2.npy") + 1)
    prepare.main()
    extract_features.main()
    after = {path.name: path.stat().st_mtime_ns for path in FEATURES.iterdir()}
    assert after.keys() == times.keys()
    written = {name for name in after if after[name] != times[name]}
    assert written == {"clip0.safetensors", "clip1.safetensors", "clip2.safetensors"}


def test_the_support_of_each_class_is_written_and_printed(workspace, capsys):
    write_feature_dataset(workspace / "dataset", num_videos=12)
    Path("dataset/classes.txt").write_text("idle\nleft\nright\njump\nfall\n")
    Path("dataset/labels/clip0.csv").write_text("start,stop,class\n0,10,jump\n")
    Path("dataset/splits").mkdir()
    for split, indices in (("train", range(8)), ("val", (8, 9)), ("test", (10, 11))):
        Path(f"dataset/splits/{split}.txt").write_text("".join(f"clip{i}\n" for i in indices))
    write_params(workspace)
    prepare.main()
    shown = capsys.readouterr()
    assert "train     8 videos    8 groups      320 frames  9.4% unlabelled" in shown.out
    assert f"each class: {PREPARED / CLASS_SUPPORT}" in shown.out
    printed = [line.split(". ")[0] for line in shown.err.splitlines() if line.startswith("warning: ")]
    assert printed[:2] == [
        "warning: 1 class is in no label: 'fall'",
        "warning: 1 class is in one training video only: 'jump'",
    ]
    assert "warning: 1 class is in training, but in no val video: 'jump'" in printed
    with (PREPARED / CLASS_SUPPORT).open(newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert [rows["jump"][f"train_{name}"] for name in ("frames", "segments", "videos", "groups")] == [
        "10",
        "1",
        "1",
        "1",
    ]
    assert rows[""]["train_frames"] == "30"


def test_one_class_per_video_is_only_for_the_many_to_one_head(workspace, capsys):
    write_feature_dataset(workspace / "dataset", num_videos=6)
    write_params(workspace, labeller__head="many_to_one")
    with pytest.raises(InputError, match=r"clip0\.npy: has not exactly one class.*labels\.csv can give it"):
        prepare.main()
    shutil.rmtree("dataset/labels")
    Path("dataset/labels.csv").write_text("stem,class\n" + "".join(f"clip{i},left\n" for i in range(6)))
    prepare.main()
    assert "labels.csv" not in capsys.readouterr().err
    write_params(workspace)
    prepare.main()
    assert "warning: labels.csv gives 6 videos one class for all of their frames" in capsys.readouterr().err


def test_each_fold_is_prepared_and_published_splits_stay(workspace):
    write_feature_dataset(workspace / "dataset", num_videos=6)
    tested = []
    for fold in range(3):
        write_params(workspace, dataset__folds=3, dataset__fold=fold)
        manifest = prepare.prepare(load_params(), PREPARED)
        tested += [source.stem for source in manifest.of_split("test")]
        assert manifest.of_split("train")
        assert manifest.of_split("val")
    assert sorted(tested) == [f"clip{i}" for i in range(6)]
    Path("dataset/splits").mkdir()
    Path("dataset/splits/train.txt").write_text("clip0\n")
    with pytest.raises(InputError, match=r"dataset/splits: got splits and dataset.folds 3, expected one of them: set"):
        prepare.main()


def test_bad_input_ends_a_stage_with_plain_sentences(workspace, capsys):
    write_feature_dataset(workspace / "dataset")
    for stem in ("clip0", "clip3"):
        Path(f"dataset/labels/{stem}.csv").write_text("start,stop,class\n0,8,flying\n")
    write_params(workspace)
    with pytest.raises(SystemExit) as ended:
        run_stage(prepare.main)
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert "clip0.csv" in shown
    assert "clip3.csv" in shown
    assert "Traceback" not in shown
    assert not PREPARED.exists()


@pytest.mark.slow
def test_a_stage_run_as_a_process_prints_the_problem(workspace):
    result = subprocess.run([sys.executable, "-m", "pipeline.stages.prepare"], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("params.yaml is missing")
    assert len(result.stderr.splitlines()) == 1


def test_the_table_of_scores_has_aligned_columns():
    scores = dict.fromkeys(summary.OF_ALL_LABELS, 81.25)
    alone = {name: value / 2 for name, value in scores.items() if name != "edit_per_video"}
    one = summary.format_scores({"test": scores, "test_without_rnn": alone}).splitlines()
    assert one[0].split() == ["percent", "test", "videos"]
    assert one[1].split() == ["with", "RNN", "without"]
    assert one[3].split() == ["frame", "accuracy", "81.2", "40.6"]
    assert one[4].split() == ["edit", "score", "81.2", "-"]
    assert {len(line) for line in one} == {42}
    both = {f"{split}{suffix}": scores for split in ("val", "test") for suffix in ("", "_without_rnn")}
    two = summary.format_scores(both).splitlines()
    assert {len(line) for line in two} == {66}
    assert "val videos" in two[0]
    assert "test videos" in two[0]


def test_the_table_of_scores_has_the_mean_average_precision_where_classes_overlap():
    scores = dict.fromkeys(summary.ROWS.values(), 81.25)
    rows = [line.split() for line in summary.format_scores({"test": scores, "test_without_rnn": {}}).splitlines()]
    assert ["mean", "AP", "81.2", "-"] in rows
    del scores["mean_average_precision_pooled"]
    assert "mean AP" not in summary.format_scores({"test": scores, "test_without_rnn": scores})


def test_the_summary_names_only_classes_that_the_labeller_never_predicts():
    metrics = {"val": {"classes_never_predicted": 1.0}, "val_without_rnn": {"classes_never_predicted": 2.0}, "test": {}}
    (line,) = summary.format_never_predicted(metrics)
    assert line == "1 class of val videos never predicted: results/evaluation/val/classes.csv"
    assert summary.format_never_predicted({"test": {"classes_never_predicted": 0.0}}) == []


def test_the_summary_without_results_names_the_command_that_makes_them(workspace):
    with pytest.raises(SystemExit, match="dvc repro"):
        summary.main()
