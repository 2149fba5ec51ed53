"""A new layout of label files, which is one entry of the registry, is read wherever label files are read."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.annotations.formats import registry
from pipeline.annotations.formats.base import AnnotationFormat, VideoFrames
from pipeline.annotations.formats.parsing import NamedFrames, label_frames, raise_problems
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError, Problem
from pipeline.annotations.read import class_names_in, find_annotation, read_annotation, read_predicted
from pipeline.datasets.scan import scan_dataset
from pipeline.labelling.review import find_given
from pipeline.metrics.folders import evaluate_folders

SPACE = LabelSpace(("rest", "walk"))


def parse_runs(path: Path) -> NamedFrames:
    """Parse the toy layout, in which `rest 3` stands for three frames of rest."""
    frames: NamedFrames = []
    for line, text in enumerate(path.read_text().splitlines(), start=1):
        name, count = text.split()
        frames += [(line, name)] * int(count)
    return frames


def read_runs(path: Path, label_space: LabelSpace, *, video: VideoFrames, notes: list[Problem]) -> np.ndarray:
    problems: list[Problem] = []
    labels = label_frames(path, parse_runs(path), label_space, num_frames=video.num_frames, problems=problems)
    raise_problems(problems)
    return labels


TOY = AnnotationFormat(".runs.toy", read_runs, lambda path: {name for _, name in parse_runs(path)})


@pytest.fixture
def toy(monkeypatch) -> AnnotationFormat:
    monkeypatch.setattr(registry, "FORMATS", (*registry.FORMATS, TOY))
    return TOY


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_foreign_layout_is_found_and_read(toy, tmp_path):
    path = written(tmp_path / "clip.one.runs.toy", "rest 2\nwalk 1\n")
    assert find_annotation(tmp_path, "clip.one") == path
    assert read_annotation(path, SPACE, num_frames=3).tolist() == [0, 0, 1]
    assert read_predicted(path, SPACE).tolist() == [0, 0, 1]
    assert class_names_in(path) == {"rest", "walk"}
    with pytest.raises(AnnotationError, match=r"unknown class 'wlak' .*: did you mean 'walk'"):
        read_annotation(written(tmp_path / "other.runs.toy", "wlak 2\n"), SPACE, num_frames=None)
    assert find_given([tmp_path / "clip.one.mp4"], tmp_path, SPACE) == {"clip.one": path}


def test_a_foreign_layout_is_named_when_a_file_is_refused_or_ambiguous(toy, tmp_path):
    with pytest.raises(
        AnnotationError, match=re.escape("expected .runs.toy, .boris, .TextGrid, .eaf, .txt, .xlsx, .tsv or .csv")
    ):
        read_annotation(written(tmp_path / "clip.json", "{}"), SPACE, num_frames=None)
    for suffix in (".csv", ".txt", toy.suffix):
        written(tmp_path / f"clip{suffix}", "")
    with pytest.raises(AnnotationError, match=r"clip\.csv: and clip\.txt and clip\.runs\.toy all label 'clip'"):
        find_annotation(tmp_path, "clip")


def test_a_data_set_may_be_labelled_in_a_foreign_layout(toy, tmp_path):
    for stem in ("a", "b", "c"):
        (tmp_path / "features").mkdir(exist_ok=True)
        np.save(tmp_path / "features" / f"{stem}.npy", np.zeros((3, 2), np.float32))
    written(tmp_path / "classes.txt", "rest\nwalk\n")
    written(tmp_path / "labels" / "a.runs.toy", "rest 2\nwalk 1\n")
    written(tmp_path / "labels" / "b.runs.toy", "rest 4\n")
    written(tmp_path / "labels" / "stray.runs.toy", "rest 3\n")
    scan = scan_dataset(tmp_path)
    assert scan.labels["a"].tolist() == [0, 0, 1]
    problems = {problem.path.name: problem.message for problem in scan.all_problems()}
    assert problems.keys() == {"b.runs.toy", "stray.runs.toy", "c.csv"}
    assert problems["b.runs.toy"].startswith("got 4 labels for 3 frames")
    assert problems["stray.runs.toy"].startswith("labels no file of features/")
    assert problems["c.csv"].startswith(
        "is missing (or .tsv, .xlsx, .txt, .eaf, .TextGrid, .boris, .runs.toy): c.npy has no labels"
    )


def test_a_foreign_layout_is_scored(toy, tmp_path):
    written(tmp_path / "truth" / "clip.runs.toy", "rest 2\nwalk 2\n")
    written(tmp_path / "predicted" / "clip.txt", "rest\nrest\nrest\nwalk\n")
    report = evaluate_folders(tmp_path / "truth", tmp_path / "predicted")
    assert report["frames"]["accuracy"]["pooled"] == 75


@given(st.sampled_from(registry.FORMATS), st.from_regex(r"\A[a-z0-9 _-]{1,6}\Z"))
def test_the_name_of_a_file_gives_its_layout_and_stem(layout, stem):
    path = Path("labels") / f"{stem}{layout.suffix}"
    assert registry.format_of(path) == layout
    assert layout.stem(path) == stem


@pytest.mark.parametrize(
    ("name", "suffix", "stems"),
    [
        ("clip.frames.csv", ".frames.csv", ["clip", "clip.frames"]),
        ("clip.segments.csv", ".segments.csv", ["clip", "clip.segments"]),
        ("clip.live.csv", ".live.csv", ["clip", "clip.live"]),
        ("clip.csv", ".csv", ["clip"]),
        ("clip.mp4.csv", ".csv", ["clip", "clip.mp4"]),
        ("clip.tsv", ".tsv", ["clip"]),
        ("clip.xlsx", ".xlsx", ["clip"]),
        ("clip.txt", ".txt", ["clip"]),
        ("clip.json", None, []),
        (".csv", None, []),
    ],
)
def test_the_longest_suffix_counts_and_a_name_may_be_that_of_several_videos(name, suffix, stems):
    layout = registry.format_of(Path(name))
    assert (layout and layout.suffix) == suffix
    assert registry.stems_in(Path(name)) == stems
