"""The learning of a captioner: from captions that people wrote, and then from captions of its own.

N images, R regions, C channels, K captions of an image, T words of a caption, V words of the vocabulary.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel

from pipeline.config.captioner import CaptionTraining
from pipeline.errors import InputError
from pipeline.models.captioner import Captioner
from pipeline.text.vocabulary import PADDING
from pipeline.training import ranks
from pipeline.training.loop import Scores, rate_factor

# (positions of images, words int64 [N, K, T] without START) -> CIDEr-D of each caption, 0 to 10, float [N, K]
Reward = Callable[[Sequence[int], Tensor], np.ndarray]
BETAS = (0.9, 0.98)  # of AdamW: as for transformers (Vaswani et al. 2017), whose attention this is


class CaptionBatch(NamedTuple):
    """Images, and K captions of each.

    Attributes:
        images: The positions of the images among those of the data set.
        regions: [N, R, C].
        words: int64 [N, K, T + 1], START first, END last, then PADDING.
        done: The share of the epoch that comes before this batch.
        counts: Whether the loss is taken on it.
    """

    images: Sequence[int]
    regions: Tensor
    words: Tensor
    done: float = 0.0
    counts: bool = True


class CaptionLearner:
    """A captioner with its optimizer, trained as the settings say.

    Args:
        captioner: The captioner, on the device where it is trained.
        settings: The settings of the training.
        max_words: The maximum number of words of the captions that it draws.
        reward: The reward of captions that were drawn, for self-critical epochs only.

    Attributes:
        model: The captioner that is trained.
        settings: The settings of the training.
        averaged: The captioner to use: with the moving average of the weights, where the settings ask for it.
    """

    def __init__(self, captioner: Captioner, *, settings: CaptionTraining, max_words: int, reward: Reward) -> None:
        self.model = captioner
        self.settings = settings
        self._max_words = max_words
        self._reward = reward
        self._device = next(captioner.parameters()).device
        self._optimizer = torch.optim.AdamW(captioner.parameters(), betas=BETAS, weight_decay=settings.weight_decay)
        self._average: AveragedModel | None = None
        self.averaged = captioner
        if settings.weight_averaging:
            self._average = AveragedModel(captioner, multi_avg_fn=partial(_move_average, settings.weight_averaging))
            self.averaged = cast(Captioner, self._average.module.eval())

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch needs."""
        state = {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}
        return state | ({"average": self._average.state_dict()} if self._average else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average:
            self._average.load_state_dict(state["average"])

    def train_epoch(self, batches: Iterable[CaptionBatch], *, epoch: int) -> Scores:
        """Train one epoch.

        Args:
            batches: The batches of the epoch.
            epoch: The epoch, from 0. The last `self_critical_epochs` are self-critical.

        Returns:
            The mean loss, or in a self-critical epoch the mean CIDEr-D of the captions drawn, in percent; the mean norm
            of the gradient before clipping; the mean learning rate.

        Raises:
            InputError: The loss is no longer a finite number, as the learning rate is too high, for example.
        """
        settings = self.settings
        num_forced = settings.epochs - settings.self_critical_epochs
        self_critical = epoch >= num_forced
        self.model.train(not self_critical)  # without dropout: one network draws captions and learns from them
        own_words = settings.scheduled_sampling * epoch / max(1, num_forced - 1)
        scores = []
        for batch in batches:
            rate = settings.self_critical_learning_rate
            if not self_critical:
                rate = settings.learning_rate * rate_factor(epoch + batch.done, settings, num_epochs=num_forced)
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            loss, score = self._self_critical_loss(batch) if self_critical else self._forced_loss(batch, own_words)
            scores.append((ranks.summed(score).item(), self._update(loss), rate))
        means = np.mean(scores, axis=0)
        name, unit = ("train_cider", 100) if self_critical else ("train_loss", 1)
        return {name: unit * float(means[0]), "gradient_norm": float(means[1]), "learning_rate": float(means[2])}

    def _forced_loss(self, batch: CaptionBatch, own_words: float) -> tuple[Tensor, Tensor]:
        """Compute the cross-entropy of the next word, after words of people, or in part after the network's own.

        Returns this rank's part of the loss, and its value.
        """
        regions, words = batch.regions.to(self._device), batch.words.to(self._device)
        read, targets, lengths = forced(words)
        if own_words:
            read = self._with_own_words(regions, read, lengths, own_words)
        logits = self.model(regions, read, lengths)
        loss = cross_entropy(logits, targets, label_smoothing=self.settings.label_smoothing)
        loss = loss * ranks.part_of(len(targets) * batch.counts)
        return loss, loss.detach()

    @torch.no_grad()
    def _with_own_words(self, regions: Tensor, read: Tensor, lengths: Tensor, share: float) -> Tensor:
        """Replace a share of the words by what the network would say there, after the words that people wrote.

        This is scheduled sampling (Bengio et al. 2015, arXiv 1506.03099), of all words in parallel (Mihaylova, Martins
        2019, arXiv 1906.07651).
        """
        said = read.clone()
        position = (torch.arange(read.shape[2], device=read.device) < lengths.unsqueeze(2)).nonzero(as_tuple=True)
        log_probs = self.model.log_probs(self.model(regions, read, lengths))
        drawn = torch.multinomial(log_probs.exp(), 1).squeeze(1)
        image, caption, t = (index[position[2] < read.shape[2] - 1] for index in position)
        said[image, caption, t + 1] = drawn[position[2] < read.shape[2] - 1]
        replaced = (torch.rand(read.shape, device=read.device) < share) & (read != PADDING)
        return torch.where(replaced, said, read)

    def _self_critical_loss(self, batch: CaptionBatch) -> tuple[Tensor, Tensor]:
        """Compute this rank's parts of the loss of self-critical training, and of the mean reward.

        Rennie et al. 2017, arXiv 1612.00563.

        Captions drawn at random become likelier where their reward is above that of the image's other ones (the
        baseline of Luo 2020, arXiv 2003.09971).
        """
        regions = batch.regions.to(self._device)
        num_captions = batch.words.shape[1]
        drawn = self.model.sample(regions, num_captions=num_captions, max_words=self._max_words)
        rewards = torch.from_numpy(self._reward(batch.images, drawn.cpu())).to(regions)
        others = (rewards.sum(1, keepdim=True) - rewards) / (num_captions - 1)
        read, targets, lengths = forced(torch.cat([batch.words[:, :, :1].to(drawn), drawn], dim=2))
        log_probs = self.model.log_probs(self.model(regions, read, lengths)).gather(1, targets.unsqueeze(1)).squeeze(1)
        advantage = (rewards - others).flatten().repeat_interleave(lengths.flatten())
        loss = -(advantage * log_probs).mean() * ranks.part_of(len(targets) * batch.counts)
        return loss, rewards.mean() * ranks.part_of(len(batch.images) * batch.counts)

    def _update(self, part: Tensor) -> float:
        loss = ranks.summed(part.detach())
        if not torch.isfinite(loss):
            raise InputError(
                f"the training loss became {loss.item()}: lower captioner.training.learning_rate or clip_norm"
            )
        self._optimizer.zero_grad()
        part.backward()
        ranks.add_gradients(self.model.parameters())
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self._optimizer.step()
        if self._average:
            self._average.update_parameters(self.model)
        return norm.item()


@torch.no_grad()
def _move_average(decay: float, averages: Any, weights: Any, num_averaged: Tensor | int) -> None:
    """Move the averages of the weights, exponentially; young ones forget faster, or the first steps would long stay."""
    steps = int(num_averaged)
    torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + steps) / (10 + steps)))


def forced(words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split captions into the words that are read and those that have to be predicted after them.

    Args:
        words: int64 [N, K, T + 1], START first.

    Returns:
        The words that are read, int64 [N, K, T]; the M words to be predicted, int64 [M], without padding; and the
        lengths of the captions, int64 [N, K].
    """
    read, targets = words[:, :, :-1], words[:, :, 1:]
    is_word = targets != PADDING
    return read.masked_fill(~is_word, PADDING), targets[is_word], is_word.sum(2)
