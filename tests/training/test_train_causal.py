"""Training of networks that read forward only: the look-ahead, and the history that windows begin with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from made_data import write_feature_dataset, write_params
from made_training import open_training_data, read_history

from pipeline.annotations.label_space import IGNORE_INDEX
from pipeline.checkpoints.labeller import load_checkpoint, make_labeller
from pipeline.config.params import load_params
from pipeline.tracking import store
from pipeline.training.labeller import train
from pipeline.training.labeller_data import labels_of, training_batches
from pipeline.training.objective import make_objective

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def features_workspace(workspace: Path, monkeypatch) -> Path:
    monkeypatch.setattr(store, "log_model", lambda *args, **options: None)
    write_feature_dataset(workspace / "dataset", num_videos=20)
    return workspace


def shown_late(stem: str, features: np.ndarray) -> np.ndarray:
    """Each frame shows the class of the frame two frames before it."""
    return np.roll(np.repeat(features[::8], 8, axis=0), 2, axis=0)


def accuracy(folder: Path, **changes: object) -> float:
    """Return the best accuracy on validation frames, and check that the checkpoint still has it."""
    quick = {"training__epochs": 20, "training__learning_rate": 0.02, "labeller__hidden_size": 32}
    write_params(folder, **quick | {"training__monitor": "frame_accuracy", "labeller__dropout": 0.0} | changes)
    data = open_training_data(change=shown_late)
    train(load_params(), data, Path("model"), name="labeller")
    labeller = load_checkpoint(Path("model"), device=CPU).labeller
    sources = data.manifest.of_split("val")
    right = [
        labeller.predict(data.feature_chunks(source)).argmax(axis=1) == data.labels[source.stem] for source in sources
    ]
    best = max(float(row["val_frame_accuracy"]) for row in read_history(Path("model")))
    assert 100 * np.concatenate(right).mean() == pytest.approx(best)
    return best


@pytest.mark.parametrize("windows", ["random", "consecutive"])
def test_a_look_ahead_labels_what_later_frames_show(features_workspace, windows):
    assert accuracy(features_workspace, labeller__look_ahead=2, training__windows=windows) > 95
    assert accuracy(features_workspace, labeller__look_ahead=0, training__windows=windows) < 90, "two frames of eight"


@pytest.mark.parametrize("look_ahead", [0, 3, 60])
@pytest.mark.parametrize("window_frames", [7, None])
def test_each_label_is_learnt_once_in_an_epoch_when_the_look_ahead_was_read(
    features_workspace, look_ahead, window_frames
):
    write_params(features_workspace, labeller__look_ahead=look_ahead, training__window_frames=window_frames)
    data, learnt = open_training_data(), {}
    rows = {tuple(row): (stem, t) for stem in data.labels for t, row in enumerate(data.read(stem, 0, 40).tolist())}
    for batch in training_batches(load_params(), data, epoch=0):
        for inputs, labels, length in zip(batch.inputs, batch.labels, batch.lengths.tolist(), strict=True):
            read = [rows[tuple(step)] for step in inputs[:length].tolist()]
            for step in (labels != IGNORE_INDEX).nonzero().flatten().tolist():
                stem, newest = read[step]
                frame = step - look_ahead + read[0][1]
                assert newest == min(frame + look_ahead, 39)
                assert (stem, frame) in read[: step + 1]
                assert (stem, frame) not in learnt
                learnt[stem, frame] = int(labels[step])
    truth = {(stem, t): int(label) for stem, of in labels_of(data, "train").items() for t, label in enumerate(of)}
    assert learnt == truth


@pytest.mark.parametrize("look_ahead", [0, 3])
def test_burn_in_adds_a_history_and_changes_no_label(features_workspace, look_ahead):
    found = []
    for burn_in_frames in (0, 5):
        write_params(
            features_workspace,
            labeller__look_ahead=look_ahead,
            training__window_frames=7,
            training__burn_in_frames=burn_in_frames,
        )
        data = open_training_data()
        found.append(list(training_batches(load_params(), data, epoch=0)))
    for plain, longer in zip(*found, strict=True):
        for row, (length, with_history) in enumerate(zip(plain.lengths, longer.lengths, strict=True)):
            num_more = with_history - length
            assert 0 <= num_more <= 5
            assert torch.equal(longer.inputs[row, num_more:with_history], plain.inputs[row, :length])
            assert torch.equal(longer.labels[row, num_more:with_history], plain.labels[row, :length])
            assert (longer.labels[row, :num_more] == IGNORE_INDEX).all()
    assert max(batch.lengths.max() for batch in found[1]) == 7 + look_ahead + 5


def test_burn_in_gives_no_gradient_by_its_own_labels_but_the_history_counts(features_workspace):
    write_params(features_workspace, training__window_frames=7, training__burn_in_frames=5)
    data = open_training_data()
    batch = next(training_batches(load_params(), data, epoch=0))
    torch.manual_seed(0)
    labeller = make_labeller(load_params().labeller, data.manifest.label_space, num_features=6).eval()
    inputs = batch.inputs.requires_grad_()
    logits = labeller(inputs, lengths=batch.lengths).logits
    logits.retain_grad()
    make_objective(data.manifest.label_space)(logits, batch.labels).backward()
    counted = batch.labels != IGNORE_INDEX
    assert torch.equal(logits.grad.abs().sum(-1) > 0, counted)
    (late,) = (counted[:, 0] == 0).nonzero()[:1]
    assert (inputs.grad[late, 0] != 0).any(), "the first frame of a history reaches the loss through the state"


def test_consecutive_windows_read_each_video_to_the_end_of_its_look_ahead(features_workspace):
    changes = {"training__windows": "consecutive", "training__window_frames": 6, "training__batch_size": 1}
    write_params(features_workspace, labeller__look_ahead=4, **changes)
    data, videos = open_training_data(), []
    for batch in training_batches(load_params(), data, epoch=0):
        if batch.continues is None:
            videos.append(([], []))
        videos[-1][0].append(batch.inputs[0])
        videos[-1][1].append(batch.labels[0])
    of_first_frame = {tuple(inputs[0][0].tolist()): (torch.cat(inputs), torch.cat(labels)) for inputs, labels in videos}
    for stem, truth in labels_of(data, "train").items():
        features = data.read(stem, 0, 40)
        inputs, labels = of_first_frame[tuple(features[0].tolist())]
        assert torch.equal(inputs, torch.cat([features, features[-1:].expand(4, -1)]))
        assert labels.tolist() == [IGNORE_INDEX] * 4 + truth.tolist()
