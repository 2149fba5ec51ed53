"""Frames of several callers are gathered into batches of one size.

A GPU computes such batches fast, and always in the same way.

Shapes: n frames, h x w pixels, F features.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition, Lock
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# It takes parts uint8 [n, h, w, 3], together at most a batch, and returns the features (float32) of their frames, in
# order. Nothing changes these features afterwards. One thread at a time calls it.
BatchEncoder = Callable[[list[np.ndarray]], Tensor]
MAX_WAITING_BATCHES = 4  # in addition to those that are being encoded


class SharedBatches:
    """Distributes frames to several encoders, so that one batch is prepared while another is computed.

    A batch holds frames of all calls that wait. A batch that is not full is encoded only while no other batch is, so
    that it delays nothing: single frames do not wait, and many frames fill their batches. Several threads may call
    `submit` in parallel.

    Args:
        encoders: Each of them encodes one batch at a time.
        batch_size: The maximum number of frames in a batch.
    """

    def __init__(self, encoders: Sequence[BatchEncoder], *, batch_size: int) -> None:
        self._batch_size = batch_size
        self._num_encoders = len(encoders)
        self._free = list(encoders)
        self._waiting: deque[_Call] = deque()
        self._num_waiting = 0  # frames
        self._changed = Condition()  # of the three above, which are used with its lock
        self._threads = ThreadPoolExecutor(len(encoders))

    def submit(self, pixels: np.ndarray) -> Future[Tensor]:
        """Queue frames for encoding; wait first while the queue is full.

        Args:
            pixels: uint8 [n, h, w, 3], n > 0. They must not change until they are encoded.

        Returns:
            A future of the features float32 [n, F] on the CPU. Its `result` raises the error of any batch that held
            frames of this call.

        Raises:
            ValueError: There are no frames.
        """
        if len(pixels) == 0:
            raise ValueError("pixels: got no frame, expected at least one")
        call = _Call(pixels)
        with self._changed:
            self._changed.wait_for(lambda: self._num_waiting < MAX_WAITING_BATCHES * self._batch_size)
            self._waiting.append(call)
            self._num_waiting += len(pixels)
            self._changed.notify_all()
        self._threads.submit(self._encode_waiting)
        return call.features

    def _encode_waiting(self) -> None:
        """Encode until nothing waits. Each `submit` runs this after it has added frames, so that none are left."""
        while (taken := self._take()) is not None:
            encoder, parts = taken
            try:
                features = encoder([part.pixels for part in parts])
                for part, found in zip(parts, features.split([len(part.pixels) for part in parts]), strict=True):
                    part.call.add(part.start, found)
            except BaseException as error:  # raised where the features are asked for
                for part in parts:
                    part.call.fail(error)
            with self._changed:
                self._free.append(encoder)
                self._changed.notify_all()

    def _take(self) -> "tuple[BatchEncoder, list[_Part]] | None":
        """Wait until a batch is due, and return it with a free encoder; None where nothing waits."""
        with self._changed:
            self._changed.wait_for(self._is_due)
            if not self._num_waiting:
                return None
            parts: list[_Part] = []
            room = self._batch_size
            while room and self._waiting:
                parts.append(self._waiting[0].take(room))
                room -= len(parts[-1].pixels)
                if self._waiting[0].is_taken:
                    self._waiting.popleft()
            self._num_waiting -= self._batch_size - room
            self._changed.notify_all()
            return self._free.pop(), parts

    def _is_due(self) -> bool:
        is_idle = len(self._free) == self._num_encoders
        return self._num_waiting == 0 or is_idle or self._num_waiting >= self._batch_size


class _Part(NamedTuple):
    """The frames of one call that are in one batch."""

    call: "_Call"
    start: int
    pixels: np.ndarray


class _Call:
    """The frames of one `submit`, which may be spread over batches that are encoded in parallel."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.features: Future[Tensor] = Future()
        self.features.set_running_or_notify_cancel()  # the caller cannot cancel it any more
        self._pixels = pixels
        self._num_taken = 0
        self._found: dict[int, Tensor] = {}  # by their first frame
        self._lock = Lock()  # guards `_found` and `features`

    @property
    def is_taken(self) -> bool:
        """Whether all of its frames are in a batch."""
        return self._num_taken == len(self._pixels)

    def take(self, most: int) -> _Part:
        """Return its next frames, at most `most` of them."""
        start = self._num_taken
        self._num_taken = min(start + most, len(self._pixels))
        return _Part(self, start, self._pixels[start : self._num_taken])

    def add(self, start: int, found: Tensor) -> None:
        """Add the features [n, F] of the frames from `start` on."""
        with self._lock:
            self._found[start] = found
            is_last = sum(map(len, self._found.values())) == len(self._pixels) and not self.features.done()
        if is_last:
            self.features.set_result(torch.cat([self._found[start] for start in sorted(self._found)]))

    def fail(self, error: BaseException) -> None:
        """Record that some of its frames could not be encoded."""
        with self._lock:
            if not self.features.done():
                self.features.set_exception(error)
