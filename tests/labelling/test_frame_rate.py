"""Fewer frames are encoded, and every frame of the video still has a label: that of the nearest encoded frame."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_models import SETTINGS, save_feature_model, save_overlapping_model, save_video_model, write_video

from pipeline.errors import InputError
from pipeline.labelling.folder import LabellingOutcome, label_videos
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.outputs import OutputOptions
from pipeline.labelling.video import label_video, postprocess
from pipeline.video.frame_choice import choose_frames
from pipeline.video.open import open_scaled

VARIABLE = np.array([0.0, 0.1, 0.15, 0.2, 0.6, 0.61, 0.62, 0.7, 1.5, 1.6, 1.9, 2.0, 2.05, 2.1, 2.3, 2.35, 3.0, 3.1])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Its labels differ from frame to frame, and segments of one frame are merged."""
    settings = SETTINGS.model_copy(update={"min_segment_frames": 2})
    return load_model(
        str(save_video_model(tmp_path_factory.mktemp("model"), settings=settings, spread=True)), device="cpu"
    )


def expected_labels(path: Path, model: Model, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Label the chosen frames as if they were a video, and give every frame the label of the nearest of them."""
    frames, labeller = model.checkpoint.frame_encoder, model.checkpoint.labeller
    with open_scaled(path, frames.preprocess) as reader:
        (whole,) = reader.read(batch_size=1000)
        seconds = float(1 / reader.properties.frame_rate)
    choice = choose_frames(whole.pts_seconds, rate, frame_seconds=seconds)
    with torch.no_grad():
        features = frames.encoder(frames.preprocess.normalize(torch.from_numpy(whole.pixels[choice.positions])))
    probabilities = labeller.predict([features])
    found = postprocess(probabilities, model, pts_seconds=np.zeros(len(features)), frame_seconds=1.0)
    return found.labels[choice.nearest], found.class_probabilities[choice.nearest]


@pytest.mark.parametrize("rate", [0.5, 3.0, 5.0])
@pytest.mark.parametrize("times", [np.arange(60) / 25, VARIABLE], ids=["constant", "variable"])
def test_every_frame_has_the_label_of_the_nearest_encoded_frame(rate, times, model, tmp_path):
    path = write_video(tmp_path / "clip.mp4", num_frames=len(times), times=times)
    done: list[int] = []
    result = label_video(path, model.at_rate(rate), on_progress=done.append)
    labels, probabilities = expected_labels(path, model, rate)
    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_allclose(result.class_probabilities, probabilities, atol=1e-4)
    np.testing.assert_allclose(result.probabilities, probabilities[np.arange(len(labels)), labels], atol=1e-4)
    np.testing.assert_allclose(result.pts_seconds, times, atol=1e-6)
    assert 0 < result.num_encoded < len(times)
    assert done == sorted(done)
    assert done[-1] == len(times)


def test_a_rate_above_that_of_the_video_labels_it_as_if_there_were_none(model, tmp_path):
    path = write_video(tmp_path / "clip.mp4", num_frames=30)
    plain, above = label_video(path, model), label_video(path, model.at_rate(100))
    np.testing.assert_array_equal(above.class_probabilities, plain.class_probabilities)
    assert above.num_encoded == plain.num_encoded == 30


def test_classes_that_overlap_are_spread_too(tmp_path):
    model = load_model(str(save_overlapping_model(tmp_path / "model")), device="cpu").at_rate(5)
    path = write_video(tmp_path / "clip.mp4", num_frames=40)
    labels, _ = expected_labels(path, model, 5)
    assert label_video(path, model).labels.tolist() == labels.tolist()


def test_a_model_is_used_at_the_rate_that_it_was_trained_at(model, tmp_path):
    settings = model.spec.labeller
    trained = load_model(
        str(save_video_model(tmp_path / "model", settings=settings, spread=True, frame_rate=5.0)), device="cpu"
    )
    path = write_video(tmp_path / "clip.mp4", num_frames=40)
    found = label_video(path, trained)
    assert found.num_encoded == 8
    np.testing.assert_array_equal(found.labels, label_video(path, model.at_rate(5)).labels)
    assert trained.at_rate(5).describe_other_rate() is None
    assert trained.at_rate(5).fingerprint == trained.fingerprint != trained.at_rate(4).fingerprint
    assert "trained on 5 frames per second, and now sees 4 frames" in str(trained.at_rate(4).describe_other_rate())
    assert trained.at_rate(4).runtime is trained.runtime


def test_a_model_of_every_frame_is_written_as_before_there_was_a_rate(model, tmp_path):
    folder = save_video_model(tmp_path / "model")
    assert "frame_rate" not in json.loads((folder / "checkpoint.json").read_text())
    assert model.frame_rate is None
    assert model.describe_other_rate() is None


def test_another_rate_labels_finished_videos_again_and_the_report_says_how_many_frames_were_encoded(model, tmp_path):
    path, out = write_video(tmp_path / "clip.mp4", num_frames=50), tmp_path / "out"

    def outcome(model: Model) -> LabellingOutcome:
        return label_videos([path], model, out, on_failure=pytest.fail)

    out.mkdir()
    for rate, encoded in ((None, 50), (5.0, 10), (1.0, 2)):
        again = model.at_rate(rate)
        assert outcome(again) == LabellingOutcome(1, 0, 0, 0)
        report = json.loads((out / "clip.report.json").read_text())
        assert (report["num_frames"], report["encoded_frames"]) == (50, encoded)
        assert report["model"].get("frame_rate") == rate
        assert len(pd.read_csv(out / "clip.frames.csv")) == 50
        assert outcome(again) == LabellingOutcome(0, 0, 1, 0)


def test_a_report_without_the_number_of_encoded_frames_is_of_a_finished_video(model, tmp_path):
    path, out = write_video(tmp_path / "clip.mp4", num_frames=5), tmp_path / "out"
    out.mkdir()
    label_videos([path], model, out, on_failure=pytest.fail)
    report = json.loads((out / "clip.report.json").read_text())
    del report["encoded_frames"]
    (out / "clip.report.json").write_text(json.dumps(report))
    assert label_videos([path], model, out, on_failure=pytest.fail).num_finished_before == 1


def test_frames_that_cannot_be_decoded_have_no_label_and_give_none(model, tmp_path):
    path, out = write_video(tmp_path / "clip.mp4", num_frames=60), tmp_path / "out"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 8] = bytes(len(content) // 8)
    path.write_bytes(content)
    found = label_video(path, model.at_rate(5), partial=True)
    is_lost = found.index.is_lost
    assert is_lost.any()
    assert (found.labels[is_lost] == -100).all()
    assert np.isnan(found.probabilities[is_lost]).all()
    assert (found.labels[~is_lost] >= 0).all()
    assert found.report.decoded_frames == (~is_lost).sum()
    out.mkdir()
    options = OutputOptions(on_error="partial")
    assert label_videos([path], model.at_rate(5), out, outputs=options, on_failure=lambda _: None).num_partial == 1


def test_ready_features_have_no_rate(tmp_path):
    model = load_model(str(save_feature_model(tmp_path / "model")), device="cpu")
    with pytest.raises(InputError, match="ready features, which have no times"):
        model.at_rate(5)
    content = json.loads((tmp_path / "model" / "checkpoint.json").read_text()) | {"frame_rate": 5}
    (tmp_path / "model" / "checkpoint.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="frame_rate: got 5, expected none"):
        load_model(str(tmp_path / "model"), device="cpu")


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_is_more_than_0(rate, model):
    with pytest.raises(InputError, match="expected more than 0 frames per second"):
        model.at_rate(rate)
