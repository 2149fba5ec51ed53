"""Windows of videos, batched for training: the same plan for cached features and for frames read from the video.

B windows, T frames, F features, h and w pixels.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from pipeline.labels.segments import IGNORE_INDEX

ReadFrames = Callable[[str, int, int], torch.Tensor]  # (stem, start, stop) -> [T,F] or [T,3,h,w]


class Window(NamedTuple):
    """Frames [start, stop) of one video."""

    stem: str
    start: int
    stop: int


class Batch(NamedTuple):
    """inputs [B,T,F] or [B,T,3,h,w], zero past `lengths` [B]; labels [B,T], IGNORE_INDEX past them; or [B]."""

    inputs: torch.Tensor
    lengths: torch.Tensor
    labels: torch.Tensor


def plan_windows(
    labels: Mapping[str, np.ndarray], *, window_frames: int | None, generator: np.random.Generator
) -> list[Window]:
    """Cut each video into windows of `window_frames` at a random phase, each frame in one of them, in random order.

    The random phase breaks any prior on a frame's position in its video. None: whole videos. A window without a
    labelled frame is left out.
    """
    windows = []
    for stem, video_labels in labels.items():
        num_frames = len(video_labels)
        length = window_frames or num_frames
        phase = int(generator.integers(length)) if length < num_frames else 0
        for index in range(math.ceil((num_frames + phase) / length)):
            start, stop = max(0, index * length - phase), min(num_frames, (index + 1) * length - phase)
            if (video_labels[start:stop] != IGNORE_INDEX).any():
                windows.append(Window(stem, start, stop))
    order = generator.permutation(len(windows))
    return [windows[i] for i in order]


def read_batches(
    windows: Sequence[Window],
    labels: Mapping[str, np.ndarray],
    *,
    read: ReadFrames,
    batch_size: int,
    video_classes: Mapping[str, int] | None = None,
) -> Iterator[Batch]:
    """Read windows in order and pad them into batches. `video_classes` (many-to-one): the class of each whole video."""
    for first in range(0, len(windows), batch_size):
        chosen = windows[first : first + batch_size]
        inputs = [read(window.stem, window.start, window.stop) for window in chosen]
        if video_classes is None:
            targets = [torch.from_numpy(labels[w.stem][w.start : w.stop]) for w in chosen]
            target = pad_sequence(targets, batch_first=True, padding_value=IGNORE_INDEX)
        else:
            target = torch.tensor([video_classes[window.stem] for window in chosen])
        lengths = torch.tensor([len(frames) for frames in inputs])
        yield Batch(pad_sequence(inputs, batch_first=True), lengths, target)
