"""Windows of videos, batched for training.

The plan of the windows is the same for cached features and for frames that are read from the video.

Shapes: B windows, T frames, K classes, F features, h x w pixels.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace

ReadFrames = Callable[[str, int, int], torch.Tensor]  # (stem, start, stop) -> [T, F] or [T, 3, h, w]


class Window(NamedTuple):
    """The frames [start, stop) of one video."""

    stem: str
    start: int
    stop: int


class Batch(NamedTuple):
    """A batch of windows, padded to the same length.

    Attributes:
        inputs: [B, T, F] or [B, T, 3, h, w], zero after the end of a window.
        lengths: int64 [B], the number of frames of each window.
        labels: int64 [B, T], IGNORE_INDEX after the end of a window; or [B], one class per video. Where classes
            overlap: int8 [B, T, K], or [B, K].
        continues: int64 [B], for each row the row of the previous batch whose video it continues; None where the
            windows do not continue those of the previous batch.
        soft_labels: float32 [B, T, K], the probabilities of a teacher, NaN where it says nothing; None without one.
    """

    inputs: torch.Tensor
    lengths: torch.Tensor
    labels: torch.Tensor
    continues: torch.Tensor | None = None
    soft_labels: torch.Tensor | None = None


def delayed(
    labels: Mapping[str, np.ndarray], num_frames: int, *, nothing: float = IGNORE_INDEX
) -> Mapping[str, np.ndarray]:
    """Delay labels, as a network with a look-ahead gives them: step t + `num_frames` has the label of frame t.

    Args:
        labels: int64 [T], or int8 [T, K] where classes overlap, by the stem of each video.
        num_frames: The look-ahead.
        nothing: What stands for no label.

    Returns:
        [T + num_frames] or [T + num_frames, K] likewise; the first steps have no label.
    """
    return {
        stem: np.concatenate([np.full_like(of_video, nothing, shape=(num_frames, *of_video.shape[1:])), of_video])
        for stem, of_video in labels.items()
    }


def plan_windows(
    labels: Mapping[str, np.ndarray],
    label_space: LabelSpace,
    *,
    window_frames: int | None,
    generator: np.random.Generator,
) -> list[Window]:
    """Cut each video into windows at a random phase, each frame in one of them.

    The random phase removes any prior on a frame's position in its video. A window without a labelled frame is left
    out.

    Args:
        labels: int64 [T], or int8 [T, K] where classes overlap, by the stem of each video.
        label_space: The classes.
        window_frames: The number of frames in a window; None for whole videos.
        generator: The source of the phases and of the order.

    Returns:
        The windows in random order.
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
    """Plan steps that read videos from start to end, `batch_size` videos at a time.

    Each video is cut at a random phase, as `plan_windows` does, so that no two neighbouring frames are separated every
    time. A video without a labelled frame is not read.

    Args:
        labels: int64 [T], or int8 [T, K] where classes overlap, by the stem of each video.
        label_space: The classes.
        window_frames: The number of frames in a window.
        batch_size: The maximum number of videos in a step.
        generator: The source of the phases and of the order.

    Returns:
        The windows of each step, with the videos in random order. A video that has ended is left out of the steps that
        follow.
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


def part_of_rank(
    steps: Iterable[Sequence[Window]], *, rank: int, num_ranks: int, consecutive: bool
) -> Iterator[list[Window]]:
    """Deal the windows of each step to processes that train together, in turn.

    Args:
        steps: The windows of each step.
        rank: The process, from 0.
        num_ranks: The number of processes.
        consecutive: Whether a window that continues one of the previous step stays with its process, which has the
            state of the network there.

    Yields:
        The windows of each step that are those of `rank`; none where the others have all of them.
    """
    owners: dict[tuple[str, int], int] = {}
    for windows in steps:
        dealt = [owners.get((w.stem, w.start), index % num_ranks) for index, w in enumerate(windows)]
        if consecutive:
            owners = {(w.stem, w.stop): owner for w, owner in zip(windows, dealt, strict=True)}
        yield [window for window, owner in zip(windows, dealt, strict=True) if owner == rank]


def _cut(stem: str, num_frames: int, length: int, generator: np.random.Generator) -> Iterator[Window]:
    """Cut a video into windows of `length` frames at a random phase, in order; the first and last may be shorter."""
    phase = int(generator.integers(length)) if length < num_frames else 0
    for index in range(math.ceil((num_frames + phase) / length)):
        yield Window(stem, max(0, index * length - phase), min(num_frames, (index + 1) * length - phase))


def read_batches(
    steps: Iterable[Sequence[Window]],
    labels: Mapping[str, np.ndarray],
    *,
    read: ReadFrames,
    video_classes: Mapping[str, int | np.ndarray] | None = None,
    consecutive: bool = False,
    context_frames: int = 0,
    soft_labels: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Batch]:
    """Read the windows of each step and pad them into a batch.

    Args:
        steps: The windows of each step.
        labels: int64 [T], or int8 [T, K] where classes overlap, by the stem of each video.
        read: Reads the inputs of a window.
        video_classes: The class of each video, or int8 [K] where classes overlap, for a model that labels videos; None
            for a model that labels frames.
        consecutive: Whether a batch continues the previous one where each of its windows begins at the end of one of
            the previous windows.
        context_frames: How many frames before each window are read as well, where the video has so many. They have no
            label in the batch, and only tell the network what came before.
        soft_labels: float32 [T, K], the probabilities of a teacher, by the stem of each video; None without one.

    Yields:
        The batch of each step.
    """
    before: dict[tuple[str, int], int] = {}
    for windows in steps:
        inputs = [read(w.stem, max(0, w.start - context_frames), w.stop) for w in windows]
        if video_classes is None:
            targets = [_after_context(labels[w.stem], w, context_frames, IGNORE_INDEX) for w in windows]
            target = pad_sequence(targets, batch_first=True, padding_value=IGNORE_INDEX)
        else:
            target = torch.from_numpy(np.array([video_classes[window.stem] for window in windows]))
        lengths = torch.tensor([len(frames) for frames in inputs])
        rows = [before.get((window.stem, window.start)) for window in windows]
        continues = torch.tensor(rows) if consecutive and None not in rows else None
        before = {(window.stem, window.stop): row for row, window in enumerate(windows)}
        soft = None
        if soft_labels is not None:
            of_windows = [_after_context(soft_labels[w.stem], w, context_frames, np.nan) for w in windows]
            soft = pad_sequence(of_windows, batch_first=True, padding_value=np.nan)
        yield Batch(pad_sequence(inputs, batch_first=True), lengths, target, continues, soft)


def without_labels(batch: Batch) -> Batch:
    """Return the batch without a label, so that it adds nothing to a loss."""
    return batch._replace(
        labels=torch.full_like(batch.labels, IGNORE_INDEX),
        soft_labels=None if batch.soft_labels is None else torch.full_like(batch.soft_labels, torch.nan),
    )


def _after_context(values: np.ndarray, window: Window, context_frames: int, nothing: float) -> torch.Tensor:
    """Return what each frame of a window has of `values` [T, ...], after `nothing` for each frame of its context."""
    context = np.full_like(values[max(0, window.start - context_frames) : window.start], nothing)
    return torch.from_numpy(np.concatenate([context, values[window.start : window.stop]]))
