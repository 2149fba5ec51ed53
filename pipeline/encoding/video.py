"""Video -> features, images -> features of their regions: the one path that training and use both take.

T frames, F features, n or N images, R regions of C channels. Memory is bounded by a few batches, whatever there is to
read.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

from pipeline.encoding.types import Pending, Runtime
from pipeline.video.static_frames import StaticFrames
from pipeline.video.types import FrameBatch, VideoReader


class EncodedFrames(NamedTuple):
    """features float32 [T,F] on the CPU; pts_seconds float64 [T]."""

    features: torch.Tensor
    pts_seconds: np.ndarray


def encode_video(
    reader: VideoReader, runtime: Runtime, *, static_threshold: float | None = None
) -> Iterator[EncodedFrames]:
    """Yield the features of every frame in order, batch by batch, of a video that `open_scaled` opened for `runtime`.

    Frames are decoded in another thread, a batch ahead, and a batch is encoded while the one before it is made use of.
    static_threshold: frames that show nothing new, see `StaticFrames`, get the features of the last one that did; None:
        every frame is encoded.
    Raises VideoError where a frame cannot be decoded.
    """
    static_frames = None if static_threshold is None else StaticFrames(static_threshold)
    waiting: deque[_Waiting] = deque()
    features = torch.empty(0)  # of the last batch
    for frames in _decoded_ahead(reader.read(batch_size=runtime.frame_encoder.spec.batch_size)):
        waiting.append(_submit(frames, runtime, static_frames))
        if len(waiting) > 1:
            features = waiting[0].features(features[-1:])
            yield EncodedFrames(features, waiting.popleft().pts_seconds)
    if waiting:
        yield EncodedFrames(waiting[0].features(features[-1:]), waiting[0].pts_seconds)


def _decoded_ahead(batches: Iterator[FrameBatch]) -> Iterator[FrameBatch]:
    """The batches, each decoded in another thread while the one before it is made use of."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (frames := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield frames


class _Waiting(NamedTuple):
    """A batch that is being encoded. source int64 [n]: of each frame, which of the encoded ones it shows, from 1 on;
    0: the last frame of the batch before."""

    pending: Pending | None
    source: np.ndarray
    pts_seconds: np.ndarray

    def features(self, before: torch.Tensor) -> torch.Tensor:
        """[n,F]; `before` [1,F]: of the last frame of the batch before, empty where there is none."""
        if self.pending is None:
            return before.expand(len(self.source), -1)
        encoded = self.pending.result()
        if len(encoded) == len(self.source):
            return encoded
        return torch.cat([before if len(before) else encoded[:1], encoded])[torch.from_numpy(self.source)]


def _submit(frames: FrameBatch, runtime: Runtime, static_frames: StaticFrames | None) -> _Waiting:
    new = np.ones(len(frames.pixels), bool) if static_frames is None else static_frames.are_new(frames.pixels)
    pixels = frames.pixels if new.all() else frames.pixels[new]
    return _Waiting(runtime.submit(pixels) if len(pixels) else None, new.cumsum(), frames.pts_seconds)
