"""The training loop: one for the labeller on features, the frame classifier and the end-to-end network.

After each epoch the whole state goes to `training_state.pt`, so that a killed run goes on from its last epoch and ends
with the numbers of an uninterrupted one: the random numbers of an epoch come from (seed, epoch) alone.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from pipeline.config import Training
from pipeline.datasets.windows import Batch
from pipeline.files import replacing
from pipeline.training.losses import masked_cross_entropy

Scores = dict[str, float]
HIGHER_IS_BETTER = {"loss": False, "frame_accuracy": True, "edit": True, "f1_at_50": True}


@dataclass
class Progress:
    """How far training has come. `history`: the scores of each epoch, in order; `stopped`: no further epoch is due."""

    history: list[Scores] = field(default_factory=list)
    best_epoch: int = -1
    stopped: bool = False


class TrainingState:
    """The file that a killed run goes on from. `key` names the settings and data: a state of others is not taken."""

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self._saved: dict[str, Any] = {"key": key, "complete": False}
        if path.exists():
            saved = torch.load(path, map_location="cpu", weights_only=True)
            if saved["key"] == key and not saved["complete"]:
                self._saved = saved

    @property
    def run_id(self) -> str | None:
        """The tracker's run that this training belongs to; None before `begin`."""
        return self._saved.get("run_id")

    def begin(self, run_id: str) -> None:
        """Remember the run before its first epoch ends, so that it is gone on with even then."""
        self._update(run_id=run_id)

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> Progress:
        """Load what `save` kept, if there is any; the progress made until then."""
        if "model" not in self._saved:
            return Progress()
        model.load_state_dict(self._saved["model"])
        optimizer.load_state_dict(self._saved["optimizer"])
        scaler.load_state_dict(self._saved["scaler"])
        return Progress(self._saved["history"], self._saved["best_epoch"], self._saved["stopped"])

    def save(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, progress: Progress
    ) -> None:
        """Keep everything that the next epoch depends on."""
        self._update(
            model=model.state_dict(),
            optimizer=optimizer.state_dict(),
            scaler=scaler.state_dict(),
            history=progress.history,
            best_epoch=progress.best_epoch,
            stopped=progress.stopped,
        )

    def complete(self) -> None:
        """Training and all that follows it is done: the next training starts anew."""
        self._update(complete=True)

    def _update(self, **fields: Any) -> None:
        self._saved |= fields
        with replacing(self.path) as path:
            torch.save(self._saved, path)


@dataclass(frozen=True)
class Callbacks:
    """What the loop asks of its caller.

    `batches(epoch)`; `validate()`: the validation scores with the key of `monitor`, None where there is no validation
    split; `save_best()` keeps the model's weights; `report(epoch, scores)` tells a tracker.
    """

    batches: Callable[[int], Iterable[Batch]]
    validate: Callable[[], Scores] | None
    save_best: Callable[[], None]
    report: Callable[[int, Scores], None]


def fit(
    model: nn.Module,
    parameter_groups: list[dict[str, Any]],
    *,
    settings: Training,
    seed: int,
    class_weights: torch.Tensor | None,
    state: TrainingState,
    callbacks: Callbacks,
    description: str,
) -> Progress:
    """Train to the end, or to the end of patience, going on from `state` where it holds an unfinished run.

    The best model by `settings.monitor` on validation is saved by `callbacks.save_best`; without a validation split it
    is the last.
    """
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(parameter_groups, weight_decay=settings.weight_decay)
    base_rates = [group["lr"] for group in optimizer.param_groups]
    amp_dtype = _amp_dtype(device, settings.mixed_precision)
    scaler = torch.amp.GradScaler(device.type, enabled=amp_dtype is torch.float16)
    progress = state.restore(model, optimizer, scaler)
    if progress.history:  # killed between keeping its state and telling the tracker
        callbacks.report(len(progress.history) - 1, progress.history[-1])
    epochs = range(len(progress.history), 0 if progress.stopped else settings.epochs)
    bar = tqdm(epochs, initial=len(progress.history), total=settings.epochs, desc=description, unit="epoch")
    for epoch in bar:
        torch.manual_seed(seed * 1_000_003 + epoch)
        for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
            group["lr"] = rate * rate_factor(epoch, settings)
        scores = train_epoch(
            model,
            callbacks.batches(epoch),
            optimizer=optimizer,
            scaler=scaler,
            amp_dtype=amp_dtype,
            class_weights=class_weights,
            clip_norm=settings.clip_norm,
        )
        scores["learning_rate"] = optimizer.param_groups[0]["lr"]
        if callbacks.validate:
            model.eval()
            scores |= {f"val_{name}": value for name, value in callbacks.validate().items()}
        progress.history.append(scores)
        if is_best(progress.history, settings.monitor):
            progress.best_epoch = epoch
            callbacks.save_best()
        waited = epoch - progress.best_epoch
        progress.stopped = epoch + 1 == settings.epochs or (
            settings.patience is not None and waited >= settings.patience
        )
        state.save(model, optimizer, scaler, progress)
        callbacks.report(epoch, scores)
        bar.set_postfix({name: f"{value:.3g}" for name, value in scores.items() if name != "learning_rate"})
        if progress.stopped:
            break
    bar.close()
    return progress


def train_epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    amp_dtype: torch.dtype | None,
    class_weights: torch.Tensor | None,
    clip_norm: float,
) -> Scores:
    """One pass over `batches`. Returns the mean loss and the mean norm of the gradient before it is clipped.

    Raises FloatingPointError where the loss is no longer a number.
    """
    device = next(model.parameters()).device
    model.train()
    losses, norms = [], []
    for batch in batches:
        with torch.autocast(device.type, dtype=amp_dtype, enabled=amp_dtype is not None):
            output = model(batch.inputs.to(device), lengths=batch.lengths)
            loss = masked_cross_entropy(output.logits, batch.labels.to(device), class_weights)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the training loss became {loss.item()}: lower the learning rate or training.clip_norm"
            )
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.detach())
        norms.append(norm)
    return {"train_loss": torch.stack(losses).mean().item(), "gradient_norm": torch.stack(norms).mean().item()}


def rate_factor(epoch: int, settings: Training) -> float:
    """The factor on the learning rate: linear warm-up, then constant, or half a cosine that ends near 0."""
    if epoch < settings.warmup_epochs:
        return (epoch + 1) / (settings.warmup_epochs + 1)
    if settings.schedule == "constant":
        return 1.0
    done = (epoch - settings.warmup_epochs) / max(1, settings.epochs - settings.warmup_epochs)
    return 0.5 * (1 + math.cos(math.pi * done))


def is_best(history: list[Scores], monitor: str) -> bool:
    """Whether the last epoch is strictly the best so far; without validation scores the last one always is."""
    key = f"val_{monitor}"
    if key not in history[-1]:
        return True
    sign = 1 if HIGHER_IS_BETTER[monitor] else -1
    return all(sign * history[-1][key] > sign * earlier[key] for earlier in history[:-1])


def _amp_dtype(device: torch.device, wanted: bool) -> torch.dtype | None:
    if device.type != "cuda" or not wanted:
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
