"""Formats with a label for each frame give the same labels back, and broken files are refused in a sentence."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.foreign import class_table, feral, frame_table, frame_text
from pipeline.annotations.foreign.base import ForeignFormat, LabelledVideo
from pipeline.annotations.foreign.dense import frame_recording
from pipeline.annotations.foreign.document import Document, Recording, Span
from pipeline.annotations.foreign.registry import FOREIGN_FORMATS, recognise
from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.times import FrameTimes

FORMATS = (feral.FORMAT, class_table.FORMAT, frame_table.FORMAT, frame_text.FORMAT)
NAMES = st.text("ab ä=-'@,;\"1", min_size=1, max_size=4).map(str.strip).filter(bool)


@st.composite
def labelled_videos(draw: st.DrawFn, *, exclusive: bool, names: st.SearchStrategy[str] = NAMES) -> LabelledVideo:
    classes = tuple(draw(st.lists(names.filter(lambda name: exclusive or ";" not in name), min_size=1, max_size=4,
                                  unique=True)))  # fmt: skip
    num_frames = draw(st.integers(1, 30))
    if exclusive:
        space, values = LabelSpace(classes), st.sampled_from([IGNORE_INDEX, *range(len(classes))])
        labels = np.array(draw(st.lists(values, min_size=num_frames, max_size=num_frames)), dtype=np.int64)
    else:
        space = LabelSpace.independent(classes)
        row = st.lists(st.sampled_from([PRESENT, ABSENT, IGNORE_INDEX]), min_size=len(classes), max_size=len(classes))
        labels = np.array(draw(st.lists(row, min_size=num_frames, max_size=num_frames)), dtype=np.int8)
    steps = draw(st.lists(st.integers(1_100, 90_000), min_size=num_frames, max_size=num_frames))
    pts = np.cumsum([draw(st.integers(0, 5_000_000)), *steps[:-1]]) / 1e6
    return LabelledVideo(Path("clip 1.mp4"), labels, space, FrameTimes(pts, steps[-1] / 1e6), 25.0)


def labels_of(recording: Recording, space: LabelSpace) -> np.ndarray:
    """Place the events and the spans of a recording in frames; a background that the format added is left out."""
    overlapping = np.full((recording.num_frames, space.num_classes), ABSENT, dtype=np.int8)
    is_known = np.zeros(overlapping.shape, dtype=bool)
    for span in [Span(0, recording.num_frames)] if recording.scored is None else recording.scored:
        columns = slice(None) if span.label is None else space.index(span.label)
        if columns is not None:
            is_known[int(span.start) : int(span.stop), columns] = True
    for event in recording.events:
        if (index := space.index(event.label)) is not None:
            overlapping[int(event.start) : int(event.stop), index] = PRESENT
    overlapping[~is_known] = IGNORE_INDEX
    if not space.is_exclusive:
        return overlapping
    present = overlapping == PRESENT
    return np.where(present.any(axis=1), present.argmax(axis=1), IGNORE_INDEX)


def written(layout: ForeignFormat, video: LabelledVideo) -> Document:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"clip 1{layout.suffixes[0]}"
        layout.write(path, [video])
        return layout.read(path)


def check_round_trip(layout: ForeignFormat, video: LabelledVideo) -> None:
    document = written(layout, video)
    (recording,) = document.recordings
    assert document.losses == []
    assert [media.file_name.partition(".")[0] for media in recording.media] == ["clip 1"]
    np.testing.assert_array_equal(labels_of(recording, video.label_space), video.labels)


@given(labelled_videos(exclusive=True))
def test_feral_gives_exclusive_labels_back(video: LabelledVideo) -> None:
    check_round_trip(feral.FORMAT, video)
    assert written(feral.FORMAT, video).classes == video.label_space.classes


@given(labelled_videos(exclusive=False))
def test_feral_gives_overlapping_labels_back(video: LabelledVideo) -> None:
    check_round_trip(feral.FORMAT, video)


@given(labelled_videos(exclusive=True))
def test_a_class_table_gives_exclusive_labels_back(video: LabelledVideo) -> None:
    check_round_trip(class_table.FORMAT, video)
    assert written(class_table.FORMAT, video).may_overlap is None


@given(labelled_videos(exclusive=False))
def test_a_class_table_gives_overlapping_labels_back(video: LabelledVideo) -> None:
    check_round_trip(class_table.FORMAT, video)


SINGLE_WORDS = st.text("abä=-'@,;\"1", min_size=1, max_size=4).filter(lambda name: name != "-1")


@given(labelled_videos(exclusive=True, names=SINGLE_WORDS).filter(lambda video: (video.labels != IGNORE_INDEX).any()))
def test_lines_of_classes_give_labels_back(video: LabelledVideo) -> None:
    check_round_trip(frame_text.FORMAT, video)
    assert tuple(written(frame_text.FORMAT, video).classes) == video.label_space.classes


FERAL = """{"class_names": {"0": "other", "1": "eats"}, "is_multilabel": false, "labels": {"a.mp4": [0, 1, -1],
 "b.mp4": [1]}, "splits": {"train": ["a.mp4"], "val": [], "test": [], "inference": ["b.mp4", "c.mp4"]}}"""
SETS = """{"class_names": {"0": "x", "1": "y"}, "is_multilabel": true, "labels": {"a.mp4": [[0, 1], [1, 1]]},
 "splits": {"train": ["a.mp4"]}}"""
TABLE = ",background,eats,nose_x\n0,1,0,1.5\n1,0,1,2.5\n2,-1,-1,\n"
PHASES = "Frame\tPhase\n0\tPreparation\n25\tPreparation\n50\tClipping\n"
TOOLS = "Frame\tGrasper\tHook\n0\t1\t0\n25\t1\t1\n50\t0\t0\n"
LINES = "walk\nwalk\n\n1\nrest\n" * 3
FILES = ((feral.FORMAT, FERAL), (feral.FORMAT, SETS), (class_table.FORMAT, TABLE), (frame_table.FORMAT, PHASES),
         (frame_table.FORMAT, TOOLS), (frame_text.FORMAT, LINES))  # fmt: skip
PIECES = ["", ",", "\t", "\n", '"', "[", "]", "{", "}", "0", "-1", "1", "2", "1e999", "null", "true", "NaN", "frame",
          "9" * 30, "[[1]]", '"a": 1', ":", "\0", "٣", "²", "1,800", "00:01:02", "\u2028", "'=1"]  # fmt: skip


@settings(max_examples=60)
@given(st.sampled_from(FILES), st.data())
def test_a_broken_file_is_refused_or_read_but_never_a_crash(found: tuple, data: st.DataObject) -> None:
    layout, text = found
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 12)))
        text = text[:start] + data.draw(st.sampled_from(PIECES)) + text[stop:]
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{layout.suffixes[-1]}"
        path.write_text(text, encoding="utf-8")
        recognise(path)
        try:
            document = layout.read(path)
        except AnnotationError as error:
            refused = [str(problem) for problem in error.problems]
        else:
            refused = []
            assert document.recordings
            assert {event.label for r in document.recordings for event in r.events} <= {*document.classes}
            assert all(0 <= event.start < event.stop for r in document.recordings for event in r.events)
        assert not any("\n" in problem for problem in refused)


@pytest.mark.parametrize(("layout", "text"), FILES)
def test_each_format_recognises_its_own_files_only(layout: ForeignFormat, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip{layout.suffixes[-1]}"
    path = path.with_suffix(".txt") if text in (PHASES, TOOLS) else path
    path.write_text(text)
    assert [found.name for found in FOREIGN_FORMATS if found.looks_like(path, text)] == [layout.name]
    assert recognise(path) is layout


def test_where_nobody_looked_is_no_span() -> None:
    def spans(labels: list, **options: int) -> list[Span] | None:
        array = np.array(labels, dtype=np.int64 if isinstance(labels[0], int) else np.int8)
        return frame_recording("clip", array, ("a", "b"), place=str, **options).scored

    unknown = IGNORE_INDEX
    assert spans([0, 1]) is None
    assert spans([0, unknown, 1]) == [Span(0, 1), Span(2, 3)]
    assert spans([unknown]) == []
    assert spans([[1, 0], [unknown, unknown]]) == [Span(0, 1)]
    assert spans([[1, unknown], [0, 1]]) == [Span(0, 2, "a"), Span(1, 2, "b")]
    assert spans([0, 1], first=5) == [Span(5, 7)]
    assert spans([0, unknown, 1], step=25) == [Span(0, 25), Span(50, 75)]
