"""Files of other programs in labels/ of a data set are read as label files."""

from pathlib import Path

import numpy as np
import pytest
from made_videos import MakeVideo

from pipeline.annotations.foreign.base import LabelledVideo
from pipeline.annotations.foreign.registry import foreign_format
from pipeline.annotations.label_space import LabelSpace
from pipeline.datasets.scan import Scan, scan_dataset
from pipeline.datasets.warnings import find_notes
from pipeline.interchange.videos import read_times

NAMES = {"elan": "clip.eaf", "praat": "clip.TextGrid", "boris": "clip.boris"}
EXCLUSIVE = LabelSpace(("walk", "rest"))
OVERLAPPING = LabelSpace.independent(EXCLUSIVE.classes)
LABELS = np.repeat([0, -100, 1, 0], [7, 3, 10, 20])
PRESENCE = np.stack([LABELS == 0, np.arange(40) % 8 < 5], axis=1).astype(np.int8)


@pytest.fixture
def root(make_video: MakeVideo, tmp_path: Path) -> Path:
    for name in ("videos", "labels"):
        (tmp_path / "data" / name).mkdir(parents=True)
    ticks = [400 + 33 * index + (index % 5) * 3 for index in range(40)]
    return make_video("clip.mp4", ticks=ticks).rename(tmp_path / "data" / "videos" / "clip.mp4").parents[1]


def write(root: Path, layout: str, labels: np.ndarray, space: LabelSpace, *, num_videos: int = 1) -> None:
    video = read_times(root / "videos" / "clip.mp4")
    found = foreign_format(layout)
    assert found is not None
    assert found.write is not None
    names = [video.path, video.path.with_name("other.mp4")][:num_videos]
    labelled = [LabelledVideo(name, labels, space, video.times, video.frame_rate) for name in names]
    found.write(root / "labels" / NAMES[layout], labelled)


def problems(scan: Scan) -> list[str]:
    return [str(problem).removeprefix(f"{scan.root}/") for problem in scan.all_problems()]


@pytest.mark.parametrize("layout", NAMES)
def test_labels_are_on_the_frames_that_are_shown_then(root: Path, layout: str) -> None:
    (root / "classes.txt").write_text("walk\nrest\n")
    write(root, layout, LABELS, EXCLUSIVE)
    scan = scan_dataset(root)
    assert problems(scan) == []
    assert scan.labels["clip"].tolist() == LABELS.tolist()
    write(root, layout, PRESENCE, OVERLAPPING)
    scan = scan_dataset(root, independent=True)
    assert problems(scan) == []
    assert scan.labels["clip"].tolist() == PRESENCE.tolist()
    (problem,) = problems(scan_dataset(root))
    assert "overlaps" in problem
    assert "should these classes be independent?" in problem


def test_what_is_left_out_is_a_note(root: Path) -> None:
    (root / "labels" / "clip.TextGrid").write_text(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2\n<exists>\n2\n'
        '"IntervalTier"\n"a"\n0\n2\n2\n0\n1\n"walk"\n1\n2\n"rest"\n'
        '"TextTier"\n"b"\n0\n2\n1\n0.5\n"call"\n'
    )
    scan = scan_dataset(root)
    assert problems(scan) == []
    assert scan.label_space.classes == ("rest", "walk")
    assert any("1 point events, which have no duration, are left out" in str(note) for note in find_notes(scan))


def test_the_label_file_counts_that_lies_beside_the_file_of_a_program(root: Path) -> None:
    (root / "labels" / "clip.csv").write_text("start,stop,class\n0,40,walk\n")
    (root / "labels" / "clip.eaf").write_text("anything")
    scan = scan_dataset(root)
    assert problems(scan) == []
    assert set(scan.labels["clip"].tolist()) == {0}


def test_what_cannot_be_used_is_one_problem(root: Path) -> None:
    (root / "classes.txt").write_text("walk\nsleep\n")
    write(root, "boris", LABELS, EXCLUSIVE)
    assert problems(scan_dataset(root)) == [
        "labels/clip.boris: unknown class 'rest': there are 'walk', 'sleep'",
    ]
    write(root, "boris", LABELS, EXCLUSIVE, num_videos=2)
    assert problems(scan_dataset(root)) == [
        "labels/clip.boris: has 2 recordings with 2 media files, expected the labels of one video: make a data set of"
        " it with framescribe import",
    ]
