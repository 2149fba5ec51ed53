"""What runs on a worker of a cluster: it loads the model once, and labels videos, or encodes ranges of long ones."""

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.encoding.types import Precision
from pipeline.errors import InputError
from pipeline.files import InputFile
from pipeline.fleet.cluster import Kept, KeptLostError
from pipeline.imports import SourceTree
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.one_video import OneVideo, Outcome, StoppedError
from pipeline.labelling.outputs import OutputFolder, OutputOptions
from pipeline.labelling.ranges import Division, EncodedVideo, divide, encode_range
from pipeline.labelling.staging import remove_abandoned
from pipeline.stores.address import Address
from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.types import Backend, DecodeReport


@cache
def code_fingerprint() -> str:
    """Return a digest of the code that labels videos, which must be the same on all machines."""
    return SourceTree().fingerprint_of("pipeline.fleet.worker")


@dataclass(frozen=True)
class ModelSource:
    """The arguments of `load_model`, and the frame rate."""

    locations: tuple[str, ...]
    device: str
    precision: Precision
    static_threshold: float | None
    reader: Backend
    frame_rate: float | None

    def load(self) -> Model:
        """Load the model."""
        return load_model(
            self.locations,
            device=self.device,
            precision=self.precision,
            static_threshold=self.static_threshold,
            reader=self.reader,
        ).at_rate(self.frame_rate)


@dataclass(frozen=True)
class Order:
    """What a worker is to do.

    Attributes:
        model: The model. A folder must be on the worker's machine too, under the same name.
        fingerprint: The fingerprint of the model.
        code: `code_fingerprint` of the caller.
        out: Where the labels go. A folder must be shared by all machines, under the same name.
        outputs: The output that is made of each video.
        folder: The caller's working directory, to which paths are relative.
        num_parallel: The number of videos that a worker labels at the same time.
        range_frames: The number of frames of the ranges that a long video is divided into.
    """

    model: ModelSource
    fingerprint: str
    code: str
    out: Path | Address
    outputs: OutputOptions
    folder: Path
    num_parallel: int
    range_frames: int


class KeptRange(NamedTuple):
    """A range of a video that is encoded.

    Attributes:
        reports: See `EncodedRange`.
        features: See `EncodedRange`.
    """

    reports: list[DecodeReport]
    features: Kept


class LostRanges(NamedTuple):
    """In place of labels: ranges whose features were lost together with a machine.

    Attributes:
        numbers: The ranges.
    """

    numbers: tuple[int, ...]


class FleetWorker:
    """Labels videos. Each is decoded in a process of its own, so that a decoder that crashes costs that video only."""

    def prepare(self, order: Order) -> None:
        """Load the model, once.

        Raises:
            InputError: This machine has another version of the program, another model, or not the caller's folders.
        """
        machine = f"the worker on {platform.node()}"
        if order.code != code_fingerprint():
            raise InputError(f"{machine} runs another version of Framescribe: install the same one on all machines")
        with suppress(OSError):
            os.chdir(order.folder)
        if Path.cwd() != order.folder or not (isinstance(order.out, Address) or order.out.is_dir()):
            raise InputError(
                f"{machine} does not have {order.folder} and {order.out}: expected folders that all machines share, or"
                " addresses of a store"
            )
        if isinstance(order.out, Path):
            remove_abandoned(order.out)
        self._model = order.model.load()
        if self._model.fingerprint != order.fingerprint:
            raise InputError(f"{machine} has another model at {', '.join(order.model.locations)}: copy the same there")
        self._outputs, self._range_frames = order.outputs, order.range_frames
        self._processes = DecoderProcesses(order.num_parallel)

    def label(self, path: InputFile, folder: OutputFolder) -> Outcome:
        """Label a video, see `OneVideo`.

        Args:
            path: The video.
            folder: Where the output goes.
        """
        return OneVideo(self._model, folder, self._outputs).label(path, opening=self._processes.open_scaled)

    def divide_or_label(self, path: InputFile, folder: OutputFolder) -> Division | Outcome:
        """Divide a video for several workers where it is long; otherwise label it, see `label`."""
        division = divide(path, self._model, opening=self._processes.open_scaled, range_frames=self._range_frames)
        return division or self.label(path, folder)

    def encode(
        self, path: InputFile, division: Division, number: int
    ) -> tuple[list[DecodeReport] | None, list[np.ndarray]]:
        """Encode a range of a video, see `encode_range`.

        Args:
            path: The video.
            division: The division.
            number: The range.

        Returns:
            The reports and the features; None and nothing where the video is to be labelled as a whole.
        """
        found = encode_range(path, division, number, self._model, opening=self._processes.open_scaled)
        return (found.reports, found.features) if found else (None, [])

    def join(
        self, path: InputFile, folder: OutputFolder, division: Division, ranges: Sequence[KeptRange]
    ) -> Outcome | LostRanges:
        """Label a video of which all ranges are encoded.

        Args:
            path: The video.
            folder: Where the output goes.
            division: The division.
            ranges: The reports and the features of all ranges.

        Returns:
            The ranges that were lost, where any was.
        """
        lost: set[int] = set()

        def features(encoder: int) -> Iterator[np.ndarray]:
            for number, (_, kept) in enumerate(ranges):
                try:
                    yield kept.get()[encoder]
                except KeptLostError as error:
                    lost.add(number)
                    raise StoppedError from error

        encoded = EncodedVideo(division, [reports for reports, _ in ranges], features)
        try:
            return OneVideo(self._model, folder, self._outputs).label(
                path, opening=self._processes.open_scaled, encoded=encoded
            )
        except StoppedError:
            return LostRanges(tuple(n for n, (_, kept) in enumerate(ranges) if n in lost or _is_lost(kept)))


def _is_lost(kept: Kept) -> bool:
    try:
        kept.get()
    except KeptLostError:
        return True
    return False
