"""The interface of live sources, videos that are still being made: a camera, a stream, a file that grows.

Frames are scaled when they are read, as `open_scaled` does, so that they take little memory.

Shapes: h x w pixels, the size that the encoder takes.
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

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0  # the pause between two attempts to reconnect, which doubles


class LiveFrame(NamedTuple):
    """A frame of a live source.

    Attributes:
        pixels: uint8 [h, w, 3], RGB.
        seconds: Its time in the video.
        captured: The value of time.monotonic() when it arrived.
    """

    pixels: np.ndarray
    seconds: float
    captured: float


class LiveSource(Protocol):
    """A video that is still being made.

    Attributes:
        name: The name for messages, without user, password or key.
        stem: The stem for the names of files.
        can_wait: Whether frames that are not read yet can be read later, so that none need to be dropped. It is known
            with the first frame.
        connected: Whether frames are coming; False while the source tries to reconnect.
        num_reconnections: The number of times that a lost source came back.
    """

    name: str
    stem: str
    can_wait: bool
    connected: bool
    num_reconnections: int

    def frames(self, stop: Event) -> Generator[LiveFrame, None, None]:
        """Yield frames as they come, to the end or until `stop` is set; call it only once.

        Raises:
            VideoError: The source gives no first frame, or the video ends before its end.
            InputError: A frame is smaller than the region of interest.
        """
        ...


class LostError(Exception):
    """A connection is lost, or cannot be made; the message is the reason, without any secret."""


class ReopenedSource(ABC):
    """A live source that is opened again after it was lost, with growing pauses.

    The clock counts the time of a frame from the first frame, unless the source states it.

    Args:
        name: The name for messages, without user, password or key.
        region: The region of interest, and its size.
        idle_seconds: The source is given up when no frame comes for this time.
        longest_pause_seconds: The maximum pause between two attempts to reconnect.
        on_event: It is called with one sentence for each change of the connection.
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
        """See `LiveSource.frames`; VideoError is also raised where the source is given up."""
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
        """Yield the frames of one connection, with their times where it states them, to the end of the video or `stop`.

        Raises:
            LostError: The connection is lost, or cannot be made.
            VideoError: There is an error that opening the source again cannot solve.
        """

    @abstractmethod
    def _likely_cause(self) -> str:
        """Return the likely cause where there is no first frame, as a question."""
