"""Distillation: its loss against references, the alignment of the teacher's probabilities, and who may be a teacher."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from import_graph import ROOT
from made_data import write_feature_dataset, write_params
from made_models import EXCLUSIVE, save_feature_model, save_video_model, write_video
from made_training import open_training_data, read_history
from torch.nn import functional

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.checkpoints.labeller import load_checkpoint, make_labeller
from pipeline.config.labeller import LabellerSettings
from pipeline.config.params import load_params
from pipeline.config.training import Distillation
from pipeline.datasets.manifest import Manifest, Source
from pipeline.datasets.windows import Batch
from pipeline.errors import InputError
from pipeline.labelling.model import load_model
from pipeline.labelling.video import label_video
from pipeline.models.class_probabilities import class_probabilities
from pipeline.models.encoders.building import build_encoder
from pipeline.postprocessing.temperature import tempered
from pipeline.tracking import store
from pipeline.training.distillation import distillation_loss
from pipeline.training.labeller import train
from pipeline.training.labeller_data import TrainingData, training_batches
from pipeline.training.labeller_learner import Learner
from pipeline.training.teacher import Teacher

CPU = torch.device("cpu")
QUICK = {"training__epochs": 2, "labeller__hidden_size": 8}


@pytest.fixture
def features_workspace(workspace: Path, monkeypatch) -> Path:
    monkeypatch.setattr(store, "log_model", lambda *args, **options: None)
    write_feature_dataset(workspace / "dataset", num_videos=10)
    return workspace


def made(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("groups", [None, ((0, 2), (1,), (3,))])
def test_the_loss_is_the_divergence_of_tempered_probabilities_over_frames_that_the_teacher_speaks_of(
    groups, temperature
):
    student, teacher = made(2, 5, 4), made(2, 5, 4, seed=1)
    soft = class_probabilities(teacher / temperature, groups)
    silent = torch.zeros(2, 5, dtype=torch.bool)
    silent[0, :2] = True
    found = distillation_loss(
        student, soft.masked_fill(silent[..., None], torch.nan), groups=groups, temperature=temperature
    )
    p, q = soft[~silent], class_probabilities(student / temperature, groups)[~silent]
    if groups is None:
        terms = [(p * (p / q).log()).sum(1)]
    else:
        parts = [[x[:, list(members)] for x in (p, q)] for members in groups]
        both = [[torch.cat([x, 1 - x.sum(1, keepdim=True)], 1) for x in pair] for pair in parts]
        terms = [(a * (a / b).log()).sum(1) for a, b in both]
    torch.testing.assert_close(found, temperature**2 * torch.stack(terms).mean(), rtol=1e-4, atol=1e-6)
    equal = distillation_loss(teacher, soft, groups=groups, temperature=temperature)
    assert equal.item() == pytest.approx(0, abs=1e-5)


def test_independent_classes_have_the_gradient_of_binary_cross_entropy_with_soft_targets():
    logits, soft = made(1, 6, 3).requires_grad_(), made(1, 6, 3, seed=1).sigmoid()
    loss = distillation_loss(logits, soft, groups=((0,), (1,), (2,)), temperature=1.0)
    expected = functional.binary_cross_entropy_with_logits(logits, soft)
    torch.testing.assert_close(*(torch.autograd.grad(of, logits)[0] for of in (loss, expected)))


def test_without_a_frame_that_the_teacher_speaks_of_the_loss_and_its_gradient_are_zero():
    logits = made(1, 3, 2).requires_grad_()
    loss = distillation_loss(logits, torch.full((1, 3, 2), torch.nan), groups=None, temperature=2.0)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_the_weight_divides_the_loss_between_labels_and_teacher(weight):
    space = LabelSpace(("a", "b", "c"))
    labeller = make_labeller(LabellerSettings(cell="gru", hidden_size=4), space, num_features=6).eval()
    soft, labels = made(2, 5, 3).softmax(-1), torch.tensor([[0, 1, 2, 0, IGNORE_INDEX], [1, 1, 0, 2, 2]])
    batch = Batch(made(2, 5, 6), torch.tensor([5, 5]), labels, soft_labels=soft)
    learner = Learner(
        labeller,
        [{"params": labeller.parameters(), "lr": 0.1}],
        space,
        settings=load_params(ROOT / "params.yaml").training,
        distillation=Distillation(weight=weight, temperature=2.0),
    )
    logits = labeller(batch.inputs).logits
    of_labels = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE_INDEX)
    of_teacher = distillation_loss(logits, soft, groups=None, temperature=2.0)
    expected = (1 - weight) * of_labels + weight * of_teacher
    torch.testing.assert_close(learner._loss(logits, batch), expected)
    torch.testing.assert_close(learner._loss(logits, batch._replace(soft_labels=None)), of_labels)


@pytest.mark.parametrize("windows", ["random", "consecutive"])
@pytest.mark.parametrize("look_ahead", [0, 3])
def test_each_label_has_beside_it_what_the_teacher_says_of_the_same_frame(features_workspace, look_ahead, windows):
    burn_in_frames = 4 if windows == "random" else 0
    write_params(
        features_workspace,
        labeller__look_ahead=look_ahead,
        training__window_frames=7,
        training__windows=windows,
        training__burn_in_frames=burn_in_frames,
    )
    data = open_training_data()
    soft = {stem: np.eye(3, dtype=np.float32)[labels] for stem, labels in data.labels.items()}
    for batch in training_batches(load_params(), data, epoch=0, soft_labels=soft):
        known = batch.labels != IGNORE_INDEX
        assert torch.equal(batch.soft_labels.isnan().any(-1), ~known)
        assert torch.equal(batch.soft_labels[known].argmax(-1), batch.labels[known])


def trained(folder: Path, data: TrainingData, out: str, **changes: object) -> list[float]:
    write_params(folder, **QUICK | changes)
    train(load_params(), data, Path(out), name="labeller")
    return [float(row["train_loss"]) for row in read_history(Path(out))]


def test_a_student_learns_from_its_teacher_and_a_new_teacher_is_a_new_training(features_workspace, capsys):
    write_params(features_workspace)
    data = open_training_data()
    trained(features_workspace, data, "teacher", labeller__bidirectional=True)
    plain = trained(features_workspace, data, "student")
    of_teacher = {"distillation": {"teacher": str(Path("teacher").resolve()), "weight": 0.9, "temperature": 2.0}}
    write_params(features_workspace, **QUICK)
    taught = trained(features_workspace, data, "student", **of_teacher)
    assert taught != plain
    assert trained(features_workspace, data, "student", **of_teacher) == taught
    assert "already trained" in capsys.readouterr().out
    trained(features_workspace, data, "other", labeller__bidirectional=True, seed=1)
    shutil.rmtree("teacher")
    shutil.copytree("other", "teacher")
    assert trained(features_workspace, data, "student", **of_teacher) != taught


def test_what_the_teacher_says_is_its_tempered_probability_of_each_training_frame(features_workspace):
    write_params(features_workspace)
    data = open_training_data()
    trained(features_workspace, data, "teacher", labeller__bidirectional=True)
    labeller = load_checkpoint(Path("teacher"), device=CPU).labeller
    soft = Teacher(Path("teacher"), data, Path("out"), device=CPU).soft_labels(2.0)
    sources = data.manifest.of_split("train")
    assert soft.keys() == {source.stem for source in sources}
    for source in sources:
        expected = tempered(labeller.predict(data.feature_chunks(source)), 2.0)
        np.testing.assert_array_equal(soft[source.stem], expected)


@pytest.mark.parametrize("from_pixels", [True, False])
def test_of_videos_the_teacher_reads_the_frames_with_its_own_encoder(from_pixels, tmp_path):
    folder = save_video_model(tmp_path / "teacher", label_space=EXCLUSIVE, spread=True)
    model = load_model(str(folder), device="cpu")
    video = write_video(tmp_path / "clip.mp4", num_frames=21)
    source = Source("clip", str(video), "clip", 21, split="train")
    of_student = FrameEncoder(model.spec.encoder, build_encoder("small_cnn", weights=None).eval())
    labels = {"clip": np.zeros(21, np.int64)}
    data = TrainingData(
        Manifest("clip", "videos", EXCLUSIVE, (source,)), labels, tmp_path / "no", of_student, from_pixels, ()
    )
    soft = Teacher(folder, data, tmp_path / "out", device=CPU).soft_labels(1.0)
    np.testing.assert_allclose(soft["clip"], label_video(video, model).class_probabilities, atol=1e-4)


@pytest.mark.parametrize("rate", [None, 5.0])
def test_a_teacher_reads_the_frames_that_are_encoded_and_learnt_at_the_same_rate(rate, tmp_path):
    folder = save_video_model(tmp_path / "teacher", label_space=EXCLUSIVE, spread=True, frame_rate=rate)
    model = load_model(str(folder), device="cpu")
    source = Source("clip", str(write_video(tmp_path / "clip.mp4", num_frames=21)), "clip", 21, split="train")
    positions = np.array([0, 5, 10, 15, 20])
    data = TrainingData(
        Manifest("clip", "videos", EXCLUSIVE, (source,), frame_rate=5.0),
        {"clip": np.zeros(5, np.int64)},
        tmp_path / "no",
        model.checkpoint.frame_encoder,
        True,
        (),
        {"clip": positions},
    )
    if rate is None:
        with pytest.raises(InputError, match=r"trained on every frame, and .* asks for 5 frames per second"):
            Teacher(folder, data, tmp_path / "out", device=CPU)
        return
    soft = Teacher(folder, data, tmp_path / "out", device=CPU).soft_labels(1.0)
    expected = label_video(Path(source.path), model).class_probabilities[positions]
    np.testing.assert_allclose(soft["clip"], expected, atol=1e-4)


def test_a_teacher_that_does_not_fit_is_refused_with_all_problems(features_workspace):
    write_params(features_workspace)
    data = open_training_data()
    settings = LabellerSettings(cell="gru", hidden_size=4, head="many_to_one")
    save_video_model(Path("videos"), settings=settings, label_space=LabelSpace(("idle", "left", "up")))
    for folder, out, problems in (
        ("videos", "videos", ("the data lacks up, the data adds right", "one label for a whole", "ready", "writes")),
        (save_feature_model(Path("wide"), num_features=9), "out", ("9 features a frame, the data set has 6",)),
    ):
        with pytest.raises(InputError) as refused:
            Teacher(Path(folder), data, Path(out), device=CPU)
        lines = str(refused.value).splitlines()
        assert len(lines) == len(problems)
        for line, problem in zip(lines, problems, strict=True):
            assert line.startswith(f"distillation.teacher {folder}: ")
            assert problem.split(", the data adds")[0] in line
    with pytest.raises(InputError, match="no such folder"):
        Teacher(Path("gone"), data, Path("out"), device=CPU)
