"""Files of a data set are found by their names in any Unicode form, and files of systems and cameras pass."""

import unicodedata

import numpy as np
import pytest
from made_data import write_caption_dataset

from pipeline.annotations.label_space import LabelSpace
from pipeline.datasets.captions import scan_captions
from pipeline.datasets.scan import scan_dataset

NFC, NFD = (unicodedata.normalize(form, "Mäuse é") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(("stem", "name"), [(NFC, NFD), (NFD, NFC)])
@pytest.mark.parametrize("table", [False, True])
def test_a_stem_is_matched_in_any_unicode_form(tmp_path, stem, name, table):
    for folder in ("features", "labels", "splits"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "features" / f"{stem}.npy", np.ones((4, 2), np.float32))
    (tmp_path / "classes.txt").write_text(f"{stem}\n")
    if table:
        (tmp_path / "labels.csv").write_text(f"stem,class\n{name},{name}\n")
    else:
        (tmp_path / "labels" / f"{name}.csv").write_text(f"start,stop,class\n0,4,{name}\n")
    (tmp_path / "groups.csv").write_text(f"stem,group\n{name},a\n")
    (tmp_path / "splits" / "train.txt").write_text(f"{name}\n")
    scan = scan_dataset(tmp_path)
    assert scan.all_problems() == []
    assert scan.labels[stem].tolist() == [0] * 4
    assert (scan.sources[stem].group, scan.sources[stem].split) == ("a", "train")
    np.save(tmp_path / "features" / f"{name}.npy", np.ones((4, 2), np.float32))
    (problem,) = scan_dataset(tmp_path).all_problems()
    assert "has the same stem as" in problem.message


def test_captions_name_images_in_any_unicode_form(tmp_path):
    write_caption_dataset(tmp_path)
    (tmp_path / "images" / "square00.png").rename(tmp_path / "images" / f"{NFD}_0.png")
    path = tmp_path / "captions.csv"
    path.write_text(path.read_text().replace("square00.png", f"{NFC}_0.png"))
    (tmp_path / "splits").mkdir()
    names = "".join(f"square{index:02}\n" for index in range(1, 12))
    (tmp_path / "splits" / "train.txt").write_text(f"{NFC}\n{names}")
    scan = scan_captions(tmp_path)
    assert scan.all_problems() == []
    assert scan.images[f"{NFD}_0"].split == "train"


def test_classes_in_two_unicode_forms_are_one_class():
    space = LabelSpace((NFC, "rest"), background=NFD)
    assert (space.background_index, space.index(NFD)) == (0, 0)
    assert space.describe_change(LabelSpace((NFD, "rest"))) is None
    with pytest.raises(ValueError, match="listed twice"):
        LabelSpace((NFC, NFD))


@pytest.fixture
def dataset(tmp_path):
    for folder in ("features", "labels"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "features" / "clip.npy", np.ones((4, 2), np.float32))
    (tmp_path / "classes.txt").write_text("rest\n")
    (tmp_path / "labels" / "clip.csv").write_text("start,stop,class\n0,4,rest\n")
    return tmp_path


def test_hidden_files_and_those_of_systems_and_cameras_pass(dataset):
    for name in ("labels/._clip.csv", "labels/.DS_Store", "labels/clip.eaf", "labels/Thumbs.db"):
        (dataset / name).write_bytes(b"\0\5")
    for name in ("Thumbs.db", "desktop.ini", "._clip.npy", "clip.THM", "clip.LRV", "clip.xmp"):
        (dataset / "features" / name).write_bytes(b"\0\5")
    assert scan_dataset(dataset).all_problems() == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("clip.CSV", "; clip.CSV lies there: rename it to clip.csv"),
        ("clip.xls", "; clip.xls lies there: save it as 'CSV UTF-8', clip.csv: start,stop,class"),
        ("clip.anvil", "; clip.anvil lies there: export it as clip.csv: start,stop,class"),
        ("._clip.csv", "clip.npy has no labels"),
    ],
)
def test_labels_in_another_layout_are_mentioned(dataset, name, words):
    (dataset / "labels" / "clip.csv").rename(dataset / "labels" / name)
    (problem,) = scan_dataset(dataset).all_problems()
    assert str(problem).startswith(
        f"{dataset}/labels/clip.csv: is missing (or .tsv, .xlsx, .txt, .eaf, .TextGrid, .boris): clip.npy has no labels"
    )
    assert problem.message.endswith(words)


def test_labels_that_are_a_link_to_what_is_not_there_are_named(dataset):
    (dataset / "labels" / "clip.csv").unlink()
    (dataset / "labels" / "clip.csv").symlink_to("not-fetched.csv")
    (dataset / "features" / "other.npy").symlink_to("not-fetched.npy")
    printed = [str(problem) for problem in scan_dataset(dataset).all_problems()]
    assert len(printed) == 3  # the other has no labels either
    assert "labels/clip.csv: is a link to a file that is not there: its content is not here" in printed[0]
    assert "features/other.npy: is a link to a file that is not there: its content is not here" in printed[1]
