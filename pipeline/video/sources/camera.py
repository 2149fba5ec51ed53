"""A camera of this machine as a live source."""

from collections.abc import Callable, Iterator
from threading import Event

import av
import cv2

import pipeline.video.readers.opencv  # noqa: F401  It silences OpenCV.
from pipeline.video.region import Region
from pipeline.video.sources.base import LONGEST_PAUSE_SECONDS, LostError, ReopenedSource


class CameraSource(ReopenedSource):
    """A camera of this machine, read by OpenCV.

    Args:
        number: The number of the camera.
        region: See `ReopenedSource`, as for the other arguments.
        idle_seconds: See `ReopenedSource`.
        longest_pause_seconds: See `ReopenedSource`.
        on_event: See `ReopenedSource`.
    """

    def __init__(
        self,
        number: int,
        region: Region,
        *,
        idle_seconds: float,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
        on_event: Callable[[str], None] = lambda event: None,
    ) -> None:
        super().__init__(
            f"camera {number}",
            region,
            idle_seconds=idle_seconds,
            longest_pause_seconds=longest_pause_seconds,
            on_event=on_event,
        )
        self._number = number

    def _read(self, stop: Event) -> Iterator[tuple[av.VideoFrame, float | None]]:
        capture = self._open()
        try:
            while not stop.is_set():
                captured, pixels = capture.read()
                if not captured:
                    raise LostError("OpenCV gets none")
                yield av.VideoFrame.from_ndarray(pixels, format="bgr24"), None
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        return cv2.VideoCapture(self._number)

    def _likely_cause(self) -> str:
        return f"is it plugged in, does no other program use it, and may you read /dev/video{self._number}?"
