"""A trained labeller, ready to label videos."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from pipeline.checkpoints.labeller import Checkpoint, CheckpointSpec, load_checkpoint
from pipeline.encoding.device import choose_device
from pipeline.encoding.runtime import open_runtime
from pipeline.encoding.types import BATCH_FRAMES, Precision, Runtime
from pipeline.errors import InputError
from pipeline.labelling.location import find_checkpoint, find_exports
from pipeline.video.types import Backend, scaling_of, scaling_reader


@dataclass(frozen=True)
class Model:
    """A checkpoint ready to label videos, with how its encoder is to run.

    exports: the folder where the encoder, exported for a CPU, is kept; None: it is exported anew each time.
    static_threshold: grey levels up to which a frame shows nothing new and is not encoded, see `encode_video`; None:
        all are.
    at_once: how many frames its encoder takes together, see `open_runtime`. It changes no label.
    reader: what decodes its videos, see `open_scaled`.
    """

    checkpoint: Checkpoint
    precision: Precision = "full"
    exports: Path | None = None
    static_threshold: float | None = None
    batch_frames: int = BATCH_FRAMES
    reader: Backend = "auto"

    @property
    def spec(self) -> CheckpointSpec:
        return self.checkpoint.spec

    @property
    def device(self) -> torch.device:
        return self.checkpoint.labeller.classifier.weight.device

    @cached_property
    def runtime(self) -> Runtime | None:
        """Its encoder, None where the model takes ready features; opened when it is first asked for."""
        frame_encoder = self.checkpoint.frame_encoder
        if frame_encoder is None:
            return None
        return open_runtime(
            frame_encoder, precision=self.precision, exports=self.exports, batch_frames=self.batch_frames
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest over all that decides which labels a video gets."""
        digest = hashlib.sha256(f"{self.spec.model_dump_json()} {self.precision} {self.static_threshold}".encode())
        if scaling_reader(self.reader) != "pyav":  # labels from before there was a choice stay up to date
            digest.update(scaling_of(self.reader).encode())
        if self.checkpoint.frame_encoder:
            digest.update(self.checkpoint.frame_encoder.fingerprint().encode())
        for name, tensor in self.checkpoint.labeller.state_dict().items():
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]


def load_model(
    location: str,
    *,
    device: str,
    precision: Precision = "full",
    static_threshold: float | None = None,
    batch_frames: int = BATCH_FRAMES,
    reader: Backend = "auto",
) -> Model:
    """The model in a checkpoint folder, or behind an MLflow URI (models:/name/1, runs:/<id>/model), see `Model`.

    For a CPU its encoder is exported at the first use, and the export kept beside the checkpoint folder.

    Raises InputError where there is none, the device is absent or cannot compute with the precision, or decord or
    OpenCV is to read for a model of ready features.
    """
    folder = find_checkpoint(location)
    checkpoint = load_checkpoint(folder, device=choose_device(device))
    if checkpoint.frame_encoder is None and scaling_reader(reader) != "pyav":
        raise InputError(f"{location}: was trained on ready features, which no reader decodes: leave out {reader!r}")
    model = Model(checkpoint, precision, find_exports(location), static_threshold, batch_frames, reader)
    model.runtime  # noqa: B018  opened now, so that what is wrong with it is told before there is work to lose
    return model
