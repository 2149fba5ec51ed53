"""Frames of several callers, gathered into batches of one size: what a GPU computes fast, and always in the same way.

n frames, h x w pixels, F features.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition, Lock
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# Parts uint8 [n, h, w, 3], together no more than a batch -> features float32 of their frames, in order, which nothing
# changes afterwards. One thread at a time calls it.
BatchEncoder = Callable[[list[np.ndarray]], Tensor]
MAX_WAITING_BATCHES = 4  # beside those that are being encoded


class SharedBatches:
    """Gives frames to encoders, each of which takes a batch at a time, so that one batch is prepared beside another.

    A batch is of frames of whoever waits. One that is not full is encoded only where no other is, so that it costs
    nobody time: frames that come alone are not kept waiting, and many fill their batches. Several threads may call
    `submit` at once.
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
        """Frames uint8 [n, h, w, 3], n > 0, which must not change -> features float32 [n, F] on the CPU, later.

        Waits while as much waits as may. What went wrong with a batch is raised by the `result` of each that had frames
        in it. Raises ValueError where there is no frame.
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
        """Encode until nothing waits: whoever adds something calls this afterwards, so that nothing is left."""
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
        """An encoder and a batch for it, when there is one; None where nothing waits."""
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
    """Frames of a call that are in one batch."""

    call: "_Call"
    start: int
    pixels: np.ndarray


class _Call:
    """The frames of one `submit`, which may be spread over batches that are encoded at once."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.features: Future[Tensor] = Future()
        self.features.set_running_or_notify_cancel()  # it cannot be cancelled any more
        self._pixels = pixels
        self._num_taken = 0
        self._found: dict[int, Tensor] = {}  # by their first frame
        self._lock = Lock()  # around what was found

    @property
    def is_taken(self) -> bool:
        return self._num_taken == len(self._pixels)

    def take(self, most: int) -> _Part:
        """Its next frames."""
        start = self._num_taken
        self._num_taken = min(start + most, len(self._pixels))
        return _Part(self, start, self._pixels[start : self._num_taken])

    def add(self, start: int, found: Tensor) -> None:
        """Features [n, F] of the frames from `start` on."""
        with self._lock:
            self._found[start] = found
            is_last = sum(map(len, self._found.values())) == len(self._pixels) and not self.features.done()
        if is_last:
            self.features.set_result(torch.cat([self._found[start] for start in sorted(self._found)]))

    def fail(self, error: BaseException) -> None:
        """Some of its frames could not be encoded."""
        with self._lock:
            if not self.features.done():
                self.features.set_exception(error)
