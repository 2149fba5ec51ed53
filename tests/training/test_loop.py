"""The training loop: its epochs, when it stops, which model it keeps, and that a kill does not change the result."""

import csv
import gc
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from import_graph import ROOT
from torch import nn

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.config.labeller import LabellerSettings
from pipeline.config.params import load_params
from pipeline.config.training import Training
from pipeline.datasets.windows import Batch, plan_consecutive, read_batches
from pipeline.errors import InputError
from pipeline.models.augmentation import Augmentation
from pipeline.models.encoders.building import build_encoder
from pipeline.models.end_to_end import EndToEnd
from pipeline.models.labeller import Labeller, LabellerOutput
from pipeline.training.labeller_learner import CHECKED_STEPS, Learner
from pipeline.training.loop import Callbacks, TrainingState, fit, is_best, rate_factor

SPACE = LabelSpace(("a", "b"))


def settings(**changes) -> Training:
    defaults = load_params(ROOT / "params.yaml").training.model_dump() | {
        "epochs": 5,
        "patience": None,
        "device": "cpu",
    }
    return Training.model_validate(defaults | changes)


class FrameModel(nn.Module):
    """[B, T, 3] -> logits [B, T, 2]."""

    def __init__(self, *, dropout: float = 0.5):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Dropout(dropout), nn.Linear(4, 2))

    def forward(self, x, *, lengths, state=None):
        return LabellerOutput(self.layers(x), None)


def batches(epoch: int, *, num: int = 2) -> list[Batch]:
    generator = torch.Generator().manual_seed(epoch)
    inputs = [torch.randn(2, 5, 3, generator=generator) for _ in range(num)]
    return [Batch(x, torch.tensor([5, 5]), (x[..., 0] > 0).long()) for x in inputs]


class Killed(BaseException):
    """Stands for SIGKILL: no code of the project catches it."""


class Recorder:
    """The callbacks of a training, which return the validation scores `scores` in order."""

    def __init__(self, learner: Learner, scores: list[dict[str, float]] | None = None, *, kill_at: str = ""):
        self.learner, self.scores, self.kill_at = learner, scores, kill_at
        self.best: dict | None = None
        self.reported: dict[int, dict] = {}
        self.drawn: list[int] = []

    def callbacks(self) -> Callbacks:
        validate = None if self.scores is None else self.validate
        return Callbacks(self.batches, validate, self.save_best, self.report)

    def batches(self, epoch):
        self.drawn.append(epoch)
        self._kill(f"batches {epoch}")
        return batches(epoch)

    def validate(self):
        assert not self.learner.model.training
        self._kill(f"validate {self.drawn[-1]}")
        return dict(self.scores[self.drawn[-1]])

    def save_best(self):
        self._kill(f"save_best {self.drawn[-1] if self.drawn else ''}")
        self.best = {name: tensor.clone() for name, tensor in self.learner.model.state_dict().items()}

    def report(self, epoch, scores):
        self._kill(f"report {epoch}")
        self.reported[epoch] = dict(scores)

    def _kill(self, point):
        if point == self.kill_at:
            raise Killed(point)


def make_learner(**changes) -> Learner:
    model = FrameModel()
    return Learner(model, [{"params": model.parameters(), "lr": 0.01}], SPACE, settings=settings(**changes))


def train(path, learner: Learner, recorder: Recorder, *, key="key", code="code"):
    state = TrainingState(path, key=key, code=code)
    return fit(learner, seed=3, state=state, callbacks=recorder.callbacks(), description="test")


def val(*values: float, monitor: str = "f1_at_50", loss: float = 1.0) -> list[dict[str, float]]:
    return [{"loss": loss, monitor: value} for value in values]


SCORES = val(1, 5, 3, 6, 2)
POINTS = [f"{where} {epoch}" for epoch in (0, 1, 3, 4) for where in ("batches", "validate", "report")]
POINTS += ["save_best 0", "save_best 1", "save_best 3"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    learner = make_learner()
    recorder = Recorder(learner, SCORES)
    progress = train(tmp_path_factory.mktemp("loop") / "state.pt", learner, recorder)
    return progress, recorder


def test_the_scores_of_all_epochs_so_far_are_a_table_after_each_epoch(tmp_path):
    path, learner = tmp_path / "state.pt", make_learner()
    with pytest.raises(Killed):
        train(path, learner, Recorder(learner, SCORES, kill_at="validate 3"))
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [float(row["val_f1_at_50"]) for row in rows] == [1, 5, 3]
    progress = train(path, learner := make_learner(), Recorder(learner, SCORES))
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == [
        {"epoch": epoch, **scores} for epoch, scores in enumerate(progress.history)
    ]


@pytest.mark.parametrize("point", POINTS)
def test_a_training_killed_anywhere_ends_with_the_same_result(tmp_path, uninterrupted, point):
    path = tmp_path / "state.pt"
    learner = make_learner()
    killed = Recorder(learner, SCORES, kill_at=point)
    with pytest.raises(Killed):
        train(path, learner, killed)
    torch.manual_seed(99)  # the random state of the new process must not matter
    learner = make_learner()
    resumed = Recorder(learner, SCORES)
    resumed.best = killed.best  # the file of the killed training
    progress = train(path, learner, resumed)
    expected, recorder = uninterrupted
    assert progress == expected
    assert killed.reported | resumed.reported == recorder.reported
    for name, tensor in recorder.best.items():
        assert torch.equal(resumed.best[name], tensor), name
    for name, tensor in recorder.learner.model.state_dict().items():
        assert torch.equal(learner.model.state_dict()[name], tensor), name
    first = int(point.split()[1]) + (point.split()[0] in ("report", "save_best"))
    assert resumed.drawn == list(range(first, 5)), "it resumes after its last epoch"


def test_a_finished_training_draws_no_batch(tmp_path, uninterrupted):
    learner = make_learner()
    train(tmp_path / "state.pt", learner, Recorder(learner, SCORES))
    again = Recorder(make_learner(), SCORES)
    assert train(tmp_path / "state.pt", again.learner, again) == uninterrupted[0]
    assert again.drawn == []


def test_a_state_with_other_settings_or_data_is_ignored(tmp_path):
    learner = make_learner()
    with pytest.raises(Killed):
        train(tmp_path / "state.pt", learner, Recorder(learner, SCORES, kill_at="batches 3"))
    other = Recorder(make_learner(), SCORES)
    train(tmp_path / "state.pt", other.learner, other, key="other")
    assert other.drawn == [0, 1, 2, 3, 4]


def test_other_code_resumes_a_killed_training_and_repeats_a_finished_one(tmp_path):
    path = tmp_path / "state.pt"
    TrainingState(path, key="key", code="old").begin("run")
    state = TrainingState(path, key="key", code="new")
    assert state.run_id == "run"
    state.finish()
    assert TrainingState(path, key="key", code="new").complete
    assert TrainingState(path, key="key", code="newer").run_id is None
    state = TrainingState(path, key="key", code="new")
    state.forget()
    assert not state.complete
    assert state.run_id is None


def test_the_best_epoch_is_kept_and_patience_ends_the_training(tmp_path):
    learner = make_learner(epochs=9, patience=2)
    recorder = Recorder(learner, val(1, 5, 3, 4, 9, 9))
    progress = train(tmp_path / "state.pt", learner, recorder)
    assert progress.best_epoch == 1
    assert recorder.drawn == [0, 1, 2, 3]
    assert progress.stopped


def test_without_validation_the_last_epoch_is_kept(tmp_path):
    learner = make_learner(patience=2)
    recorder = Recorder(learner)
    progress = train(tmp_path / "state.pt", learner, recorder)
    assert progress.best_epoch == 4
    assert not any(name.startswith("val_") for scores in progress.history for name in scores)
    for name, tensor in learner.model.state_dict().items():
        assert torch.equal(recorder.best[name], tensor)


def test_the_best_epoch_is_chosen_by_the_monitored_score():
    def best(scores, monitor):
        history = [{f"val_{name}": value for name, value in epoch.items()} for epoch in scores]
        return [epoch for epoch in range(len(history)) if is_best(history[: epoch + 1], monitor)]

    assert best(val(1, 3, 2, 4), "f1_at_50") == [0, 1, 3]
    assert best([{"loss": loss} for loss in (3, 4, 2, 2)], "loss") == [0, 2]
    tied = [{"loss": loss, "edit": 0.0} for loss in (3.0, 2.0, 2.5, 2.0)]
    assert best(tied, "edit") == [0, 1], "the loss decides between equal scores, and then the first epoch"


def test_the_learning_rate_follows_the_schedule():
    cosine = settings(epochs=10, warmup_epochs=2, schedule="cosine")
    factors = [rate_factor(epoch, cosine, num_epochs=10) for epoch in range(10)]
    assert factors[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert factors[6] == pytest.approx(0.5 * (1 + math.cos(math.pi * 4 / 8)))
    assert factors[2:] == sorted(factors[2:], reverse=True)
    assert 0 < factors[-1] < 0.05
    constant = settings(epochs=10, warmup_epochs=1, schedule="constant")
    assert [rate_factor(epoch, constant, num_epochs=4) for epoch in range(4)] == [0.5, 1, 1, 1]
    assert rate_factor(0, settings(epochs=1, warmup_epochs=1), num_epochs=1) == 0.5


def test_each_parameter_group_follows_the_schedule_from_its_own_rate():
    model = FrameModel()
    groups = [
        {"params": model.layers[0].parameters(), "lr": 0.0},
        {"params": model.layers[2].parameters(), "lr": 0.01},
    ]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scores = Learner(model, groups, SPACE, settings=settings(warmup_epochs=1)).train_epoch(batches(0), epoch=0)
    after = model.state_dict()
    assert torch.equal(before["layers.0.weight"], after["layers.0.weight"])
    assert not torch.equal(before["layers.2.weight"], after["layers.2.weight"])
    assert scores["learning_rate"] == 0.0


def test_the_gradient_is_clipped_and_its_norm_before_clipping_is_reported():
    def step(clip_norm: float, batch: list[Batch]) -> tuple[float, float]:
        model = FrameModel(dropout=0.0)
        learner = Learner(
            model, [{"params": model.parameters(), "lr": 0.1}], SPACE, settings=settings(clip_norm=clip_norm)
        )
        norm = learner.train_epoch(batch, epoch=4)["gradient_norm"]
        left = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
        return norm, left

    free, same = step(1e6, batches(0, num=1))
    assert free == pytest.approx(same)
    norm, clipped = step(free / 2, batches(0, num=1))
    assert norm == pytest.approx(free)
    assert clipped == pytest.approx(free / 2, rel=1e-3)


def test_class_weights_reach_the_loss():
    def loss(weights):
        model = FrameModel(dropout=0.0)
        groups = [{"params": model.parameters(), "lr": 1e-9}]
        learner = Learner(model, groups, SPACE, settings=settings(), class_weights=weights)
        return learner.train_epoch(batches(0, num=1), epoch=0)["train_loss"]

    batch = batches(0, num=1)[0]
    only = batch._replace(labels=torch.where(batch.labels == 1, batch.labels, IGNORE_INDEX))
    logits = FrameModel(dropout=0.0)(batch.inputs, lengths=None).logits
    of_ones = -logits.log_softmax(-1)[..., 1][only.labels == 1].mean().item()
    assert loss(torch.tensor([0.0, 3.0])) == pytest.approx(of_ones, rel=1e-5)
    assert loss(None) != pytest.approx(of_ones, rel=1e-3)


def test_a_loss_that_is_not_finite_stops_training_and_names_the_cause():
    model = FrameModel()
    with torch.no_grad():
        model.layers[0].bias.fill_(float("inf"))
    learner = Learner(model, [{"params": model.parameters(), "lr": 0.1}], SPACE, settings=settings())
    with pytest.raises(InputError, match="learning_rate"):
        learner.train_epoch(batches(0), epoch=0)


def test_a_loss_that_stops_being_finite_ends_a_long_epoch_soon():
    model, taken = FrameModel(), 0

    def breaking() -> Iterator[Batch]:
        nonlocal taken
        for taken in range(1, 10 * CHECKED_STEPS):
            batch = batches(0, num=1)[0]
            yield batch if taken != 7 else batch._replace(inputs=torch.full_like(batch.inputs, torch.inf))

    learner = Learner(model, [{"params": model.parameters(), "lr": 0.1}], SPACE, settings=settings())
    with pytest.raises(InputError, match=r"became (nan|inf).*training\.learning_rate"):
        learner.train_epoch(breaking(), epoch=0)
    assert taken == CHECKED_STEPS


@pytest.mark.gpu
def test_a_step_on_a_gpu_does_not_wait_for_the_gpu():
    encoder = build_encoder("small_cnn", weights=None, grid=2, batch_norm="frozen", size=(32, 32))
    shape = LabellerSettings(cell="gru", hidden_size=16, bidirectional=True, inputs="both")
    labeller = Labeller(shape, num_features=encoder.num_features, num_classes=2)
    model = EndToEnd(encoder, labeller, augmentation=Augmentation(0.1, 0.2, 0.2, mirror=True)).cuda().train()
    learner = Learner(model, [{"params": model.parameters(), "lr": 0.001}], SPACE, settings=settings())
    labels = torch.tensor([[0, 1, 1, 0, 1], [1, 0, IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX]])
    batch = Batch(torch.randn(2, 5, 3, 32, 32, device="cuda"), torch.tensor([5, 2]), labels)
    learner.train_epoch([batch, batch], epoch=0)  # kernels are compiled, memory is taken
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss, norm = learner._step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert math.isfinite(loss.item())
    assert norm.item() > 0


def consecutive(
    features: dict[str, torch.Tensor], labels: dict[str, np.ndarray], *, window_frames: int, batch_size: int = 2
) -> list[Batch]:
    generator = np.random.default_rng(0)
    steps = plan_consecutive(labels, SPACE, window_frames=window_frames, batch_size=batch_size, generator=generator)
    return list(read_batches(steps, labels, read=lambda stem, lo, hi: features[stem][lo:hi], consecutive=True))


def made_videos(*lengths: int) -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray]]:
    generator = torch.Generator().manual_seed(0)
    features = {f"v{i}": torch.randn(length, 3, generator=generator) for i, length in enumerate(lengths)}
    return features, {stem: (x[:, 0] > 0).long().numpy() for stem, x in features.items()}


def learner_of(model: nn.Module, *, rate: float = 0.01, **changes) -> Learner:
    return Learner(model, [{"params": model.parameters(), "lr": rate}], SPACE, settings=settings(**changes))


class Recording(nn.Module):
    """Records the outputs of the model for each batch."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model, self.outputs = model, []

    def forward(self, x, *, lengths, state):
        self.outputs.append((lengths, self.model(x, lengths=lengths, state=state)))
        return self.outputs[-1][1]


@pytest.mark.parametrize("cell", ["none", "tanh", "gru", "lstm"])
def test_consecutive_windows_give_the_same_outputs_as_one_pass_over_each_video(cell):
    torch.manual_seed(0)
    labeller = Labeller(
        LabellerSettings(
            cell=cell, hidden_size=5, num_layers=2, inputs="features" if cell == "none" else "both", delta_frames=3
        ),
        num_features=3,
        num_classes=2,
    )
    features, labels = made_videos(23, 9, 40, 16)
    model = Recording(labeller)
    batches = consecutive(features, labels, window_frames=7)
    learner_of(model, rate=1e-12, weight_decay=0.0).train_epoch(batches, epoch=0)
    logits: list[list[torch.Tensor]] = []
    of_row: list[list[torch.Tensor]] = []
    for batch, (lengths, output) in zip(batches, model.outputs, strict=True):
        if batch.continues is None:
            logits += (of_row := [[] for _ in lengths])
        else:
            of_row = [of_row[row] for row in batch.continues]
        for video, part, length in zip(of_row, output.logits, lengths, strict=True):
            video.append(part[:length])
    found = {len(video): video for video in map(torch.cat, logits)}
    for x in features.values():
        torch.testing.assert_close(found[len(x)], labeller(x[None]).logits[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_no_gradient_crosses_from_window_to_window(cell):
    torch.manual_seed(0)
    labeller = Labeller(
        LabellerSettings(cell=cell, hidden_size=5, inputs="both", delta_frames=2), num_features=3, num_classes=2
    )
    features, labels = made_videos(20)
    read: list[torch.Tensor] = []
    batches = consecutive(features, labels, window_frames=6)
    for index, batch in enumerate(batches):
        read.append(batch.inputs.requires_grad_())
        batches[index] = batch._replace(inputs=read[-1])
    learner = learner_of(labeller)
    learner._carried = None
    for index, batch in enumerate(batches):
        for inputs in read:
            inputs.grad = None
        learner._step(batch)
        assert [inputs.grad is not None for inputs in read] == [i == index for i in range(len(read))]


def test_a_window_without_labels_is_read_only_for_its_state():
    labeller = Labeller(LabellerSettings(cell="gru", hidden_size=5), num_features=3, num_classes=2)
    features, labels = made_videos(18)
    labels["v0"][6:12] = IGNORE_INDEX
    batches = consecutive(features, labels, window_frames=6)
    labels["v0"][:] = np.where(np.arange(18) < batches[0].lengths.item(), 0, IGNORE_INDEX)
    batches = consecutive(features, labels, window_frames=6)
    learner = learner_of(labeller)
    learner._step(batches[0])
    before = {name: tensor.clone() for name, tensor in labeller.state_dict().items()}
    for batch in batches[1:]:
        assert learner._step(batch) is None
    for name, tensor in labeller.state_dict().items():
        assert torch.equal(tensor, before[name])
    with torch.no_grad():
        x = features["v0"][None]
        second = labeller(x[:, batches[0].lengths.item() :], state=learner_state(labeller, x, batches))
    torch.testing.assert_close(learner._carried.rnn, second.state.rnn)


def learner_state(labeller: Labeller, x: torch.Tensor, batches: list[Batch]) -> Any:
    """The state after the first window."""
    return labeller(x[:, : batches[0].lengths.item()]).state


class Held:
    """Counts the numbers that autograd holds for the backward pass, now and at most."""

    def __init__(self):
        self.now, self.maximum = 0, 0

    class Tensor:
        def __init__(self, held: "Held", tensor: torch.Tensor):
            self.held, self.tensor = held, tensor
            held.now += tensor.numel()
            held.maximum = max(held.maximum, held.now)

        def __del__(self):
            self.held.now -= self.tensor.numel()


@pytest.mark.parametrize("cell", ["tanh", "lstm"])
def test_memory_does_not_grow_with_the_video(cell):
    def max_held(num_frames: int) -> int:
        torch.manual_seed(0)
        labeller = Labeller(LabellerSettings(cell=cell, hidden_size=5, inputs="both"), num_features=3, num_classes=2)
        held = Held()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: Held.Tensor(held, x), lambda kept: kept.tensor):
            learner_of(labeller).train_epoch(consecutive(*made_videos(num_frames), window_frames=10), epoch=0)
        del labeller
        gc.collect()
        assert held.now == 0
        return held.maximum

    assert max_held(50) == max_held(400) > 0


@pytest.mark.slow
def test_a_video_of_twenty_thousand_frames_is_learned_in_windows():
    """The class is the last mark, up to hundreds of frames ago. A window of 100 often contains no mark."""
    generator = np.random.default_rng(0)
    marks = np.where(generator.random(20_000) < 0.01, generator.integers(1, 3, 20_000), 0)
    marks[0] = 1
    last = np.maximum.accumulate(np.where(marks > 0, np.arange(len(marks)), 0))
    features = {"v": torch.nn.functional.one_hot(torch.from_numpy(marks), 3).float()}
    batches = consecutive(features, {"v": marks[last] - 1}, window_frames=100)

    def loss(batches: list[Batch]) -> float:
        torch.manual_seed(0)
        labeller = Labeller(LabellerSettings(cell="gru", hidden_size=8), num_features=3, num_classes=2)
        learner = learner_of(labeller, warmup_epochs=0, schedule="constant")
        return [learner.train_epoch(batches, epoch=epoch)["train_loss"] for epoch in range(2)][-1]

    assert loss(batches) < 0.05
    assert loss([batch._replace(continues=None) for batch in batches]) > 0.2, "where the state is not carried"


def test_consecutive_windows_work_end_to_end_and_in_mixed_precision(monkeypatch):
    torch.manual_seed(0)
    encoder = build_encoder("shufflenet_v2_x0_5", weights=None)
    model = EndToEnd(
        encoder,
        Labeller(
            LabellerSettings(cell="lstm", hidden_size=4, inputs="both"),
            num_features=encoder.num_features,
            num_classes=2,
        ),
    )
    labels = {"a": np.zeros(7, dtype=np.int64), "b": np.ones(4, dtype=np.int64)}
    features = {stem: torch.randn(len(of_video), 3, 32, 32) for stem, of_video in labels.items()}
    learner = learner_of(model)
    monkeypatch.setattr(learner, "_amp_dtype", torch.bfloat16)
    before = next(encoder.parameters()).clone()
    batches = consecutive(features, labels, window_frames=3)
    assert any(len(batch.lengths) == 1 for batch in batches), "one video has ended"
    assert math.isfinite(learner.train_epoch(batches, epoch=0)["train_loss"])
    assert not torch.equal(before, next(encoder.parameters()))
