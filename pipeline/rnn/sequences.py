"""What programs share that train a recurrent network on sequences of their own: batches, training, and a picture.

The programs of examples/ use it. Training on videos has a loop of its own, in `pipeline.training`, which also tracks
runs, warns, and stops early.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pipeline.rnn.diagnostics import GradientFlow, observe
from pipeline.rnn.module import GRU, LSTM, RNN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELLS = {"tanh": RNN, "gru": GRU, "lstm": LSTM}
Model = TypeVar("Model", bound=nn.Module)
Item = TypeVar("Item")
COLORS = {"tanh": "#c0392b", "gru": "#2e8b57", "lstm": "#2a639b"}
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
        checkpoint: The file of the state.
        settings: What else the training depends on, as plain values; a checkpoint with others is refused.
        weight_decay: As in torch.optim.AdamW.
        clip_norm: The length to which a longer gradient is cut.
        seed: The seed of all random numbers that are drawn in `losses`.

    Returns:
        The score of the best epoch.

    Raises:
        ValueError: The checkpoint belongs to another training.
    """
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
        print(f"{checkpoint.stem}: epoch {epoch + 1} of {num_epochs}, {scores[-1]:.4f}, {taken}", flush=True)
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
        ValueError: A checkpoint belongs to another training.
    """
    models, scores = {}, {}
    for cell in cells:
        torch.manual_seed(seed)
        models[cell] = make(cell)
        scores[cell] = train(models[cell], losses, score, checkpoint=out / f"{cell}.pt", seed=seed, **options)
    return {cell: models[cell] for cell in sorted(cells, key=lambda cell: scores[cell])}


def arguments(description: str | None, *, num_epochs: int, out: str) -> argparse.ArgumentParser:
    """Make the parser of a program that compares cells on sequences: --data, --cells, --epochs and --out.

    Args:
        description: What the program does: its docstring.
        num_epochs: The epochs of each training, unless told otherwise.
        out: The folder that is written into, unless told otherwise.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of the data; without it they are made")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS), help="the cells that are compared")
    parser.add_argument("--epochs", type=int, default=num_epochs, help=f"of each training; {num_epochs} by default")
    parser.add_argument("--out", type=Path, default=Path(out), help=f"the folder of the results; {out} by default")
    return parser


def run(main: Callable[[], None]) -> None:
    """Run a program, and end it with a sentence instead of a traceback where its input is wrong."""
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def _load(path: Path, key: Mapping[str, Any]) -> dict[str, Any]:
    """Read what `_save` wrote, and check that it belongs to the training that `key` describes."""
    try:
        saved = torch.load(path, weights_only=True)
        found = saved["key"]
    except Exception as error:  # whatever torch happens to meet in a file that is something else
        raise ValueError(f"{path}: got {type(error).__name__}, expected a checkpoint; remove the file") from error
    if found != key:
        remedy = "remove the file, or name another folder"
        raise ValueError(f"{path}: got a checkpoint of a training with {found}, expected {dict(key)}; {remedy}")
    return saved


def _save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    torch.save(state, partial)
    partial.replace(path)


def gradients(models: Mapping[str, Model], loss: Callable[[Model], Tensor]) -> dict[str, GradientFlow]:
    """Measure how the gradient of the last step that a loss reads goes back through time, see `Observed.flow`.

    Args:
        models: Models by cell, each of which has its recurrent network as `rnn`.
        loss: Runs a model, and returns a loss of it.

    Returns:
        The measurement of each model.
    """
    flows = {}
    for cell, model in models.items():
        assert isinstance(model.rnn, RNN | GRU | LSTM)
        with observe(model.rnn) as observed:
            flows[cell] = observed.flow(loss(model))
    return flows


def draw_gradients(
    axes: "Axes", models: Mapping[str, Model], loss: Callable[[Model], Tensor], *, steps: str = "steps"
) -> None:
    """Draw how much of a gradient is left on its way back through time, and print where it falls to 1%.

    Of each network it is the layer and direction in which the gradient lasts longest.

    Args:
        axes: Where to draw.
        models: As in `gradients`.
        loss: As in `gradients`.
        steps: What the steps of the sequences are, in the plural.
    """
    for cell, flow in gradients(models, loss).items():
        norms = flow.norms.flatten(0, 1)[flow.factor.argmax()]
        axes.semilogy(norms / norms[0], color=COLORS[cell], label=f"{cell}, {remembered(flow)} {steps}")
        print(f"{cell}: 1% of the gradient is left after {remembered(flow)} {steps}")
    axes.axhline(0.01, color="#b9c0c9", linewidth=0.9, linestyle="--")
    axes.set(xlabel=f"{steps} back", ylabel="what is left of dL/dh", title="gradient, and where it falls to 1%")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def remembered(flow: GradientFlow) -> str:
    """Say after how many steps 1% of a gradient is left, where it lasts longest; "over n" where more is left."""
    norms = flow.norms.flatten(0, 1)[flow.factor.argmax()]
    below = (norms < 0.01 * norms[0]).nonzero()
    return str(below[0].item()) if len(below) else f"over {len(norms) - 1}"
