"""Images -> features of their regions, in batches side by side.

n or N images, R regions of C channels.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from pipeline.encoding.device import cpu_threads
from pipeline.encoding.types import Pending, Runtime
from pipeline.models.encoders.encoder import Encoder
from pipeline.video.preprocess import Preprocess

Described = TypeVar("Described")
MAX_PARALLEL_BATCHES = 8  # batches of images: each takes memory


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
        pixels = self._runtime.frame_encoder.preprocess.resize(image[None])
        return self._runtime.submit(pixels.contiguous().numpy())

    def finish(self, begun: list[Pending]) -> torch.Tensor:
        """See `RegionEncoder`."""
        features = torch.cat([pending.result() for pending in begun])
        return self._runtime.frame_encoder.encoder.regions_of(features)


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
    num_parallel = min(num_threads, MAX_PARALLEL_BATCHES) if encode.device.type == "cpu" else 2

    @torch.inference_mode()
    def work(begun: list[Any]) -> Described:
        return describe(encode.finish(begun))

    begun = map(encode.begin, images)
    waiting: deque[Future[Described]] = deque()
    failure: Exception | None = None
    threads = ThreadPoolExecutor(num_parallel)
    try:
        with cpu_threads(max(1, num_threads // num_parallel)):
            while failure is None:
                try:
                    batch = list(islice(begun, batch_size))
                except Exception as error:  # told when all that was read before it is described
                    failure, batch = error, []
                if not batch:
                    break
                waiting.append(threads.submit(work, batch))
                if len(waiting) > num_parallel:
                    yield waiting.popleft().result()
            for described in waiting:
                yield described.result()
    finally:
        threads.shutdown(cancel_futures=True)
    if failure is not None:
        raise failure
