"""The three ways to train with an encoder, by the stages, on short real videos and a small CNN."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest
import torch
from made_data import write_feature_dataset, write_params
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.annotations.label_space import IGNORE_INDEX
from pipeline.annotations.layouts import DECODE_REPORT
from pipeline.checkpoints.encoder import PreprocessSpec, load_encoder
from pipeline.checkpoints.labeller import load_checkpoint
from pipeline.config.params import load_params
from pipeline.datasets.encoded_frames import read_choices
from pipeline.datasets.features import read_features, read_pts
from pipeline.datasets.manifest import Source, read_manifest
from pipeline.datasets.scenes.write import make_scenes
from pipeline.encoding.torch_runtime import TorchRuntime
from pipeline.encoding.video import encode_video
from pipeline.errors import InputError
from pipeline.labelling import video
from pipeline.labelling.model import load_model
from pipeline.labelling.video import label_video
from pipeline.stages import (
    evaluate_labeller,
    extract_features,
    finetune_encoder,
    prepare,
    train_baseline,
    train_labeller,
)
from pipeline.stages.paths import ENCODER, FEATURES, LABELLER, PREPARED, RESULTS
from pipeline.tracking import store
from pipeline.training import labeller_data
from pipeline.video.open import open_scaled
from pipeline.video.types import Backend

CPU = torch.device("cpu")
WITH_BATCH_NORMS = "shufflenet_v2_x0_5"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "scenes"
    make_scenes(root, num_videos=4, num_images=0, seed=1, num_frames=(30, 30), noise=2.0)
    (root / "groups.csv").unlink()  # four videos in four groups
    return root


@pytest.fixture
def run(workspace, scenes, monkeypatch):
    """Run stages (by default those up to train_labeller) with these settings."""
    monkeypatch.setattr(store, "log_model", lambda *args, **options: None)

    def run(*stages, **changes) -> None:
        defaults = {
            "dataset__root": str(scenes),
            "dataset__pixels": {"size": [32, 32]},
            "encoder__name": "small_cnn",
        }
        write_params(
            workspace,
            dataset__background=None,
            encoder__batch_size=16,
            encoder__learning_rate=0.01,
            training__epochs=1,
            training__window_frames=8,
            **(defaults | changes),
        )
        for stage in stages or (prepare, finetune_encoder, extract_features, train_labeller):
            stage.main()

    return run


def weights_of(encoder: torch.nn.Module, *, statistics: bool) -> dict[str, torch.Tensor]:
    """The running statistics of the batch norms of an encoder, or all its other tensors."""
    state = encoder.state_dict()
    return {name: tensor for name, tensor in state.items() if ("running_" in name) == statistics and "num_" not in name}


def num_changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> int:
    assert before.keys() == after.keys()
    return sum(not torch.equal(before[name], after[name]) for name in before)


def fresh_encoder() -> torch.nn.Module:
    frames = finetune_encoder.make_encoder(load_params())
    assert frames is not None
    return frames.encoder


@pytest.mark.slow
def test_a_frozen_encoder_keeps_its_weights(run):
    run(encoder__training="frozen")
    frames = load_encoder(ENCODER)
    model = load_checkpoint(LABELLER, device=CPU)
    start = fresh_encoder().state_dict()
    assert num_changed(start, frames.encoder.state_dict()) == 0
    assert num_changed(start, model.frame_encoder.encoder.state_dict()) == 0
    assert len(list(FEATURES.iterdir())) == 4
    check_evaluation_labels_as_a_user_would()


def test_the_data_set_decides_the_size_of_the_frames(run):
    run(prepare, finetune_encoder, dataset__pixels={"size": "auto", "crop": [0, 0, 1, 0.5]})
    assert load_encoder(ENCODER).preprocess.size == (128, 352)  # of 160x60 pixels: 137 x 366


def test_training_and_labelling_see_what_moves_beside_the_frame(run):
    run(encoder__training="frozen", dataset__pixels={"follow_motion": True, "size": [32, 48]})
    assert load_encoder(ENCODER).preprocess.size == (32, 96)
    check_evaluation_labels_as_a_user_would()


@pytest.mark.slow
def test_an_encoder_is_trained_first_as_a_frame_classifier(run):
    run(encoder__training="frame_classifier", encoder__batch_norm="trained", encoder__name=WITH_BATCH_NORMS)
    frames = load_encoder(ENCODER)
    start = fresh_encoder()
    for statistics in (False, True):
        trained = weights_of(frames.encoder, statistics=statistics)
        assert num_changed(weights_of(start, statistics=statistics), trained) == len(trained)
    classifier = load_checkpoint(ENCODER / "classifier", device=CPU)
    assert classifier.spec.labeller.cell == "none"
    assert num_changed(classifier.frame_encoder.encoder.state_dict(), frames.encoder.state_dict()) == 0
    held = load_checkpoint(LABELLER, device=CPU)
    assert num_changed(held.frame_encoder.encoder.state_dict(), frames.encoder.state_dict()) == 0, "frozen from then on"
    check_evaluation_labels_as_a_user_would()


@pytest.mark.slow
def test_a_frame_classifier_resumes_after_its_process_was_killed(run):
    """Weights, curves and run are those of a training that was not killed."""
    run(prepare, encoder__training="frame_classifier", encoder__classifier__epochs=8)
    command = [sys.executable, "-m", "pipeline.stages.finetune_encoder"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    written = ENCODER / "classifier" / "weights.safetensors"
    while not written.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    state = torch.load(ENCODER / "classifier" / "training_state.pt", weights_only=True)
    assert 1 <= len(state["progress"]["history"]) < 8, "killed before the end"
    assert not (ENCODER / "encoder.json").exists()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    killed = load_encoder(ENCODER).encoder.state_dict()
    finished = torch.load(ENCODER / "classifier" / "training_state.pt", weights_only=True)
    assert finished["run_id"] == state["run_id"]
    shutil.rmtree(ENCODER)
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert num_changed(load_encoder(ENCODER).encoder.state_dict(), killed) == 0
    again = torch.load(ENCODER / "classifier" / "training_state.pt", weights_only=True)
    assert again["progress"] == finished["progress"]


SLOW = pytest.mark.slow


@pytest.mark.parametrize("training", ["frozen", pytest.param("end_to_end", marks=SLOW)])
def test_fewer_frames_are_encoded_and_every_frame_is_scored(training, run):
    """The scenes have 30 frames, at 12 or more frames per second."""
    settings = {"encoder__training": training, "dataset__frame_rate": 6.0}
    run(**settings)
    (manifest, labels), choices = read_manifest(PREPARED), read_choices(PREPARED)
    assert choices.keys() == labels.keys()
    data = labeller_data.TrainingData.open(PREPARED, FEATURES, load_encoder(ENCODER), from_pixels=True)
    for stem, (positions, nearest) in choices.items():
        assert 5 <= len(positions) <= 15
        assert len(nearest) == 30
        assert data.labels[stem].tolist() == labels[stem][positions].tolist()
    trained = load_checkpoint(LABELLER, device=CPU)
    assert trained.spec.frame_rate == 6.0
    assert trained.novelty is not None
    for path in FEATURES.iterdir():
        assert len(read_features(path)) == len(choices[path.stem].positions)
        assert len(read_pts(path)) == 30
    run(train_baseline, evaluate_labeller, **settings)
    report = json.loads((RESULTS / "evaluation" / "test" / "report.json").read_text())
    (source,) = manifest.of_split("test")
    assert sum(map(sum, report["confusion"])) == manifest.label_space.is_labelled(labels[source.stem]).sum() > 15
    check_evaluation_labels_as_a_user_would()


def test_the_pixels_of_the_encoded_frames_are_those_of_the_whole_video(run, monkeypatch):
    def opened() -> labeller_data.TrainingData:
        encoder = finetune_encoder.make_encoder(load_params())
        return labeller_data.TrainingData.open(PREPARED, FEATURES, encoder, from_pixels=True)

    run(prepare, encoder__training="end_to_end")
    whole = opened()
    run(prepare, encoder__training="end_to_end", dataset__frame_rate=8.0)
    chosen, positions = opened(), read_choices(PREPARED)
    stem = chosen.manifest.of_split("train")[0].stem
    expected = whole.read(stem, 0, 30)[positions[stem].positions]
    for most in (labeller_data.MAX_CACHED_PIXEL_BYTES, 0):
        monkeypatch.setattr(labeller_data, "MAX_CACHED_PIXEL_BYTES", most)
        chosen = opened()
        assert torch.equal(chosen.read(stem, 2, 5), expected[2:5])
        assert torch.equal(chosen.read(stem, 0, len(expected)), expected)


def test_another_rate_encodes_videos_again(run):
    rates = (None, 6.0, None)
    run(prepare, finetune_encoder)
    numbers = []
    for rate in rates:
        run(prepare, extract_features, dataset__frame_rate=rate)
        numbers.append({len(read_features(path)) for path in FEATURES.iterdir()})
    assert numbers[0] == numbers[2] == {30}
    assert max(numbers[1]) <= 15


def test_ready_features_have_no_rate(workspace):
    write_feature_dataset(workspace / "dataset")
    write_params(workspace, dataset__frame_rate=5.0)
    with pytest.raises(InputError, match=r"holds ready features, which have no times: got dataset.frame_rate 5"):
        prepare.main()


@pytest.mark.parametrize(
    "batch_norm", ["frozen", pytest.param("group_norm", marks=SLOW), pytest.param("trained", marks=SLOW)]
)
def test_an_encoder_is_trained_end_to_end(run, batch_norm):
    run(encoder__training="end_to_end", encoder__batch_norm=batch_norm, encoder__name=WITH_BATCH_NORMS)
    assert list(FEATURES.iterdir()) == [], "read from pixels"
    encoder = load_checkpoint(LABELLER, device=CPU).frame_encoder.encoder
    start = fresh_encoder()
    trained = weights_of(encoder, statistics=False)
    assert num_changed(weights_of(start, statistics=False), trained) == len(trained), (
        "the gradient reaches every weight"
    )
    assert num_changed(start.state_dict(), load_encoder(ENCODER).encoder.state_dict()) == 0
    statistics = weights_of(encoder, statistics=True)
    moved = num_changed(weights_of(start, statistics=True), statistics)
    assert moved == (len(statistics) if batch_norm == "trained" else 0)
    assert any(isinstance(module, _BatchNorm) for module in encoder.modules()) == (batch_norm != "group_norm")
    check_evaluation_labels_as_a_user_would()


def test_an_encoder_of_timm_is_trained_from_a_stage_on(run):
    pytest.importorskip("timm")
    run(
        encoder__name="timm/test_resnet",
        encoder__training="end_to_end",
        encoder__batch_norm="trained",
        encoder__train_from="layer3",
        encoder__layer_decay=0.5,
    )
    start = fresh_encoder().state_dict()
    trained = load_checkpoint(LABELLER, device=CPU).frame_encoder.encoder.state_dict()
    moved = {name for name in start if not torch.equal(start[name], trained[name])}
    assert all(name.startswith(("trunk.layer3.", "trunk.layer4.")) for name in moved)
    assert {f"trunk.{stage}.0.conv1.weight" for stage in ("layer3", "layer4")} <= moved
    check_evaluation_labels_as_a_user_would()


def test_pixels_in_memory_equal_pixels_that_are_decoded_again(run, monkeypatch):
    run(prepare, encoder__training="end_to_end")
    kept, decoded = (
        labeller_data.TrainingData.open(
            PREPARED, FEATURES, finetune_encoder.make_encoder(load_params()), from_pixels=True
        )
        for _ in range(2)
    )
    stem = kept.manifest.of_split("train")[0].stem
    for start, stop in ((3, 11), (0, 30), (29, 30)):
        expected = kept.read(stem, start, stop)
        with monkeypatch.context() as patch:
            patch.setattr(labeller_data, "MAX_CACHED_PIXEL_BYTES", 0)
            assert torch.equal(decoded.read(stem, start, stop), expected)
        assert len(expected) == stop - start
    assert (list(kept.pixels), list(decoded.pixels)) == ([stem], [])


@pytest.mark.parametrize("fit", [True, False])
def test_validation_decodes_its_videos_once_where_they_fit_into_memory(fit, run, monkeypatch):
    run(prepare, encoder__training="end_to_end")
    encoder = finetune_encoder.make_encoder(load_params())
    data = labeller_data.TrainingData.open(PREPARED, FEATURES, encoder, from_pixels=True)
    (source,) = data.manifest.of_split("val")
    with open_scaled(Path(source.path), encoder.preprocess) as reader:
        expected = torch.cat([chunk.features for chunk in encode_video(reader, TorchRuntime(encoder))])
    seen = set()
    monkeypatch.setattr(labeller_data, "open_scaled", noting(seen))
    if not fit:
        monkeypatch.setattr(labeller_data, "MAX_CACHED_PIXEL_BYTES", 0)
    for epoch in range(2):
        with torch.inference_mode():
            found = torch.cat(list(data.feature_chunks(source)))
        assert torch.equal(found, expected)
        assert bool(seen) == (epoch == 0 or not fit)
        seen.clear()
    assert list(data.pixels) == ([source.stem] if fit else [])
    # What validation has read may be trained on.
    frames = data.read(source.stem, 0, 3).requires_grad_()
    encoder.encoder(frames).square().sum().backward()
    assert frames.grad is not None


def test_videos_that_are_decoded_ahead_are_the_ones_that_are_read(run, monkeypatch):
    run(prepare, encoder__training="end_to_end")
    encoder = finetune_encoder.make_encoder(load_params())
    ahead, read = (labeller_data.TrainingData.open(PREPARED, FEATURES, encoder, from_pixels=True) for _ in range(2))
    ahead.decode_ahead()
    sources = [*ahead.manifest.of_split("train"), *ahead.manifest.of_split("val")]
    assert set(ahead.pixels) == {source.stem for source in sources}
    for source in sources:
        assert torch.equal(ahead.read(source.stem, 0, 30), read.read(source.stem, 0, 30))
    labels = {**ahead.labels, sources[0].stem: np.full(30, IGNORE_INDEX)}
    without = replace(ahead, labels=labels, pixels={})
    without.decode_ahead()
    assert set(without.pixels) == {source.stem for source in sources[1:]}, "no epoch reads the first one"
    monkeypatch.setattr(labeller_data, "MAX_CACHED_PIXEL_BYTES", 0)
    too_large = labeller_data.TrainingData.open(PREPARED, FEATURES, encoder, from_pixels=True)
    too_large.decode_ahead()
    assert not too_large.pixels


def test_a_video_that_cannot_be_decoded_ahead_ends_the_training(run):
    run(prepare, encoder__training="end_to_end")
    data = labeller_data.TrainingData.open(
        PREPARED, FEATURES, finetune_encoder.make_encoder(load_params()), from_pixels=True
    )
    copies = [replace(source, path=f"{source.path}.gone") for source in data.manifest.sources]
    with pytest.raises(InputError, match="gone"):
        replace(data, manifest=replace(data.manifest, sources=tuple(copies))).decode_ahead()


def test_another_encoder_s_pixels_are_decoded_for_it(run):
    run(prepare, encoder__training="end_to_end")
    encoder = finetune_encoder.make_encoder(load_params())
    grey = replace(encoder, spec=encoder.spec.model_copy(update={"preprocess": grey_of(encoder.spec.preprocess)}))
    data = labeller_data.TrainingData.open(PREPARED, FEATURES, encoder, from_pixels=True)
    (source,) = data.manifest.of_split("val")
    own, of_grey = (torch.cat(list(data.encode(source, each))) for each in (encoder, grey))
    with open_scaled(Path(source.path), grey.preprocess) as reader:
        expected = torch.cat([chunk.features for chunk in encode_video(reader, TorchRuntime(grey))])
    assert torch.equal(of_grey, expected)
    assert not torch.equal(own, of_grey)
    assert list(data.pixels) == [source.stem]


def grey_of(preprocess: PreprocessSpec) -> PreprocessSpec:
    return preprocess.model_copy(update={"color": "grey", "size": (preprocess.size[0] // 2, preprocess.size[1] // 2)})


@pytest.mark.slow
@pytest.mark.parametrize("training", ["frame_classifier", "end_to_end"])
def test_all_stages_decode_with_the_reader_of_the_prepared_data_set(training, run, monkeypatch):
    seen: dict[str, set] = {}
    for module in (extract_features, labeller_data):
        monkeypatch.setattr(module, "open_scaled", noting(seen.setdefault(module.__name__, set())))
    labelled: set = seen.setdefault(label_video.__module__, set())
    monkeypatch.setattr(evaluate_labeller, "label_video", partial(label_video, opening=noting(labelled)))
    settings = {"encoder__training": training, "dataset__reader": "opencv"}
    run(**settings)
    assert read_manifest(PREPARED)[0].reader == "opencv"
    report = (PREPARED / DECODE_REPORT).read_text().splitlines()
    assert [line.split(",")[-1] for line in report] == ["reader", *["opencv"] * 4]
    run(train_baseline, evaluate_labeller, **settings | {"dataset__reader": "decord"})
    expected = {"end_to_end": {labeller_data, video}, "frame_classifier": {labeller_data, extract_features}}[training]
    assert seen == {name: {"opencv"} if name in {m.__name__ for m in expected} else set() for name in seen}


def noting(readers: set):
    """An `open_scaled` that adds each requested reader to a set."""

    def opening(path, region, *, surveyed=None, reader="auto"):
        readers.add(reader)
        return open_scaled(path, region, surveyed=surveyed, reader=reader)

    return opening


def test_fingerprints_depend_on_the_reader_and_the_rate_and_stay_the_same_for_the_default_reader():
    source = Source("clip", "clip.mp4", "clip", 30, sha256="abc")
    before = hashlib.sha256(b"encoder abc swscale bilinear, full chroma").hexdigest()[:16]
    keys = {reader: extract_features._fingerprint("encoder", source, reader) for reader in get_args(Backend)}
    assert keys["auto"] == keys["pyav"] == before
    assert len(set(keys.values())) == 4
    given = {extract_features._fingerprint(extract_features.GIVEN, source, reader) for reader in get_args(Backend)}
    assert len(given) == 1, "no reader decodes ready features"
    at_rates = {extract_features._fingerprint("encoder", source, "auto", rate) for rate in (None, 1.0, 5.0)}
    assert len(at_rates) == 3
    assert before in at_rates


def test_a_video_that_the_reader_refuses_is_a_problem_of_the_data_set(run, scenes, tmp_path):
    root = tmp_path / "with_tape"
    shutil.copytree(scenes, root)
    first = sorted((root / "videos").iterdir())[0]
    with av.open(str(first)) as source, av.open(str(first.with_suffix(".ts")), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    first.unlink()
    run(prepare, dataset__reader="auto", dataset__root=str(root))
    with pytest.raises(InputError, match=f"{first.stem}.ts: decord loses frames"):
        run(prepare, dataset__reader="decord", dataset__root=str(root))


def check_evaluation_labels_as_a_user_would() -> None:
    """Check that evaluation, from cached features or pixels, gives the labels of `framescribe label` for the file."""
    manifest, _ = read_manifest(PREPARED)
    model = load_model(str(LABELLER), device="cpu")
    sources = manifest.of_split("test")
    choices = read_choices(PREPARED)
    scored = evaluate_labeller.predict_sources(model, sources, choices, description="test")
    for source in sources:
        expected = label_video(Path(source.path), model)
        assert np.array_equal(scored[source.stem].pts_seconds, expected.pts_seconds)
        # cached features are rounded to half precision, which can change the label of a frame with two likely classes
        assert (scored[source.stem].labels == expected.labels).mean() > 0.95
        assert scored[source.stem].probabilities == pytest.approx(expected.probabilities, abs=0.01)
