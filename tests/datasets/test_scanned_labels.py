"""A data set is read as people leave it, and what is read in a way that they may not expect is said."""

import shutil

import numpy as np
import pytest

from pipeline.cli.main import main
from pipeline.datasets.scan import scan_dataset
from pipeline.datasets.warnings import find_notes

TICKS = [0, 40, 500, 540, 600, 900, 940, 1000]  # in 1/1000 s: a variable rate


@pytest.fixture
def dataset(make_video, tmp_path):
    """Two videos beside labels/, without a list of classes."""
    root = tmp_path / "set"
    (root / "labels").mkdir(parents=True)
    for stem in ("a", "b"):
        make_video(f"{stem}.mp4", ticks=TICKS).rename(root / f"{stem}.mp4")
    (root / "labels" / "a.csv").write_text("start_seconds;stop_seconds;class\n0,04;0,55;walk\n0,6;1,0;rest\n")
    (root / "labels" / "b.mp4.txt").write_text("walk\n" * 8)
    return root


def notes_of(scan):
    return [note.replace(f"{scan.root}/", "") for note in find_notes(scan)]


def test_videos_beside_their_labels_are_read_by_their_own_times_and_classes(dataset):
    (dataset / "groups.csv").write_text("stem,group\na,x\nb,y\n")
    (dataset / "notes.docx").write_text("anything")
    scan = scan_dataset(dataset)
    assert scan.all_problems() == []
    assert scan.label_space.classes == ("rest", "walk")
    assert scan.labels["a"].tolist() == [-100, 1, 1, -100, 0, 0, 0, -100]
    assert scan.labels["b"].tolist() == [1] * 8
    assert scan.tables == {}, "times are no frames whose numbers could be wrong"
    assert notes_of(scan) == [
        "classes.txt: is missing: the classes are those that the labels name, in alphabetical order: 'rest', 'walk'",
        "labels/a.csv: a comma in a time is read as a decimal comma",
    ]
    assert scan.unused_class_problems() == []


def test_check_prints_the_notes(dataset, capsys):
    assert main(["check", str(dataset)]) == 0
    out, err = capsys.readouterr()
    assert "0 problems" in out
    assert f"note: {dataset}/classes.txt: is missing: the classes are those that the labels name" in err


def test_notes_of_many_files_are_few_lines(tmp_path):
    for folder in ("features", "labels"):
        (tmp_path / folder).mkdir()
    (tmp_path / "classes.txt").write_text("rest\n")
    for index in range(40):
        np.save(tmp_path / "features" / f"{index:02}.npy", np.ones((4, 2), np.float32))
        name = "who" if index < 20 else f"column {index}"
        (tmp_path / "labels" / f"{index:02}.csv").write_text(f"start,stop,class,{name}\n0,4,rest,x\n")
    notes = notes_of(scan_dataset(tmp_path))
    assert notes[0] == "labels/00.csv:1: the column 'who' is passed over (and so in 19 more files)"
    assert len(notes) == 11
    assert notes[-1] == "11 more notes of the same kind"


def test_overlaps_without_a_list_of_classes_ask_whether_they_are_meant_so(dataset):
    (dataset / "labels" / "a.csv").write_text("start,stop,class\n0,4,walk\n2,6,rest\n")
    (problem,) = scan_dataset(dataset).all_problems()
    assert "should these classes be independent?" in problem.message
    scan = scan_dataset(dataset, independent=True)
    assert scan.all_problems() == []
    assert notes_of(scan)[0].endswith("in alphabetical order, and any of them may overlap: 'rest', 'walk'")


def test_without_any_class_the_list_is_missing_and_the_labels_are_named(dataset):
    (dataset / "labels" / "a.csv").write_text("start,end2,class\n0,4,walk\n")
    (dataset / "labels" / "b.mp4.txt").write_text("\n" * 8)
    first, second = scan_dataset(dataset).all_problems()
    assert str(first).startswith(f"{dataset}/classes.txt: is missing, and no label names a class")
    assert str(second).startswith(f"{dataset}/labels/a.csv:1: got the header 'start,end2,class'")


def test_labels_csv_gives_the_classes_too(dataset):
    shutil.rmtree(dataset / "labels")
    (dataset / "labels.csv").write_text("stem;class\na;walk\nb;rest\n")
    scan = scan_dataset(dataset)
    assert scan.all_problems() == []
    assert scan.label_space.classes == ("rest", "walk")


def test_two_label_files_and_label_files_of_no_video_are_problems(dataset):
    for name in ("b.csv", "c.mp4.csv", "c.frames.csv"):
        (dataset / "labels" / name).write_text("start,stop,class\n0,8,walk\n")
    printed = [str(problem).removeprefix(f"{dataset}/labels/") for problem in scan_dataset(dataset).all_problems()]
    stray = "labels no file of videos/: is it misspelt, or is the file missing?"
    assert printed == [
        f"c.frames.csv: {stray}",
        f"c.mp4.csv: {stray}",
        "b.csv: and b.mp4.txt both label 'b': keep one of them",
    ]


def test_a_name_may_end_as_that_of_a_written_file(dataset):
    (dataset / "b.mp4").rename(dataset / "b.frames.mp4")
    (dataset / "labels" / "b.mp4.txt").unlink()
    (dataset / "labels" / "b.frames.csv").write_text("start,stop,class\n0,8,walk\n")
    scan = scan_dataset(dataset)
    assert scan.all_problems() == []
    assert scan.labels["b.frames"].tolist() == [1] * 8


def test_seconds_of_features_and_of_a_broken_video_have_no_frames(dataset, tmp_path):
    (dataset / "a.mp4").write_bytes(b"no video")
    (problem,) = scan_dataset(dataset).all_problems()
    assert problem.path.name == "a.mp4"
    root = tmp_path / "features_set"
    for folder in ("features", "labels"):
        (root / folder).mkdir(parents=True)
    np.save(root / "features" / "a.npy", np.ones((8, 2), np.float32))
    shutil.copy(dataset / "labels" / "a.csv", root / "labels")
    (problem,) = scan_dataset(root).all_problems()
    assert problem.message.startswith("gives times in seconds, and it is not known at which times the frames are shown")


def test_notes_do_not_quote_files_that_are_links_out(dataset, tmp_path):
    (dataset / "classes.txt").write_text("rest\nwalk\n")
    (tmp_path / "secret.csv").write_text("start,stop,class,password\n0,8,walk,1234\n")
    (dataset / "labels" / "b.mp4.txt").unlink()
    (dataset / "labels" / "b.csv").symlink_to(tmp_path / "secret.csv")
    scan = scan_dataset(dataset, follow_links=True)
    assert scan.labels["b"].tolist() == [1] * 8
    assert not any("password" in note for note in find_notes(scan))
    (dataset / "classes.txt").unlink()
    assert scan_dataset(dataset).label_space.classes == ("rest", "walk"), "of a.csv, as the link is not followed"


@pytest.mark.parametrize(
    ("classes", "cause"),
    [
        ("mice,robot\n", "'mice,robot' looks like several classes on one line of the list of classes: write one name"),
        ("0 mice\n1 robot\n", "'0 mice' looks like a number and a class in the list of classes: write the name alone"),
        ("0,mice\n1,robot\n", "'0,mice' looks like a number and a class in the list of classes"),
        ("mice\t0\nrobot\t1\n", None),
        ("mice 0\nrobot 1\n", "'mice 0' looks like a number and a class in the list of classes"),
    ],
)
def test_a_list_of_classes_with_more_than_names_is_named(dataset, classes, cause):
    (dataset / "classes.txt").write_text(classes)
    (dataset / "labels" / "a.csv").write_text("start,stop,class\n0,4,mice\n")
    (dataset / "labels" / "b.mp4.txt").write_text("robot\n" * 8)
    printed = [str(problem) for problem in scan_dataset(dataset).all_problems()]
    if cause is None:  # a name has no tab at all
        assert "classes.txt:1: 'mice\\t0' looks like a number and a class in the list of classes" in printed[0]
    else:
        assert len(printed) == 2
        assert f"unknown class 'mice': {cause}" in printed[0]
