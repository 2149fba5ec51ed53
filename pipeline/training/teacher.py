"""The teacher: a trained labeller, and what it says of the training videos.

Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531. T frames, K classes.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from pipeline.checkpoints.labeller import Checkpoint, load_checkpoint
from pipeline.checkpoints.storage import SPEC, WEIGHTS
from pipeline.datasets.manifest import Source
from pipeline.errors import InputError
from pipeline.postprocessing.temperature import tempered, tempered_groups
from pipeline.training.labeller_data import TrainingData
from pipeline.video.frame_choice import describe_rate


class Teacher:
    """A trained labeller that fits the data of a training.

    Args:
        folder: The checkpoint.
        training_data: The data set.
        out: The folder that the training writes.
        device: The device of the teacher.

    Attributes:
        fingerprint: The hex digest over the checkpoint.

    Raises:
        InputError: The folder has no checkpoint of a labeller, or the labeller does not fit; all problems are named.
    """

    def __init__(self, folder: Path, training_data: TrainingData, out: Path, *, device: torch.device) -> None:
        self._data = training_data
        self._checkpoint = load_checkpoint(folder, device=device)
        if problems := _problems(folder, self._checkpoint, training_data, out):
            raise InputError("\n".join(f"distillation.teacher {folder}: {problem}" for problem in problems))
        digest = hashlib.sha256()
        for name in (SPEC, WEIGHTS):
            digest.update((folder / name).read_bytes())
        self.fingerprint = digest.hexdigest()[:16]

    def soft_labels(self, temperature: float) -> dict[str, np.ndarray]:
        """Compute the probabilities of all training videos, in one pass over each.

        Args:
            temperature: The temperature that softens them; what was fitted after the teacher's training is left out.

        Returns:
            float32 [T, K] by the stem of each video.
        """
        space, found = self._checkpoint.spec.label_space, {}
        for source in self._data.manifest.of_split("train"):
            probabilities = self._checkpoint.labeller.predict(self._features(source))
            found[source.stem] = (
                tempered(probabilities, temperature)
                if space.is_exclusive
                else tempered_groups(probabilities, space, [temperature] * space.num_classes)
            )
        return found

    def _features(self, source: Source) -> Iterable[torch.Tensor]:
        """Return the features of a video in chunks [t, F]: those of the training, where they are the teacher's too."""
        own, given = self._checkpoint.frame_encoder, self._data.frame_encoder
        if own is None or (
            given is not None and not self._data.from_pixels and own.fingerprint() == given.fingerprint()
        ):
            return self._data.feature_chunks(source)
        return self._data.encode(source, own)


def _problems(folder: Path, checkpoint: Checkpoint, training_data: TrainingData, out: Path) -> list[str]:
    """Say why a teacher does not fit."""
    spec, problems = checkpoint.spec, []
    if change := spec.label_space.describe_change(training_data.manifest.label_space):
        problems.append(change)
    if spec.labeller.head == "many_to_one":
        problems.append("gives one label for a whole video, expected one for each frame (labeller.head many_to_many)")
    width = training_data.manifest.sources[0].width
    if training_data.frame_encoder is not None and spec.encoder is None:
        problems.append("was trained on ready features, and the data set holds videos")
    elif training_data.frame_encoder is None and spec.encoder is not None:
        problems.append("was trained on videos, and the data set holds ready features")
    elif training_data.frame_encoder is None and spec.num_features != width:
        problems.append(f"was trained on {spec.num_features} features a frame, the data set has {width}")
    if spec.frame_rate != training_data.manifest.frame_rate:
        taught, needed = describe_rate(spec.frame_rate), describe_rate(training_data.manifest.frame_rate)
        problems.append(f"was trained on {taught}, and dataset.frame_rate asks for {needed}")
    if folder.resolve() == out.resolve():
        problems.append("is the folder that this training writes: copy the teacher to another place first")
    return problems
