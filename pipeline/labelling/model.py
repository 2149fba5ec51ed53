"""A trained labeller that is ready to label videos."""

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
    """A checkpoint that is ready to label videos, with the settings of its encoder.

    Attributes:
        checkpoint: The labeller, and its encoder where it takes frames.
        precision: The precision of the encoder, see `open_runtime`.
        exports: The folder where the encoder, exported for a CPU, is kept. None: it is exported again each time.
        static_threshold: The difference in grey levels up to which a frame shows nothing new and is not encoded, see
            `encode_video`. None: all frames are encoded.
        batch_frames: The number of frames that the encoder takes together, see `open_runtime`. It changes no label.
        reader: What decodes the videos, see `open_scaled`.
    """

    checkpoint: Checkpoint
    precision: Precision = "full"
    exports: Path | None = None
    static_threshold: float | None = None
    batch_frames: int = BATCH_FRAMES
    reader: Backend = "auto"

    @property
    def spec(self) -> CheckpointSpec:
        """The settings of the checkpoint."""
        return self.checkpoint.spec

    @property
    def device(self) -> torch.device:
        """The device of the labeller."""
        return self.checkpoint.labeller.classifier.weight.device

    @cached_property
    def runtime(self) -> Runtime | None:
        """The encoder, opened at the first use; None where the model takes ready features."""
        frame_encoder = self.checkpoint.frame_encoder
        if frame_encoder is None:
            return None
        return open_runtime(
            frame_encoder, precision=self.precision, exports=self.exports, batch_frames=self.batch_frames
        )

    @cached_property
    def fingerprint(self) -> str:
        """The hex digest over everything that decides which labels a video gets."""
        digest = hashlib.sha256(f"{self.spec.model_dump_json()} {self.precision} {self.static_threshold}".encode())
        if scaling_reader(self.reader) != "pyav":  # labels that were made before there was a choice stay up to date
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
    """Load a labeller, and open its encoder.

    For a CPU the encoder is exported at the first use, and the export is kept beside the checkpoint folder.

    Args:
        location: A checkpoint folder, or an MLflow URI (models:/name/1, runs:/<id>/model).
        device: See `choose_device`.
        precision: See `Model`.
        static_threshold: See `Model`.
        batch_frames: See `Model`.
        reader: See `Model`.

    Raises:
        InputError: There is no labeller, the device is absent or cannot compute with the precision, or decord or OpenCV
            is asked for with a model of ready features.
    """
    folder = find_checkpoint(location)
    checkpoint = load_checkpoint(folder, device=choose_device(device))
    if checkpoint.frame_encoder is None and scaling_reader(reader) != "pyav":
        raise InputError(f"{location}: was trained on ready features, which no reader decodes: leave out {reader!r}")
    model = Model(checkpoint, precision, find_exports(location), static_threshold, batch_frames, reader)
    model.runtime  # noqa: B018  opened now, so that an error comes before there is work to lose
    return model
