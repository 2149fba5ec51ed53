"""Whether a labeller reads the frames or the clock, where all clips of a data set have the same timing.

    python benchmarks/timing_prior.py --work /path/to/kept/grid/seed0     what `quality.py grid --work` kept

The validation clips as they are, then with 15 or 30 frames cut off at their ends, at random places, then joined two by
two in random order. The encoder sees each frame by itself, so features are cut and joined instead of frames.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from quality import GRID_COLUMNS, print_table, row

from pipeline.datasets.manifest import Source, read_manifest
from pipeline.encoding.video import encode_video
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.video import VideoLabels, postprocess
from pipeline.metrics.report import evaluate, flatten
from pipeline.stages.evaluate_labeller import calibration_of
from pipeline.stages.paths import LABELLER, PREPARED
from pipeline.video.open import open_scaled


class Clip(NamedTuple):
    """A video as features [T, F] and labels int64 [T]."""

    features: torch.Tensor
    labels: np.ndarray


def main() -> None:
    """Score the same labeller on clips of each timing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="the folder in which the stages ran")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    manifest, labels = read_manifest(args.work / PREPARED)
    model = load_model(str(args.work / LABELLER), device="cpu")
    clips = [Clip(encode(source, model), labels[source.stem]) for source in manifest.of_split("val")]
    generator = np.random.default_rng(args.seed)
    timings = {
        "as they are": clips,
        "15 frames cut off": [cut(clip, 15, generator) for clip in clips],
        "30 frames cut off": [cut(clip, 30, generator) for clip in clips],
        "joined two by two": join(clips, generator),
        "joined, 30 frames cut off each": join([cut(clip, 30, generator) for clip in clips], generator),
    }
    print_table(GRID_COLUMNS, {name: row(score(of_timing, model), GRID_COLUMNS) for name, of_timing in timings.items()})


def encode(source: Source, model: Model) -> torch.Tensor:
    """Compute the features [T, F] of a video."""
    assert model.runtime is not None, "clips are read from video"
    with open_scaled(Path(source.path), model.runtime.frame_encoder.preprocess) as reader:
        return torch.cat([chunk.features for chunk in encode_video(reader, model.runtime)])


def cut(clip: Clip, num_frames: int, generator: np.random.Generator) -> Clip:
    """Cut `num_frames` frames off a clip, a random part of them at its start and the others at its end."""
    start = int(generator.integers(num_frames + 1))
    stop = len(clip.labels) - num_frames + start
    return Clip(clip.features[start:stop], clip.labels[start:stop])


def join(clips: list[Clip], generator: np.random.Generator) -> list[Clip]:
    """Join clips in random pairs, one after the other; a last clip without a partner stays alone."""
    order = generator.permutation(len(clips))
    pairs = [[clips[i] for i in order[first : first + 2]] for first in range(0, len(order), 2)]
    return [Clip(torch.cat([c.features for c in pair]), np.concatenate([c.labels for c in pair])) for pair in pairs]


def score(clips: list[Clip], model: Model) -> Mapping[str, float]:
    """Compute the scores of a labeller, with the names of results/metrics.json."""
    truth = {str(index): clip.labels for index, clip in enumerate(clips)}
    found = {stem: name(clip, model) for stem, clip in zip(truth, clips, strict=True)}
    report = evaluate(
        truth,
        {stem: labels.labels for stem, labels in found.items()},
        model.spec.label_space,
    )
    return flatten(report) | calibration_of(truth, found, model.spec.label_space)


def name(clip: Clip, model: Model) -> VideoLabels:
    """Label a clip."""
    probabilities = model.checkpoint.labeller.predict([clip.features])
    return postprocess(probabilities, model, pts_seconds=np.full(len(clip.labels), np.nan), frame_seconds=float("nan"))


if __name__ == "__main__":
    main()
