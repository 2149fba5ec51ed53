"""The training of one captioner: from the prepared images to a checkpoint folder and its MLflow run.

N images, R regions, C channels, K captions of an image, T words, V words of the vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.checkpoints.captioner import CaptionerSpec, make_captioner, save_captioner
from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.config.params import Params
from pipeline.datasets.caption_manifest import CaptionManifest
from pipeline.datasets.manifest import SPLITS
from pipeline.datasets.regions import Regions
from pipeline.encoding.device import choose_device
from pipeline.metrics.captions import CiderReward, score_captions
from pipeline.models.captioner import Captioner
from pipeline.scores import CAPTION_SCORES, LOSS, monitored
from pipeline.text.vocabulary import END, PADDING, START, Vocabulary, detokenize, tokenize
from pipeline.tracking import store
from pipeline.tracking.models import CAPTIONS_SIGNATURE
from pipeline.training import ranks
from pipeline.training.captioner_learner import CaptionBatch, CaptionLearner, forced
from pipeline.training.loop import Callbacks, Scores, fit
from pipeline.training.runs import lineage_of, log_best, log_history, open_state, open_training_run, register_trained

BATCH_IMAGES = 64  # in validation
MIRRORED = 0.5  # the share of training images, where captions.mirror is set


@dataclass(frozen=True)
class CaptionTrainingData:
    """The data set that a captioner learns from.

    Attributes:
        manifest: The manifest of the data set.
        words: The captions of each image of the manifest, tokenized.
        regions: The features of the regions of all images.
        frame_encoder: The encoder that the features come from.
    """

    manifest: CaptionManifest
    words: tuple[tuple[tuple[str, ...], ...], ...]
    regions: Regions
    frame_encoder: FrameEncoder

    @classmethod
    def open(cls, manifest: CaptionManifest, regions: Regions, frame_encoder: FrameEncoder) -> "CaptionTrainingData":
        """Open a data set, and tokenize its captions.

        Args:
            manifest: See `CaptionTrainingData`.
            regions: See `CaptionTrainingData`.
            frame_encoder: See `CaptionTrainingData`.
        """
        words = tuple(tuple(tuple(tokenize(text)) for text in image.captions) for image in manifest.images)
        return cls(manifest, words, regions, frame_encoder)

    def of_split(self, split: str) -> list[int]:
        """Return the positions of a split's images in the manifest."""
        return self.manifest.indices_of_split(split)


def train_captioner(params: Params, training_data: CaptionTrainingData, out: Path, *, name: str) -> None:
    """Train a captioner, tracked as a run in MLflow.

    Killed at any moment and called again, it resumes after its last epoch in the same run. `out` holds the best model
    as a checkpoint, the last one in training_state.pt, and the curves in history.csv. Processes that torchrun started
    train one model together, and the first of them writes.

    Args:
        params: The settings.
        training_data: The data set.
        out: The checkpoint folder.
        name: The kind of model. The name of the run begins with it.
    """
    settings = params.captioner.training
    with ranks.joined(settings.device, batch_size=settings.batch_size):
        _train(params, training_data, out, name=name)


def _train(params: Params, training_data: CaptionTrainingData, out: Path, *, name: str) -> None:
    settings, manifest = params.captioner, training_data.manifest
    registered = params.tracking.register_captioner
    device = choose_device(settings.training.device)
    torch.manual_seed(params.seed)
    train = training_data.of_split("train")
    vocabulary = Vocabulary.from_captions(
        (words for index in train for words in training_data.words[index]), min_count=params.captions.min_word_count
    )
    captioner = make_captioner(settings, training_data.frame_encoder.encoder, num_words=len(vocabulary)).to(device)
    run_params = _run_params(params, training_data)
    state = ranks.of_first(
        partial(open_state, out, params=run_params, data_fingerprint=manifest.fingerprint(), training_module=__name__)
    )
    if state.complete:
        if ranks.is_first():
            print(f"{name}: already trained with these settings, data and code; remove {out} to train it again")
            register_trained(state, name, registered=registered, monitor=settings.training.monitor)
        return
    learner = CaptionLearner(
        captioner,
        settings=settings.training,
        max_words=settings.decoding.max_words,
        reward=_reward(training_data, vocabulary),
    )
    model = learner.averaged
    callbacks = Callbacks(
        batches=partial(batches, params, training_data, vocabulary),
        validate=partial(validate, params, training_data, vocabulary, model) if training_data.of_split("val") else None,
    )
    if not ranks.is_first():
        fit(learner, seed=params.seed, state=state, callbacks=callbacks, description=name)
        return
    run_name = f"{name}-{settings.cell}-{manifest.name}"
    with open_training_run(state, out, name=run_name, search=params.search) as run_id:
        store.log_start(run_params, datasets_of(manifest), model=name)
        callbacks = replace(
            callbacks,
            save_best=_saver(params, training_data, vocabulary, model, out, run_id=run_id),
            report=partial(store.log_epoch, run_id),
        )
        progress = fit(learner, seed=params.seed, state=state, callbacks=callbacks, description=name)
        log_history(progress, run_id=run_id)
        example = manifest.images[0].path
        store.log_model(run_id, out, name=name, example=example, signature=CAPTIONS_SIGNATURE)
        log_best(progress, run_id=run_id)
        state.finish()
        store.register_model(run_id, name, registered=registered, monitor=settings.training.monitor)


def batches(
    params: Params, training_data: CaptionTrainingData, vocabulary: Vocabulary, epoch: int
) -> Iterator[CaptionBatch]:
    """Read the training images in an order of the epoch's own, with some of the captions of each.

    With several ranks, they are this rank's parts of the batches. A rank that has no part in the last one reads an
    image of another rank, which does not count.

    Args:
        params: The settings.
        training_data: The data set.
        vocabulary: The vocabulary of the captioner.
        epoch: The epoch, from 0.

    Yields:
        The batches.
    """
    settings = params.captioner.training
    generator = np.random.default_rng([params.seed, epoch])
    order = generator.permutation(training_data.of_split("train")).tolist()
    pictures = {picture: position for position, picture in enumerate(training_data.manifest.pictures(mirror=True))}
    for start in range(0, len(order), settings.batch_size):
        images = order[start : start + settings.batch_size]
        chosen = [
            training_data.words[image][index]
            for image in images
            for index in _draw(generator, len(training_data.words[image]), settings.captions_per_image)
        ]
        longest = params.captioner.decoding.max_words
        words = encode_captions(chosen, vocabulary, max_words=longest).unflatten(0, (len(images), -1))
        mirrored = generator.random(len(images)) < MIRRORED * params.captions.mirror
        mine = ranks.mine(range(len(images)))
        rows = mine or [0]
        regions = training_data.regions.read(pictures[images[row], bool(mirrored[row])] for row in rows)
        yield CaptionBatch(
            [images[row] for row in rows], regions, words[rows], done=start / len(order), counts=bool(mine)
        )


def _draw(generator: np.random.Generator, num_captions: int, num_wanted: int) -> np.ndarray:
    """Draw the positions of `num_wanted` captions, each once before any comes twice."""
    rounds = -(-num_wanted // num_captions)
    return np.concatenate([generator.permutation(num_captions) for _ in range(rounds)])[:num_wanted]


def encode_captions(captions: Sequence[Sequence[str]], vocabulary: Vocabulary, *, max_words: int) -> Tensor:
    """Encode captions as rows of a tensor.

    Args:
        captions: B captions, tokenized.
        vocabulary: The vocabulary.
        max_words: A caption of more words is cut, and has no END.

    Returns:
        int64 [B, T + 1]: START, the words, END, PADDING.
    """
    rows = [[START, *[*vocabulary.encode(words), END][: max_words + (len(words) <= max_words)]] for words in captions]
    longest = max(map(len, rows))
    return torch.tensor([row + [PADDING] * (longest - len(row)) for row in rows])


def _reward(
    training_data: CaptionTrainingData, vocabulary: Vocabulary
) -> Callable[[Sequence[int], Tensor], np.ndarray]:
    """Return the reward of self-critical training: CIDEr-D with the end of a caption as a word of its own.

    Without that word, captions that break off, "a man with a", do best.
    """
    end = vocabulary.words[END]
    written = [[(*words, end) for words in captions] for captions in training_data.words]
    cider = CiderReward(written[index] for index in training_data.of_split("train"))

    def reward(images: Sequence[int], words: Tensor) -> np.ndarray:
        said = [
            vocabulary.decode(caption) + [end] * (END in caption) for captions in words.tolist() for caption in captions
        ]
        references = [written[image] for image in images for _ in range(words.shape[1])]
        return cider(said, references).reshape(words.shape[:2])

    return reward


@torch.inference_mode()
def validate(
    params: Params, training_data: CaptionTrainingData, vocabulary: Vocabulary, captioner: Captioner
) -> Scores:
    """Compute the loss and the scores of greedy decoding on the validation images, of which each rank reads some.

    Args:
        params: The settings.
        training_data: The data set.
        vocabulary: The vocabulary of the captioner.
        captioner: The captioner, in eval mode.

    Returns:
        The monitored scores in percent, and the mean loss per word of all captions.
    """
    images = training_data.of_split("val")
    max_words = params.captioner.decoding.max_words
    device = captioner.word_bias.device
    found: dict[int, tuple[float, int, dict[int, list[int]]]] = {}  # by the first image of a batch
    for start in ranks.mine(range(0, len(images), BATCH_IMAGES)):
        here = images[start : start + BATCH_IMAGES]
        regions = training_data.regions.read(here).to(device)
        rows = [row for row, image in enumerate(here) for _ in training_data.words[image]]
        captions = [words for image in here for words in training_data.words[image]]
        read, targets, lengths = forced(encode_captions(captions, vocabulary, max_words=max_words).unsqueeze(1))
        logits = captioner(regions[rows], read.to(device), lengths.to(device))
        loss = cross_entropy(logits, targets.to(device), reduction="sum").item()
        prefix = torch.tensor([START], device=device)
        said = captioner.generate(regions, prefix=prefix, beam_size=1, max_words=max_words, length_penalty=0.0)
        found[start] = (loss, len(targets), dict(zip(here, said.words[:, 0].tolist(), strict=True)))
    losses, counts, captions_of = zip(*(part for _, part in sorted(ranks.gathered(found).items())), strict=True)
    scores = score_captions(
        {str(image): detokenize(vocabulary.decode(words)) for part in captions_of for image, words in part.items()},
        {str(image): training_data.manifest.images[image].captions for image in images},
        with_meteor=False,
    )
    return {LOSS: sum(losses) / sum(counts), **{score.name: scores[score.name] for score in monitored(CAPTION_SCORES)}}


def _saver(
    params: Params,
    training_data: CaptionTrainingData,
    vocabulary: Vocabulary,
    captioner: Captioner,
    out: Path,
    *,
    run_id: str,
) -> Callable[[], None]:
    """Return a function that writes the model, as it is when the function is called, as a checkpoint."""
    spec = CaptionerSpec(
        words=vocabulary.words,
        encoder=training_data.frame_encoder.spec,
        captioner=params.captioner,
        lineage=lineage_of(run_id, data_fingerprint=training_data.manifest.fingerprint()),
    )
    return partial(save_captioner, out, spec, captioner, training_data.frame_encoder)


def _run_params(params: Params, training_data: CaptionTrainingData) -> dict[str, object]:
    sections = params.model_dump(mode="json", include={"seed", "captions", "captioner"})
    return sections | {"encoder_fingerprint": training_data.frame_encoder.fingerprint()}


def datasets_of(manifest: CaptionManifest) -> store.Datasets:
    """Return what MLflow shows of the data: the images of each split."""
    return store.Datasets(
        manifest.name,
        manifest.fingerprint(),
        folder=Path(manifest.images[0].path).parent,
        rows={
            split: [{"stem": i.stem, "group": i.group, "caption": i.captions[0]} for i in manifest.of_split(split)]
            for split in SPLITS
        },
    )
