"""A reader that shows each frame twice, side by side: whole, and enlarged where something moves."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from pipeline.video.motion import Boxes, find_boxes, small_size, view_of
from pipeline.video.region import Region
from pipeline.video.types import DecodeReport, FrameBatch, ScaledReader, VideoIndex, VideoProperties

BATCH_FRAMES = 32


class FollowingReader(ScaledReader):
    """A `ScaledReader` of frames whose left half is the region of interest, and whose right half the part that moves.

    To find what moves, the whole video is read once before its first frame.

    Args:
        open_scaled: Opens the video for another region, as `pipeline.video.open.open_scaled`.
        index: The index of the video.
        region: The region of interest, and the size of both halves together.

    Raises:
        InputError: As `open_scaled`.
    """

    def __init__(self, open_scaled: Callable[[Region], ScaledReader], index: VideoIndex, region: Region) -> None:
        properties = index.properties
        left, top, right, bottom = region.crop_box(width=properties.width, height=properties.height)
        self._open = open_scaled
        self._region = region
        self._shape = bottom - top, right - left
        self._half = region.size[1] // 2, region.size[0]  # (width, height), as OpenCV has it
        self._reader = open_scaled(region.at_size(self._shape))
        self._boxes: Boxes | None = None

    @property
    def index(self) -> VideoIndex:
        """See `ScaledReader.index`."""
        return self._reader.index

    @property
    def properties(self) -> VideoProperties:
        """See `VideoReader.properties`."""
        return self._reader.properties

    def report(self) -> DecodeReport:
        """See `ScaledReader.report`."""
        return self._reader.report()

    def read(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        batch_size: int = 32,
        positions: np.ndarray | None = None,
    ) -> Iterator[FrameBatch]:
        """See `VideoReader.read`."""
        if self._boxes is None:
            self._boxes = self._find_boxes()
        for batch in self._reader.read(start, stop, batch_size=batch_size, positions=positions):
            frames = zip(batch.pixels, self._boxes[batch.index], strict=True)
            yield batch._replace(pixels=np.stack([self._show(frame, box) for frame, box in frames]))

    def _find_boxes(self) -> Boxes:
        height, width = self._shape
        with self._open(self._region.at_size(small_size(width, height))) as reader:
            frames = (batch.pixels for batch in reader.read(batch_size=BATCH_FRAMES))
            return find_boxes(frames, reader.properties.num_frames)

    def _show(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Return a frame [h, w, 3] and what moves in it, side by side."""
        height, width = self._shape
        left, top, right, bottom = view_of(box, width=width, height=height)
        return np.concatenate([self._scaled(frame), self._scaled(frame[top:bottom, left:right])], axis=1)

    def _scaled(self, pixels: np.ndarray) -> np.ndarray:
        is_shrunk = pixels.shape[1] > self._half[0]
        return cv2.resize(pixels, self._half, interpolation=cv2.INTER_AREA if is_shrunk else cv2.INTER_LINEAR)

    def close(self) -> None:
        """See `VideoReader.close`."""
        self._reader.close()
