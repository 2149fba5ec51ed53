"""Frames of a video that is still being made: a camera, a stream, a file that grows. Scaled on their way out, as by
`open_scaled`, so that they cost little to keep.

h, w: the size that the encoder takes.
"""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from threading import Event
from typing import NamedTuple, Protocol

import av
import numpy as np

from pipeline.video.region import Region
from pipeline.video.scaling import Scaler
from pipeline.video.types import VideoError

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0  # between two tries to connect again; it doubles


class LiveFrame(NamedTuple):
    """pixels uint8 [h, w, 3] RGB; seconds: its time in the video; captured: time.monotonic() when it was there."""

    pixels: np.ndarray
    seconds: float
    captured: float


class LiveSource(Protocol):
    """A video that is still being made.

    name         how it is shown: no user, password or key
    stem         for the names of files
    can_wait     frames that are not read are there later, so that none needs to be dropped; known with the first frame
    connected    frames are coming; False while a lost source is tried again
    """

    name: str
    stem: str
    can_wait: bool
    connected: bool
    num_reconnections: int

    def frames(self, stop: Event) -> Generator[LiveFrame, None, None]:
        """Yield frames as they come, to the end or until `stop` is set. Call it once.

        Raises VideoError where there is no frame to begin with, or what came is not all; InputError where a frame is
        smaller than the region of interest.
        """
        ...


class LostError(Exception):
    """A connection is lost, or cannot be made. The message is the reason, without a secret."""


class ReopenedSource(ABC):
    """What is opened again after it was lost, with growing pauses, and given up when no frame comes for a while.

    `idle_seconds` is that while. The time of a frame is counted by the clock from the first one, unless the source
    knows it. `on_event` is given what happens to the connection, in a sentence.
    """

    can_wait = False

    def __init__(
        self,
        name: str,
        region: Region,
        *,
        idle_seconds: float,
        longest_pause_seconds: float,
        on_event: Callable[[str], None],
    ) -> None:
        self.name = name
        self.stem = re.sub(r"[^\w.-]+", "_", name.split("://")[-1]).strip("_.") or "stream"
        self.connected = False
        self.num_reconnections = 0
        self._scale = Scaler(region)
        self._idle_seconds, self._longest_pause_seconds = idle_seconds, longest_pause_seconds
        self._on_event = on_event

    def frames(self, stop: Event) -> Generator[LiveFrame, None, None]:
        """See `LiveSource.frames`. Raises VideoError also where it is given up."""
        start: float | None = None
        captured = time.monotonic()
        pause = FIRST_PAUSE_SECONDS
        while not stop.is_set():
            tried = time.monotonic()
            try:
                for frame, seconds in self._read(stop):
                    captured = time.monotonic()
                    if start is None:
                        start = captured
                    elif not self.connected:
                        self.num_reconnections += 1
                        self._on_event(f"{self.name}: came back")
                    self.connected = True
                    pause = FIRST_PAUSE_SECONDS
                    yield LiveFrame(self._scale(frame), captured - start if seconds is None else seconds, captured)
                return
            except LostError as lost:
                reason = str(lost)
            if stop.is_set():
                return
            if start is None:
                passed = time.monotonic() - tried
                raise VideoError(f"{self.name}: no frame came within {passed:.1f} s ({reason}): {self._likely_cause()}")
            was_connected, self.connected = self.connected, False
            if was_connected:
                self._on_event(f"{self.name}: lost ({reason}); trying again for {self._idle_seconds:g} s")
            left_seconds = captured + self._idle_seconds - time.monotonic()
            if left_seconds <= 0:
                raise VideoError(f"{self.name}: given up, as no frame came for {self._idle_seconds:g} s ({reason})")
            stop.wait(min(pause, left_seconds))
            pause = min(2 * pause, self._longest_pause_seconds)

    @abstractmethod
    def _read(self, stop: Event) -> Iterator[tuple[av.VideoFrame, float | None]]:
        """The frames of one connection, with their times where it knows them, to the end of the video or `stop`.

        Raises LostError where the connection is lost, or there is none; VideoError where opening it again is no help.
        """

    @abstractmethod
    def _likely_cause(self) -> str:
        """Why there is no frame to begin with, as a question."""
