"""FERAL's files are read as they are in its published examples, and what is wrong in them is counted."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.annotations.foreign.base import LabelledVideo
from pipeline.annotations.foreign.document import Document, Event, Span
from pipeline.annotations.foreign.feral import FORMAT
from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.times import FrameTimes
from pipeline.errors import InputError

CONTENT = {
    "class_names": {"0": "other", "1": "eats"},
    "is_multilabel": False,
    "labels": {"a.mp4": [0, 1, 1, -1], "b.mp4": [1]},
    "splits": {"train": ["a.mp4"], "val": [], "test": [], "inference": ["b.mp4", "c.mp4"]},
}


def read(tmp_path: Path, **changes: object) -> Document:
    content = {key: value for key, value in (CONTENT | changes).items() if value is not None}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    return FORMAT.read(tmp_path / "labels.json")


def test_labels_become_events_in_frames(tmp_path: Path) -> None:
    document = read(tmp_path)
    assert (document.classes, document.may_overlap, document.background) == (("other", "eats"), False, "other")
    first, second = document.recordings
    assert first.events == [
        Event(0, 1, "other", place="video 'a.mp4', frame 0"),
        Event(1, 3, "eats", place="video 'a.mp4', frame 1"),
    ]
    assert (first.num_frames, first.scored, first.split) == (4, [Span(0, 3)], "train")
    assert (second.num_frames, second.scored, second.split) == (1, None, None)
    assert document.losses == []
    assert document.notes == ["1 video of the splits has no labels: 'c.mp4'."]


def test_overlapping_labels_become_overlapping_events(tmp_path: Path) -> None:
    document = read(tmp_path, is_multilabel=True, labels={"a.mp4": [[1, 0], [1, 1], -1, [0, -1]]})
    assert document.may_overlap
    assert document.background is None
    (recording,) = document.recordings
    assert [(event.start, event.stop, event.label) for event in recording.events] == [(0, 2, "other"), (1, 2, "eats")]
    assert recording.scored == [Span(0, 2, "other"), Span(3, 4, "other"), Span(0, 2, "eats")]


def test_what_is_no_label_is_counted_by_run(tmp_path: Path) -> None:
    document = read(tmp_path, labels={"a.mp4": [0, 7, 7, True, 1], "b.mp4": 3, "d.mp4": [1.0, 1]}, splits=[])
    assert [(loss.kind, loss.place, loss.what) for loss in document.losses] == [
        ("splits are not an object and are left out", "'splits'", "[]"),
        ("frames have no number of a class, and count as unlabelled", "video 'a.mp4', frame 1", "7 (3 frames)"),
        ("videos have no list of labels", "'b.mp4'", "3"),
        ("frames have no number of a class, and count as unlabelled", "video 'd.mp4', frame 0", "1.0 (1 frame)"),
    ]


def test_splits_that_do_not_fit_are_counted(tmp_path: Path) -> None:
    document = read(tmp_path, splits={"train": ["a.mp4", 4], "val": ["a.mp4"], "held out": ["b.mp4"]})
    assert [(loss.place, loss.what) for loss in document.losses] == [
        ("split 'train'", "4"),
        ("split 'val'", "'a.mp4'"),
        ("split 'held out'", "'b.mp4'"),
    ]
    assert [recording.split for recording in document.recordings] == ["train", None]


def test_without_names_classes_have_their_numbers(tmp_path: Path) -> None:
    document = read(tmp_path, class_names=None, is_multilabel=None)
    assert document.classes == ("0", "1")
    assert "numbers as names" in document.notes[0]
    assert read(tmp_path, class_names=None, labels={"a.mp4": [[0, 1, 1]]}, is_multilabel=None).may_overlap


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"labels": []}, "has no object 'labels'"),
        ({"labels": {}}, "has no labels of a video"),
        ({"labels": {"a.mp4": None}}, "has no labels of a video"),
        ({"is_multilabel": "no"}, "has 'no' as 'is_multilabel', expected true or false"),
        ({"class_names": {"1": "a", "2": "b"}}, "has the numbers '2' in 'class_names', expected 0 to 1"),
        ({"class_names": {"0": "a", "1": "a"}}, "names a class twice: 'a'"),
        ({"class_names": {"0": 4}}, "has something else as 'class_names'"),
        ({"class_names": None, "labels": {"a.mp4": [10**30]}}, "has no 'class_names', and its labels are of 1000"),
        ({"class_names": None, "labels": {"a.mp4": [-1]}}, "has no 'class_names', and its labels are of none"),
    ],
)
def test_another_structure_is_refused(changes: dict, expected: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError) as refused:
        read(tmp_path, **changes)
    assert expected in str(refused.value)


VALUES = st.sampled_from([None, True, -1, 7, 1.5, 10**400, "", "0", [], [[]], [[0, 1]], {}, {"0": "a"}, {"a": [0]}])


def mutated(value: object, data: st.DataObject) -> object:
    """Replace, delete or add something somewhere in a JSON value."""
    if not isinstance(value, dict | list) or not value or data.draw(st.integers(0, 3)) == 0:
        return data.draw(VALUES)
    items = [*value.items()] if isinstance(value, dict) else [*enumerate(value)]
    key, inner = data.draw(st.sampled_from(items))
    others = [item for item in items if item[0] != key]
    change = data.draw(st.sampled_from(["delete", "replace", "add"]))
    new = {"delete": [], "replace": [(key, mutated(inner, data))], "add": [(key, inner), ("9", data.draw(VALUES))]}
    changed = [*others, *new[change]]
    return dict(changed) if isinstance(value, dict) else [item for _, item in changed]


@given(st.sampled_from([{}, {"is_multilabel": True, "labels": {"a.mp4": [[1, 0], [1, 1], -1]}}]), st.data())
def test_any_other_structure_is_refused_or_read(changes: dict, data: st.DataObject) -> None:
    content: object = CONTENT | changes
    for _ in range(data.draw(st.integers(1, 3))):
        content = mutated(content, data)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "labels.json"
        path.write_text(json.dumps(content))
        try:
            document = FORMAT.read(path)
        except AnnotationError:
            return
    assert {event.label for r in document.recordings for event in r.events} <= {*document.classes}


def video(name: str, labels: list[int]) -> LabelledVideo:
    times = FrameTimes(np.arange(len(labels)) / 25, 0.04)
    return LabelledVideo(Path(name), np.array(labels), LabelSpace(("rest", "walk")), times, 25.0)


def test_the_file_has_what_ferals_own_examples_have(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    losses = FORMAT.write(path, [video("x/a.mp4", [0, 1]), video("b.mp4", [1, IGNORE_INDEX])])
    assert json.loads(path.read_text()) == {
        "class_names": {"0": "rest", "1": "walk"},
        "is_multilabel": False,
        "labels": {"a.mp4": [0, 1], "b.mp4": [1, -1]},
        "splits": {"train": ["a.mp4"], "val": [], "test": [], "inference": ["b.mp4"]},
    }
    assert [loss.place for loss in losses] == ["'b.mp4'"]


def test_two_videos_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"two videos called 'a\.mp4'"):
        FORMAT.write(tmp_path / "labels.json", [video("x/a.mp4", [0]), video("y/a.mp4", [0])])
