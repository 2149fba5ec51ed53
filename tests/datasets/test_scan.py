"""Every fault of a data set is found with its place, and nothing else is found."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import framescribe
from pipeline.datasets.scan import scan_dataset

NUM_VIDEOS, NUM_FRAMES = 8, 24


@pytest.fixture
def dataset(tmp_path) -> Path:
    """Eight files of features, two per group, labels in both layouts, and splits that keep groups together."""
    root = tmp_path / "dataset"
    for folder in ("features", "labels", "splits"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("idle\nleft\nright\n")
    generator = np.random.default_rng(0)
    for index in range(NUM_VIDEOS):
        np.save(root / "features" / f"clip{index}.npy", generator.normal(size=(NUM_FRAMES, 4)).astype(np.float32))
        csv_path = root / "labels" / f"clip{index}.csv"
        csv_path.write_text("start,stop,class\n0,8,idle\n8,16,left\n16,20,right\n")
        if index % 2:
            csv_path.unlink()
            csv_path.with_suffix(".txt").write_text("idle\n" * 8 + "left\n" * 8 + "right\n" * 4 + "\n" * 4)
    (root / "groups.csv").write_text("stem,group\n" + "".join(f"clip{i},g{i // 2}\n" for i in range(NUM_VIDEOS)))
    for split, indices in (("train", range(4)), ("val", (4, 5)), ("test", (6, 7))):
        (root / "splits" / f"{split}.txt").write_text("".join(f"clip{i}\n" for i in indices))
    return root


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def save(path: Path, array: np.ndarray) -> None:
    np.save(path, array)


# name of the fault: the change that makes it, and the place and words of each problem that must be found
FAULTS = {
    "empty file": (lambda d: (d / "features/clip0.npy").write_bytes(b""), {"features/clip0.npy": "not a readable"}),
    "truncated file": (
        lambda d: (d / "features/clip1.npy").write_bytes((d / "features/clip1.npy").read_bytes()[:200]),
        {"features/clip1.npy": "is it truncated"},
    ),
    "not a number": (
        lambda d: save(d / "features/clip3.npy", np.full((NUM_FRAMES, 4), np.nan, np.float32)),
        {"features/clip3.npy": "NaN"},
    ),
    "other width": (
        lambda d: save(d / "features/clip7.npy", np.zeros((NUM_FRAMES, 5), np.float32)),
        {"features/clip7.npy": "has 5 features a frame where most files have 4"},
    ),
    "unknown class": (lambda d: append(d / "labels/clip0.csv", "20,21,lft\n"), {"labels/clip0.csv:5": "'left'"}),
    "overlap and beyond": (
        lambda d: append(d / "labels/clip2.csv", "2,3,left\n23,25,left\n"),
        {"labels/clip2.csv:5": "overlaps", "labels/clip2.csv:6": "beyond the 24 frames"},
    ),
    "negative and empty": (
        lambda d: append(d / "labels/clip4.csv", "-1,0,left\n21,21,left\n"),
        {"labels/clip4.csv:5": "negative", "labels/clip4.csv:6": "is empty"},
    ),
    "blank class": (lambda d: append(d / "labels/clip6.csv", "20,21,\n"), {"labels/clip6.csv:5": "no class name"}),
    "labels too long": (
        lambda d: append(d / "labels/clip5.txt", "left\n"),
        {"labels/clip5.txt": "got 25 labels for 24 frames"},
    ),
    "no labels": (lambda d: (d / "labels/clip7.txt").unlink(), {"labels/clip7.csv": "clip7.npy has no labels"}),
    "stray labels": (
        lambda d: (d / "labels/clip9.csv").write_text("start,stop,class\n"),
        {"labels/clip9.csv": "labels no file of features/"},
    ),
    "stray file": (lambda d: (d / "features/notes.md").write_text("x"), {"features/notes.md": "is not one of .npy"}),
    "unused class": (lambda d: append(d / "classes.txt", "jump\n"), {"classes.txt:4": "no frame is labelled 'jump'"}),
    "stem in two splits": (
        lambda d: append(d / "splits/val.txt", "clip2\n"),
        {"splits/val.txt:3": "'clip2' is already in train.txt, line 3"},
    ),
    "unknown stem": (lambda d: append(d / "splits/test.txt", "nobody\n"), {"splits/test.txt:3": "is not a stem"}),
    "unknown split": (lambda d: (d / "splits/valid.txt").write_text("clip0\n"), {"splits/valid.txt": "is not one of"}),
    "group row twice": (lambda d: append(d / "groups.csv", "clip0,g9\n"), {"groups.csv:[0-9]+": "a second time"}),
    "group row of nobody": (lambda d: append(d / "groups.csv", "nobody,g9\n"), {"groups.csv:[0-9]+": "is not a stem"}),
}


def problems_of(dataset: Path) -> list[str]:
    scan = scan_dataset(dataset)
    return [str(problem) for problem in scan.all_problems() + scan.unused_class_problems()]


def test_a_clean_data_set_has_no_problem(dataset):
    assert problems_of(dataset) == []
    scan = scan_dataset(dataset)
    assert {stem: source.split for stem, source in scan.sources.items()} == {
        f"clip{i}": ("train", "train", "val", "test")[i // 2] for i in range(NUM_VIDEOS)
    }
    assert scan.sources["clip5"].group == "g2"
    assert (scan.labels["clip4"] == scan.labels["clip5"]).all()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(st.sampled_from(sorted(FAULTS)), min_size=1))
def test_every_fault_is_reported_once_with_its_place_and_nothing_else_is(dataset, tmp_path, names):
    broken = tmp_path / "broken"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(dataset, broken)
    expected = []
    for name in sorted(names):
        inject, problems = FAULTS[name]
        inject(broken)
        expected += [f"{broken}/{place}: .*{re.escape(words)}.*" for place, words in problems.items()]
    printed = problems_of(broken)
    for pattern in expected:
        assert sum(re.fullmatch(pattern, line) is not None for line in printed) == 1, (pattern, printed)
    assert len(printed) == len(expected), printed
    assert all(line.count(str(broken)) == 1 and "\n" not in line for line in printed)


def test_a_group_in_two_splits_is_reported_once_per_split(dataset):
    groups = "".join(f"clip{i},{'mouse' if i in (0, 1, 4, 5) else i}\n" for i in range(NUM_VIDEOS))
    (dataset / "groups.csv").write_text("stem,group\n" + groups)
    (line,) = problems_of(dataset)
    assert line.startswith(f"{dataset}/splits/val.txt:1: 'clip4' is of group 'mouse', as is 'clip0' in train.txt")


def test_videos_without_a_group_are_reported_together(dataset):
    (dataset / "groups.csv").write_text("stem,group\nclip0,a\n")
    (line,) = problems_of(dataset)
    assert line.startswith(
        f"{dataset}/groups.csv: has no row for 'clip1', 'clip2', 'clip3', 'clip4', 'clip5' and 2 more"
    )


@pytest.mark.parametrize("name", ["classes.txt", "groups.csv", "splits/val.txt", "labels/clip0.csv"])
def test_text_in_another_encoding_is_reported_and_not_raised(dataset, name):
    (dataset / name).write_bytes("stem,gruppe\nfür,über\n".encode("latin-1"))
    printed = problems_of(dataset)
    assert len(printed) == 1
    assert printed[0].startswith(f"{dataset / name}:2: is not UTF-8 text")


def test_every_fault_of_the_class_list_is_reported_with_its_line(dataset):
    (dataset / "classes.txt").write_text("idle\n\nidle\nleft\n")
    printed = problems_of(dataset)
    assert [line.split(": ")[0] for line in printed] == [f"{dataset}/classes.txt:2", f"{dataset}/classes.txt:3"]


def test_the_hash_of_labels_depends_on_their_content_and_not_on_their_layout(dataset):
    before = {stem: source.labels_sha256 for stem, source in scan_dataset(dataset).sources.items()}
    assert before["clip0"] == before["clip1"], "one is .csv, the other .txt"
    append(dataset / "labels" / "clip0.csv", "20,21,right\n")
    after = {stem: source.labels_sha256 for stem, source in scan_dataset(dataset).sources.items()}
    assert {stem for stem in before if before[stem] != after[stem]} == {"clip0"}


@pytest.mark.parametrize(
    ("remove", "sentence"),
    [
        ("features", "dataset: has neither videos/ nor features/"),
        ("labels", "dataset/labels: is missing"),
        (".", "dataset: is not a folder"),
    ],
)
def test_a_missing_part_is_one_problem(dataset, remove, sentence):
    path = dataset / remove
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (line,) = problems_of(dataset)
    assert line.startswith(f"{dataset.parent}/{sentence}")


def test_the_labels_of_a_broken_video_are_also_checked(dataset):
    (dataset / "features" / "clip0.npy").write_bytes(b"")
    append(dataset / "labels" / "clip0.csv", "20,21,lft\n")
    assert len(problems_of(dataset)) == 2
    assert "clip0" not in scan_dataset(dataset).labels


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grid", "gtea/split1", "gtea/split2", "gtea/split3", "gtea/split4"])
def test_real_data_sets_have_no_problem(real_data, name):
    assert problems_of(real_data / name) == []


# One class per video


@pytest.fixture
def labelled_by_video(dataset) -> Path:
    """The same files with one class each, in labels.csv alone."""
    shutil.rmtree(dataset / "labels")
    rows = "".join(f"clip{i},{('idle', 'left', 'right')[i % 3]}\n" for i in range(NUM_VIDEOS))
    (dataset / "labels.csv").write_text("stem,class\n" + rows)
    return dataset


def test_one_class_per_video_is_the_label_of_all_its_frames(labelled_by_video):
    assert problems_of(labelled_by_video) == []
    scan = scan_dataset(labelled_by_video)
    assert scan.num_video_labels == NUM_VIDEOS
    for i in range(NUM_VIDEOS):
        np.testing.assert_array_equal(scan.labels[f"clip{i}"], np.full(NUM_FRAMES, i % 3))


def test_a_video_with_labels_in_two_places_is_a_problem(labelled_by_video):
    (labelled_by_video / "labels").mkdir()
    frames = labelled_by_video / "labels" / "clip0.csv"
    frames.write_text("start,stop,class\n0,8,idle\n")
    (line,) = problems_of(labelled_by_video)
    assert line == f"{frames}: and line 2 of labels.csv both label it: keep one of them"
    table = labelled_by_video / "labels.csv"
    table.write_text(table.read_text().replace("clip0,idle\n", ""))
    assert problems_of(labelled_by_video) == [], "some videos by frames, the others by one class"
    table.write_text(table.read_text().replace("clip1,left\n", ""))
    (line,) = problems_of(labelled_by_video)
    assert line.endswith(
        "clip1.csv: is missing (or .tsv, .xlsx, .txt, .eaf, .TextGrid, .boris): clip1.npy has no labels, and labels.csv"
        " no row for it"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("clip5,right\n", ""), ["labels.csv: has no row for 'clip5': clip5.npy has no label"]),
        (("clip5,", "clp5,"), ["labels.csv:7: 'clp5' is not a stem of features/: did you mean 'clip5'?", "has no row"]),
        (("clip5,right", "clip5,rihgt"), ["labels.csv:7: unknown class 'rihgt': did you mean 'right'?"]),
        (("stem,class\n", ""), ["labels.csv:1: got the header 'clip0,idle', expected 'stem,class'"]),
    ],
)
def test_faults_of_labels_csv_are_reported_without_their_consequences(labelled_by_video, change, words):
    path = labelled_by_video / "labels.csv"
    path.write_text(path.read_text().replace(*change))
    printed = [str(problem) for problem in scan_dataset(labelled_by_video).all_problems()]
    assert len(printed) == len(words)
    for line, expected in zip(printed, words, strict=True):
        assert expected in line
    assert len(scan_dataset(labelled_by_video).usable_sources()) in (0, NUM_VIDEOS - 1)


def test_videos_in_no_split_and_files_that_are_not_read_are_named(feature_dataset):
    def warnings_about(word):
        found = framescribe.check_dataset(feature_dataset).warnings
        return [warning.removeprefix(f"{feature_dataset}/") for warning in found if word in warning]

    assert warnings_about("left out") == warnings_about("not read") == []
    (feature_dataset / "splits").mkdir()
    (feature_dataset / "splits" / "train.txt").write_text("clip0\nclip1\nclip2\nclip3\nclip5\n")
    assert warnings_about("left out") == ["splits: 1 video is in none of its files, and left out: 'clip4'"]
    labels = feature_dataset / "labels"
    (labels / "clip0.ods").write_text("")
    (labels / ".hidden.ods").write_text("")
    (labels / "old").mkdir()
    (labels / "clip1.csv").rename(labels / "clip1.eaf")  # a problem names it
    assert warnings_about("not read") == [
        "labels: 2 files not read, expected .csv or .tsv or .xlsx or .txt or .eaf or .TextGrid or .boris: clip0.ods,"
        " old/"
    ]
