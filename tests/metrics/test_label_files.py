"""Label files of other names and in seconds are scored as those of a data set are."""

import shutil

import numpy as np
import pytest

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.write import write_frames
from pipeline.metrics.agreement_folders import agreement_of
from pipeline.metrics.folders import evaluate_folders
from pipeline.metrics.label_files import find_label_files, find_label_space, stem_of

CLASSES = ("rest", "walk")
PTS = np.array([0.0, 0.04, 0.5, 0.54, 0.6])


@pytest.fixture
def folders(tmp_path):
    """A video of a variable rate whose predictions are right in four of five frames."""
    truth, predicted = tmp_path / "labels", tmp_path / "outputs"
    truth.mkdir()
    predicted.mkdir()
    labels, ones = np.array([0, 1, 1, 0, 1]), np.ones(5)
    space = LabelSpace(CLASSES)
    write_frames(predicted / "clip.frames.csv", labels, probabilities=ones, pts_seconds=PTS, label_space=space)
    return truth, predicted


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("clip.csv", "start_seconds,stop_seconds,class\n0,0.04,rest\n0.04,0.66,walk\n"),
        ("clip.mp4.csv", "start;stop;class\n0;1;rest\n1;5;walk\n"),
        ("clip.tsv", "Frame\tPhase\n0\trest\n1\twalk\n2\twalk\n3\twalk\n4\twalk\n"),
        ("clip.mp4.txt", "rest\n" + "walk\n" * 4),
    ],
)
@pytest.mark.parametrize("compare", [evaluate_folders, agreement_of])
def test_files_of_other_names_and_in_seconds_are_scored(folders, name, text, compare):
    truth, predicted = folders
    (truth / name).write_text(text)
    report = compare(truth, predicted)
    accuracy = (
        report["frames"]["accuracy"]["pooled"]
        if compare is evaluate_folders
        else report["overall"]["agreement"]["pooled"]
    )
    assert accuracy == pytest.approx(80)
    assert find_label_space([truth], [truth / name]) == LabelSpace(CLASSES)


def test_seconds_without_times_of_the_other_side_are_refused(folders):
    truth, predicted = folders
    (truth / "clip.csv").write_text("start_seconds,stop_seconds,class\n0,0.5,rest\n")
    shutil.move(predicted / "clip.frames.csv", predicted / "clip.txt")
    (predicted / "clip.txt").write_text("rest\n" * 5)
    with pytest.raises(AnnotationError, match="gives times in seconds, and it is not known at which times"):
        evaluate_folders(truth, predicted)


def test_a_whole_name_is_that_of_a_video_unless_its_stem_has_a_file(tmp_path):
    for name in ("clip.csv", "clip.mp4.csv", "other.avi.txt"):
        (tmp_path / name).write_text("start,stop,class\n")
    assert {stem: path.name for stem, path in find_label_files(tmp_path).items()} == {
        "clip": "clip.csv",
        "clip.mp4": "clip.mp4.csv",
        "other": "other.avi.txt",
    }
    assert stem_of(tmp_path / "clip.mp4.frames.csv") == "clip"
    assert stem_of(tmp_path / "clip.one.csv") == "clip.one"
