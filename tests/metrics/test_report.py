import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from import_graph import ROOT

from pipeline.annotations.label_space import LabelSpace
from pipeline.errors import InputError
from pipeline.metrics.folders import evaluate_folders
from pipeline.metrics.report import evaluate, flatten, format_table, never_predicted, write_class_table

DATA = Path(os.environ.get("FRAMESCRIBE_DATA", ROOT.parent / "shared" / "data"))
CLASSES = ("rest", "walk", "jump")
SPACE = LabelSpace(CLASSES)
WITH_BACKGROUND = LabelSpace(CLASSES, "rest")
TRUTH = {"a": np.array([0, 0, 1, 1, 1, 1]), "b": np.array([1, 1, -100, 2]), "c": np.array([-100, -100])}
PREDICTED = {"a": np.array([0, 1, 1, 1, 1, 1]), "b": np.array([1, 0, 0, 1]), "c": np.array([0, 1])}


@pytest.mark.parametrize("model", ["ed_tcn", "dilated_tcn", "svm"])
def test_scores_of_published_predictions_equal_those_of_an_independent_script(model):
    folder = DATA / "metric_reference"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    expected = json.loads((folder / "scores.json").read_text())[model]
    report = evaluate_folders(folder / model / "truth", folder / model / "predicted", background="background")
    accuracy, segments = report["frames"]["accuracy"], report["without_background"]["segments"]
    assert report["num_videos"] == expected["videos"]
    assert round(accuracy["pooled"], 1) == expected["acc_frames"]
    assert round(accuracy["per_video"], 1) == expected["acc_pervideo"]
    assert round(segments["edit"]["per_video"], 1) == expected["edit"]
    assert [round(pair["pooled"], 1) for pair in segments["f1"].values()] == expected["F1_pooled"]
    assert [round(pair["per_video"], 1) for pair in segments["f1"].values()] == expected["F1_pervideo"]


def test_the_report_equals_values_computed_by_hand():
    report = evaluate(TRUTH, PREDICTED, WITH_BACKGROUND)
    assert json.loads(json.dumps(report)) == report
    assert (report["num_videos"], report["num_frames"], report["background"]) == (2, 9, "rest")
    assert report["frames"]["accuracy"] == {"pooled": pytest.approx(100 * 6 / 9), "per_video": pytest.approx(175 / 3)}
    without = report["without_background"]
    assert without["frames"]["accuracy"] == {"pooled": pytest.approx(100 * 5 / 7), "per_video": pytest.approx(200 / 3)}
    # a: 0 1 and 0 1. b, its unlabelled frame cut out: 1 2 and 1 0 1; without rest 1 2 and 1 1.
    assert report["segments"]["edit"] == {"pooled": pytest.approx(60), "per_video": pytest.approx((100 + 100 / 3) / 2)}
    assert without["segments"]["edit"] == {"pooled": pytest.approx(200 / 3), "per_video": pytest.approx(75)}
    # F1@50: a 2 of 2; b finds 1 (IoU 1/2), with 2 false and 1 missed.
    assert report["segments"]["f1"]["50"] == {"pooled": pytest.approx(200 * 3 / 9), "per_video": pytest.approx(70)}
    assert report["confusion"] == [[1, 1, 0], [1, 5, 0], [0, 1, 0]]
    assert report["classes"]["jump"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1, "segments": 1}
    assert [scores["segments"] for scores in report["classes"].values()] == [1, 2, 1]
    assert report["never_predicted"] == ["jump"]
    assert list(report["videos"]) == ["a", "b"]
    assert report["videos"]["b"]["segments"]["edit"] == pytest.approx(100 / 3)
    assert report["videos"]["b"]["num_frames"] == 3


def test_pooled_scores_of_one_video_are_the_scores_of_that_video():
    rng = np.random.default_rng(1)
    truth, predicted = {"a": np.repeat(rng.integers(0, 3, 30), 4)}, {"a": np.repeat(rng.integers(0, 3, 40), 3)}
    scores = flatten(evaluate(truth, predicted, LabelSpace(CLASSES, "walk")))
    pooled = {name: score for name, score in scores.items() if "_pooled" in name}
    assert len(pooled) == 12
    for name, score in pooled.items():
        assert score == pytest.approx(scores[name.replace("_pooled", "_per_video")])


def test_flattened_scores_have_the_expected_names():
    scores = flatten(evaluate(TRUTH, PREDICTED, LabelSpace((*CLASSES, "never"), "rest")))
    names = [
        f"{name}_{over}" for name in ("frame_accuracy", "frame_macro_f1", "edit") for over in ("pooled", "per_video")
    ]
    names += [f"f1_at_{percent}_{over}" for percent in (10, 25, 50) for over in ("pooled", "per_video")]
    of_classes = {f"class_{score}/{name}" for score in ("f1", "recall") for name in CLASSES}
    names.append("classes_never_predicted")
    assert set(scores) == {*names, *(f"{name}_without_background" for name in names[:-1]), *of_classes}
    assert scores["edit_per_video_without_background"] == pytest.approx(75)
    assert scores["classes_never_predicted"] == 1
    assert set(flatten(evaluate(TRUTH, PREDICTED, SPACE))) == {*names, *of_classes}
    only_predicted = flatten(evaluate({"a": np.array([0])}, {"a": np.array([1])}, SPACE))
    assert {name for name in only_predicted if name.startswith("class_")} == {
        "class_f1/rest",
        "class_f1/walk",
        "class_recall/rest",
    }


def test_the_table_has_every_score_in_aligned_columns():
    report = evaluate(TRUTH, PREDICTED, LabelSpace((*CLASSES, "never"), "rest"))
    scores, by_class, swallowed = (part.split("\n") for part in format_table(report).split("\n\n")[1:])
    assert len({len(line) for line in scores}) == 1
    assert len({len(line) for line in by_class}) == 1
    assert scores[5].split() == ["edit", "score", "60.0", "66.7", "66.7", "75.0"]
    assert by_class[-1].split() == ["never", "-", "-", "-", "0", "0"]
    assert by_class[-2].split() == ["jump", "0.0", "0.0", "0.0", "1", "1"]
    assert swallowed == ["never predicted, though in the truth: jump (1 frame)"]
    assert "without" not in format_table(evaluate(TRUTH, PREDICTED, SPACE))


def test_classes_that_are_never_predicted_are_listed_in_one_line_largest_first():
    names = tuple(f"c{i:02}" for i in range(20))
    truth = np.repeat(np.arange(20), np.arange(20) + 1)
    report = evaluate({"a": truth}, {"a": np.zeros_like(truth)}, LabelSpace(names))
    assert report["never_predicted"] == list(names[1:])
    line = never_predicted(report)
    assert line.startswith("never predicted, though in the truth: c19 (20 frames), c18 (19 frames), ")
    assert line.endswith(", c12 (13 frames) and 11 more")
    assert "never predicted" not in format_table(evaluate({"a": truth}, {"a": truth}, LabelSpace(names)))


def test_the_table_of_classes_has_the_values_of_the_report(tmp_path):
    report = evaluate(TRUTH, PREDICTED, LabelSpace((*CLASSES, "never")))
    write_class_table(report, tmp_path / "classes.csv")
    with (tmp_path / "classes.csv").open(newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert list(rows) == [*CLASSES, "never"]
    assert rows["jump"] == {
        "class": "jump",
        "frames": "1",
        "segments": "1",
        "precision": "0.00",
        "recall": "0.00",
        "f1": "0.00",
        "never_predicted": "yes",
    }
    assert [rows["never"][name] for name in ("frames", "recall", "never_predicted")] == ["0", "", ""]
    assert float(rows["walk"]["f1"]) == pytest.approx(report["classes"]["walk"]["f1"], abs=0.005)


def test_all_bad_videos_are_named_in_one_error():
    truth = {"a": np.zeros(3, int), "b": np.zeros(3, int), "d": np.array([0, 1, -100]), "e": np.array([7])}
    predicted = {"a": np.zeros(4, int), "c": np.zeros(3, int), "d": np.array([0, -100, -100]), "e": np.array([0])}
    with pytest.raises(InputError) as caught:
        evaluate(truth, predicted, SPACE)
    assert str(caught.value).split("\n") == [
        "no prediction for 1 of the videos: b",
        "no truth for 1 of the videos: c",
        "got 4 predicted labels for 3 true ones of a: they are of different videos or frame rates",
        "1 of 2 labelled frames of d have no prediction: give them a class, for example a background class",
        "e: got labels from 0 to 7, expected indices of 3 classes",
    ]


def test_truth_without_labels_is_refused():
    with pytest.raises(InputError, match="not one frame of the 1 videos is labelled"):
        evaluate({"c": TRUTH["c"]}, {"c": PREDICTED["c"]}, SPACE)


@pytest.fixture
def overlapping_report():
    """A report of two classes that overlap; the background is never predicted."""
    truth = {"a": np.array([[1, 0], [1, 1], [0, 1], [0, -100]], dtype=np.int8)}
    predicted = {"a": np.array([[0, 0], [0, 1], [0, 1], [0, 1]], dtype=np.int8)}
    probabilities = {"a": np.array([[0.4, 0.1], [0.2, 0.9], [0.3, 0.8], [0.1, 0.7]])}
    return evaluate(truth, predicted, LabelSpace.independent(("eats", "rears"), "eats"), probabilities)


def test_the_table_of_overlapping_classes_has_average_precision_and_scores_of_bouts(overlapping_report):
    head, scores, by_class, swallowed = (part.split("\n") for part in format_table(overlapping_report).split("\n\n"))
    assert head == ["videos 1   labelled frames 4   classes 2"]
    assert len({len(line) for line in scores}) == len({len(line) for line in by_class}) == 1
    assert ["mean", "AP", "91.7", "91.7", "100.0", "100.0"] in [line.split() for line in scores]
    assert by_class[0].split() == ["class", "precision", "recall", "F1", "AP", "edit", "F1@50", "frames", "segments"]
    assert by_class[2].split() == ["eats", "0.0", "0.0", "0.0", "83.3", "0.0", "0.0", "2", "1"]
    assert swallowed == ["never predicted, though in the truth: eats (2 frames)"]
    assert flatten(overlapping_report)["class_average_precision/eats"] == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_the_file_of_overlapping_classes_has_the_values_of_the_report(overlapping_report, tmp_path):
    write_class_table(overlapping_report, tmp_path / "classes.csv")
    with (tmp_path / "classes.csv").open(newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    counts = {key: rows["rears"][key] for key in ("frames", "segments", "scored_frames")}
    assert counts == {"frames": "2", "segments": "1", "scored_frames": "3"}
    for key in ("precision", "f1", "average_precision", "edit", "f1_at_10", "f1_at_50", "calibration_error"):
        assert float(rows["eats"][key]) == pytest.approx(overlapping_report["classes"]["eats"][key], abs=0.005)
    assert [row["never_predicted"] for row in rows.values()] == ["yes", ""]
