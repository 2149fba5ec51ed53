"""A video that is encoded in ranges gets the labels of one that is encoded at once, bit for bit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_models import save_overlapping_model, save_video_model, write_other_container, write_video
from made_stores import serving_store

from pipeline.encoding.torch_runtime import TorchRuntime
from pipeline.files import InputFile
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.one_video import OneVideo, StoppedError
from pipeline.labelling.outputs import LocalFolder, OutputOptions
from pipeline.labelling.ranges import Division, EncodedRange, EncodedVideo, divide, encode_range, label_encoded
from pipeline.labelling.report import describe_video
from pipeline.labelling.video import VideoLabels, label_video
from pipeline.stores.objects import StoredFile
from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.open import open_scaled

NUM_FRAMES, RANGE_FRAMES = 150, 40


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """Return a video of several ranges."""
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", num_frames=NUM_FRAMES)


@pytest.fixture(scope="module")
def model(spread_model) -> Model:
    return load_model(str(spread_model), device="cpu")


def divided(path: InputFile, model: Model) -> Division | None:
    return divide(path, model, opening=open_scaled, range_frames=RANGE_FRAMES)


def encoded(path: InputFile, model: Model, opening=open_scaled) -> EncodedVideo:
    """Encode the ranges of a video, the last one first."""
    division = divided(path, model)
    assert division is not None
    numbers = range(len(division.starts))
    assert len(numbers) > 1
    found: dict[int, EncodedRange] = {}
    for number in reversed(numbers):
        result = encode_range(path, division, number, model, opening=opening)
        assert result is not None
        found[number] = result
    reports = [found[number].reports for number in numbers]
    return EncodedVideo(division, reports, lambda encoder: [found[number].features[encoder] for number in numbers])


def assert_same(found: VideoLabels, expected: VideoLabels) -> None:
    for name in ("labels", "probabilities", "class_probabilities", "pts_seconds"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), strict=True)
    assert (found.frame_seconds, found.num_encoded) == (expected.frame_seconds, expected.num_encoded)
    assert found.report == expected.report


@pytest.mark.parametrize("frame_rate", [None, 10.0, 5.0])
def test_ranges_give_the_labels_of_the_whole_video(video, model, frame_rate):
    model = model.at_rate(frame_rate)
    expected = label_video(video, model)
    assert len(np.unique(expected.labels)) > 1
    assert_same(label_encoded(video, encoded(video, model), model), expected)


def test_ranges_give_the_labels_of_models_with_classes_that_overlap(video, tmp_path):
    model = load_model(str(save_overlapping_model(tmp_path / "model")), device="cpu")
    assert_same(label_encoded(video, encoded(video, model), model), label_video(video, model))


def test_ranges_give_the_labels_of_several_models(video, spread_model, tmp_path):
    """Their encoders take batches of different sizes, so that ranges end where both have ended one."""
    other = save_video_model(tmp_path / "other", spread=True)
    spec = json.loads((other / "checkpoint.json").read_text())
    spec["encoder"]["batch_size"], spec["encoder"]["preprocess"]["mean"] = 6, [0.4, 0.5, 0.5]
    (other / "checkpoint.json").write_text(json.dumps(spec))
    model = load_model([str(spread_model), str(other)], device="cpu")
    assert len(model.by_encoder) == 2
    found = encoded(video, model)
    assert found.division.starts == (0, 48, 96, 144)
    assert_same(label_encoded(video, found, model), label_video(video, model))


def test_ranges_end_where_batches_end_since_torch_may_compute_frames_of_a_batch_together(video, spread_model):
    model = load_model(str(spread_model), device="cpu")
    frame_encoder = model.checkpoint.frame_encoder
    batches: list[int] = []

    class Recording(TorchRuntime):
        def submit(self, pixels):
            batches.append(hash(pixels.tobytes()))
            return super().submit(pixels)

    model.__dict__["runtime"] = Recording(frame_encoder)
    expected, whole = label_video(video, model), list(batches)
    batches.clear()
    assert_same(label_encoded(video, encoded(video, model), model), expected)
    assert sorted(batches) == sorted(whole)


def test_ranges_of_an_object_and_of_decoder_processes_are_those_of_a_file(video, model):
    with serving_store() as store, DecoderProcesses(1) as processes:
        stored = StoredFile(store.put("videos/clip.mp4", video))
        found = encoded(stored, model, processes.open_scaled)
        assert_same(label_encoded(stored, found, model), label_video(video, model))


def test_videos_that_cannot_be_divided_are_labelled_as_a_whole(video, model, spread_model, tmp_path):
    static = load_model(str(spread_model), device="cpu", static_threshold=0.5)
    opencv = load_model(str(spread_model), device="cpu", reader="opencv")
    for path, other in (
        (video, static),
        (video, opencv),
        (write_video(tmp_path / "short.mp4", num_frames=RANGE_FRAMES), model),
        (tmp_path / "missing.mp4", model),
    ):
        assert divided(path, other) is None
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(video.read_bytes()[:-20_000])
    assert divided(damaged, model) is None


def refused(path: Path, division: Division, model: Model) -> list[bool]:
    numbers = range(len(division.starts))
    return [encode_range(path, division, number, model, opening=open_scaled) is None for number in numbers]


def test_a_range_that_cannot_be_decoded_is_refused_and_all_are_when_the_video_has_changed(video, model, tmp_path):
    path = tmp_path / "clip.mp4"
    content = bytearray(video.read_bytes())
    path.write_bytes(content)
    division = divided(path, model)
    assert division is not None
    assert refused(path, division, model) == [False] * 4
    place = len(content) // 2
    content[place : place + 2000] = bytes(2000)
    path.write_bytes(content)
    assert refused(path, division, model) == [True] * 4
    damaged = refused(path, replace(division, video=describe_video(path)), model)
    assert any(damaged)
    assert not damaged[0]


def test_a_range_is_refused_where_seeks_are_not_exact(model, tmp_path):
    path = write_other_container(tmp_path / "clip.avi", "mpeg4", num_frames=NUM_FRAMES)
    division = divided(path, model)
    assert division is not None
    assert refused(path, division, model) == [False, False, True, True]  # the second one is near


def test_a_video_that_changed_since_it_was_encoded_is_labelled_anew(video, model, tmp_path):
    path, out = tmp_path / "clip.mp4", tmp_path / "out"
    path.write_bytes(video.read_bytes())
    out.mkdir()
    found = encoded(path, model)
    one = OneVideo(model, LocalFolder(out), OutputOptions())
    assert one.label(path, opening=open_scaled, encoded=found).is_labelled
    write_video(path, num_frames=30)
    assert one.label(path, opening=open_scaled, encoded=found).is_labelled
    assert len((out / "clip.frames.csv").read_text().splitlines()) == 31


def test_features_that_are_lost_end_the_labelling_of_the_video(video, model, tmp_path):
    def lose(encoder: int):
        raise StoppedError
        yield

    found = encoded(video, model)._replace(features=lose)
    with pytest.raises(StoppedError):
        OneVideo(model, LocalFolder(tmp_path), OutputOptions()).label(video, opening=open_scaled, encoded=found)
    assert not list(tmp_path.iterdir())
