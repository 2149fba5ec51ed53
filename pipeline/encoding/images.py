"""Images become features of their regions, several batches in parallel.

Shapes: n or N images, R regions of C channels.
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
MAX_PARALLEL_BATCHES = 8  # each batch of images takes memory


class RegionEncoder(Protocol):
    """Computes the features of the regions of images in two steps; another thread may do the second one.

    Attributes:
        device: Where the features are.
    """

    device: torch.device

    def begin(self, image: np.ndarray) -> Any:
        """Start with an image.

        Args:
            image: uint8 [H, W, 3]. It must not change.

        Raises:
            InputError: The image is smaller than the region of interest.
        """
        ...

    def finish(self, begun: list[Any]) -> torch.Tensor:
        """Turn the results of `begin` for n images into features float32 [n, R, C], on `device`."""
        ...


class TorchRegions:
    """Encodes by torch, a batch at a time, in the thread that finishes it.

    Args:
        encoder: It must be in eval mode.
        preprocess: The preprocessing of the encoder's images.
    """

    def __init__(self, encoder: Encoder, preprocess: Preprocess) -> None:
        self._encoder, self._preprocess = encoder, preprocess
        self.device = next(encoder.parameters()).device

    def begin(self, image: np.ndarray) -> torch.Tensor:
        """See `RegionEncoder.begin`."""
        return self._preprocess(image[None])

    def finish(self, begun: list[torch.Tensor]) -> torch.Tensor:
        """See `RegionEncoder.finish`."""
        return self._encoder.regions(torch.cat(begun).to(self.device))


class RuntimeRegions:
    """Encodes by a runtime, in its threads, from `begin` on; the other images do not change an image's features."""

    device = torch.device("cpu")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def begin(self, image: np.ndarray) -> Pending:
        """See `RegionEncoder.begin`. It waits while too much is queued in the runtime."""
        pixels = self._runtime.frame_encoder.preprocess.resize(image[None])
        return self._runtime.submit(pixels.contiguous().numpy())

    def finish(self, begun: list[Pending]) -> torch.Tensor:
        """See `RegionEncoder.finish`."""
        features = torch.cat([pending.result() for pending in begun])
        return self._runtime.frame_encoder.encoder.regions_of(features)


def encode_images(
    images: Iterable[np.ndarray], encoder: Encoder, preprocess: Preprocess, *, batch_size: int
) -> Iterator[torch.Tensor]:
    """Yield the features of the regions of images, in order, batch by batch.

    Args:
        images: uint8 [H, W, 3] each. Errors that it raises are passed on.
        encoder: It must be in eval mode.
        preprocess: The preprocessing of the encoder's images.
        batch_size: The maximum number of images in a batch.

    Yields:
        float32 [n, R, C], n <= batch_size.

    Raises:
        InputError: An image is smaller than the region of interest.
    """
    return describe_images(images, TorchRegions(encoder, preprocess), lambda regions: regions, batch_size=batch_size)


def describe_images(
    images: Iterable[np.ndarray],
    encode: RegionEncoder,
    describe: Callable[[torch.Tensor], Described],
    *,
    batch_size: int,
) -> Iterator[Described]:
    """Encode images as `encode_images` does, and yield what `describe` returns for each batch's features.

    Several batches are computed in parallel. On a CPU each has a core to itself, in torch's encoder and in a search,
    whose many small steps would leave other cores idle: two batches on a core each were read, encoded and searched a
    third faster than one after the other on two cores. Meanwhile the caller's thread reads the images. At most two
    batches more than there are threads are held.

    Args:
        images: uint8 [H, W, 3] each. Errors that it raises are passed on, after all results of earlier images.
        encode: The encoder of the images.
        describe: It is called with features float32 [n, R, C], in another thread.
        batch_size: The maximum number of images in a batch.

    Yields:
        The result of `describe` for each batch, in order.

    Raises:
        InputError: An image is smaller than the region of interest.
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
                except Exception as error:  # raised after all images before it are described
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
