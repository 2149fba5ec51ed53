"""Video -> features, images -> features of their regions: the one path that training and use both take.

T frames, F features, N images, R regions of C channels. Memory is bounded by a batch or two, whatever there is to read.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from pipeline.errors import InputError
from pipeline.models.encoder import Encoder
from pipeline.runtime import Pending, Runtime
from pipeline.video.preprocess import Preprocess
from pipeline.video.reader import VideoReader


class EncodedFrames(NamedTuple):
    """features float32 [T,F] on the encoder's device; pts_seconds float64 [T]."""

    features: torch.Tensor
    pts_seconds: np.ndarray


def encode_video(reader: VideoReader, runtime: Runtime) -> Iterator[EncodedFrames]:
    """Yield the features of every frame in order, batch by batch, of a video that `open_scaled` opened for `runtime`.

    Frames are decoded in another thread, a batch ahead, and a batch is encoded while the one before it is made use of.
    Raises VideoError where a frame cannot be decoded.
    """
    batches = reader.read(batch_size=runtime.frames.spec.batch_size)
    waiting: deque[tuple[Pending, np.ndarray]] = deque()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while (frames := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            waiting.append((runtime.submit(frames.pixels), frames.pts_seconds))
            if len(waiting) > 1:
                features, pts_seconds = waiting.popleft()
                yield EncodedFrames(features.result(), pts_seconds)
    for features, pts_seconds in waiting:
        yield EncodedFrames(features.result(), pts_seconds)


@torch.inference_mode()
def encode_images(
    images: Iterable[np.ndarray], encoder: Encoder, preprocess: Preprocess, *, batch_size: int
) -> Iterator[torch.Tensor]:
    """Yield the features float32 [n, R, C] of the regions of images uint8 [H, W, 3], in order, n <= batch_size.

    The images are read in another thread, a batch ahead. The encoder must be in eval mode. Raises InputError where an
    image is smaller than the region of interest, and what `images` raises.
    """
    device = next(encoder.parameters()).device
    waiting = iter(images)

    def read() -> torch.Tensor | None:
        batch = [preprocess(image[None]) for image in islice(waiting, batch_size)]
        return torch.cat(batch) if batch else None

    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(read)
        while (pixels := coming.result()) is not None:
            coming = thread.submit(read)
            yield encoder.regions(pixels.to(device))


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises InputError where CUDA is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but torch sees no CUDA device here: use cpu or auto")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")
