"""`framescribe evaluate --agreement`: the label files of two annotators."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from import_graph import ROOT

from pipeline.annotations.problems import AnnotationError
from pipeline.cli.main import main
from pipeline.errors import InputError
from pipeline.metrics.agreement_folders import agreement_of

DATA = Path(os.environ.get("FRAMESCRIBE_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def sides(tmp_path):
    """The folders of two annotators."""
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    return folders


def write(folders, stem, *texts):
    for folder, text in zip(folders, texts, strict=True):
        (folder / stem).write_text(text)


def test_columns_for_each_class_are_compared_class_by_class(sides):
    write(sides, "clip.csv", "eats,rears\n1,0\n1,1\n0,\n0,1\n", "rears,eats\n0,1\n1,0\n1,0\n1,0\n")
    report = agreement_of(*sides)
    assert (report["num_videos"], report["num_frames"]) == (1, 4)
    assert report["classes"]["eats"] == pytest.approx(
        {"agreement": 75, "kappa": 0.5, "f1": 200 / 3, "num_frames": 4, "first": 2, "second": 1, "both": 1}
    )
    assert report["classes"]["rears"]["num_frames"] == 3, "one of them has not looked at a frame"
    assert report["overall"]["kappa"]["pooled"] is None


def test_it_is_said_why_classes_without_a_list_have_no_kappa_of_all(sides, capsys):
    write(sides, "clip.csv", "eats,rears\n1,0\n0,1\n", "rears,eats\n0,1\n1,0\n")
    arguments = ["evaluate", "--agreement", *map(str, sides)]
    assert main(arguments) == 0
    assert "no Cohen's kappa of all classes: without a class list" in capsys.readouterr().out
    assert main([*arguments, "--independent"]) == 0
    assert "no Cohen's kappa" not in capsys.readouterr().out
    (sides[0] / "classes.txt").write_text("eats\nrears\n")
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "no Cohen's kappa" not in printed
    assert "Cohen's kappa" in printed


def test_exclusive_classes_have_a_kappa_of_all(sides):
    write(sides, "clip.txt", "rest\nrest\nwalk\n\n", "rest\nwalk\nwalk\nwalk\n")
    report = agreement_of(*sides)
    assert report["num_frames"] == 3
    assert report["overall"]["kappa"]["pooled"] == pytest.approx((2 / 3 - 4 / 9) / (5 / 9))


def test_what_one_annotator_has_not_labelled_is_left_out_and_named(sides, capsys):
    write(sides, "clip.csv", "start,stop,class\n0,4,rest\n", "start,stop,class\n0,2,rest\n2,3,walk\n")
    write(sides[:1], "alone.txt", "rest\n")
    write(sides, "other.txt", "rest\nwalk\n", "rest\n")
    report = agreement_of(*sides)
    assert (report["num_videos"], report["num_frames"]) == (1, 3), "a table does not say how long its video is"
    assert (report["only_first"], report["only_second"], report["not_compared"]) == (["alone"], [], ["other"])
    assert "got 1 labels for 2 of" in report["failures"][0]
    assert main(["evaluate", "--agreement", *map(str, sides)]) == 1
    printed = capsys.readouterr()
    assert f"not scored, as {sides[1]} has no labels for them: alone" in printed.err
    assert "not scored: " in printed.err
    for folder in sides:
        (folder / "other.txt").unlink()
    assert main(["evaluate", "--agreement", *map(str, sides)]) == 0


def test_the_class_list_of_either_side_counts_and_classes_may_overlap(sides):
    write(sides, "clip.csv", "start,stop,class\n0,2,eats\n1,3,rears\n", "start,stop,class\n0,3,eats\n")
    with pytest.raises(AnnotationError, match="overlaps"):
        agreement_of(*sides)
    report = agreement_of(*sides, independent=True)
    (sides[1] / "classes.csv").write_text("class,group\nrears,a\neats,b\n")
    assert agreement_of(*sides)["classes"] == dict(reversed(report["classes"].items()))
    assert list(agreement_of(*sides)["classes"]) == ["rears", "eats"]
    (sides[0] / "scored.csv").write_text("stem,start,stop\nclip,0,2\n")
    assert agreement_of(*sides)["num_frames"] == 2
    (sides[0] / "scored.csv").write_text("stem,start,stop\nclip,0,9\n")
    assert agreement_of(*sides)["num_frames"] == 9, "the tables of segments do not say how long the video is"
    (sides[1] / "clip.csv").write_text("eats,rears\n1,0\n1,0\n1,0\n")
    with pytest.raises(AnnotationError, match=r"range \[0, 9\) goes beyond the 3 frames"):
        agreement_of(*sides)


def test_two_files_are_labels_of_one_video_whatever_their_stems(tmp_path, capsys):
    one, two = tmp_path / "annotator_1.csv", tmp_path / "annotator_2.csv"
    one.write_text("eats,rears\n1,0\n0,1\n")
    two.write_text("eats,rears\n1,0\n1,1\n")
    path = tmp_path / "report.json"
    assert main(["evaluate", "--agreement", str(one), str(two), "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert list(report["videos"]) == ["annotator_1"]
    assert report["overall"]["agreement"]["pooled"] == 50
    assert ["agreement", "(%)", "50.0", "50.0"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    (tmp_path / "scored.csv").write_text("stem,start,stop,class\nannotator_2,0,1,\nannotator_1,0,2,eats\n")
    classes = agreement_of(one, two)["classes"]
    assert {name: scores["num_frames"] for name, scores in classes.items()} == {"eats": 1, "rears": 0}
    with pytest.raises(InputError, match=r"is a file and .* is not: expected two folders"):
        agreement_of(tmp_path, one)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --truth and --predicted, or --agreement"),
        (["--truth", "a"], "expected --truth and --predicted, or --agreement"),
        (["--agreement", "a", "b", "--truth", "a"], "--agreement has no truth"),
        (["--agreement", "a", "b", "--background", "rest"], "--agreement has no truth"),
        (["--agreement", "a", "b"], "a is not a folder"),
    ],
)
def test_calls_that_make_no_sense_are_refused(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_folders_without_a_common_video_are_refused(sides):
    write(sides[:1], "a.txt", "rest\n")
    write(sides[1:], "b.txt", "rest\n")
    with pytest.raises(InputError, match="no video has labels in both"):
        agreement_of(*sides)


@pytest.mark.parametrize("recording", range(1, 6))
def test_the_agreement_of_published_annotators_equals_that_of_scikit_learn(reference, recording):
    folder = DATA / "annotations" / "banos" / f"recording_{recording}"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    paths = folder / "annotator_1.csv", folder / "annotator_2.csv"
    report = agreement_of(*paths)
    names = paths[0].read_text().split("\n", 1)[0].split(",")
    one, two = (np.loadtxt(path, delimiter=",", skiprows=1, dtype=int) for path in paths)
    assert report["overall"]["agreement"]["pooled"] == pytest.approx(100 * (one == two).all(axis=1).mean())
    for index, name in enumerate(names):
        seen = one[:, index], two[:, index]
        if np.any(seen):
            assert report["classes"][name]["kappa"] == pytest.approx(reference.cohen_kappa_score(*seen), abs=1e-12)
            assert report["classes"][name]["f1"] == pytest.approx(100 * reference.f1_score(*seen))
