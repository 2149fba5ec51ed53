"""A video becomes the features of its frames, by the one path that training and use share.

A few batches bound the memory, however long the video is.

Shapes: T or n frames, F features.
"""

from collections import deque
from collections.abc import Generator, Iterator
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
        index: int64 [T], the position of each frame in the video, from 0.
        num_encoded: The number of frames that were encoded; the others show nothing new.
    """

    features: torch.Tensor
    index: np.ndarray  # type: ignore[assignment]  # it hides tuple.index
    num_encoded: int


def encode_video(
    reader: VideoReader,
    runtime: Runtime,
    start: int = 0,
    stop: int | None = None,
    *,
    positions: np.ndarray | None = None,
    static_threshold: float | None = None,
) -> Generator[EncodedFrames, None, None]:
    """Yield the features of the frames of a video, in order, batch by batch.

    Another thread decodes frames a batch ahead, and a batch is encoded while the caller uses the one before it. Close
    the iterator before the reader, with `contextlib.closing`: it waits for that thread, and a decoder that is freed
    while a thread uses it ends the process.

    Args:
        reader: The video, which `open_scaled` opened for the encoder of `runtime`.
        runtime: The encoder.
        start: The first frame.
        stop: The frame after the last one; None for the end of the video.
        positions: int64 [n], ascending, the frames that are wanted, see `choose_frames`; None: every frame of the
            range.
        static_threshold: The `level` of `StaticFrames`, in grey levels: frames that show nothing new get the features
            of the last one that did. None: all of them are encoded.

    Raises:
        VideoError: A frame cannot be decoded.
    """
    static_frames = None if static_threshold is None else StaticFrames(static_threshold)
    waiting: deque[_Waiting] = deque()
    features = torch.empty(0)  # of the last batch
    batch_size = runtime.frame_encoder.spec.batch_size
    for frames in _decoded_ahead(reader.read(start, stop, batch_size=batch_size, positions=positions)):
        waiting.append(_submit(frames, runtime, static_frames))
        if len(waiting) > 1:
            chunk = waiting.popleft().encoded(features[-1:])
            features = chunk.features
            yield chunk
    if waiting:
        yield waiting.popleft().encoded(features[-1:])


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
        index: int64 [n], the position of each frame in the video.
    """

    pending: Pending | None
    source: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # it hides tuple.index

    def encoded(self, before: torch.Tensor) -> EncodedFrames:
        """Return the frames with their features.

        Args:
            before: [1, F], the features of the last frame of the batch before; empty where there is none.
        """
        return EncodedFrames(self._features(before), self.index, int(self.source[-1]))

    def _features(self, before: torch.Tensor) -> torch.Tensor:
        if self.pending is None:
            return before.expand(len(self.source), -1)
        encoded = self.pending.result()
        if len(encoded) == len(self.source):
            return encoded
        return torch.cat([before if len(before) else encoded[:1], encoded])[torch.from_numpy(self.source)]


def _submit(frames: FrameBatch, runtime: Runtime, static_frames: StaticFrames | None) -> _Waiting:
    new = np.ones(len(frames.pixels), bool) if static_frames is None else static_frames.are_new(frames.pixels)
    pixels = frames.pixels if new.all() else frames.pixels[new]
    return _Waiting(runtime.submit(pixels) if len(pixels) else None, new.cumsum(), frames.index)
