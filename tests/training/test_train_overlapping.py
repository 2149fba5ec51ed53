"""Training on labels of classes that overlap: frames, windows, whole videos, end to end; and what it leaves behind."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_data import write_params
from mlflow import MlflowClient

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.checkpoints.labeller import load_checkpoint, make_labeller
from pipeline.config.labeller import LabellerSettings
from pipeline.config.params import load_params
from pipeline.config.training import Training
from pipeline.datasets.features import SUFFIX, write_features
from pipeline.datasets.manifest import Manifest, Source
from pipeline.datasets.windows import Batch
from pipeline.labelling.model import load_model
from pipeline.labelling.video import label_video
from pipeline.models.encoders.building import build_encoder
from pipeline.models.end_to_end import EndToEnd
from pipeline.tracking import store
from pipeline.tracking.connection import connect
from pipeline.training.class_tuning import frame_f1
from pipeline.training.labeller import train
from pipeline.training.labeller_data import TrainingData, batch_targets
from pipeline.training.labeller_learner import Learner

CPU = torch.device("cpu")
PAIR = LabelSpace.independent(("eats", "rears"))
GROUPED = LabelSpace(("eats", "sleeps", "rears"), groups=("state", "state", "posture"))


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    """Log no model in MLflow, since logging takes more time than a short training."""
    monkeypatch.setattr(store, "log_model", lambda *args, **options: None)


def made_labels(generator: np.random.Generator, space: LabelSpace, num_frames: int = 40) -> np.ndarray:
    labels = np.full((num_frames, space.num_classes), ABSENT, dtype=np.int8)
    for members in space.group_members:
        lengths = generator.integers(3, 9, num_frames)
        codes = np.repeat(generator.integers(0, len(members) + 1, num_frames), lengths)[:num_frames]
        for position, index in enumerate(members):
            labels[:, index] = codes == position
    return labels


def made_data(space: LabelSpace, *, whole_videos: bool = False, num_videos: int = 14) -> TrainingData:
    """Make features that show each class with noise; the last videos are for validation."""
    generator, labels, sources = np.random.default_rng(0), {}, []
    for index in range(num_videos):
        stem, truth = f"clip{index}", made_labels(generator, space)
        if whole_videos:
            truth[:] = truth[0]
        features = generator.normal(size=(len(truth), 5)).astype(np.float32)
        features[:, : space.num_classes] += 3 * (truth == PRESENT)
        write_features(Path("features") / f"{stem}{SUFFIX}", features, np.zeros(len(truth)), fingerprint="x")
        np.save(f"{stem}.npy", features)
        unknown = generator.random(truth.shape) < 0.05
        labels[stem] = truth if whole_videos else np.where(unknown, IGNORE_INDEX, truth).astype(np.int8)
        split = "val" if index >= num_videos - 4 else "train"
        sources.append(Source(stem, f"{stem}.npy", stem, len(truth), width=5, split=split))
    return TrainingData(Manifest("pair", "features", space, tuple(sources)), labels, Path("features"), None, False, ())


def history() -> list[dict[str, str]]:
    with Path("model/history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def trained(folder: Path, data: TrainingData, **changes: object) -> list[dict[str, str]]:
    quick = {"training__epochs": 8, "training__learning_rate": 0.03, "dataset__background": None}
    write_params(folder, **quick | changes)
    train(load_params(), data, Path("model"), name="labeller")
    return history()


def test_two_classes_that_overlap_are_learnt_tuned_and_used_for_labels(workspace, capsys):
    data = made_data(PAIR)
    rows = trained(workspace, data, labeller__min_segment_frames="auto", training__monitor="mean_average_precision")
    assert float(rows[-1]["val_mean_average_precision"]) > 90
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
    assert "warning: fewer" not in capsys.readouterr().err
    described = json.loads(Path("model/checkpoint.json").read_text())
    assert described["groups"] == ["eats", "rears"]
    model = load_model("model", device="cpu")
    assert set(described["decisions"]) == set(PAIR.classes)
    connect()
    metrics = MlflowClient().get_run(model.spec.lineage.run_id).data.metrics
    for name, decision in zip(PAIR.classes, model.spec.class_decisions, strict=True):
        for what, value in decision.model_dump().items():
            assert metrics[f"tuning/{what}/{name}"] == value
        assert metrics[f"tuning/f1_after/{name}"] >= metrics[f"tuning/f1_before/{name}"] - 5
    assert metrics["tuning/f1_at_50_after"] >= metrics["tuning/f1_at_50_before"]
    columns = []
    for source in data.manifest.of_split("val"):
        result = label_video(Path(source.path), model)
        assert result.labels.dtype == np.int8
        PAIR.check(result.labels)
        np.testing.assert_array_equal(result.probabilities, result.class_probabilities)
        assert result.class_probabilities.dtype == np.float32
        columns.append((data.labels[source.stem][:, 0], result.labels[:, 0]))
    assert metrics["tuning/f1_after/eats"] == pytest.approx(frame_f1(columns))
    assert frame_f1(columns) > 85


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"training__windows": "consecutive", "training__window_frames": 9, "training__class_weights": "balanced"},
        {"labeller__cell": "none", "training__focal_gamma": 2.0, "training__label_smoothing": 0.1},
        {"training__window_frames": None, "training__class_weights": "square_root", "labeller__bidirectional": True},
    ],
    ids=["consecutive", "without a network", "whole videos"],
)
def test_groups_are_learnt_in_every_way_of_training(workspace, changes):
    rows = trained(workspace, made_data(GROUPED), training__epochs=10, **changes)
    assert float(rows[-1]["val_frame_macro_f1"]) > 75
    spec = load_checkpoint(Path("model"), device=CPU, label_space=GROUPED).spec
    assert spec.class_decisions[0].temperature == spec.class_decisions[1].temperature


@pytest.mark.slow
def test_a_video_can_have_several_classes(workspace):
    data = made_data(PAIR, whole_videos=True, num_videos=24)
    rows = trained(
        workspace,
        data,
        labeller__head="many_to_one",
        training__window_frames=None,
        training__class_weights="balanced",
        training__epochs=15,
    )
    assert float(rows[-1]["val_frame_accuracy"]) == 100
    model = load_model("model", device="cpu")
    source = data.manifest.of_split("val")[0]
    result = label_video(Path(source.path), model)
    np.testing.assert_array_equal(result.labels, data.labels[source.stem])


def test_classes_of_few_bouts_are_named_in_one_sentence_and_in_the_run(workspace, capsys):
    data = made_data(PAIR)
    for source in data.manifest.of_split("val"):
        data.labels[source.stem][:, 1] = ABSENT
    trained(workspace, data, training__epochs=2)
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: fewer")]
    assert warning.endswith(": rears (threshold 0.5, shortest bout 4 frames)")
    spec = load_checkpoint(Path("model"), device=CPU).spec
    assert (spec.class_decisions[1].threshold, spec.class_decisions[1].min_segment_frames) == (0.5, 4)
    connect()
    assert MlflowClient().get_run(spec.lineage.run_id).data.params["tuning.untuned"] == "rears"


@pytest.mark.parametrize("has_validation", [True, False])
def test_an_automatic_shortest_bout_comes_from_the_bouts_of_the_class_itself(workspace, capsys, has_validation):
    """The bouts of the other class, which are as long as the videos, have no part in it."""
    data = made_data(PAIR)
    for source in data.manifest.sources:
        data.labels[source.stem][:] = [PRESENT, ABSENT]
        if source.split == "train":
            data.labels[source.stem][7:12, 1] = PRESENT
    if not has_validation:
        manifest = replace(data.manifest, sources=data.manifest.of_split("train"))
        data = replace(data, manifest=manifest)
    trained(workspace, data, labeller__min_segment_frames="auto", training__epochs=1)
    decisions = load_checkpoint(Path("model"), device=CPU).spec.decisions
    assert decisions["rears"].min_segment_frames == 2
    untuned = "rears (threshold 0.5, shortest bout 2 frames)"
    assert (untuned in capsys.readouterr().err) == has_validation
    if not has_validation:
        assert decisions["eats"].min_segment_frames == 16


def test_an_encoder_learns_from_classes_that_overlap(workspace):
    """The red of a frame shows one class, its blue the other."""
    write_params(workspace)
    settings = Training.model_validate(load_params().training.model_dump() | {"epochs": 4, "warmup_epochs": 0})
    torch.manual_seed(0)
    encoder = build_encoder("small_cnn", weights=None, batch_norm="trained")
    labeller = make_labeller(LabellerSettings(cell="gru", hidden_size=8), PAIR, num_features=encoder.num_features)
    model = EndToEnd(encoder, labeller)
    learner = Learner(model, [{"params": list(model.parameters()), "lr": 0.01}], PAIR, settings=settings)
    labels = torch.randint(0, 2, (4, 6, 2), dtype=torch.int8)
    frames = torch.zeros(4, 6, 3, 32, 32)
    frames[:, :, [0, 2]] = labels[..., None, None].float()
    batch = Batch(frames, torch.tensor([6, 6, 6, 4]), labels)
    losses = [learner.train_epoch([batch] * 4, epoch=0)["train_loss"] for _ in range(8)]
    assert losses[-1] < 0.7 * losses[0]
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_a_batch_without_a_known_label_changes_no_weight(workspace):
    write_params(workspace)
    labeller = make_labeller(LabellerSettings(cell="gru", hidden_size=4), PAIR, num_features=3)
    learner = Learner(
        labeller, [{"params": list(labeller.parameters()), "lr": 0.1}], PAIR, settings=load_params().training
    )
    known = torch.zeros(1, 5, 2, dtype=torch.int8)
    unknown = Batch(torch.randn(1, 5, 3), torch.tensor([5]), torch.full_like(known, IGNORE_INDEX))
    assert learner._step(unknown) is None
    assert learner._step(unknown._replace(labels=known)) is not None


# The set of classes of a video


def test_balanced_weights_of_sets_count_windows(tmp_path):
    write_params(tmp_path, labeller__head="many_to_one", training__window_frames=10)
    labels = {"a": np.tile(np.int8([1, 0]), (20, 1)), "b": np.tile(np.int8([0, 0]), (5, 1))}
    targets = batch_targets(load_params(tmp_path / "params.yaml"), labels, PAIR)
    assert targets.dtype == np.int8
    assert targets.tolist() == [[1, 0], [1, 0], [0, 0]]
