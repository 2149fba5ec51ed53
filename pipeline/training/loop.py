"""The training loop: one for labellers, frame classifiers, end-to-end networks, captioners and word classifiers.

After each epoch the whole state is written to `training_state.pt`, so that a killed run resumes after its last epoch
and ends with the numbers of an uninterrupted one: the random numbers of an epoch come from (seed, epoch) alone. The
scores of all epochs so far are written beside it, as `history.csv`. Where several processes train together
(`training.ranks`), the first one writes, and the number of processes may be another when training resumes.
"""

import csv
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from tqdm import tqdm

from pipeline.config.captioner import CaptionTraining
from pipeline.config.encoder import WordTraining
from pipeline.config.training import Training
from pipeline.files import replacing
from pipeline.scores import CAPTION_SCORES, LABEL_SCORES, LOSS, higher_is_better
from pipeline.training import ranks
from pipeline.training.diagnosis import Diagnosis, due_warning, scores_of

HISTORY = "history.csv"
Scores = dict[str, float]
Schedule = Training | CaptionTraining | WordTraining
SHOWN = (  # beside the progress bar
    f"train_{LOSS}",
    f"val_{LOSS}",
    *(f"val_{score.name}" for score in (*LABEL_SCORES, *CAPTION_SCORES) if score.in_progress_bar),
)


@dataclass
class Progress:
    """The progress of a training.

    Attributes:
        history: The scores of each epoch, in order.
        diagnoses: The result of `Callbacks.diagnose` after each epoch; none without it.
        best_epoch: The best epoch so far; -1 before the first.
        stopped: Whether no further epoch is due.
    """

    history: list[Scores] = field(default_factory=list)
    diagnoses: list[Diagnosis] = field(default_factory=list)
    best_epoch: int = -1
    stopped: bool = False

    def add(self, scores: Scores, settings: Schedule) -> None:
        """Add the scores of the next epoch; decide whether it is the best one, and whether it is the last.

        Args:
            scores: The scores.
            settings: They say which score is monitored, and when training ends.
        """
        epoch = len(self.history)
        self.history.append(scores)
        if is_best(self.history, settings.monitor):
            self.best_epoch = epoch
        out_of_patience = settings.patience is not None and epoch - self.best_epoch >= settings.patience
        self.stopped = out_of_patience or epoch + 1 == settings.epochs


class Learning(Protocol):
    """The subject of the loop: a model, its settings, and everything that training changes and the next epoch needs."""

    @property
    def model(self) -> nn.Module:
        """The model."""
        ...

    @property
    def settings(self) -> Schedule:
        """The settings of the training."""
        ...

    def train_epoch(self, batches: Iterable[Any], *, epoch: int) -> Scores:
        """Train one epoch.

        Args:
            batches: The batches that `Callbacks.batches` returns.
            epoch: The epoch, from 0.

        Returns:
            The scores of the epoch, "train_loss" for example.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch needs."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        ...


class TrainingState:
    """The file from which a killed training resumes. It ends as the last checkpoint, beside the best one.

    Args:
        path: The file.
        key: A digest of the settings and the data. A state with another key is ignored.
        code: A digest of the source code. A training that was killed may resume with other code, but one that was
            finished by other code is done again.
    """

    def __init__(self, path: Path, *, key: str, code: str) -> None:
        self.path = path
        self._new: dict[str, Any] = {"key": key, "code": code, "complete": False}
        self._saved = dict(self._new)
        if path.exists():
            saved = torch.load(path, map_location="cpu", weights_only=True)
            if saved["key"] == key and (saved["code"] == code or not saved["complete"]):
                self._saved = saved

    @property
    def key(self) -> str:
        """What names the settings and the data."""
        return self._new["key"]

    @property
    def run_id(self) -> str | None:
        """The tracker's run that this training belongs to; None before `begin`."""
        return self._saved.get("run_id")

    @property
    def complete(self) -> bool:
        """Whether training and all that follows it is done already."""
        return self._saved["complete"]

    def forget(self) -> None:
        """Start from the beginning, whatever the file holds."""
        self._saved = dict(self._new)

    def begin(self, run_id: str) -> None:
        """Remember the run before its first epoch ends, so that the run is resumed even then."""
        self._update(run_id=run_id)

    def restore(self, learner: Learning) -> Progress:
        """Load what `save` kept, if there is anything.

        Args:
            learner: The model and its training, which get the state.

        Returns:
            The progress made until then.
        """
        if "learner" not in self._saved:
            return Progress()
        learner.load_state_dict(self._saved["learner"])
        return Progress(**self._saved["progress"])

    def save(self, learner: Learning, progress: Progress) -> None:
        """Keep everything that the next epoch depends on.

        Args:
            learner: The model and its training.
            progress: The progress, the last epoch included.
        """
        self._update(learner=learner.state_dict(), progress=vars(progress))

    def finish(self) -> None:
        """Mark training, and all that follows it, as done.

        The state is read again: what `save` was given are the learner's own tensors, and others than those of the last
        epoch may have been loaded into them since.
        """
        if self.path.exists():
            self._saved = torch.load(self.path, map_location="cpu", weights_only=True)
        self._update(complete=True, code=self._new["code"])

    def _update(self, **fields: Any) -> None:
        self._saved |= fields
        with replacing(self.path) as path:
            torch.save(self._saved, path)


@dataclass(frozen=True)
class Callbacks:
    """The parts of the loop that its caller supplies.

    `save_best` and `report` are called again, with the same, where training was killed right after them. These two and
    `diagnose` are for the first process alone; the others need not have them.

    Attributes:
        batches: Returns the training batches of an epoch.
        validate: Returns the validation scores, with the key of `monitor`; None where there is no validation split.
            Those of the first process are taken.
        save_best: Keeps the model's weights.
        report: Reports the scores of an epoch to a tracker.
        diagnose: Diagnoses the gradient, where there is something to diagnose. It must leave the model and all random
            numbers as they are.
    """

    batches: Callable[[int], Iterable[Any]]
    validate: Callable[[], Scores] | None
    save_best: Callable[[], None] = lambda: None
    report: Callable[[int, Scores], None] = lambda epoch, scores: None
    diagnose: Callable[[], Diagnosis] | None = None


def fit(learner: Learning, *, seed: int, state: TrainingState, callbacks: Callbacks, description: str) -> Progress:
    """Train to the last epoch, or until patience is exhausted.

    The best model by `settings.monitor` on validation is saved by `callbacks.save_best`; without a validation split it
    is the last.

    Args:
        learner: The model and its training.
        seed: The seed of all random numbers.
        state: The file of the training; where it holds an unfinished one, that is resumed.
        callbacks: What the loop calls.
        description: The text beside the progress bar.
    """
    num_epochs = learner.settings.epochs
    progress, is_first = state.restore(learner), ranks.is_first()
    ranks.copy_weights(learner.model)
    if progress.history and is_first:  # it may have been killed between keeping its state and this
        _publish(progress, callbacks, state.path.with_name(HISTORY))
    with tqdm(
        initial=len(progress.history), total=num_epochs, desc=description, unit="epoch", disable=not is_first
    ) as bar:
        while not progress.stopped:
            epoch = len(progress.history)
            # Each rank drops and disturbs by random numbers of its own.
            torch.manual_seed((seed + ranks.rank() * 1_000_003) * 1_000_003 + epoch)
            scores = learner.train_epoch(callbacks.batches(epoch), epoch=epoch)
            learner.model.eval()
            if callbacks.diagnose:
                progress.diagnoses.append(callbacks.diagnose())
                scores |= scores_of(progress.diagnoses[-1])
            if callbacks.validate:
                scores |= {f"val_{name}": value for name, value in callbacks.validate().items()}
            progress.add(ranks.of_first(scores.copy), learner.settings)
            if is_first:
                state.save(learner, progress)
                _publish(progress, callbacks, state.path.with_name(HISTORY))
            bar.set_postfix({name: f"{scores[name]:.3g}" for name in SHOWN if name in scores}, refresh=False)
            bar.update()
    ranks.leave()
    return progress


def _publish(progress: Progress, callbacks: Callbacks, history: Path) -> None:
    """Save the best model and report, after the last epoch, outside of the training state. May be done twice."""
    epoch = len(progress.history) - 1
    _write_history(progress.history, history)
    if progress.best_epoch == epoch:
        callbacks.save_best()
    callbacks.report(epoch, progress.history[epoch])
    if warning := due_warning(progress.diagnoses):
        tqdm.write(warning)


def _write_history(history: list[Scores], path: Path) -> None:
    """Write the scores of every epoch so far as a table: a row for each epoch, a column for each score."""
    names = dict.fromkeys(name for scores in history for name in scores)
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", *names])
        writer.writeheader()
        writer.writerows({"epoch": epoch, **scores} for epoch, scores in enumerate(history))


def rate_factor(epoch: float, settings: Schedule, *, num_epochs: int) -> float:
    """Return the factor on the learning rate: linear warm-up, then constant, or half a cosine that ends near 0.

    Args:
        epoch: The epoch, from 0; with a fraction within an epoch.
        settings: The length of the warm-up, and the schedule after it.
        num_epochs: The number of epochs over which the rate falls, the warm-up included.
    """
    if epoch < settings.warmup_epochs:
        return (epoch + 1) / (settings.warmup_epochs + 1)
    if settings.schedule == "constant":
        return 1.0
    done = (epoch - settings.warmup_epochs) / max(1, num_epochs - settings.warmup_epochs)
    return 0.5 * (1 + math.cos(math.pi * done))


def is_best(history: list[Scores], monitor: str) -> bool:
    """Return whether the last epoch is the best so far: by `monitor`, among equals by the loss, among those the first.

    Without validation scores the last epoch always is the best.

    Args:
        history: The scores of each epoch.
        monitor: The name of the score, without "val_".
    """
    if f"val_{monitor}" not in history[-1]:
        return True
    sign = 1 if higher_is_better(monitor) else -1
    ranks = [(sign * scores[f"val_{monitor}"], -scores["val_loss"]) for scores in history]
    return all(ranks[-1] > earlier for earlier in ranks[:-1])
