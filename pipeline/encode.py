"""Video -> features, images -> features of their regions: the one path that training and use both take.

T frames, F features, n or N images, R regions of C channels. Memory is bounded by a few batches, whatever there is to
read.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch

from pipeline.errors import InputError
from pipeline.models.encoder import Encoder
from pipeline.runtime import Pending, Runtime, cpu_threads
from pipeline.video.preprocess import Preprocess
from pipeline.video.reader import FrameBatch, VideoReader
from pipeline.video.stillness import Stillness

Described = TypeVar("Described")
MOST_AT_ONCE = 8  # batches of images: each takes memory


class EncodedFrames(NamedTuple):
    """features float32 [T,F] on the CPU; pts_seconds float64 [T]."""

    features: torch.Tensor
    pts_seconds: np.ndarray


def encode_video(reader: VideoReader, runtime: Runtime, *, still: float | None = None) -> Iterator[EncodedFrames]:
    """Yield the features of every frame in order, batch by batch, of a video that `open_scaled` opened for `runtime`.

    Frames are decoded in another thread, a batch ahead, and a batch is encoded while the one before it is made use of.
    still: frames that show nothing new, see `Stillness`, get the features of the last one that did; None: none do.
    Raises VideoError where a frame cannot be decoded.
    """
    stillness = None if still is None else Stillness(still)
    waiting: deque[_Waiting] = deque()
    features = torch.empty(0)  # of the last batch
    for frames in _decoded_ahead(reader.read(batch_size=runtime.frames.spec.batch_size)):
        waiting.append(_submit(frames, runtime, stillness))
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


def _submit(frames: FrameBatch, runtime: Runtime, stillness: Stillness | None) -> _Waiting:
    new = np.ones(len(frames.pixels), bool) if stillness is None else stillness.are_new(frames.pixels)
    pixels = frames.pixels if new.all() else frames.pixels[new]
    return _Waiting(runtime.submit(pixels) if len(pixels) else None, new.cumsum(), frames.pts_seconds)


class RegionEncoder(Protocol):
    """Images -> the features of their regions, in two parts, so that another thread may do the second one."""

    device: torch.device

    def begin(self, image: np.ndarray) -> Any:
        """Take an image uint8 [H, W, 3], which must not change. Raises InputError where it is smaller than the region
        of interest."""
        ...

    def finish(self, begun: list[Any]) -> torch.Tensor:
        """What `begin` made of n images -> float32 [n, R, C], on `device`."""
        ...


class TorchRegions:
    """By torch, a batch at a time, in the thread that finishes it. The encoder must be in eval mode."""

    def __init__(self, encoder: Encoder, preprocess: Preprocess) -> None:
        self._encoder, self._preprocess = encoder, preprocess
        self.device = next(encoder.parameters()).device

    def begin(self, image: np.ndarray) -> torch.Tensor:
        """See `RegionEncoder`."""
        return self._preprocess(image[None])

    def finish(self, begun: list[torch.Tensor]) -> torch.Tensor:
        """See `RegionEncoder`."""
        return self._encoder.regions(torch.cat(begun).to(self.device))


class RuntimeRegions:
    """By a runtime, in its threads, from `begin` on: features are those of the image, whatever is beside it."""

    device = torch.device("cpu")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def begin(self, image: np.ndarray) -> Pending:
        """See `RegionEncoder`. Waits while the runtime has too much to do."""
        pixels = self._runtime.frames.preprocess.resize(image[None])
        return self._runtime.submit(pixels.contiguous().numpy())

    def finish(self, begun: list[Pending]) -> torch.Tensor:
        """See `RegionEncoder`."""
        features = torch.cat([pending.result() for pending in begun])
        return self._runtime.frames.encoder.regions_of(features)


def encode_images(
    images: Iterable[np.ndarray], encoder: Encoder, preprocess: Preprocess, *, batch_size: int
) -> Iterator[torch.Tensor]:
    """Yield the features float32 [n, R, C] of the regions of images uint8 [H, W, 3], in order, n <= batch_size.

    The encoder must be in eval mode. Raises InputError where an image is smaller than the region of interest, and what
    `images` raises.
    """
    return describe_images(images, TorchRegions(encoder, preprocess), lambda regions: regions, batch_size=batch_size)


def describe_images(
    images: Iterable[np.ndarray],
    encode: RegionEncoder,
    describe: Callable[[torch.Tensor], Described],
    *,
    batch_size: int,
) -> Iterator[Described]:
    """As `encode_images`, and yield what `describe` makes of each batch's features.

    Several batches go side by side. On a CPU each has a core to itself, in torch's encoder as in a search, whose many
    small steps would leave other cores idle: two batches on a core each were read, encoded and searched a third faster
    than one after the other on two. The images are read by the caller's thread, meanwhile, and two batches more than
    there are threads are held at most.
    """
    num_threads = torch.get_num_threads()
    num_at_once = min(num_threads, MOST_AT_ONCE) if encode.device.type == "cpu" else 2

    @torch.inference_mode()
    def work(begun: list[Any]) -> Described:
        return describe(encode.finish(begun))

    begun = map(encode.begin, images)
    waiting: deque[Future[Described]] = deque()
    failure: Exception | None = None
    threads = ThreadPoolExecutor(num_at_once)
    try:
        with cpu_threads(max(1, num_threads // num_at_once)):
            while failure is None:
                try:
                    batch = list(islice(begun, batch_size))
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
