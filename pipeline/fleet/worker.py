"""What runs on a worker of a cluster: it loads the model once, and labels one video after the other."""

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.encoding.types import Precision
from pipeline.errors import InputError
from pipeline.files import InputFile
from pipeline.imports import SourceTree
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.one_video import OneVideo, Outcome
from pipeline.labelling.outputs import OutputFolder, OutputOptions
from pipeline.labelling.staging import remove_abandoned
from pipeline.stores.address import Address
from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.types import Backend


@cache
def code_fingerprint() -> str:
    """Return a digest of the code that labels videos, which must be the same on all machines."""
    return SourceTree().fingerprint_of("pipeline.labelling.one_video")


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
    """

    model: ModelSource
    fingerprint: str
    code: str
    out: Path | Address
    outputs: OutputOptions
    folder: Path
    num_parallel: int


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
        self._outputs = order.outputs
        self._processes = DecoderProcesses(order.num_parallel)

    def label(self, path: InputFile, folder: OutputFolder) -> Outcome:
        """Label a video, see `OneVideo`.

        Args:
            path: The video.
            folder: Where the output goes.
        """
        one = OneVideo(self._model, folder, self._outputs)
        return one.label(path, opening=self._processes.open_scaled, on_progress=lambda num_frames: None)
