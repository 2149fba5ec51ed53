"""What programs share that train a recurrent network on sequences of their own: batches, and training.

The programs of examples/ use it. Training on videos has a loop of its own, in `pipeline.training`, which also tracks
runs, warns, and stops early.
"""

import io
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pipeline.rnn.module import GRU, LSTM, RNN

CELLS = {"tanh": RNN, "gru": GRU, "lstm": LSTM}
Model = TypeVar("Model", bound=nn.Module)
Item = TypeVar("Item")
POOL = 50  # batches: sequences are sorted by length within so many, which leaves the order random enough


def pad(sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Put sequences into one tensor, with zeros after the end of each.

    Args:
        sequences: B tensors [T_i, ...] of the same dtype.

    Returns:
        The sequences [B, T, ...], where T is the longest of T_i, and their lengths int64 [B], as networks take them.
    """
    return pad_sequence(list(sequences), batch_first=True), torch.tensor([len(sequence) for sequence in sequences])


def batches(sequences: Sequence[Item], batch_size: int, *, length: Callable[[Any], int] = len) -> list[list[Item]]:
    """Divide sequences into batches at random, each of similar lengths, so that little is padded.

    Args:
        sequences: The sequences, or what has them.
        batch_size: The sequences of a batch; the last ones may have fewer.
        length: Returns the length of a sequence.

    Returns:
        The sequences of each batch; each sequence is in one batch.
    """
    lengths, divided = torch.tensor([length(sequence) for sequence in sequences]), []
    for pool in torch.randperm(len(sequences)).split(POOL * batch_size):
        divided += pool[lengths[pool].argsort()].split(batch_size)
    return [[sequences[i] for i in divided[order]] for order in torch.randperm(len(divided))]


def train(
    model: Model,
    losses: Callable[[Model], Iterable[Tensor]],
    score: Callable[[Model], float],
    *,
    num_epochs: int,
    learning_rate: float,
    checkpoint: Path,
    settings: Mapping[str, Any],
    measure: str = "score",
    weight_decay: float = 0.0,
    clip_norm: float = 1.0,
    seed: int = 0,
) -> float:
    """Train with AdamW, a rate that falls to 0 along half a cosine, and clipping; keep the weights of the best epoch.

    After each epoch the whole state is written to a file. A training that was killed goes on after its last epoch and
    ends with the same weights, because the random numbers of an epoch come from the seed and its number alone. One
    that was finished only loads its weights.

    Args:
        model: The model, which has the weights of the best epoch in the end, in eval mode.
        losses: Yields the loss of each batch of an epoch, one after another; a step follows each.
        score: Returns the score after an epoch, of which the smallest is the best. The model is in eval mode.
        num_epochs: How many epochs to train.
        learning_rate: The rate of the first epoch.
        checkpoint: The file of the state; its folder is made.
        settings: What else the training depends on, as plain values; a checkpoint with others is refused.
        measure: What the score is, and its unit, for what is printed after each epoch.
        weight_decay: As in torch.optim.AdamW.
        clip_norm: The length to which a longer gradient is cut.
        seed: The seed of all random numbers that are drawn in `losses`.

    Returns:
        The score of the best epoch.

    Raises:
        ValueError: The checkpoint belongs to another training, or its folder cannot be written into.
    """
    _make_folder(checkpoint.parent)
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=weight_decay)
    key = {**settings, "num_epochs": num_epochs, "learning_rate": learning_rate, "seed": seed}
    scores: list[float] = []
    best = _copy(model)
    if checkpoint.exists():
        saved = _load(checkpoint, key)
        scores, best = saved["scores"], saved["best"]
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
    for epoch in range(len(scores), num_epochs):
        began = time.monotonic()
        torch.manual_seed(seed * 1_000_003 + epoch)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 + math.cos(math.pi * epoch / num_epochs)) / 2
        _train_epoch(model, optimizer, losses, clip_norm)
        with torch.no_grad():
            scores.append(score(model))
        if scores[-1] <= min(scores):
            best = _copy(model)
        state = {"key": key, "scores": scores, "best": best}
        _save(checkpoint, {**state, "model": model.state_dict(), "optimizer": optimizer.state_dict()})
        taken = f"{time.monotonic() - began:.0f} s"
        print(f"{checkpoint.stem}: epoch {epoch + 1} of {num_epochs}, {measure} {scores[-1]:.4f}, {taken}", flush=True)
    model.load_state_dict(best)
    model.eval()
    return min(scores)


def _train_epoch(
    model: Model, optimizer: torch.optim.Optimizer, losses: Callable[[Model], Iterable[Tensor]], clip_norm: float
) -> None:
    """Take a step for each batch, and leave the model in eval mode."""
    model.train()
    for loss in losses(model):
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
    model.eval()


def train_each(
    cells: Sequence[str],
    make: Callable[[str], Model],
    losses: Callable[[Model], Iterable[Tensor]],
    score: Callable[[Model], float],
    *,
    out: Path,
    seed: int = 0,
    **options: Any,
) -> dict[str, Model]:
    """Train the same network with several cells, see `train`.

    The random numbers that are drawn afterwards come from the seed alone, whether the trainings were resumed or not.

    Args:
        cells: The names of the cells, see `CELLS`.
        make: Makes the model with a cell.
        losses: As in `train`.
        score: As in `train`.
        out: The folder of the checkpoints; that of the cell "gru" is gru.pt.
        seed: The seed of the weights of each model, and as in `train`.
        options: The other arguments of `train`.

    Returns:
        The models by cell, that of the best score first.

    Raises:
        ValueError: As `train`.
    """
    models, scores = {}, {}
    for cell in cells:
        torch.manual_seed(seed)
        models[cell] = make(cell)
        scores[cell] = train(models[cell], losses, score, checkpoint=out / f"{cell}.pt", seed=seed, **options)
    torch.manual_seed(seed)
    return {cell: models[cell] for cell in sorted(cells, key=lambda cell: scores[cell])}


def _make_folder(out: Path) -> None:
    """Make the folder of the results, before there is work to lose."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file, expected a folder for the results")
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise ValueError(f"{out}: may not be written into, expected a folder for the results")


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def _load(path: Path, key: Mapping[str, Any]) -> dict[str, Any]:
    """Read what `_save` wrote, and check that it belongs to the training that `key` describes."""
    try:
        saved = torch.load(path, weights_only=True)
        found = saved["key"]
    except Exception:  # whatever torch happens to meet in a file that is something else
        raise ValueError(f"{path}: expected a checkpoint, which it is not, or not a whole one; remove it") from None
    if found != key:
        remedy = "have the data changed? remove the file, or name another folder"
        raise ValueError(f"{path}: got a checkpoint of a training with {found}, expected {dict(key)}: {remedy}")
    return saved


def _save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a file that is whole or not there."""
    content = io.BytesIO()
    torch.save(state, content)  # into a file it would not say why the system refuses that
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content.getbuffer())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
