"""Lists with a class on the line of each frame are read and written as MS-TCN's data sets have them."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations.foreign.base import LabelledVideo
from pipeline.annotations.foreign.document import Document, Event, Span
from pipeline.annotations.foreign.frame_text import FORMAT
from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.times import FrameTimes
from pipeline.errors import InputError


def read(tmp_path: Path, text: str, mapping: str | None = None, *, above: bool = True) -> Document:
    path = tmp_path / "groundTruth" / "S1_Tea.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    if mapping is not None:
        (path.parents[int(above)] / "mapping.txt").write_text(mapping)
    return FORMAT.read(path)


@pytest.mark.parametrize("above", [False, True])
def test_the_mapping_gives_the_order_of_the_classes(above: bool, tmp_path: Path) -> None:
    document = read(tmp_path, "pour\npour\nbackground\n", "1 pour\n0 background\n2 stir\n", above=above)
    assert document.classes == ["background", "pour", "stir"]
    assert (document.may_overlap, document.background) == (False, "background")
    (recording,) = document.recordings
    assert recording.events == [Event(0, 2, "pour", place="line 1"), Event(2, 3, "background", place="line 3")]
    assert (recording.name, recording.num_frames, recording.scored) == ("S1_Tea", 3, None)


def test_numbers_are_looked_up_in_the_mapping(tmp_path: Path) -> None:
    document = read(tmp_path, "0\n1\n1\n7\n-1\nstir\n", "0 background\n1 pour tea\n")
    assert document.classes == ["background", "pour tea", "stir"]
    assert [(event.start, event.stop, event.label) for event in document.recordings[0].events] == [
        (0, 1, "background"), (1, 3, "pour tea"), (5, 6, "stir")
    ]  # fmt: skip
    assert [(loss.place, loss.what) for loss in document.losses] == [("line 4", "7 (1 frame)")]
    assert document.recordings[0].scored == [Span(0, 3), Span(5, 6)]
    assert document.notes == ["Classes that mapping.txt does not list come last: 'stir'."]


def test_without_a_mapping_classes_are_in_order_of_the_alphabet(tmp_path: Path) -> None:
    assert read(tmp_path, "walk\r\n\r\nrest").classes == ["rest", "walk"]
    assert "numbers as names" in read(tmp_path, "1\n0\n").notes[0]


@pytest.mark.parametrize(
    ("text", "mapping", "expected"),
    [
        ("\n\n", None, "has no line with the name of a class"),
        ("0 walk\n1 rest\n", None, "it lists the classes"),
        ("walk\n", "0 walk\n0 rest\n", "mapping.txt:2: has a second class with the number 0"),
        ("walk\n", "walk 0\n", "mapping.txt:1: got 'walk 0', expected a number and the name of its class"),
        ("walk\n", "0 walk\n1 walk\n", "mapping.txt: names a class twice: 'walk'"),
    ],
)
def test_another_text_is_refused(text: str, mapping: str | None, expected: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError) as refused:
        read(tmp_path, text, mapping)
    assert expected in str(refused.value)


def video(labels: list, space: LabelSpace) -> LabelledVideo:
    array = np.array(labels, dtype=np.int64 if space.is_exclusive else np.int8)
    return LabelledVideo(Path("S1.mp4"), array, space, FrameTimes(np.arange(len(labels)) / 25, 0.04), 25.0)


def test_the_mapping_is_written_above_the_folder_of_the_labels(tmp_path: Path) -> None:
    path = tmp_path / "groundTruth" / "S1.txt"
    losses = FORMAT.write(path, [video([1, 0, IGNORE_INDEX], LabelSpace(("rest", "pour tea")))])
    assert path.read_text() == "pour_tea\nrest\n\n"
    assert (tmp_path / "mapping.txt").read_text() == "0 rest\n1 pour_tea\n"
    assert [loss.place for loss in losses] == ["mapping.txt", "line 3"]
    FORMAT.write(path.with_name("S2.txt"), [video([0], LabelSpace(("rest", "pour tea")))])
    with pytest.raises(InputError, match="lists other classes"):
        FORMAT.write(path, [video([0], LabelSpace(("rest",)))])


@pytest.mark.parametrize(
    ("labels", "space", "expected"),
    [
        ([[1, 1]], LabelSpace.independent(("a", "b")), "its classes may overlap"),
        ([0], LabelSpace(("a b", "a_b")), "differ only in their spaces"),
    ],
)
def test_what_ms_tcn_cannot_read_is_not_written(labels: list, space: LabelSpace, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=expected):
        FORMAT.write(tmp_path / "S1.txt", [video(labels, space)])
    assert not [*tmp_path.iterdir()]
