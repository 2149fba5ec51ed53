"""Labels of whole videos, from Python and from MLflow."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from made_models import CLASSES, PREPROCESS, SETTINGS, save_video_model, write_video

from pipeline.annotations.segment_model import fit_segment_model
from pipeline.annotations.segments import segments_from_frames
from pipeline.errors import InputError
from pipeline.labelling.folder import label_videos
from pipeline.labelling.inputs import find_inputs
from pipeline.labelling.location import find_exports
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.outputs import OutputOptions
from pipeline.labelling.video import label_video, postprocess
from pipeline.postprocessing.confidence import calibrate_confidence
from pipeline.postprocessing.kinds import weigh_by_kind
from pipeline.postprocessing.smoothing import smooth
from pipeline.postprocessing.temperature import tempered
from pipeline.postprocessing.viterbi import decode_segments
from pipeline.pyfunc import LabellingModel
from pipeline.video.open import open_scaled
from pipeline.video.types import DamagedVideoError


@pytest.fixture(scope="module")
def model(video_model):
    return load_model(str(video_model), device="cpu")


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_video_in_batches_gets_the_labels_of_the_video_in_one_piece(bidirectional, tmp_path):
    settings = SETTINGS.model_copy(update={"bidirectional": bidirectional})
    model = load_model(str(save_video_model(tmp_path / "model", settings=settings)), device="cpu")
    video = write_video(tmp_path / "clip.mp4", num_frames=21)  # 8 frames are encoded in one batch
    printed: list[int] = []
    result = label_video(video, model, on_progress=printed.append)
    frames, labeller = model.checkpoint.frame_encoder, model.checkpoint.labeller
    with open_scaled(video, frames.preprocess) as reader:
        (whole,) = reader.read(batch_size=21)
    with torch.no_grad():
        features = frames.encoder(frames.preprocess.normalize(torch.from_numpy(whole.pixels)))
        probabilities = labeller(features[None]).logits[0].softmax(-1).numpy()
    np.testing.assert_allclose(result.probabilities, probabilities.max(axis=1), atol=1e-4)
    confident = np.ptp(np.sort(probabilities)[:, -2:], axis=1) > 1e-3
    np.testing.assert_array_equal(result.labels[confident], probabilities.argmax(axis=1)[confident])
    np.testing.assert_array_equal(result.pts_seconds, whole.pts_seconds)
    assert result.frame_seconds == pytest.approx(0.04)
    assert printed == [8, 16, 21]


def test_with_a_look_ahead_every_frame_gets_its_row_from_python_and_from_mlflow(tmp_path):
    settings = SETTINGS.model_copy(update={"look_ahead": 3})
    folder = save_video_model(tmp_path / "model", settings=settings, spread=True)
    model = load_model(str(folder), device="cpu")
    video = write_video(tmp_path / "clip.mp4", num_frames=21)
    result = label_video(video, model)
    frames, labeller = model.checkpoint.frame_encoder, model.checkpoint.labeller
    with open_scaled(video, frames.preprocess) as reader, torch.no_grad():
        (whole,) = reader.read(batch_size=21)
        features = frames.encoder(frames.preprocess.normalize(torch.from_numpy(whole.pixels)))
        steps = labeller(torch.cat([features, features[-1:].expand(3, -1)])[None]).logits[0].softmax(-1).numpy()
    np.testing.assert_allclose(result.class_probabilities, steps[3:], atol=1e-4)
    rows = LabellingModel(folder).predict(pd.DataFrame({"path": [str(video)]}))
    assert rows["frame"].tolist() == list(range(21))
    assert rows["label"].tolist() == [CLASSES[label] for label in result.labels]


def test_many_to_one_gives_every_frame_the_label_of_the_video(tmp_path):
    settings = SETTINGS.model_copy(update={"head": "many_to_one", "bidirectional": True})
    model = load_model(str(save_video_model(tmp_path / "model", settings=settings)), device="cpu")
    result = label_video(write_video(tmp_path / "clip.mp4", num_frames=20), model)
    assert len(result.labels) == 20
    assert len(np.unique(result.labels)) == len(np.unique(result.probabilities)) == 1


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (65, 49), (16, 200)])
@pytest.mark.parametrize("num_frames", [1, 3])
def test_videos_of_any_size_and_length_are_labelled(model, tmp_path, size, num_frames):
    video = write_video(tmp_path / "clip.mp4", num_frames=num_frames, size=size)
    outcome = label_videos([video], model, tmp_path, outputs=OutputOptions(overlay=True), on_failure=pytest.fail)
    assert outcome.num_labelled == 1
    assert len((tmp_path / "clip.frames.csv").read_text().splitlines()) == num_frames + 1


def test_labels_are_smoothed_with_the_settings_of_the_checkpoint(model):
    labeller = model.spec.labeller.model_copy(update={"min_segment_frames": 4})
    checkpoint = model.checkpoint
    smoothing = Model(replace(checkpoint, spec=checkpoint.spec.model_copy(update={"labeller": labeller})))
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), size=30)
    result = postprocess(probabilities, smoothing, pts_seconds=np.zeros(30), frame_seconds=1.0)
    np.testing.assert_array_equal(result.labels, smooth(probabilities, min_segment_frames=4))
    np.testing.assert_array_equal(result.probabilities, probabilities[np.arange(30), result.labels])


def test_segments_are_decoded_from_tempered_probabilities(model):
    labels = np.repeat([0, 1, 2, 1], 10)
    segments = fit_segment_model([labels], model.spec.label_space)
    labeller = model.spec.labeller.model_copy(update={"decoding": "viterbi", "min_segment_frames": 20})
    spec = model.spec.model_copy(update={"labeller": labeller, "segments": segments, "temperature": 2.0})
    decoding = Model(replace(model.checkpoint, spec=spec))
    probabilities = (np.random.default_rng(0).dirichlet(np.ones(3), size=40) + np.eye(3)[labels]) / 2
    result = postprocess(probabilities, decoding, pts_seconds=np.zeros(40), frame_seconds=1.0)
    expected = tempered(probabilities, 2.0)
    np.testing.assert_array_equal(result.labels, decode_segments(expected, segments))
    assert len(segments_from_frames(result.labels)) == 4, "of 10 frames, which merging would join"
    np.testing.assert_allclose(result.probabilities, expected[np.arange(40), result.labels])


def test_segments_are_decoded_by_the_kind_of_video(model):
    """Who idles in this video goes left, as in one training video, and not right, as in the other."""
    videos = [np.repeat([0, 1], 30), np.repeat([0, 2], [3, 57])]
    segments = fit_segment_model(videos, model.spec.label_space, by_kind=True)
    labeller = model.spec.labeller.model_copy(update={"decoding": "viterbi"})
    spec = model.spec.model_copy(update={"labeller": labeller, "segments": segments, "temperature": 2.0})
    by_kind, plain = (
        Model(replace(model.checkpoint, spec=spec.model_copy(update={"segments": each})))
        for each in (segments, segments.model_copy(update={"kinds": None}))
    )
    probabilities = np.array([[0.97, 0.01, 0.02]] * 30 + [[0.02, 0.47, 0.51]] * 30)
    decoded, without = (
        postprocess(probabilities, each, pts_seconds=np.zeros(60), frame_seconds=1.0) for each in (by_kind, plain)
    )
    expected = weigh_by_kind(tempered(probabilities, 2.0), segments.kinds)
    np.testing.assert_array_equal(decoded.labels, decode_segments(expected, segments))
    np.testing.assert_array_equal(decoded.labels, np.repeat([0, 1], 30))
    np.testing.assert_array_equal(without.labels, np.repeat([0, 2], 30))
    np.testing.assert_allclose(decoded.class_probabilities, expected)
    np.testing.assert_allclose(decoded.probabilities, expected[np.arange(60), decoded.labels])


def test_the_temperature_changes_probabilities_but_no_label(model):
    checkpoint = model.checkpoint
    labeller = model.spec.labeller.model_copy(update={"min_segment_frames": 4})
    plain, mild = (
        Model(replace(checkpoint, spec=model.spec.model_copy(update={"labeller": labeller, "temperature": t})))
        for t in (1.0, 2.5)
    )
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), size=30)
    before, after = (postprocess(probabilities, m, pts_seconds=np.zeros(30), frame_seconds=1.0) for m in (plain, mild))
    np.testing.assert_array_equal(after.labels, before.labels)
    expected = tempered(probabilities, 2.5)[np.arange(30), after.labels]
    np.testing.assert_allclose(after.probabilities, expected)


def test_the_probability_of_a_label_is_calibrated_and_those_of_classes_stay(model):
    curve = (0.5, 1.5, 0.25)
    changes = {"temperature": 2.0, "confidence": curve}
    calibrated = Model(replace(model.checkpoint, spec=model.spec.model_copy(update=changes)))
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), size=30).astype(np.float32)
    result = postprocess(probabilities, calibrated, pts_seconds=np.zeros(30), frame_seconds=1.0)
    np.testing.assert_array_equal(result.class_probabilities, tempered(probabilities, 2.0))
    of_labels = result.class_probabilities[np.arange(30), result.labels]
    np.testing.assert_array_equal(result.probabilities, calibrate_confidence(of_labels, curve))
    assert np.abs(result.probabilities - of_labels).max() > 0.05


def test_a_video_smaller_than_the_crop_is_refused_and_the_others_are_labelled(tmp_path):
    preprocess = PREPROCESS.model_copy(update={"crop": (0, 0, 60, 40)})
    model = load_model(str(save_video_model(tmp_path / "model", preprocess=preprocess)), device="cpu")
    small = write_video(tmp_path / "small.mp4", num_frames=3, size=(48, 48))
    large = write_video(tmp_path / "large.mp4", num_frames=3, size=(64, 48))
    printed: list[str] = []
    assert label_videos([small, large], model, tmp_path, on_failure=printed.append).num_failed == 1
    assert printed == [
        f"{small}: crop (x, y, width, height) = (0.0, 0.0, 60.0, 40.0) in pixels does not lie within "
        "a frame 48 wide and 48 high"
    ]
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == [
        "decode_report.csv",
        "large.frames.csv",
        "large.segments.csv",
    ]


def test_an_empty_folder_is_refused(model, tmp_path):
    np.save(tmp_path / "clip.npy", np.zeros((3, 3)))
    with pytest.raises(InputError, match="holds no video"):
        find_inputs([tmp_path], model)
    assert find_inputs([tmp_path / "clip.npy"], model) == [tmp_path / "clip.npy"]  # refused by the reader


@pytest.fixture(scope="module")
def logged(video_model, tmp_path_factory):
    """The model in a separate MLflow store, registered as `tiny`. Yields its URIs."""
    mlflow = pytest.importorskip("mlflow")
    from pipeline.tracking import store as tracking_store
    from pipeline.tracking.models import LABELS_SIGNATURE

    folder, before = tmp_path_factory.mktemp("mlflow"), Path.cwd()
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        os.chdir(folder)  # where artifacts go
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("tests")
        with mlflow.start_run() as run:
            example = str(write_video(folder / "example.mp4", num_frames=3))
            tracking_store.log_model(
                run.info.run_id,
                video_model,
                name="labeller",
                example=example,
                signature=LABELS_SIGNATURE,
            )
        by_run = f"runs:/{run.info.run_id}/labeller"
        mlflow.register_model(by_run, "tiny")
        yield [by_run, "models:/tiny/1"]
        os.chdir(before)
        mlflow.set_tracking_uri("")


@pytest.mark.slow
def test_a_model_in_mlflow_gives_the_same_labels_as_the_folder(logged, model, tmp_path):

    from pipeline.tracking.models import LABELS_SIGNATURE

    video = write_video(tmp_path / "clip.mp4", num_frames=9)
    expected = label_video(video, model)
    for uri in logged:
        fetched = load_model(uri, device="cpu")
        np.testing.assert_array_equal(label_video(video, fetched).labels, expected.labels)
    for uri in ("models:/nobody/1", f"runs:/{'0' * 32}/labeller"):
        with pytest.raises(InputError, match="MLflow has no such model") as refused:
            load_model(uri, device="cpu")
        assert str(refused.value).startswith(uri)
        assert "\n" not in str(refused.value)

    loaded = mlflow.pyfunc.load_model(logged[0])
    table = loaded.predict(pd.DataFrame({"path": [str(video)]}))
    assert list(table.columns) == LABELS_SIGNATURE.outputs.input_names()
    np.testing.assert_array_equal(table["label"], np.array(CLASSES)[expected.labels])


def test_an_export_is_kept_beside_a_checkpoint_folder_and_never_in_the_mlflow_store():
    assert find_exports("models/labeller") == find_exports("models/captioner") == Path("models/.openvino")
    for uri in ("models:/framescribe/1", "runs:/0123/captioner", "file:///store/captioner"):
        assert find_exports(uri) is None


def test_pyfunc_returns_the_columns_of_its_signature(video_model, model, tmp_path):
    from pipeline.tracking.models import LABELS_SIGNATURE

    clips = [write_video(tmp_path / f"{name}.mp4", num_frames=n) for name, n in (("a", 5), ("b", 3))]
    pyfunc = LabellingModel(video_model)
    table = pyfunc.predict(pd.DataFrame({"path": [str(clip) for clip in clips]}))
    assert list(table["path"]) == [str(clips[0])] * 5 + [str(clips[1])] * 3
    assert list(table["frame"]) == [0, 1, 2, 3, 4, 0, 1, 2]
    results = [label_video(clip, model) for clip in clips]
    assert list(table["label"]) == [CLASSES[index] for result in results for index in result.labels]
    np.testing.assert_allclose(table["probability"], np.concatenate([r.probabilities for r in results]))
    np.testing.assert_allclose(table["time_seconds"], np.concatenate([r.pts_seconds for r in results]))
    sent = pd.DataFrame({"path": ["b.mp4", str(clips[0])], "content": [clips[1].read_bytes(), None]})
    by_bytes = pyfunc.predict(sent)
    assert list(by_bytes["path"]) == ["b.mp4"] * 3 + [str(clips[0])] * 5
    assert list(by_bytes["label"]) == [*table["label"][5:], *table["label"][:5]]
    escaping = pd.DataFrame({"path": ["../../b.mp4"], "content": [clips[1].read_bytes()]})
    assert list(pyfunc.predict(escaping)["label"]) == list(table["label"][5:])
    kinds = {"string": "OU", "long": "i", "double": "f"}
    for frame_table in (table, pyfunc.predict(pd.DataFrame({"path": []}))):
        assert list(frame_table.columns) == LABELS_SIGNATURE.outputs.input_names()
        for column in LABELS_SIGNATURE.outputs.inputs:
            assert frame_table[column.name].dtype.kind in kinds[column.type.name]
    broken = Path(shutil.copy(clips[0], tmp_path / "broken.mp4"))
    broken.write_bytes(broken.read_bytes()[:100])
    for path in (broken, tmp_path / "gone.mp4"):
        with pytest.raises(InputError, match=str(path)):
            pyfunc.predict(pd.DataFrame({"path": [str(clips[1]), str(path)]}))


def test_what_is_said_of_a_damaged_video_does_not_depend_on_threads(model, tmp_path):
    path = write_video(tmp_path / "clip.mp4", num_frames=60)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 8] = bytes(len(content) // 8)
    path.write_bytes(content)
    said = set()
    for _ in range(5):
        with pytest.raises(DamagedVideoError) as raised:
            label_video(path, model)
        said.add(str(raised.value))
    (message,) = said
    assert "of 60 frames cannot be decoded; the file is damaged (" in message
