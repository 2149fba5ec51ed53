"""Several models that label together: the mean of their probabilities, decided as the first one says."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_exports import share_exports
from made_models import EXCLUSIVE, OVERLAPPING, SETTINGS, save_feature_model, save_video_model, write_video
from safetensors.torch import load_file, save_file

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segment_model import fit_segment_model
from pipeline.checkpoints.labeller import set_tuned
from pipeline.errors import InputError
from pipeline.labelling import video as labelling_video
from pipeline.labelling.averaging import average, calibrated
from pipeline.labelling.folder import LabellingOutcome, label_videos
from pipeline.labelling.live import check_model
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.video import label_video
from pipeline.postprocessing.decisions import decide
from pipeline.postprocessing.smoothing import smooth
from pipeline.postprocessing.viterbi import decode_segments
from pipeline.video.open import open_scaled


def variant(source: Path, folder: Path, *, seed: int, parts: tuple[str, ...] = ("labeller",)) -> Path:
    """Copy a checkpoint, with noise on the weights of some of its parts."""
    shutil.copytree(source, folder)
    share_exports(folder)
    generator = torch.Generator().manual_seed(seed)
    tensors = load_file(folder / "weights.safetensors")
    for name, tensor in tensors.items():
        if name.startswith(parts) and tensor.is_floating_point() and "running" not in name:
            tensors[name] = tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
    save_file(tensors, folder / "weights.safetensors")
    return folder


def load(*folders: Path) -> Model:
    return load_model([str(folder) for folder in folders], device="cpu")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4), st.sampled_from([EXCLUSIVE, OVERLAPPING]))
def test_the_average_is_the_mean_of_tempered_probabilities(specs_of, seed, num_models, label_space):
    generator = np.random.default_rng(seed)
    specs = [specs_of(label_space, temperature) for temperature in generator.uniform(0.5, 2, num_models).tolist()]
    found = [generator.dirichlet(np.ones(4), size=9)[:, :3].astype(np.float32) for _ in specs]
    if label_space.is_exclusive:
        found = [each / each.sum(axis=1, keepdims=True) for each in found]
    expected = np.mean([calibrated(each, spec) for each, spec in zip(found, specs, strict=True)], axis=0)
    np.testing.assert_allclose(average(found, specs), expected, atol=1e-6)
    order = generator.permutation(num_models)
    shuffled = average([found[index] for index in order], [specs[index] for index in order])
    np.testing.assert_allclose(shuffled, expected, atol=1e-6)


@pytest.fixture(scope="module")
def specs_of(video_model, overlapping_model):
    """Return a function: label space, temperature -> the settings of a model."""
    exclusive, overlapping = (load(folder).spec for folder in (video_model, overlapping_model))

    def make(label_space: LabelSpace, temperature: float):
        if label_space.is_exclusive:
            return exclusive.model_copy(update={"temperature": temperature})
        decisions = {
            name: decision.model_copy(update={"temperature": temperature})
            for name, decision in overlapping.decisions.items()
        }
        return overlapping.model_copy(update={"decisions": decisions})

    return make


def counting_opener(opened: Counter[Path]):
    def opening(path, *args, **options):
        opened[path] += 1
        return open_scaled(path, *args, **options)

    return opening


@pytest.mark.parametrize("parts", [("labeller",), ("labeller", "encoder")])
def test_a_video_is_decoded_and_encoded_once_for_each_encoder(tmp_path, parts):
    first = save_video_model(
        tmp_path / "a", settings=SETTINGS.model_copy(update={"min_segment_frames": 4}), spread=True
    )
    folders = [first, variant(first, tmp_path / "b", seed=1), variant(first, tmp_path / "c", seed=2, parts=parts)]
    set_tuned(folders[0], temperature=1.0, min_segment_frames=None, confidence=(2.0, 2.0, 1.0))  # not of an average
    set_tuned(folders[1], temperature=2.0, min_segment_frames=1)
    video = write_video(tmp_path / "clip.mp4", num_frames=21)
    opened: Counter[Path] = Counter()
    printed: list[int] = []
    result = label_video(video, load(*folders), on_progress=printed.append, opening=counting_opener(opened))
    assert opened[video] == len(parts)
    assert printed == sorted(printed)
    assert printed[-1] == 21
    expected = np.mean([label_video(video, load(folder)).class_probabilities for folder in folders], axis=0)
    np.testing.assert_allclose(result.class_probabilities, expected, atol=1e-6)
    smoothed = smooth(result.class_probabilities, min_segment_frames=4)
    np.testing.assert_array_equal(result.labels, smoothed, err_msg="with the shortest segment of the first model")
    np.testing.assert_array_equal(result.probabilities, result.class_probabilities[np.arange(21), smoothed])


def test_classes_that_overlap_are_decided_by_the_thresholds_of_the_first(overlapping_model, tmp_path):
    other = variant(overlapping_model, tmp_path / "b", seed=1)
    video, model = write_video(tmp_path / "clip.mp4", num_frames=30), load(overlapping_model, other)
    result = label_video(video, model)
    parts = [label_video(video, load(folder)).class_probabilities for folder in (overlapping_model, other)]
    np.testing.assert_allclose(result.class_probabilities, np.mean(parts, axis=0), atol=1e-6)
    lengths = [decision.min_segment_frames for decision in model.spec.class_decisions]
    expected = decide(result.class_probabilities, OVERLAPPING, (0.3, 0.25, 0.4), lengths)
    np.testing.assert_array_equal(result.labels, expected)


def test_features_are_labelled_together_with_the_segments_of_the_first(tmp_path):
    first = save_feature_model(tmp_path / "a")
    other = variant(first, tmp_path / "b", seed=1)
    segments = fit_segment_model([np.repeat([0, 1, 2, 0], 8)], EXCLUSIVE)
    set_tuned(first, temperature=1.5, min_segment_frames=None, segments=segments)
    path = tmp_path / "clip.npy"
    np.save(path, np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32))
    result = label_video(path, load(first, other))
    parts = [label_video(path, load(folder)).class_probabilities for folder in (first, other)]
    np.testing.assert_allclose(result.class_probabilities, np.mean(parts, axis=0), atol=1e-6)
    np.testing.assert_array_equal(result.labels, decode_segments(result.class_probabilities, segments))


def test_the_frames_that_are_lost_have_no_label(video_model, tmp_path, monkeypatch):
    """Of a video that is labelled by two encoders, the survey of the first says which frames are lost."""
    other = variant(video_model, tmp_path / "b", seed=1, parts=("labeller", "encoder"))
    lost = np.arange(12) == 5
    reading = labelling_video.read_video

    def read_with_loss(*args, **options):
        found = reading(*args, **options)
        return replace(found, index=replace(found.index, is_lost=lost))

    monkeypatch.setattr(labelling_video, "read_video", read_with_loss)
    result = label_video(write_video(tmp_path / "clip.mp4", num_frames=12), load(video_model, other))
    np.testing.assert_array_equal(result.labels < 0, lost)
    np.testing.assert_array_equal(np.isnan(result.class_probabilities).all(axis=1), lost)


def test_the_report_names_the_models_and_other_models_label_again(video_model, tmp_path):
    other = variant(video_model, tmp_path / "b", seed=1)
    video, out = write_video(tmp_path / "clip.mp4", num_frames=5), tmp_path / "out"
    out.mkdir()

    def outcome(*folders: Path) -> LabellingOutcome:
        return label_videos([video], load(*folders), out, on_failure=pytest.fail)

    assert outcome(video_model, other).num_labelled == 1
    assert len(json.loads((out / "clip.report.json").read_text())["model"]["models"]) == 2
    assert outcome(video_model, other).num_finished_before == 1
    assert outcome(other, video_model).num_labelled == 1, "the other one decides"
    assert outcome(video_model).num_labelled == 1
    assert "models" not in json.loads((out / "clip.report.json").read_text())["model"]


def test_models_that_differ_are_refused_with_all_differences(video_model, feature_model, overlapping_model, tmp_path):
    wide = save_feature_model(tmp_path / "wide", num_features=7)
    renamed = save_video_model(tmp_path / "renamed", label_space=LabelSpace(("idle", "left", "up")))
    with pytest.raises(InputError) as refused:
        load(video_model, feature_model, overlapping_model, renamed)
    lines = str(refused.value).splitlines()
    assert lines[1] == f"{feature_model}: reads ready features of 6 numbers, {video_model} reads videos"
    assert lines[2].startswith(f"{overlapping_model}: was trained on another class list (3 classes, {video_model} has")
    assert lines[3].endswith(f"{video_model} lacks up; {video_model} adds right")
    assert len(lines) == 4
    with pytest.raises(InputError, match="reads ready features of 7 numbers"):
        load(feature_model, wide)
    with pytest.raises(InputError, match="got no model"):
        load()


def test_live_labelling_takes_one_model(video_model):
    with pytest.raises(InputError, match="got 2 models, expected one"):
        check_model(load(video_model, video_model))
