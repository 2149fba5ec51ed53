"""Files of overlapping labels say what the arrays say, and others can read them."""

import csv
import json
from pathlib import Path

import numpy as np
import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pyarrow import parquet

from pipeline.annotations.exports import FORMATS, LabelSource, Predicted, write_jsonl, write_parquet
from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.annotations.segments import presence_from_segments, segments_from_frames
from pipeline.annotations.write import write_frames, write_segments

SPACE = LabelSpace.independent(("rears", 'says "hi", waves', "frisst Käse"))
SOURCE = LabelSource("run", "data", "commit")
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0], [IGNORE_INDEX] * 3], dtype=np.int8)
PROBABILITIES = np.array([[0.9, 0.2, 0.1], [0.75, 0.8, 0.1], [0.25, 0.6, 0.5], [0, 0, 1 / 3], [np.nan] * 3], np.float32)
SECONDS = np.arange(5) / 4
NOVELTY = np.array([0.5, 1, 2.25, 1e-4, np.nan], np.float32)
PREDICTED = Predicted(LABELS, PROBABILITIES, SECONDS, 0.25, SPACE, Path("clip.mp4"), novelty=NOVELTY)


@st.composite
def made_labels(draw: st.DrawFn) -> np.ndarray:
    """Labels of up to 40 frames, some of which are not decoded."""
    num_frames = draw(st.integers(1, 40))
    labels = draw(arrays.arrays(np.int8, (num_frames, 3), elements=st.sampled_from([PRESENT, ABSENT])))
    labels[draw(arrays.arrays(bool, num_frames))] = IGNORE_INDEX
    return labels


def predict(labels: np.ndarray) -> Predicted:
    probabilities = np.random.default_rng(0).random(labels.shape).astype(np.float32)
    probabilities[labels == IGNORE_INDEX] = np.nan
    times, novelty = np.arange(len(labels)) / 25, np.ones(len(labels))
    return Predicted(labels, probabilities, times, 0.04, SPACE, Path("clip.mp4"), novelty=novelty)


def write(format_name: str, folder: Path, predicted: Predicted) -> list[Path]:
    for suffix, write_file in FORMATS[format_name].items():
        write_file(folder / f"clip{suffix}", predicted, SOURCE)
    return [folder / f"clip{suffix}" for suffix in FORMATS[format_name]]


def test_the_tables_are_written_to_the_byte(tmp_path):
    frames, segments = write("csv", tmp_path, PREDICTED)
    assert frames.read_bytes().decode() == (
        'frame,time_seconds,labels,rears,"says ""hi"", waves",frisst Käse\n'
        "0,0.000000,rears,0.900000,0.200000,0.100000\n"
        '1,0.250000,"rears;says ""hi"", waves",0.750000,0.800000,0.100000\n'
        '2,0.500000,"says ""hi"", waves;frisst Käse",0.250000,0.600000,0.500000\n'
        "3,0.750000,,0.000000,0.000000,0.333333\n"
        "4,1.000000,,,,\n"
    )
    assert segments.read_bytes().decode() == (
        "start,stop,start_seconds,stop_seconds,label,probability\n"
        "0,2,0.000000,0.500000,rears,0.8250\n"
        '1,3,0.250000,0.750000,"says ""hi"", waves",0.7000\n'
        "2,3,0.500000,0.750000,frisst Käse,0.5000\n"
    )


def test_json_has_lists_and_probabilities_by_name_and_null_where_nothing_was_decoded(tmp_path):
    write_jsonl(tmp_path / "clip.jsonl", PREDICTED, SOURCE)
    rows = [json.loads(line) for line in (tmp_path / "clip.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["labels"] for row in rows] == [[*names] for names in SPACE.class_names(LABELS[:4])] + [None]
    assert rows[1]["probabilities"] == {"rears": 0.75, 'says "hi", waves': 0.8, "frisst Käse": 0.1}
    assert rows[4] == {"frame": 4, "time_seconds": 1.0, "labels": None, "probabilities": None, **SOURCE._asdict()}


def test_probabilities_near_one_are_told_apart_in_every_file_of_frames(tmp_path):
    """Rounded to 4 decimals they would be ties, and average precision would be another."""
    space = LabelSpace.independent(("eats",))
    probabilities = np.array([[0.99999], [0.99998], [0.00001]], np.float32)
    near = Predicted(np.array([[1], [1], [0]], np.int8), probabilities, np.arange(3) / 25, 0.04, space)
    expected = [0.99999, 0.99998, 0.00001]
    frames, _ = write("csv", tmp_path, near)
    assert [float(line.split(",")[3]) for line in frames.read_text().splitlines()[1:]] == expected
    (jsonl,) = write("jsonl", tmp_path, near)
    rows = [json.loads(line)["probabilities"] for line in jsonl.read_text().splitlines()]
    (table,) = write("parquet", tmp_path, near)
    assert rows == parquet.read_table(table)["probabilities"].to_pylist() == [{"eats": value} for value in expected]


@settings(max_examples=25, deadline=None)
@given(made_labels())
def test_parquet_and_json_have_the_same_rows(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("written")
    write_jsonl(folder / "clip.jsonl", predict(labels), SOURCE)
    write_parquet(folder / "clip.parquet", predict(labels), SOURCE)
    rows = [json.loads(line) for line in (folder / "clip.jsonl").read_text(encoding="utf-8").splitlines()]
    table = parquet.read_table(folder / "clip.parquet")
    assert str(table.schema.field("labels").type) == "list<element: string>"
    assert [field.name for field in table.schema.field("probabilities").type] == [*SPACE.classes]
    assert table.to_pylist() == rows


@settings(max_examples=25, deadline=None)
@given(made_labels())
def test_labels_can_be_recovered_from_both_tables(tmp_path_factory, labels):
    frames, segments = write("csv", tmp_path_factory.mktemp("written"), predict(labels))
    with frames.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    is_decoded = (labels != IGNORE_INDEX).any(axis=1)
    assert [bool(row["rears"]) for row in rows] == is_decoded.tolist()
    names = [tuple(row["labels"].split(";")) if row["labels"] else () for row in rows]
    assert names == SPACE.class_names(labels)
    with segments.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [(int(row["start"]), int(row["stop"]), SPACE.index(row["label"])) for row in rows]
    assert found == sorted(found)
    read_back = presence_from_segments([*segments_from_frames(labels)], len(labels), SPACE)
    assert found == segments_from_frames(read_back)
    np.testing.assert_array_equal(read_back == PRESENT, labels == PRESENT)


@pytest.mark.parametrize("format_name", ["vtt", "srt"])
@settings(max_examples=25, deadline=None)
@given(labels=made_labels())
def test_simultaneous_subtitles_have_the_times_of_their_segments(tmp_path_factory, format_name, labels):
    predicted = predict(labels)
    (path,) = write(format_name, tmp_path_factory.mktemp("written"), predicted)
    events = pysubs2.load(str(path), format_=format_name, keep_html_tags=True)
    expected = [
        (40 * start, 40 * stop, SPACE.classes[class_index])
        for start, stop, class_index in segments_from_frames(predicted.labels)
    ]
    assert [(event.start, event.end, event.text) for event in events] == expected


def test_a_single_class_has_both_tables(tmp_path):
    space = LabelSpace.independent(("eats",))
    labels, probabilities = np.array([[1], [0]], np.int8), np.array([[0.9], [0.2]])
    columns = {"probabilities": probabilities, "pts_seconds": np.full(2, np.nan), "label_space": space}
    write_frames(tmp_path / "frames.csv", labels, **columns)
    write_segments(tmp_path / "segments.csv", labels, **columns, frame_duration_seconds=np.nan)
    assert (tmp_path / "frames.csv").read_text() == "frame,time_seconds,labels,eats\n0,,eats,0.900000\n1,,,0.200000\n"
    assert (tmp_path / "segments.csv").read_text().splitlines()[1:] == ["0,1,,,eats,0.9000"]


def test_the_novelty_is_written_to_the_byte(tmp_path):
    (file,) = write("novelty", tmp_path, PREDICTED)
    assert file.read_text() == (
        "frame,time_seconds,novelty\n0,0.000000,0.500\n1,0.250000,1.000\n2,0.500000,2.250\n3,0.750000,0.000\n"
        "4,1.000000,\n"
    )


def test_a_video_without_frames_or_without_labels_has_files(tmp_path):
    for labels in (LABELS[:0], LABELS[3:], LABELS[4:]):
        predicted = predict(labels)
        for format_name in FORMATS:
            assert all(path.exists() for path in write(format_name, tmp_path, predicted))


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        (LABELS, PROBABILITIES[:, 0], r"expected \[T, K\], \[T, K\] and \[T\]"),
        (LABELS[:, :2], PROBABILITIES[:, :2], r"expected \[frames, 3 classes\]"),
        (LABELS * 2, PROBABILITIES, "got other labels"),
        (np.where(PROBABILITIES > 0.85, IGNORE_INDEX, ABSENT).astype(np.int8), PROBABILITIES, "frame 0 is labelled"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_and_leave_no_file(tmp_path, labels, probabilities, message):
    for format_name in FORMATS:
        with pytest.raises(ValueError, match=message):
            write(format_name, tmp_path, PREDICTED._replace(labels=labels, probabilities=probabilities))
    assert not list(tmp_path.iterdir())


def test_subtitles_count_from_where_players_begin(tmp_path):
    predicted = PREDICTED._replace(pts_seconds=SECONDS + 1.4, clock_start=1.4)
    for name in ("vtt", "srt"):
        (later,), (plain,) = write(name, tmp_path / "later", predicted), write(name, tmp_path / "plain", PREDICTED)
        assert later.read_text() == plain.read_text()
