"""Frames of many callers share batches of one size, and each caller gets the features of its own frames."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.encoding.batches import MAX_WAITING_BATCHES, SharedBatches

BATCH_SIZE = 4
SECONDS = 20  # a longer wait means that a thread hangs


def some_frames(number: int, num_frames: int) -> np.ndarray:
    return np.random.default_rng([number, num_frames]).integers(0, 256, (num_frames, 3, 2, 3), dtype=np.uint8)


def expected_of(pixels: np.ndarray) -> torch.Tensor:
    """The features of an encoder that encodes each frame independently."""
    values = torch.from_numpy(pixels).flatten(1).double()
    return torch.stack([values.sum(1), (values * torch.arange(values.shape[1])).sum(1)], dim=1)


class Recording:
    """An encoder that records the sizes of its batches, and checks that one thread at a time calls it."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, parts: list[np.ndarray]) -> torch.Tensor:
        assert self._lock.acquire(blocking=False), "called by two threads at the same time"
        try:
            pixels = np.concatenate(parts)
            self.sizes.append(len(pixels))
            return expected_of(pixels)
        finally:
            self._lock.release()


class Held(Recording):
    """An encoder that waits until the test releases it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.may_go = threading.Event(), threading.Event()

    def __call__(self, parts: list[np.ndarray]) -> torch.Tensor:
        self.is_asked.set()
        assert self.may_go.wait(SECONDS)
        return super().__call__(parts)


@settings(deadline=None)
@given(
    calls=st.lists(st.lists(st.integers(1, 3 * BATCH_SIZE), max_size=6), min_size=1, max_size=5),
    num_encoders=st.integers(1, 3),
)
def test_every_caller_gets_the_features_of_its_frames(calls: list[list[int]], num_encoders: int):
    encoders = [Recording() for _ in range(num_encoders)]
    batches = SharedBatches(encoders, batch_size=BATCH_SIZE)

    def call(number: int, sizes: list[int]) -> None:
        pixels = [some_frames(number, size) for size in sizes]
        pending = [batches.submit(frames) for frames in pixels]
        for frames, features in zip(pixels, pending, strict=True):
            assert torch.equal(features.result(SECONDS), expected_of(frames))

    with ThreadPoolExecutor(len(calls)) as threads:
        list(threads.map(call, range(len(calls)), calls))
    sizes = [size for encoder in encoders for size in encoder.sizes]
    assert sum(sizes) == sum(map(sum, calls))
    assert all(1 <= size <= BATCH_SIZE for size in sizes)


def test_frames_of_several_calls_fill_a_batch():
    held = Held()
    batches = SharedBatches([held], batch_size=BATCH_SIZE)
    first = batches.submit(some_frames(0, 1))
    assert held.is_asked.wait(SECONDS)
    pending = [batches.submit(some_frames(number, 2)) for number in (1, 2, 3)]
    held.may_go.set()
    for features in (first, *pending):
        features.result(SECONDS)
    assert held.sizes == [1, 4, 2]


def test_an_incomplete_batch_waits_only_while_another_batch_is_encoded():
    held, other = Held(), Recording()
    batches = SharedBatches([other, held], batch_size=BATCH_SIZE)
    first = batches.submit(some_frames(0, 1))
    assert held.is_asked.wait(SECONDS)
    second = batches.submit(some_frames(1, 3))
    time.sleep(0.05)
    assert not second.done()
    assert other.sizes == []
    full = batches.submit(some_frames(2, 1))  # this completes a batch, which does not wait
    assert torch.equal(full.result(SECONDS), expected_of(some_frames(2, 1)))
    assert other.sizes == [4]
    third = batches.submit(some_frames(3, 1))
    held.may_go.set()
    assert len(third.result(SECONDS)) == len(first.result(SECONDS)) == 1


def test_a_caller_that_submits_too_much_waits():
    held = Held()
    batches = SharedBatches([held], batch_size=BATCH_SIZE)
    num_brought = 0

    def bring() -> None:
        nonlocal num_brought
        for number in range(5 * MAX_WAITING_BATCHES):
            batches.submit(some_frames(number, BATCH_SIZE))
            num_brought += 1

    thread = threading.Thread(target=bring, daemon=True)
    thread.start()
    assert held.is_asked.wait(SECONDS)
    thread.join(0.1)
    assert thread.is_alive()
    assert num_brought <= MAX_WAITING_BATCHES + 1
    held.may_go.set()
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_an_error_reaches_only_the_callers_with_frames_in_the_batch():
    held = Held()

    def encode(parts: list[np.ndarray]) -> torch.Tensor:
        features = held(parts)
        if any((part == 255).all() for part in parts):
            raise RuntimeError("the device is broken")
        return features

    batches = SharedBatches([encode], batch_size=BATCH_SIZE)
    before = batches.submit(some_frames(0, BATCH_SIZE))
    assert held.is_asked.wait(SECONDS)
    beside = batches.submit(some_frames(1, 2))
    bad = batches.submit(np.full((2 * BATCH_SIZE, 3, 2, 3), 255, np.uint8))  # in three incomplete batches
    after = batches.submit(some_frames(2, 3))
    held.may_go.set()
    assert len(before.result(SECONDS)) == BATCH_SIZE
    for features in (beside, bad, after):
        with pytest.raises(RuntimeError, match="is broken"):
            features.result(SECONDS)
    assert len(batches.submit(some_frames(3, 9)).result(SECONDS)) == 9


def test_threads_end_with_the_batches():
    before = set(threading.enumerate())
    batches = SharedBatches([Recording()], batch_size=BATCH_SIZE)
    batches.submit(some_frames(0, 1)).result(SECONDS)
    del batches
    deadline = time.monotonic() + SECONDS
    while not set(threading.enumerate()) <= before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


def test_no_frames_are_refused():
    with pytest.raises(ValueError, match="got no frame"):
        SharedBatches([Recording()], batch_size=BATCH_SIZE).submit(some_frames(0, 0))
