"""Scaling for readers that cannot scale frames themselves: only the region of interest is returned, at its size."""

from collections.abc import Iterator
from itertools import islice

import av
import numpy as np

from pipeline.video.readers.forward import ForwardReader
from pipeline.video.region import Region
from pipeline.video.scaling import Scaler
from pipeline.video.types import (
    DecodeReport,
    FrameBatch,
    ReaderName,
    ScaledReader,
    VideoIndex,
    VideoProperties,
    check_range,
)


class RescaledReader(ScaledReader):
    """A `ScaledReader` that scales the whole RGB frames of another reader.

    Each frame is scaled when it is decoded: only one whole frame and a scaled batch are in memory. Frames are scaled by
    `Scaler`. PyAV's frames are scaled before they are converted to RGB, so these differ by a few grey levels.

    Args:
        reader: The reader of whole frames; `close` closes it.
        name: The name of the reader, for the report.
        region: The region of interest, and its size.
    """

    def __init__(self, reader: ForwardReader, name: ReaderName, region: Region) -> None:
        self._reader, self._name = reader, name
        self._scale = Scaler(region)

    @property
    def index(self) -> VideoIndex:
        """See `ScaledReader.index`."""
        return self._reader.index

    @property
    def properties(self) -> VideoProperties:
        """See `VideoReader.properties`."""
        return self._reader.properties

    def report(self) -> DecodeReport:
        """See `ScaledReader.report`. All frames are whole, as the readers refuse damaged videos."""
        properties = self.properties
        return DecodeReport(
            declared_frames=properties.declared_frames,
            decoded_frames=properties.num_frames,
            failed_frames=0,
            substituted_frames=0,
            variable_frame_rate=properties.variable_frame_rate,
            rotation_degrees=properties.rotation_degrees,
            sizes=(f"{properties.width}x{properties.height}",),
            problems=(),
            notes=self.index.notes,
            reader=self._name,
        )

    def read(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        batch_size: int = 32,
        positions: np.ndarray | None = None,
    ) -> Iterator[FrameBatch]:
        """See `VideoReader.read`."""
        check_range(self.properties, start, stop, batch_size)
        frames = map(self._scaled, self._reader.read(start, stop, batch_size=1, positions=positions))
        while batch := list(islice(frames, batch_size)):
            pixels, index, pts_seconds = (np.concatenate(parts) for parts in zip(*batch, strict=True))
            yield FrameBatch(pixels, index, pts_seconds)

    def _scaled(self, frame: FrameBatch) -> FrameBatch:
        whole = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.pixels[0]), format="rgb24")
        return frame._replace(pixels=self._scale(whole)[None])

    def close(self) -> None:
        """See `VideoReader.close`."""
        self._reader.close()
