"""A data set of classes that overlap: it is scanned, counted, and prepared for training."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_data import write_params

import framescribe
from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.cli.main import main
from pipeline.config.params import load_params
from pipeline.datasets.manifest import Source, read_manifest
from pipeline.datasets.scan import scan_dataset
from pipeline.datasets.support import (
    CLASS_SUPPORT,
    UNLABELLED,
    Support,
    count_support,
    find_shortages,
    format_support,
    unlabelled_percent,
)
from pipeline.errors import InputError
from pipeline.stages.prepare import prepare

CLASSES = ("eats", "sleeps", "rears")
SPACE = LabelSpace(CLASSES, groups=("state", "state", "posture"))
NUM_FRAMES = 40


@pytest.fixture
def dataset(tmp_path):
    """Six files of features with the same labels, in each of the layouts."""
    root = tmp_path / "dataset"
    for folder in ("features", "labels"):
        (root / folder).mkdir(parents=True)
    (root / "classes.csv").write_text("class,group\neats,state\nsleeps,state\nrears,posture\n")
    segments = [(0, 10, "eats"), (5, 25, "rears"), (20, 30, "sleeps")]
    names = [";".join(name for start, stop, name in segments if start <= t < stop) for t in range(NUM_FRAMES)]
    table = "start,stop,class\n" + "".join(f"{start},{stop},{name}\n" for start, stop, name in segments)
    one_hot = ",".join(CLASSES) + "\n"
    one_hot += "".join(",".join(str(int(name in of_frame.split(";"))) for name in CLASSES) + "\n" for of_frame in names)
    for i in range(6):
        features = np.random.default_rng(i).normal(size=(NUM_FRAMES, 3)).astype(np.float32)
        np.save(root / "features" / f"clip{i}.npy", features)
        suffix, text = [(".csv", table), (".csv", one_hot), (".txt", "\n".join(names) + "\n")][i % 3]
        (root / "labels" / f"clip{i}{suffix}").write_text(text)
    return root


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def printed(root, **options):
    scan = scan_dataset(root, **options)
    return [str(p).removeprefix(f"{root}/") for p in scan.all_problems() + scan.unused_class_problems()]


def test_all_layouts_give_the_same_labels(dataset):
    scan = scan_dataset(dataset)
    assert printed(dataset) == []
    assert scan.label_space == SPACE
    assert len({source.labels_sha256 for source in scan.sources.values()}) == 1
    assert scan.labels["clip0"].dtype == np.int8
    assert scan.labels["clip0"].sum(axis=0).tolist() == [10, 10, 20]


def test_what_nobody_looked_at_is_unknown_and_said(dataset):
    (dataset / "scored.csv").write_text("stem,start,stop,class\nclip0,0,20,\nclip1,0,40,eats\n")
    scan = scan_dataset(dataset)
    assert scan.all_problems() == []
    assert (scan.labels["clip0"][20:] == IGNORE_INDEX).all()
    assert (scan.labels["clip1"][:, 1:] == IGNORE_INDEX).all()
    assert (scan.labels["clip1"][:, 0] != IGNORE_INDEX).all()
    said = (
        "labels, each of a frame and a class, that nobody looked at, as scored.csv says, and they are left out: the"
        " first is 'rears'"
    )
    assert [str(warning).partition("dataset/")[2] for warning in scan.warnings()] == [
        f"labels/clip0.csv: has 15 {said} at frame 20",
        f"labels/clip1.csv: has 30 {said} at frame 5",
    ]


def test_all_that_is_wrong_with_what_people_looked_at_is_said_at_once(dataset):
    (dataset / "scored.csv").write_text("stem,start,stop,class\nclip0,0,50,\nclip9,0,9,\nclip1,0,9,eat\n")
    assert printed(dataset) == [
        "scored.csv:4: unknown class 'eat': did you mean 'eats'?",
        "scored.csv:3: 'clip9' is not a stem of features/: did you mean 'clip5'?",
        "scored.csv:2: range [0, 50) goes beyond the 40 frames of the video: it was labelled at another frame rate, in"
        " another video, or counting from 1",
    ]


def test_an_unused_class_is_named_with_its_line(dataset):
    append(dataset / "classes.csv", "\njumps,posture\n")
    for path in dataset.glob("labels/clip[14].csv"):
        path.write_text(path.read_text().replace("\n", ",\n").replace("rears,", "rears,jumps", 1))
    assert printed(dataset) == [
        "classes.csv:6: no frame is labelled 'jumps': is it spelt otherwise in the labels, or should it go?"
    ]


def test_classes_of_whole_videos_may_be_several(dataset):
    for path in dataset.glob("labels/*"):
        path.unlink()
    rows = "".join(f"clip{i},eats\nclip{i},rears\n" for i in range(5))
    (dataset / "labels.csv").write_text(f"stem,class\n{rows}clip5,\n")
    scan = scan_dataset(dataset)
    assert scan.all_problems() == []
    assert scan.num_video_labels == 6
    assert scan.labels["clip0"].tolist() == [[1, 0, 1]] * NUM_FRAMES
    assert scan.labels["clip5"].tolist() == [[0, 0, 0]] * NUM_FRAMES


def test_a_setting_makes_the_classes_of_a_plain_list_independent(dataset):
    (dataset / "classes.csv").unlink()
    (dataset / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    asked = {line.split(":")[0] for line in printed(dataset) if "should these classes be independent?" in line}
    assert len(asked) == 6, "each file"
    assert printed(dataset, independent=True) == []
    assert framescribe.check_dataset(dataset).problems != ()
    assert framescribe.check_dataset(dataset, independent=True).problems == ()


@pytest.mark.parametrize("name", ["classes.csv", "scored.csv"])
def test_links_out_of_the_data_set_are_not_read(dataset, tmp_path, name):
    (dataset / "scored.csv").write_text("stem,start,stop\nclip0,0,20\n")
    outside = (dataset / name).rename(tmp_path / "outside.csv")
    (dataset / name).symlink_to(outside)
    assert any(line.startswith(f"{name}: is a link out of the data set") for line in printed(dataset))
    assert printed(dataset, follow_links=True) == []


# Counts


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.integers(1, 12).flatmap(lambda n: arrays(np.int8, (n, 3), elements=st.sampled_from([0, 1, IGNORE_INDEX]))),
        min_size=1,
        max_size=5,
    )
)
def test_counts_of_a_class_equal_those_of_counting_one_by_one(videos):
    space = LabelSpace.independent(CLASSES)
    sources = [Source(f"v{i}", "", f"g{i // 2}", len(labels), split="train") for i, labels in enumerate(videos)]
    support = count_support(sources, {f"v{i}": labels for i, labels in enumerate(videos)}, space)["train"]
    for index, name in enumerate(CLASSES):
        known = [[label for label in labels[:, index].tolist() if label != IGNORE_INDEX] for labels in videos]
        starts = [
            sum(label and not (i and column[i - 1]) for i, label in enumerate(column)) if column else 0
            for column in known
        ]
        groups = {i // 2 for i, column in enumerate(known) if any(column)}
        expected = (sum(map(sum, known)), sum(starts), sum(map(any, known)), len(groups), sum(map(len, known)))
        assert support[name] == Support(*expected)
    num_unlabelled = sum((labels == IGNORE_INDEX).all(axis=1).sum() for labels in videos)
    assert support[UNLABELLED].frames == num_unlabelled
    assert unlabelled_percent(support) == pytest.approx(100 * num_unlabelled / sum(map(len, videos)))


def test_a_class_that_is_present_wherever_it_is_known_is_reported():
    labels = np.array([[1, 0, 1], [1, 1, IGNORE_INDEX]] * 10, dtype=np.int8)
    sources = [Source(f"v{i}", "", f"g{i}", 20) for i in range(2)]
    table = count_support(sources, {"v0": labels, "v1": labels}, LabelSpace.independent(CLASSES))
    shortages = {shortage.what: shortage.classes for shortage in find_shortages(table)}
    assert shortages == {"in all frames of which they are known": ("rears", "eats")}
    lines = format_support(table).splitlines()
    assert lines[1].split() == ["class", "frames", "segments", "videos", "scored"]
    assert lines[3].split() == ["eats", "40", "2", "2", "100.0%"]
    assert lines[5].split() == ["rears", "20", "2", "2", "50.0%"]


# Preparing it


def test_a_prepared_data_set_has_its_groups_and_labels(dataset, capsys):
    (dataset / "scored.csv").write_text("stem,start,stop\nclip2,0,30\n")
    write_params(dataset.parent, dataset__root=str(dataset), dataset__background=None)
    manifest = prepare(load_params(dataset.parent / "params.yaml"), dataset.parent / "prepared")
    again, labels = read_manifest(dataset.parent / "prepared")
    assert again == manifest
    assert again.label_space == SPACE
    assert {stem: of_video.shape for stem, of_video in labels.items()} == {
        f"clip{i}": (NUM_FRAMES, 3) for i in range(6)
    }
    with (dataset.parent / "prepared" / CLASS_SUPPORT).open(newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    scored = sum(int(rows["eats"][f"{split}_scored_frames"]) for split in ("train", "val", "test"))
    assert scored == 6 * NUM_FRAMES - 10
    assert "unlabelled" in capsys.readouterr().out


def test_the_command_python_and_training_give_the_same_warnings(dataset, capsys):
    for path in dataset.glob("labels/*"):
        path.unlink()
    for i in range(6):
        (dataset / "labels" / f"clip{i}.csv").write_text("start,stop,class\n0,10,eats\n0,10,rears\n20,30,sleeps\n")
    (dataset / "scored.csv").write_text("stem,start,stop\nclip2,0,25\n")
    write_params(dataset.parent, dataset__root=str(dataset), dataset__background=None)

    def printed_warnings():
        lines = capsys.readouterr().err.splitlines()
        return [line.removeprefix("warning: ") for line in lines if line.startswith("warning: ")]

    assert main(["check", str(dataset)]) == 0
    of_command = printed_warnings()
    prepare(load_params(dataset.parent / "params.yaml"), dataset.parent / "prepared")
    of_training = printed_warnings()
    assert of_command == [*framescribe.check_dataset(dataset).warnings]
    shortage, pairs, left_out = of_command
    assert "in fewer than 10 segments" in shortage
    assert pairs.startswith("'eats' and 'rears' are always in the same frames.")
    assert "labels, each of a frame and a class, that nobody looked at" in left_out
    assert of_training[-2:] == [pairs, left_out]


def test_a_model_of_whole_videos_learns_one_class_of_each_group_at_most(dataset):
    write_params(dataset.parent, dataset__root=str(dataset), dataset__background=None, labeller__head="many_to_one")
    with pytest.raises(InputError, match=r"has several classes of one group, or no label, .*labels\.csv can give it"):
        prepare(load_params(dataset.parent / "params.yaml"), dataset.parent / "prepared")


def test_a_video_without_any_class_is_reported(dataset):
    (dataset / "labels" / "clip0.csv").write_text("start,stop,class\n")
    warnings = framescribe.check_dataset(dataset).warnings
    assert "no frame of 1 video has a class: 'clip0'. Is that so, or are labels missing?" in warnings


def test_the_groups_are_shown_and_a_misspelt_one_is_named(dataset, capsys):
    assert main(["check", str(dataset)]) == 0
    shown = capsys.readouterr()
    assert "one at most in a frame, group 'state': eats, sleeps\nindependent of all others: rears\n" in shown.out
    assert "spelt almost like" not in shown.err
    (dataset / "classes.csv").write_text("class,group\neats,state\nsleeps,staet\nrears,posture\n")
    assert main(["check", str(dataset)]) == 0
    shown = capsys.readouterr()
    assert "independent of all others: eats, sleeps, rears\n" in shown.out
    assert "classes.csv:3: group 'staet' is spelt almost like 'state'" in shown.err
    assert main(["check", "--independent", str(dataset)]) == 0
    assert "spelt almost like" not in capsys.readouterr().err, "the groups do not count"
