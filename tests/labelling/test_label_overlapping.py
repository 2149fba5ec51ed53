"""A model whose classes overlap labels videos: files, report, overlay, Python API and MLflow say the same."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_models import OVERLAPPING, write_video
from pyarrow import parquet

import framescribe
from pipeline.annotations.segments import segments_from_frames
from pipeline.labelling.folder import label_videos
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.outputs import OutputOptions
from pipeline.labelling.report import LabelReport
from pipeline.labelling.video import VideoLabels, label_video
from pipeline.pyfunc import LabellingModel

ALL = ("csv", "jsonl", "parquet", "vtt", "srt")


@pytest.fixture(scope="module")
def model(overlapping_model) -> Model:
    return load_model(str(overlapping_model), device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "clip.mp4", num_frames=60)


@pytest.fixture(scope="module")
def expected(clip, model) -> VideoLabels:
    return label_video(clip, model)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_format_has_the_labels_and_a_finished_video_is_left_alone(clip, model, expected, tmp_path):
    failures: list[str] = []
    outputs = OutputOptions(ALL, overlay=True)
    assert label_videos([clip], model, tmp_path, outputs=outputs, on_failure=failures.append).num_labelled == 1
    assert not failures
    names = OVERLAPPING.class_names(expected.labels)
    assert len(set(names)) > 3
    rows = rows_of(tmp_path / "clip.frames.csv")
    assert [row["labels"] for row in rows] == [";".join(of_frame) for of_frame in names]
    for index, name in enumerate(OVERLAPPING.classes):
        written = [float(row[name]) for row in rows]
        np.testing.assert_allclose(written, expected.probabilities[:, index], atol=5.1e-5)
    table = parquet.read_table(tmp_path / "clip.frames.parquet").to_pylist()
    assert [tuple(row["labels"]) for row in table] == names
    segments = [(int(row["start"]), row["label"]) for row in rows_of(tmp_path / "clip.segments.csv")]
    assert segments == [(s.start, OVERLAPPING.classes[s.class_index]) for s in segments_from_frames(expected.labels)]
    again = label_videos([clip], model, tmp_path, outputs=outputs, on_failure=failures.append)
    assert (again.num_labelled, again.num_finished_before) == (0, 1)


def test_the_report_names_the_group_of_each_class(clip, model, video_model, tmp_path):
    for folder, of_model in (("overlapping", model), ("exclusive", load_model(str(video_model), device="cpu"))):
        (tmp_path / folder).mkdir()
        label_videos([clip], of_model, tmp_path / folder, on_failure=pytest.fail)
    path = tmp_path / "overlapping" / "clip.report.json"
    assert json.loads(path.read_text())["model"]["groups"] == {"eats": "state", "sleeps": "state", "rears": "posture"}
    report, other = LabelReport.read(path), LabelReport.read(tmp_path / "exclusive" / "clip.report.json")
    assert report is not None
    assert other is not None
    assert report.classes_overlap
    assert not other.classes_overlap
    assert "groups" not in other.model


def test_frames_that_cannot_be_decoded_have_neither_labels_nor_probabilities(clip, model, tmp_path):
    damaged = tmp_path / "clip.mp4"
    content = bytearray(clip.read_bytes())
    start = content.index(b"mdat") + len(content) // 3
    content[start : start + 3000] = bytes(3000)
    damaged.write_bytes(content)
    label_videos(
        [damaged],
        model,
        tmp_path,
        outputs=OutputOptions(ALL, overlay=True, on_error="partial"),
        on_failure=lambda message: None,
    )
    rows = rows_of(tmp_path / "clip.frames.csv")
    lost = [not row["rears"] for row in rows]
    assert 0 < sum(lost) < len(rows)
    found = label_video(damaged, model, partial=True)
    assert np.isnan(found.probabilities).all(axis=1).tolist() == lost
    assert all(row["labels"] == "" for row, is_lost in zip(rows, lost, strict=True) if is_lost)
    lines = (tmp_path / "clip.frames.jsonl").read_text().splitlines()
    assert [json.loads(line)["labels"] is None for line in lines] == lost


def test_the_python_api_has_the_names_of_all_classes_of_a_frame(clip, overlapping_model, expected):
    result = framescribe.label_video(clip, framescribe.load_labeller(overlapping_model))
    assert result.names == OVERLAPPING.class_names(expected.labels)
    assert result.groups == OVERLAPPING.groups
    for segment in result.segments:
        inside = slice(segment.start, segment.stop)
        index = result.class_names.index(segment.label)
        assert (result.labels[inside, index] == 1).all()
        assert segment.probability == pytest.approx(result.probabilities[inside, index].mean(), abs=1e-6)
    assert result.segments == sorted(result.segments, key=lambda segment: segment.start)


def test_pyfunc_returns_the_columns_of_its_signature(clip, overlapping_model, expected):
    from pipeline.tracking.models import overlapping_signature

    pyfunc = LabellingModel(overlapping_model)
    table = pyfunc.predict(pd.DataFrame({"path": [str(clip)]}))
    assert list(table["labels"]) == [";".join(names) for names in OVERLAPPING.class_names(expected.labels)]
    np.testing.assert_allclose(table["probability_rears"], expected.probabilities[:, 2])
    outputs = overlapping_signature(OVERLAPPING.classes).outputs
    kinds = {"string": "OU", "long": "i", "double": "f"}
    for frames in (table, pyfunc.predict(pd.DataFrame({"path": []}))):
        assert list(frames.columns) == outputs.input_names()
        for column in outputs.inputs:
            assert frames[column.name].dtype.kind in kinds[column.type.name]
