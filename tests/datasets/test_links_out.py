"""Links of media are followed, those of text out of a data set are not, and no message quotes what they lead to."""

import numpy as np
import pytest
from made_data import write_caption_dataset, write_feature_dataset

from pipeline.annotations.problems import AnnotationError
from pipeline.datasets.captions import scan_captions
from pipeline.datasets.scan import scan_dataset
from pipeline.labelling.review import find_given
from pipeline.metrics.folders import evaluate_folders

SECRET = "hunter2"
REFUSED = "is a link out of the data set, and is not read"
TEXTS = ["classes.txt", "labels/clip0.csv", "groups.csv", "splits/train.txt", "labels.csv"]


@pytest.fixture
def dataset(tmp_path):
    root = write_feature_dataset(tmp_path / "dataset", num_videos=3)
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("clip0\nclip1\nclip2\n")
    (root / "groups.csv").write_text("stem,group\nclip0,a\nclip1,b\nclip2,c\n")
    return root


def move_out(path):
    """Move a file out of its data set, and leave a link."""
    stored = path.parents[1 if path.parent.name == "dataset" else 2] / f"stored_{path.name}"
    path.rename(stored)
    path.symlink_to(stored)
    return stored


def test_media_that_are_links_out_of_the_data_set_are_read(dataset):
    before = scan_dataset(dataset)
    for stem in before.sources:
        move_out(dataset / "features" / f"{stem}.npy")
    scan = scan_dataset(dataset)
    assert scan.all_problems() == []
    assert [scan.sources[stem].sha256 for stem in scan.sources] == [s.sha256 for s in before.sources.values()]


@pytest.mark.parametrize("name", TEXTS[:4])
def test_text_that_is_a_link_out_of_the_data_set_is_read_only_if_the_user_says_so(dataset, name):
    before = scan_dataset(dataset)
    move_out(dataset / name)
    (problem,) = scan_dataset(dataset).all_problems()
    assert str(problem).startswith(f"{dataset / name}: {REFUSED}")
    scan = scan_dataset(dataset, follow_links=True)
    assert scan.all_problems() == []
    assert scan.sources == before.sources


def test_links_within_the_data_set_and_a_root_that_is_a_link_are_no_links_out_of_it(dataset):
    (dataset / "store").mkdir()
    for name in TEXTS[:4]:
        path = dataset / name
        path.rename(dataset / "store" / path.name)
        path.symlink_to(dataset / "store" / path.name)
    root = dataset.parent / "by_another_name"
    root.symlink_to(dataset)
    assert scan_dataset(root).all_problems() == []


@pytest.mark.parametrize("follow_links", [False, True])
@pytest.mark.parametrize("name", TEXTS)
def test_no_message_quotes_what_a_link_out_of_the_data_set_holds(dataset, name, follow_links):
    path = dataset / name
    if path.exists():
        path.unlink()
    secret = dataset.parent / "secret"
    secret.write_text(f"{SECRET}:x:0\n{SECRET}:x:0\n\n{SECRET},1\n")
    path.symlink_to(secret)
    problems = scan_dataset(dataset, follow_links=follow_links).all_problems()
    assert problems
    assert SECRET not in "\n".join(map(str, problems))
    if not follow_links:
        assert [problem.path for problem in problems if REFUSED in problem.message] == [path]


def test_captions_that_are_a_link_out_of_the_data_set_are_not_quoted(tmp_path):
    root = write_caption_dataset(tmp_path / "dataset")
    stored = move_out(root / "captions.csv")
    (problem,) = scan_captions(root).all_problems()
    assert str(problem).startswith(f"{root}/captions.csv: {REFUSED}")
    assert scan_captions(root, follow_links=True).all_problems() == []
    stored.write_text(f"{SECRET}\n{SECRET}\n")
    for follow_links in (False, True):
        assert SECRET not in "\n".join(map(str, scan_captions(root, follow_links=follow_links).all_problems()))


def test_scores_are_of_labels_within_the_folder_unless_the_user_says_so(dataset):
    labels = dataset / "labels"
    whole = evaluate_folders(labels, labels)
    stored = move_out(labels / "clip0.csv")
    report = evaluate_folders(labels, labels)
    assert report["not_scored"] == ["clip0"]
    assert "is a link out of the folder" in report["failures"][0]
    assert evaluate_folders(labels, labels, follow_links=True) == whole
    stored.write_text(f"start,stop,class\n0,4,{SECRET}\n{SECRET}\n")
    for follow_links in (False, True):
        assert SECRET not in str(evaluate_folders(labels, labels, follow_links=follow_links))


def test_given_labels_that_are_links_are_not_quoted(dataset):
    stored = move_out(dataset / "labels" / "clip0.csv")
    space = scan_dataset(dataset, follow_links=True).label_space
    assert find_given([dataset / "clip0.npy"], dataset / "labels", space).keys() == {"clip0"}
    stored.write_text(f"start,stop,class\n0,4,{SECRET}\n")
    with pytest.raises(AnnotationError, match="what it holds is not shown") as caught:
        find_given([dataset / "clip0.npy"], dataset / "labels", space)
    assert SECRET not in str(caught.value)


def test_a_data_set_of_devices_is_refused(dataset):
    for name in ("classes.txt", "groups.csv"):
        (dataset / name).unlink()
        (dataset / name).symlink_to("/dev/zero")
    (dataset / "features" / "endless.npy").symlink_to("/dev/zero")
    for follow_links in (False, True):
        problems = scan_dataset(dataset, follow_links=follow_links).all_problems()
        assert {problem.path.name for problem in problems} == {"classes.txt", "groups.csv"}
    assert np.load(dataset / "features" / "clip0.npy").shape == (40, 6)
