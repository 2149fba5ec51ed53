"""Batches divide sequences, and a training that is stopped ends as one that is not."""

import errno
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_sequences import Last

from pipeline.rnn import sequences
from pipeline.rnn.sequences import batches, pad, train, train_each


def losses(model):
    for _ in range(3):
        x = torch.randn(5, 6, 3)
        yield (model(x) - x[:, 0].mean(1)).square().mean()


def score(model):
    x = torch.linspace(-1, 1, 180).view(10, 6, 3)
    return (model(x) - x[:, 0].mean(1)).square().mean().item()


def trained(path, num_epochs=4, losses=losses, **options) -> Last:
    torch.manual_seed(0)
    model = Last()
    train(model, losses, score, num_epochs=num_epochs, learning_rate=0.1, checkpoint=path, settings={}, **options)
    return model


def test_padding_keeps_sequences_and_adds_zeros():
    padded, lengths = pad([torch.ones(2, 3), torch.ones(4, 3)])
    assert padded.shape == (2, 4, 3)
    assert lengths.tolist() == [2, 4]
    assert padded.sum((1, 2)).tolist() == [6, 12]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=300), st.integers(1, 9))
def test_each_sequence_is_in_one_batch(lengths, batch_size):
    divided = batches(list(enumerate(lengths)), batch_size, length=lambda pair: pair[1])
    assert sorted(pair for batch in divided for pair in batch) == list(enumerate(lengths))
    assert all(1 <= len(batch) <= batch_size for batch in divided)


def test_batches_have_similar_lengths():
    lengths = torch.randint(1, 100, (400,)).tolist()
    padding = sum(max(batch) * len(batch) - sum(batch) for batch in batches(lengths, 8, length=int))
    assert padding < 0.1 * sum(lengths)


def test_training_lowers_the_score_and_keeps_the_best_epoch(tmp_path):
    model = trained(tmp_path / "gru.pt", num_epochs=1)
    before = score(model)
    model = trained(tmp_path / "longer.pt", num_epochs=20)
    assert score(model) < before
    saved = torch.load(tmp_path / "longer.pt", weights_only=True)
    assert score(model) == pytest.approx(min(saved["scores"]))


def test_a_stopped_training_ends_as_one_that_was_not_stopped(tmp_path):
    whole = trained(tmp_path / "whole.pt")
    epochs_left = 2

    def stops(model):
        nonlocal epochs_left
        if epochs_left == 0:
            raise KeyboardInterrupt
        epochs_left -= 1
        yield from losses(model)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped.pt", losses=stops)
    resumed = trained(tmp_path / "stopped.pt")
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_a_finished_training_is_not_repeated(tmp_path):
    first = trained(tmp_path / "gru.pt")
    again = trained(tmp_path / "gru.pt", losses=lambda model: pytest.fail("trained again"))
    assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    trained(tmp_path / "gru.pt")
    with pytest.raises(ValueError, match=r"gru\.pt: got a checkpoint .*'num_epochs': 4.*expected .*'num_epochs': 5"):
        trained(tmp_path / "gru.pt", num_epochs=5)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "gru.pt").write_bytes(b"something else")
    with pytest.raises(
        ValueError, match=r"gru\.pt: expected a checkpoint, which it is not, or not a whole one; remove"
    ):
        trained(tmp_path / "gru.pt")


def trained_each(out, cells=("tanh", "gru")) -> dict[str, Last]:
    return train_each(cells, Last, losses, score, out=out, num_epochs=2, learning_rate=0.1, settings={})


def test_what_is_drawn_after_the_trainings_does_not_depend_on_whether_they_ran(tmp_path):
    drawn = []
    for _ in range(2):
        trained_each(tmp_path)
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


def test_results_go_into_a_folder_that_can_be_written_into(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"/file: is a file, expected a folder for the results"):
        trained_each(tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(ValueError, match=r"/new: may not be written into, expected a folder for the results"):
        trained_each(tmp_path / "new")


def test_the_folder_of_a_checkpoint_is_made(tmp_path):
    trained(tmp_path / "new" / "folder" / "gru.pt", num_epochs=1)
    assert (tmp_path / "new" / "folder" / "gru.pt").exists()


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one_and_nothing_else(tmp_path, monkeypatch):
    trained(tmp_path / "gru.pt", num_epochs=1)
    before = (tmp_path / "gru.pt").read_bytes()

    def fill_the_disk(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        sequences._save(tmp_path / "gru.pt", {})
    assert [path.name for path in tmp_path.iterdir()] == ["gru.pt"]
    assert (tmp_path / "gru.pt").read_bytes() == before


def test_models_are_ordered_by_their_scores(tmp_path):
    models = trained_each(tmp_path)
    scores = [score(model) for model in models.values()]
    assert scores == sorted(scores)
    assert {path.name for path in tmp_path.iterdir()} == {"tanh.pt", "gru.pt"}
