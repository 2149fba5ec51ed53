"""Windows of videos, batched for training: the same plan for cached features and for frames read from the video.

B windows, T frames, F features, h and w pixels.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace

ReadFrames = Callable[[str, int, int], torch.Tensor]  # (stem, start, stop) -> [T,F] or [T,3,h,w]


class Window(NamedTuple):
    """Frames [start, stop) of one video."""

    stem: str
    start: int
    stop: int


class Batch(NamedTuple):
    """inputs [B,T,F] or [B,T,3,h,w], zero past `lengths` [B]; labels [B,T], IGNORE_INDEX past them; or [B].

    continues: int64 [B], the row of the batch before whose video each row goes on with; None where all are at a start.
    """

    inputs: torch.Tensor
    lengths: torch.Tensor
    labels: torch.Tensor
    continues: torch.Tensor | None = None


def plan_windows(
    labels: Mapping[str, np.ndarray],
    label_space: LabelSpace,
    *,
    window_frames: int | None,
    generator: np.random.Generator,
) -> list[Window]:
    """Cut each video into windows of `window_frames` at a random phase, each frame in one of them, in random order.

    The random phase breaks any prior on a frame's position in its video. None: whole videos. A window without a
    labelled frame is left out.
    """
    windows = []
    for stem, video_labels in labels.items():
        num_frames = len(video_labels)
        for window in _cut(stem, num_frames, window_frames or num_frames, generator):
            if label_space.is_labelled(video_labels[window.start : window.stop]).any():
                windows.append(window)
    order = generator.permutation(len(windows))
    return [windows[i] for i in order]


def plan_consecutive(
    labels: Mapping[str, np.ndarray],
    label_space: LabelSpace,
    *,
    window_frames: int,
    batch_size: int,
    generator: np.random.Generator,
) -> list[list[Window]]:
    """The windows of each step, where videos are read from their start on: `batch_size` at a time, in random order.

    Each video is cut as by `plan_windows`, at a random phase, so that no two neighbouring frames are always parted. One
    that has ended is left out of the steps that follow. A video without a labelled frame is not read.
    """
    stems = [stem for stem, video_labels in labels.items() if label_space.is_labelled(video_labels).any()]
    windows = [list(_cut(stem, len(labels[stem]), window_frames, generator)) for stem in stems]
    order = generator.permutation(len(stems))
    steps = []
    for first in range(0, len(order), batch_size):
        videos = [windows[i] for i in order[first : first + batch_size]]
        for index in range(max(map(len, videos))):
            steps.append([video[index] for video in videos if index < len(video)])
    return steps


def _cut(stem: str, num_frames: int, length: int, generator: np.random.Generator) -> Iterator[Window]:
    """A video in windows of `length` frames, in order; at a random phase, the first and last may be shorter."""
    phase = int(generator.integers(length)) if length < num_frames else 0
    for index in range(math.ceil((num_frames + phase) / length)):
        yield Window(stem, max(0, index * length - phase), min(num_frames, (index + 1) * length - phase))


def read_batches(
    steps: Iterable[Sequence[Window]],
    labels: Mapping[str, np.ndarray],
    *,
    read: ReadFrames,
    video_classes: Mapping[str, int] | None = None,
    consecutive: bool = False,
) -> Iterator[Batch]:
    """Read the windows of each step and pad them into a batch. `video_classes` (many-to-one): the class of each video.

    consecutive: a batch goes on with the one before where its windows begin at the ends of that one's.
    """
    before: dict[tuple[str, int], int] = {}
    for windows in steps:
        inputs = [read(window.stem, window.start, window.stop) for window in windows]
        if video_classes is None:
            targets = [torch.from_numpy(labels[w.stem][w.start : w.stop]) for w in windows]
            target = pad_sequence(targets, batch_first=True, padding_value=IGNORE_INDEX)
        else:
            target = torch.tensor([video_classes[window.stem] for window in windows])
        lengths = torch.tensor([len(frames) for frames in inputs])
        rows = [before.get((window.stem, window.start)) for window in windows]
        continues = torch.tensor(rows) if consecutive and None not in rows else None
        before = {(window.stem, window.stop): row for row, window in enumerate(windows)}
        yield Batch(pad_sequence(inputs, batch_first=True), lengths, target, continues)
