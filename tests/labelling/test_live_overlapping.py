"""Where classes overlap, live rows are those of the finished video but for what it decides with hindsight."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_models import OVERLAPPING, write_other_container

from pipeline.annotations.label_space import IGNORE_INDEX
from pipeline.labelling.live import LiveFile, LiveLabel, LiveSession
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.video import label_video
from pipeline.postprocessing.decisions import CausalDecisions
from pipeline.video.sources.growing_file import GrowingFile


@pytest.fixture(scope="module")
def model(overlapping_model) -> Model:
    return load_model(str(overlapping_model), device="cpu")


def with_lengths(model: Model, min_segment_frames: int) -> Model:
    """The same model with one minimum length for all classes."""
    decisions = {
        name: decision.model_copy(update={"min_segment_frames": min_segment_frames})
        for name, decision in (model.spec.decisions or {}).items()
    }
    spec = model.spec.model_copy(update={"decisions": decisions})
    changed = replace(model, checkpoint=replace(model.checkpoint, spec=spec))
    changed.__dict__["runtime"] = model.runtime
    return changed


def label_live(path: Path, model: Model, stop) -> list[LiveLabel]:
    assert model.runtime is not None
    source = GrowingFile(path, model.runtime.frame_encoder.preprocess, idle_seconds=0.3)
    return [label for labels in LiveSession(source, model, stop=stop).labels() for label in labels]


def test_without_a_shortest_bout_the_labels_are_those_of_the_finished_video(model, tmp_path, stop):
    path, plain = write_other_container(tmp_path / "clip.mkv", "libx264"), with_lengths(model, 1)
    labels, expected = label_live(path, plain, stop), label_video(path, plain)
    assert len(np.unique(expected.labels, axis=0)) > 2
    np.testing.assert_array_equal([label.label for label in labels], expected.labels)
    np.testing.assert_allclose([label.probability for label in labels], expected.probabilities, atol=1e-3)
    np.testing.assert_array_equal([label.seconds for label in labels], expected.pts_seconds)


def test_short_bouts_are_merged_as_far_as_the_past_allows(model, tmp_path, stop):
    path = write_other_container(tmp_path / "clip.mkv", "libx264")
    of_classes = model.spec.class_decisions
    lengths = [decision.min_segment_frames for decision in of_classes]
    causal = CausalDecisions(OVERLAPPING, [decision.threshold for decision in of_classes], lengths)
    expected = [label for row in label_video(path, model).probabilities for label in causal.add(row)] + causal.end()
    np.testing.assert_array_equal([label.label for label in label_live(path, model, stop)], expected)


def test_rows_have_the_columns_of_frames_csv(tmp_path):
    def rows(path: Path) -> list[list[str]]:
        with path.open(newline="") as file:
            return list(csv.reader(file))

    probabilities = np.array([0.75, 0.1, 0.5], np.float32)
    with LiveFile(tmp_path, "cam", OVERLAPPING) as file:
        for frame, label in ((3, [1, 0, 1]), (4, [0, 0, 0])):
            file.append([LiveLabel(frame, frame / 25, np.array(label, np.int8), probabilities, 0.01)])
            assert len(rows(file.path)) == frame - 1
    assert rows(file.path) == [
        ["frame", "time_seconds", "labels", "eats", "sleeps", "rears"],
        ["3", "0.120000", "eats;rears", "0.750000", "0.100000", "0.500000"],
        ["4", "0.160000", "", "0.750000", "0.100000", "0.500000"],
    ]


@pytest.mark.parametrize(
    ("label", "text"),
    [([1, 0, 1], "eats 0.75, rears 0.50"), ([0, 0, 0], "no class"), ([IGNORE_INDEX] * 3, "no class")],
)
def test_the_status_names_the_classes_that_are_on(label, text):
    live = LiveLabel(0, 0.0, np.array(label, np.int8), np.array([0.75, 0.1, 0.5]), 0.01)
    assert live.describe(OVERLAPPING) == text
