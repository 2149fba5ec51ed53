"""A video becomes the features of its frames, by the one path that training and use share.

A few batches bound the memory, however long the video is.

Shapes: T or n frames, F features.
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
    """The features of a batch of frames.

    Attributes:
        features: float32 [T, F], on the CPU.
        pts_seconds: float64 [T], the presentation time of each frame.
    """

    features: torch.Tensor
    pts_seconds: np.ndarray


def encode_video(
    reader: VideoReader, runtime: Runtime, *, static_threshold: float | None = None
) -> Iterator[EncodedFrames]:
    """Yield the features of every frame of a video, in order, batch by batch.

    Another thread decodes frames a batch ahead, and a batch is encoded while the caller uses the one before it.

    Args:
        reader: The video, which `open_scaled` opened for the encoder of `runtime`.
        runtime: The encoder.
        static_threshold: The `level` of `StaticFrames`, in grey levels: frames that show nothing new get the features
            of the last one that did. None: every frame is encoded.

    Raises:
        VideoError: A frame cannot be decoded.
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
    """Yield the batches; another thread decodes each of them while the caller uses the one before it."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (frames := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield frames


class _Waiting(NamedTuple):
    """A batch that is being encoded.

    Attributes:
        pending: The features of the frames that are encoded; None where no frame is.
        source: int64 [n], which of the encoded frames each frame shows, counted from 1; 0 is the last frame of the
            batch before.
        pts_seconds: float64 [n], the presentation time of each frame.
    """

    pending: Pending | None
    source: np.ndarray
    pts_seconds: np.ndarray

    def features(self, before: torch.Tensor) -> torch.Tensor:
        """Return the features [n, F].

        Args:
            before: [1, F], the features of the last frame of the batch before; empty where there is none.
        """
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
