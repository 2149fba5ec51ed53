"""Video -> features, images -> features of their regions: the one path that training and use both take.

T frames, F features, N images, R regions of C channels. Memory is bounded by a few batches, whatever there is to read.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from pipeline.errors import InputError
from pipeline.models.encoder import Encoder
from pipeline.runtime import Pending, Runtime, cpu_threads
from pipeline.video.preprocess import Preprocess
from pipeline.video.reader import VideoReader

Described = TypeVar("Described")
MOST_AT_ONCE = 8  # batches of images: each takes memory


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


def encode_images(
    images: Iterable[np.ndarray], encoder: Encoder, preprocess: Preprocess, *, batch_size: int
) -> Iterator[torch.Tensor]:
    """Yield the features float32 [n, R, C] of the regions of images uint8 [H, W, 3], in order, n <= batch_size.

    The encoder must be in eval mode. Raises InputError where an image is smaller than the region of interest, and what
    `images` raises.
    """
    return describe_images(images, encoder, preprocess, lambda regions: regions, batch_size=batch_size)


def describe_images(
    images: Iterable[np.ndarray],
    encoder: Encoder,
    preprocess: Preprocess,
    describe: Callable[[torch.Tensor], Described],
    *,
    batch_size: int,
) -> Iterator[Described]:
    """As `encode_images`, and yield what `describe` makes of each batch's features.

    Several batches go side by side. On a CPU each has a core to itself, in an encoder as in a search, whose many small
    steps would leave other cores idle: two batches on a core each were read, encoded and searched a third faster than
    one after the other on two. The images are read by the caller's thread, meanwhile, and two batches more than there
    are threads are held at most.
    """
    device = next(encoder.parameters()).device
    num_threads = torch.get_num_threads()
    num_at_once = min(num_threads, MOST_AT_ONCE) if device.type == "cpu" else 2

    @torch.inference_mode()
    def work(pixels: list[torch.Tensor]) -> Described:
        return describe(encoder.regions(torch.cat(pixels).to(device)))

    pixels = (preprocess(image[None]) for image in images)
    waiting: deque[Future[Described]] = deque()
    failure: Exception | None = None
    threads = ThreadPoolExecutor(num_at_once)
    try:
        with cpu_threads(max(1, num_threads // num_at_once)):
            while failure is None:
                try:
                    batch = list(islice(pixels, batch_size))
                except Exception as error:  # told when all that was read before it is described
                    failure, batch = error, []
                if not batch:
                    break
                waiting.append(threads.submit(work, batch))
                if len(waiting) > num_at_once:
                    yield waiting.popleft().result()
            for described in waiting:
                yield described.result()
    finally:
        threads.shutdown(cancel_futures=True)
    if failure is not None:
        raise failure


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises InputError where CUDA is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but torch sees no CUDA device here: use cpu or auto")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")
