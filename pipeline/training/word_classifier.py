"""The training of the captioner's encoder: it learns which words people use for an image, before captions are learnt.

A small set of captions teaches a recurrent network little about what things look like. Which of the frequent words
occur in the captions of an image is an easier question, and captions are easier to learn from the regions of an encoder
that was trained to answer it (Wu et al. 2016, "What Value Do Explicit High Level Concepts Have in Vision to Language
Problems?", arXiv 1506.01144).

Each word is looked for in each region, because a thing fills a part of an image, and the captioner attends to regions.

N images of h x w pixels, R regions of C channels, W words.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.checkpoints.storage import load_weights, save_weights
from pipeline.config.encoder import WordTraining
from pipeline.config.params import Params
from pipeline.datasets.caption_manifest import CaptionManifest
from pipeline.encoding.device import choose_device
from pipeline.errors import InputError
from pipeline.models.encoders.encoder import Encoder
from pipeline.models.encoders.stages import rate_groups
from pipeline.scores import LOSS
from pipeline.text.vocabulary import tokenize
from pipeline.tracking import store
from pipeline.training import ranks
from pipeline.training.captioner import MIRRORED, datasets_of
from pipeline.training.loop import Callbacks, Scores, fit, rate_factor
from pipeline.training.runs import log_history, open_state, open_training_run
from pipeline.video.image import read_image

HEAD_RATE = 5.0  # times the learning rate of the encoder
MAX_SHARE = 0.5  # of the training images that have a word; more frequent ones, such as "a", say nothing of an image
NAME = "word_classifier"


class WordClassifier(nn.Module):
    """Images -> logits of the words of their captions.

    logit_rw = W_w . dropout(region_r) + b_w
    logit_w = log(mean_r exp(logit_rw))                      between the mean and the maximum over the regions

    Source: the log-sum-exp, with r = 1, of Pinheiro, Collobert 2015, "From Image-level to Pixel-level Labeling with
    Convolutional Networks", arXiv 1411.6228.

    Args:
        encoder: The encoder.
        frequencies: float [W], the mean share of the captions of a training image that have each word, with which the
            classifier begins.
        dropout: The probability that training drops a channel of a region.
    """

    def __init__(self, encoder: Encoder, frequencies: Tensor, *, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.num_channels, len(frequencies))
        nn.init.zeros_(self.head.weight)
        self.head.bias.data = torch.logit(frequencies, eps=1e-4)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 3, h, w], normalized for the encoder, to logits [N, W]."""
        logits = self.head(self.dropout(self.encoder.regions(images)))
        return torch.logsumexp(logits, dim=1) - math.log(logits.shape[1])


class WordBatch(NamedTuple):
    """Images and their words.

    Attributes:
        images: float [N, 3, h, w], normalized for the encoder.
        shares: float [N, W], the share of the captions of each image that have each word.
        done: The share of the epoch that comes before this batch.
        counts: Whether the loss is taken on it.
    """

    images: Tensor
    shares: Tensor
    done: float = 0.0
    counts: bool = True


class WordLearner:
    """A word classifier with its optimizer.

    Args:
        classifier: The classifier, on the device where it is trained.
        settings: The settings of the training.

    Attributes:
        model: The classifier.
        settings: The settings of the training.
    """

    def __init__(self, classifier: WordClassifier, *, settings: WordTraining) -> None:
        self.model = classifier
        self.settings = settings
        rate = settings.learning_rate
        self._optimizer = torch.optim.AdamW(
            [
                *rate_groups(classifier.encoder.trunk, rate=rate, decay=1.0),
                {"params": list(classifier.head.parameters()), "lr": HEAD_RATE * rate},
            ],
            weight_decay=settings.weight_decay,
        )
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        self._device = classifier.head.weight.device

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch needs."""
        return {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])

    def train_epoch(self, batches: Iterable[WordBatch], *, epoch: int) -> Scores:
        """Train one epoch.

        Args:
            batches: The batches of the epoch.
            epoch: The epoch, from 0.

        Returns:
            The mean loss.

        Raises:
            InputError: The loss is no longer a finite number, as the learning rate is too high, for example.
        """
        self.model.train()
        losses = []
        for batch in batches:
            factor = rate_factor(epoch + batch.done, self.settings, num_epochs=self.settings.epochs)
            for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
            losses.append(self._step(batch))
        return {f"train_{LOSS}": float(np.mean(losses))}

    def _step(self, batch: WordBatch) -> float:
        """Do one update; return the loss of the whole batch, of which this may be a rank's part."""
        part = _losses(self.model, batch, self._device).mean() * ranks.part_of(len(batch.shares) * batch.counts)
        loss = ranks.summed(part.detach()).item()
        if not math.isfinite(loss):
            raise InputError(f"the training loss became {loss}: lower captions.encoder.classifier.learning_rate")
        self._optimizer.zero_grad()
        part.backward()
        ranks.add_gradients(self.model.parameters())
        self._optimizer.step()
        return loss


def _losses(classifier: nn.Module, batch: WordBatch, device: torch.device) -> Tensor:
    """Return the loss of each image: its cross-entropies of all words, added up."""
    logits = classifier(batch.images.to(device))
    return binary_cross_entropy_with_logits(logits, batch.shares.to(device), reduction="none").sum(1)


def train_word_classifier(params: Params, manifest: CaptionManifest, frame_encoder: FrameEncoder, out: Path) -> None:
    """Train an encoder as a word classifier, tracked as a run in MLflow.

    Killed at any moment and called again, it resumes after its last epoch in the same run. `out` holds the best
    weights, the last ones in training_state.pt, and the curves in history.csv. Processes that torchrun started train
    one classifier together, and the first of them writes.

    Args:
        params: The settings.
        manifest: The data set.
        frame_encoder: The encoder, which in the first process has its best weights afterwards.
        out: The folder of the training.

    Raises:
        InputError: No word of the captions can be learnt, or the encoder has no stage of the name in the settings.
    """
    with ranks.joined(params.captioner.training.device, batch_size=params.captions.encoder.classifier.batch_size):
        _train(params, manifest, frame_encoder, out)


def _train(params: Params, manifest: CaptionManifest, frame_encoder: FrameEncoder, out: Path) -> None:
    settings = params.captions.encoder
    device = choose_device(params.captioner.training.device)
    torch.manual_seed(params.seed)
    words = choose_words(manifest, settings.classifier.num_words)
    shares = shares_of(manifest, words)
    frequencies = shares[manifest.indices_of_split("train")].mean(0)
    if settings.train_from is not None:
        frame_encoder.encoder.train_from(settings.train_from)
    classifier = WordClassifier(frame_encoder.encoder, frequencies, dropout=settings.classifier.dropout).to(device)
    run_params = params.model_dump(
        mode="json", include={"seed": True, "captions": {"name", "mirror", "pixels", "encoder"}}
    )
    state = ranks.of_first(
        partial(open_state, out, params=run_params, data_fingerprint=manifest.fingerprint(), training_module=__name__)
    )
    read = partial(_read, manifest, frame_encoder, shares)
    callbacks = Callbacks(
        batches=partial(batches, params, manifest, read),
        validate=partial(validate, params, manifest, read, classifier) if manifest.of_split("val") else None,
    )
    if not state.complete:
        learner = WordLearner(classifier, settings=settings.classifier)
        if not ranks.is_first():
            fit(learner, seed=params.seed, state=state, callbacks=callbacks, description=NAME)
            return
        with open_training_run(state, out, name=f"{NAME}-{manifest.name}", search=params.search) as run_id:
            store.log_start(run_params | {"words": len(words)}, datasets_of(manifest), model=NAME)
            callbacks = replace(
                callbacks,
                save_best=partial(save_weights, out, {"encoder": frame_encoder.encoder, "head": classifier.head}),
                report=partial(store.log_epoch, run_id),
            )
            progress = fit(learner, seed=params.seed, state=state, callbacks=callbacks, description=NAME)
            log_history(progress, run_id=run_id)
            state.finish()
    elif ranks.is_first():
        print(f"{NAME}: already trained with these settings, data and code; remove {out} to train it again")
    if ranks.is_first():
        load_weights(out, {"encoder": frame_encoder.encoder})
        frame_encoder.encoder.eval()


def choose_words(manifest: CaptionManifest, num_words: int) -> tuple[str, ...]:
    """Choose the most frequent words of the training captions, by the number of images that have them.

    Args:
        manifest: The data set.
        num_words: The maximum number of words.

    Returns:
        W words, the most frequent first, and equally frequent ones by alphabet. Words of more than half of the images
        are left out.

    Raises:
        InputError: There is no such word.
    """
    images = manifest.of_split("train")
    counts = Counter(word for image in images for word in {w for text in image.captions for w in tokenize(text)})
    found = sorted((word for word in counts if counts[word] <= MAX_SHARE * len(images)), key=lambda w: (-counts[w], w))
    if not found:
        raise InputError(
            f"{manifest.name}: each word of the captions is used for more than half of the training images, so that"
            " there is nothing to learn from words: set captions.encoder.training to frozen"
        )
    return tuple(found[:num_words])


def shares_of(manifest: CaptionManifest, words: Sequence[str]) -> Tensor:
    """Compute how many of the captions of each image have each word.

    Args:
        manifest: The data set, of N images.
        words: W words.

    Returns:
        float [N, W], from 0 to 1.
    """
    position = {word: index for index, word in enumerate(words)}
    shares = torch.zeros(len(manifest.images), len(words))
    for row, image in zip(shares, manifest.images, strict=True):
        for caption in image.captions:
            for word in position.keys() & set(tokenize(caption)):
                row[position[word]] += 1 / len(image.captions)
    return shares


Read = Callable[[Sequence[int], np.ndarray], WordBatch]


def batches(params: Params, manifest: CaptionManifest, read: Read, epoch: int) -> Iterator[WordBatch]:
    """Read the training images in an order of the epoch's own, some of them mirrored where the settings say so.

    With several ranks, they are this rank's parts of the batches. A rank that has no part in the last one reads an
    image of another rank, which does not count.

    Args:
        params: The settings.
        manifest: The data set.
        read: Reads images, see `_read`.
        epoch: The epoch, from 0.

    Yields:
        The batches.
    """
    generator = np.random.default_rng([params.seed, epoch])
    order = generator.permutation(manifest.indices_of_split("train")).tolist()
    size = params.captions.encoder.classifier.batch_size
    starts = range(0, len(order), size)  # an epoch takes minutes
    for start in tqdm(starts, f"epoch {epoch + 1}", unit="batch", leave=False, disable=not ranks.is_first()):
        images = order[start : start + size]
        mirrored = generator.random(len(images)) < MIRRORED * params.captions.mirror
        mine = ranks.mine(range(len(images)))
        rows = mine or [0]
        batch = read([images[row] for row in rows], mirrored[rows])
        yield batch._replace(done=start / len(order), counts=bool(mine))


def _read(
    manifest: CaptionManifest,
    frame_encoder: FrameEncoder,
    shares: Tensor,
    indices: Sequence[int],
    mirrored: np.ndarray,
) -> WordBatch:
    """Read images of the manifest, some of them mirrored within the region of interest."""
    preprocess = frame_encoder.preprocess
    read = (read_image(Path(manifest.images[index].path)) for index in indices)
    images = [preprocess.mirror(image) if flip else image for image, flip in zip(read, mirrored, strict=True)]
    return WordBatch(torch.cat([preprocess(image[None]) for image in images]), shares[list(indices)])


@torch.inference_mode()
def validate(params: Params, manifest: CaptionManifest, read: Read, classifier: WordClassifier) -> Scores:
    """Compute the mean loss of the validation images, of which each rank reads some.

    Args:
        params: The settings.
        manifest: The data set.
        read: Reads images, see `_read`.
        classifier: The classifier, in eval mode.
    """
    images, size = manifest.indices_of_split("val"), params.captions.encoder.classifier.batch_size
    found = {}  # by the first image of a batch
    for start in ranks.mine(range(0, len(images), size)):
        here = images[start : start + size]
        batch = read(here, np.zeros(len(here), dtype=bool))
        found[start] = _losses(classifier, batch, classifier.head.weight.device).tolist()
    return {LOSS: float(np.mean([loss for _, losses in sorted(ranks.gathered(found).items()) for loss in losses]))}
