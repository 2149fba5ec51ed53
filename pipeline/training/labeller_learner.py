"""One model and its optimizer: an epoch of training a labeller."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from pipeline.annotations.label_space import LabelSpace
from pipeline.config.training import Distillation, Training
from pipeline.datasets.windows import Batch
from pipeline.errors import InputError
from pipeline.models.labeller import LabellerOutput, LabellerState
from pipeline.training import ranks
from pipeline.training.distillation import distillation_loss
from pipeline.training.loop import Scores, rate_factor
from pipeline.training.objective import make_objective

CHECKED_STEPS = 50  # the loss of so many steps at a time is checked
ParameterGroups = list[dict[str, Any]]


class Learner:
    """A model with everything that training it changes and the next epoch needs: weights, optimizer and scaler.

    Args:
        model: The model, on the device where it is trained.
        parameter_groups: The parameters as torch.optim takes them, each group with its own `lr`.
        label_space: The classes of the labels that it learns.
        settings: The settings of the training.
        class_weights: The weights in the loss, see `make_objective`; None where all weigh the same.
        distillation: How a teacher counts in batches with soft labels.
    """

    def __init__(
        self,
        model: nn.Module,
        parameter_groups: ParameterGroups,
        label_space: LabelSpace,
        *,
        settings: Training,
        class_weights: torch.Tensor | None = None,
        distillation: Distillation = Distillation(),  # noqa: B008  immutable
    ) -> None:
        self.model = model
        self.settings = settings
        self._distillation = distillation
        self._label_space = label_space
        self._objective = make_objective(
            label_space,
            weights=class_weights,
            label_smoothing=settings.label_smoothing,
            focal_gamma=settings.focal_gamma,
            whole_weight=ranks.summed,
        )
        self._device = next(model.parameters()).device
        self._optimizer = torch.optim.AdamW(parameter_groups, weight_decay=settings.weight_decay)
        self._base_rates = [group["lr"] for group in self._optimizer.param_groups]
        self._amp_dtype = _amp_dtype(self._device, settings.mixed_precision)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self._amp_dtype is torch.float16)
        self._carried: LabellerState | None = None  # after the last frames of the previous batch

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])

    def train_epoch(self, batches: Iterable[Batch], *, epoch: int) -> Scores:
        """Train one epoch.

        Args:
            batches: The batches of the epoch.
            epoch: The epoch, from 0.

        Returns:
            The mean loss, the mean norm of the gradient before clipping, and the learning rate.

        Raises:
            InputError: The loss is no longer a finite number, as the learning rate is too high, for example.
        """
        for group, rate in zip(self._optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = rate * rate_factor(epoch, self.settings, num_epochs=self.settings.epochs)
        self.model.train()
        self._carried = None
        losses, norms = [], []
        for loss, norm in filter(None, map(self._step, batches)):
            losses.append(loss)
            norms.append(norm)
            if len(losses) % CHECKED_STEPS == 0:
                _check_finite(losses[-CHECKED_STEPS:])
        _check_finite(losses)
        return {
            "train_loss": torch.stack(losses).mean().item(),
            "gradient_norm": torch.stack(norms).mean().item(),
            "learning_rate": self._optimizer.param_groups[0]["lr"],
        }

    def _step(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Do one update; return the loss, and the norm of its gradient.

        None where no frame is labelled, in windows that are read for the state alone: no weight changes then. The
        batch may be this rank's part of one; what is returned is of the whole one.
        """
        if not ranks.summed(self._label_space.is_labelled(batch.labels).sum()):
            with torch.no_grad(), self._autocast():
                self._run(batch)
            return None
        with self._autocast():
            output = self._run(batch)
            part = self._loss(output.logits, batch)
        loss = ranks.summed(part.detach())
        self._optimizer.zero_grad()
        self._scaler.scale(part).backward()
        ranks.add_gradients(self.model.parameters())
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss, norm

    def _loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the loss of the labels; with a teacher, (1 - weight) of it and the weight of the teacher's.

        With several ranks it is this rank's part of the loss, of which the parts of all ranks are the sum.
        """
        loss = self._objective(logits, batch.labels.to(self._device, non_blocking=True))
        if batch.soft_labels is None:
            return loss
        taught = distillation_loss(
            logits,
            batch.soft_labels.to(self._device, non_blocking=True),
            groups=None if self._label_space.is_exclusive else self._label_space.group_members,
            temperature=self._distillation.temperature,
            whole_weight=ranks.summed,
        )
        return (1 - self._distillation.weight) * loss + self._distillation.weight * taught

    def _run(self, batch: Batch) -> LabellerOutput:
        """Run the model on a batch, from the state that the previous batch left, where this one continues it.

        The gradient does not follow: backpropagation through time is truncated between batches.
        """
        state = None
        if batch.continues is not None:
            assert self._carried is not None
            state = self._carried.take(batch.continues.to(self._device, non_blocking=True))
        output = self.model(batch.inputs.to(self._device, non_blocking=True), lengths=batch.lengths, state=state)
        self._carried = output.state
        return output

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=self._amp_dtype, enabled=self._amp_dtype is not None)


def _check_finite(losses: Sequence[torch.Tensor]) -> None:
    """Check the losses of some steps; InputError if one is not a finite number.

    A GPU has to finish all steps before it can say so, which is why not every step asks.
    """
    together = torch.stack(list(losses))
    wrong = together[~together.isfinite()].tolist()
    if wrong:
        raise InputError(f"the training loss became {wrong[0]}: lower training.learning_rate or training.clip_norm")


def _amp_dtype(device: torch.device, use_amp: bool) -> torch.dtype | None:
    if device.type != "cuda" or not use_amp:
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
