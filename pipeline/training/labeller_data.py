"""The training data of a labeller: the videos of a data set, their labels, and windows of both.

T frames, F features, h and w pixels.
"""

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import DECODE_REPORT
from pipeline.checkpoints.encoder import FrameEncoder
from pipeline.config.params import Params
from pipeline.datasets.encoded_frames import read_choices
from pipeline.datasets.features import SUFFIX, read_features
from pipeline.datasets.manifest import Manifest, Source, read_manifest, video_class
from pipeline.datasets.support import CLASS_SUPPORT
from pipeline.datasets.windows import (
    Batch,
    delayed,
    part_of_rank,
    plan_consecutive,
    plan_windows,
    read_batches,
    without_labels,
)
from pipeline.encoding.torch_runtime import TorchRuntime
from pipeline.encoding.video import encode_video
from pipeline.training import ranks
from pipeline.video.open import open_scaled
from pipeline.video.preprocess import ChannelValues

# Training and validation videos that together take no more, at the encoder's size, are decoded once.
MAX_CACHED_PIXEL_BYTES = 2 * 2**30


@dataclass(frozen=True)
class TrainingData:
    """The data set that a model learns from.

    Attributes:
        manifest: The manifest of the data set.
        labels: int64 [T], or int8 [T, K] where classes overlap, the labels of each video, by its stem: of the frames
            that are encoded. All numbers of frames count those.
        features: The folder of the cached features.
        frame_encoder: The encoder; None for ready features.
        from_pixels: Whether the encoder is trained too; then nothing is read from `features`.
        reports: The files in which `prepare` reports on each file and each class.
        positions: int64 [T], which frames of a video are encoded, by its stem; empty where every frame is.
        pixels: The frames of the videos that were read, uint8 [T, h, w, 3] by stem, on the encoder's device; empty
            unless all training and validation videos fit into memory.
    """

    manifest: Manifest
    labels: Mapping[str, np.ndarray]
    features: Path
    frame_encoder: FrameEncoder | None
    from_pixels: bool
    reports: tuple[Path, ...]
    positions: Mapping[str, np.ndarray] = field(default_factory=dict)
    pixels: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def open(
        cls, prepared: Path, features: Path, frame_encoder: FrameEncoder | None, *, from_pixels: bool
    ) -> "TrainingData":
        """Open a prepared data set.

        Args:
            prepared: The folder that `prepare` wrote.
            features: See `TrainingData`.
            frame_encoder: See `TrainingData`.
            from_pixels: See `TrainingData`.
        """
        manifest, labels = read_manifest(prepared)
        positions = {stem: choice.positions for stem, choice in read_choices(prepared).items()}
        labels |= {stem: labels[stem][encoded] for stem, encoded in positions.items()}
        reports = (prepared / DECODE_REPORT, prepared / CLASS_SUPPORT)
        return cls(manifest, labels, features, frame_encoder, from_pixels, reports, positions)

    def read(self, stem: str, start: int, stop: int) -> torch.Tensor:
        """Read some frames of a video in the form that the model takes.

        Args:
            stem: The stem of the video.
            start: The first frame.
            stop: The frame after the last one. Frames after the video's last one repeat it, as a look-ahead reads them.

        Returns:
            Features [T, F] on the CPU, or with `from_pixels` normalized pixels [T, 3, h, w], on the encoder's device
            where `pixels` are kept.
        """
        last = len(self.labels[stem]) - 1
        inputs = self._read(stem, min(start, last), min(stop, last + 1))
        num_missing = stop - start - len(inputs)
        return torch.cat([inputs, inputs[-1:].expand(num_missing, *inputs.shape[1:])]) if num_missing else inputs

    def _read(self, stem: str, start: int, stop: int) -> torch.Tensor:
        if not self.from_pixels:
            return read_features(self.features / f"{stem}{SUFFIX}", start, stop)
        assert self.frame_encoder is not None
        normalize = self.frame_encoder.preprocess.normalize
        if self._keeps_pixels:
            return normalize(self._kept(stem)[start:stop], self._channel_values)
        return normalize(self._decode(stem, start, stop))

    @cached_property
    def _keeps_pixels(self) -> bool:
        """Whether the videos that are read in each epoch may stay in memory, as the encoder takes them."""
        if not self.from_pixels:
            return False
        assert self.frame_encoder is not None
        num_frames = sum(len(self.labels[stem]) for stem in self._read_in_each_epoch)
        return 3 * math.prod(self.frame_encoder.preprocess.size) * num_frames <= MAX_CACHED_PIXEL_BYTES

    @cached_property
    def _read_in_each_epoch(self) -> list[str]:
        """The stems of the training videos with a label, and of all validation videos."""
        training, is_labelled = labels_of(self, "train"), self.manifest.label_space.is_labelled
        labelled = [stem for stem, of_video in training.items() if is_labelled(of_video).any()]
        return labelled + [source.stem for source in self.manifest.of_split("val")]

    @cached_property
    def _channel_values(self) -> ChannelValues:
        assert self.frame_encoder is not None
        return self.frame_encoder.preprocess.channel_values(self.frame_encoder.device)

    def decode_ahead(self) -> None:
        """Decode all training and validation videos now, several in parallel, if they may stay in memory.

        Raises:
            VideoError: A frame cannot be decoded.
        """
        if not self._keeps_pixels:
            return
        stems = self._read_in_each_epoch
        threads = ThreadPoolExecutor(os.cpu_count() or 1)
        try:
            decoded = threads.map(self._kept, stems)
            for _ in tqdm(decoded, "decoding", total=len(stems), unit="video", disable=not ranks.is_first()):
                pass
        finally:
            threads.shutdown(cancel_futures=True)

    def _kept(self, stem: str) -> torch.Tensor:
        """Return all frames of a video, uint8 [T, h, w, 3] on the encoder's device; they are decoded once."""
        assert self.frame_encoder is not None
        if stem not in self.pixels:
            with torch.inference_mode(False):  # validation may be the first to read them, and training reads them too
                decoded = self._decode(stem, 0, len(self.labels[stem]))
                self.pixels[stem] = decoded.to(self.frame_encoder.device)
        return self.pixels[stem]

    def _decode(self, stem: str, start: int, stop: int) -> torch.Tensor:
        """Decode the frames [start, stop) of a video: uint8 [T, h, w, 3], of the encoder's size."""
        assert self.frame_encoder is not None
        path = next(source.path for source in self.manifest.sources if source.stem == stem)
        positions = self.positions[stem][start:stop] if stem in self.positions else np.arange(start, stop)
        with open_scaled(Path(path), self.frame_encoder.preprocess, reader=self.manifest.reader) as reader:
            first, last = int(positions[0]), int(positions[-1])
            batches = reader.read(first, last + 1, batch_size=len(positions), positions=positions)
            return torch.cat([torch.from_numpy(batch.pixels) for batch in batches])

    def feature_chunks(self, source: Source) -> Iterable[torch.Tensor]:
        """Return the features of a whole video in chunks [t, F]: cached, or computed now by the encoder."""
        if not self.from_pixels:
            return [read_features(self.features / f"{source.stem}{SUFFIX}")]
        assert self.frame_encoder is not None
        return self.encode(source, self.frame_encoder)

    def encode(self, source: Source, frame_encoder: FrameEncoder) -> Iterator[torch.Tensor]:
        """Compute the features of a whole video now, in chunks [t, F].

        Args:
            source: The video.
            frame_encoder: The encoder, in eval mode.
        """
        runtime = TorchRuntime(frame_encoder)  # the weights change, so that no export would last
        if self._keeps_pixels and self.frame_encoder and frame_encoder.preprocess == self.frame_encoder.preprocess:
            for pixels in self._kept(source.stem).split(frame_encoder.spec.batch_size):
                yield runtime.features(pixels)
            return
        with (
            open_scaled(Path(source.path), frame_encoder.preprocess, reader=self.manifest.reader) as reader,
            closing(encode_video(reader, runtime, positions=self.positions.get(source.stem))) as chunks,
        ):
            for chunk in chunks:
                yield chunk.features


def training_batches(
    params: Params, training_data: TrainingData, epoch: int, *, soft_labels: Mapping[str, np.ndarray] | None = None
) -> Iterator[Batch]:
    """Read the training batches of one epoch, in an order of the epoch's own.

    With several ranks, they are this rank's parts of the batches. A rank that has no part in a step reads one of the
    windows of another one, without its labels: all ranks have gradients to add at each step.

    Args:
        params: The settings of the windows, the batches and the seed.
        training_data: The data set.
        epoch: The epoch, from 0.
        soft_labels: float32 [T, K], the probabilities of a teacher, by the stem of each video; None without one.

    Returns:
        The batches; each is read when it is asked for.
    """
    label_space, settings = training_data.manifest.label_space, params.training
    labels = delayed(labels_of(training_data, "train"), params.labeller.look_ahead)
    generator = np.random.default_rng([params.seed, epoch])
    consecutive = settings.windows == "consecutive"
    if consecutive:
        assert settings.window_frames is not None, "config refuses consecutive windows without a length"
        steps = plan_consecutive(
            labels,
            label_space,
            window_frames=settings.window_frames,
            batch_size=settings.batch_size,
            generator=generator,
        )
    else:
        windows = plan_windows(labels, label_space, window_frames=settings.window_frames, generator=generator)
        steps = [windows[i : i + settings.batch_size] for i in range(0, len(windows), settings.batch_size)]
    video_classes = classes_of_videos(params.labeller.head, labels, label_space)
    parts = list(part_of_rank(steps, rank=ranks.rank(), num_ranks=ranks.num_ranks(), consecutive=consecutive))
    batches = read_batches(
        [part or step[:1] for part, step in zip(parts, steps, strict=True)],
        labels,
        read=training_data.read,
        video_classes=video_classes,
        consecutive=consecutive,
        # A window that continues no other one begins before the first frame whose label it gives.
        context_frames=0 if consecutive else params.labeller.look_ahead + settings.burn_in_frames,
        soft_labels=delayed(soft_labels, params.labeller.look_ahead, nothing=np.nan) if soft_labels else None,
    )
    for batch, part in zip(batches, parts, strict=True):
        yield batch if part else without_labels(batch)


def labels_of(training_data: TrainingData, split: str) -> dict[str, np.ndarray]:
    """Return the labels of the videos of a split, by stem.

    Args:
        training_data: The data set.
        split: The name of the split.
    """
    return {source.stem: training_data.labels[source.stem] for source in training_data.manifest.of_split(split)}


def classes_of_videos(
    head: str, labels: Mapping[str, np.ndarray], label_space: LabelSpace
) -> dict[str, int | np.ndarray] | None:
    """Find the class of each video that has one, for many-to-one; where classes overlap, the set of its classes.

    Args:
        head: many_to_many or many_to_one.
        labels: int64 [T], or int8 [T, K] where classes overlap, the labels of each video, by its stem.
        label_space: The classes.

    Returns:
        The index of the class by stem, or int8 [K]; None for many-to-many.
    """
    if head != "many_to_one":
        return None
    return {stem: found for stem in labels if (found := video_class(labels[stem], label_space)) is not None}


def batch_targets(params: Params, labels: Mapping[str, np.ndarray], label_space: LabelSpace) -> np.ndarray:
    """Collect the targets over which the loss of an epoch is summed.

    Args:
        params: The settings of the head and of the windows.
        labels: int64 [T], or int8 [T, K] where classes overlap, the labels of each video, by its stem.
        label_space: The classes.

    Returns:
        int64 [N], or int8 [N, K]: the label of each frame; for many-to-one, the class or classes of each window.
    """
    video_classes = classes_of_videos(params.labeller.head, labels, label_space)
    if video_classes is None:
        return np.concatenate([*labels.values()])
    length = params.training.window_frames
    num_windows = [math.ceil(len(labels[stem]) / (length or len(labels[stem]))) for stem in video_classes]
    return np.repeat([*video_classes.values()], num_windows, axis=0)
