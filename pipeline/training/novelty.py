"""The distances of frames to the training frames are fitted after a training, and written into its checkpoint."""

import math
from pathlib import Path

import numpy as np
import torch

from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.checkpoints.labeller import load_checkpoint, set_novelty
from pipeline.datasets.manifest import Source
from pipeline.models.novelty import choose_features, fit_novelty
from pipeline.tracking import store
from pipeline.training.labeller_data import TrainingData

MAX_SAMPLE = 8192  # frames of a split
FAMILIAR = 0.99  # the share of held-out frames whose novelty is at most 1


def tune_novelty(out: Path, training_data: TrainingData, *, seed: int, device: torch.device, run_id: str) -> None:
    """Fit the distances on the training frames, and the limit on the validation frames.

    Without a validation split, the limit is that of the training frames.

    Args:
        out: The checkpoint, which is changed.
        training_data: The data set.
        seed: The seed of the random directions.
        device: The device of the encoder.
        run_id: The run, which gets the limit.
    """
    checkpoint = load_checkpoint(out, device=device)
    generator = torch.Generator().manual_seed(seed)
    chosen = choose_features(checkpoint.spec.num_features, generator)
    encoder = checkpoint.frame_encoder
    sample = _sample(training_data, "train", chosen, encoder)
    novelty = fit_novelty(sample, chosen, checkpoint.spec.num_features, generator)
    has_val = bool(training_data.manifest.of_split("val"))
    distances = novelty.of_read(_sample(training_data, "val", chosen, encoder) if has_val else sample)
    limit = max(float(distances.quantile(FAMILIAR)), torch.finfo(torch.float32).tiny)
    set_novelty(out, novelty, limit)
    store.log_scores_once(run_id, {"tuning/novelty_limit": limit})


def _sample(
    training_data: TrainingData, split: str, chosen: torch.Tensor, encoder: FrameEncoder | None
) -> torch.Tensor:
    """Read features [n, f] of labelled frames of a split, at most MAX_SAMPLE, which are spread over its videos.

    What is in no label is not learnt. Where no frame has a label, as with one for each video, all frames count.
    """
    sources = training_data.manifest.of_split(split)
    positions = {source.stem: _labelled(training_data, source) for source in sources}
    if not any(map(len, positions.values())):
        positions = {source.stem: np.arange(len(training_data.labels[source.stem])) for source in sources}
    step = math.ceil(sum(map(len, positions.values())) / MAX_SAMPLE)
    if not training_data.from_pixels:
        frames = [(stem, frame) for stem, found in positions.items() for frame in found.tolist()]
        return torch.cat([training_data.read(stem, at, at + 1)[:, chosen] for stem, at in frames[::step]])
    assert encoder is not None
    # Frames are decoded in order, so that all frames of some videos cost less than some frames of all.
    with_labels = [source for source in sources if len(positions[source.stem])]
    read = [
        torch.cat([chunk.cpu()[:, chosen] for chunk in training_data.encode(source, encoder)])[positions[source.stem]]
        for source in with_labels[::step]
    ]
    together = torch.cat(read)
    return together[:: math.ceil(len(together) / MAX_SAMPLE)]


def _labelled(training_data: TrainingData, source: Source) -> np.ndarray:
    """Return the positions of the frames of a video that have a label, int64 [n]."""
    is_labelled = training_data.manifest.label_space.is_labelled(training_data.labels[source.stem])
    return np.flatnonzero(is_labelled if is_labelled.ndim == 1 else is_labelled.any(axis=1))
