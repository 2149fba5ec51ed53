"""A trained labeller that is ready to label videos."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from pipeline.checkpoints.labeller import Checkpoint, CheckpointSpec, load_checkpoint
from pipeline.encoding.device import choose_device
from pipeline.encoding.runtime import open_runtime
from pipeline.encoding.types import BATCH_FRAMES, Precision, Runtime
from pipeline.errors import InputError
from pipeline.labelling.averaging import check_alike, spec_of_average
from pipeline.labelling.location import find_checkpoint, find_exports
from pipeline.video.frame_choice import describe_rate, find_rate_fault
from pipeline.video.types import Backend, scaling_of, scaling_reader


@dataclass(frozen=True)
class Model:
    """A checkpoint that is ready to label videos, with the settings of its encoder; or several that label together.

    Attributes:
        checkpoint: The labeller, and its encoder where it takes frames. Of several, that of the first one, with the
            settings by which their average is decided.
        precision: The precision of the encoder, see `open_runtime`.
        exports: The folder where the encoder, exported for a CPU, is kept. None: it is exported again each time.
        static_threshold: The difference in grey levels up to which a frame shows nothing new and is not encoded, see
            `encode_video`. None: all frames are encoded.
        batch_frames: The number of frames that the encoder takes together, see `open_runtime`. It changes no label.
        reader: What decodes the videos, see `open_scaled`.
        asked_rate: The rate that `at_rate` was asked for; None: the rate of the checkpoint.
        members: The models whose probabilities are averaged; none where one labels alone.
    """

    checkpoint: Checkpoint
    precision: Precision = "full"
    exports: Path | None = None
    static_threshold: float | None = None
    batch_frames: int = BATCH_FRAMES
    reader: Backend = "auto"
    asked_rate: float | None = None
    members: tuple["Model", ...] = ()

    @property
    def spec(self) -> CheckpointSpec:
        """The settings of the checkpoint."""
        return self.checkpoint.spec

    @property
    def device(self) -> torch.device:
        """The device of the labeller."""
        return self.checkpoint.labeller.classifier.weight.device

    @cached_property
    def by_encoder(self) -> tuple[tuple["Model", ...], ...]:
        """The models that label together, those with the same encoder in one group, whose first one encodes for all."""
        groups: dict[str, list[Model]] = {}
        for member in self.members or (self,):
            frame_encoder = member.checkpoint.frame_encoder
            groups.setdefault(frame_encoder.fingerprint() if frame_encoder else "", []).append(member)
        return tuple(map(tuple, groups.values()))

    @property
    def sees_videos(self) -> bool:
        """Whether the model takes videos, and not ready features. No encoder is opened to find that out."""
        return self.checkpoint.frame_encoder is not None

    @cached_property
    def runtime(self) -> Runtime | None:
        """The encoder, opened at the first use; None where the model takes ready features."""
        if self.members:
            return self.members[0].runtime
        frame_encoder = self.checkpoint.frame_encoder
        if frame_encoder is None:
            return None
        return open_runtime(
            frame_encoder, precision=self.precision, exports=self.exports, batch_frames=self.batch_frames
        )

    @property
    def frame_rate(self) -> float | None:
        """How many frames per second are encoded, see `choose_frames`; None: every frame."""
        return self.spec.frame_rate if self.asked_rate is None else self.asked_rate

    def at_rate(self, frame_rate: float | None) -> "Model":
        """Return this model for videos of which another number of frames per second is encoded.

        The encoder that is open serves both.

        Args:
            frame_rate: In frames per second; one above that of a video encodes every frame. None changes nothing.

        Raises:
            InputError: The rate is not one, or the model takes ready features.
        """
        if frame_rate is None:
            return self
        if fault := find_rate_fault(frame_rate):
            raise InputError(f"frame rate: {fault}")
        if not self.sees_videos:
            raise InputError(
                f"frame rate: got {frame_rate:g}, expected none: the model was trained on ready features, which have no"
                " times"
            )
        model = replace(self, asked_rate=frame_rate)
        if "runtime" in self.__dict__:  # a cached property, which took seconds to open
            model.__dict__["runtime"] = self.runtime
        return model

    def describe_other_rate(self) -> str | None:
        """Say what it means that another number of frames per second was asked for; None where none was."""
        if self.frame_rate == self.spec.frame_rate:
            return None
        return (
            f"the model was trained on {describe_rate(self.spec.frame_rate)}, and now sees"
            f" {describe_rate(self.frame_rate)}: to a network with memory everything looks faster or slower than what"
            " it learnt, and its lengths (the shortest segment, for example) count the frames that it sees; compare"
            " some labels with what you know"
        )

    @cached_property
    def fingerprint(self) -> str:
        """The hex digest over everything that decides which labels a video gets."""
        if self.members:
            together = " ".join(replace(member, asked_rate=self.asked_rate).fingerprint for member in self.members)
            return hashlib.sha256(together.encode()).hexdigest()[:16]
        digest = hashlib.sha256(f"{self.spec.model_dump_json()} {self.precision} {self.static_threshold}".encode())
        if scaling_reader(self.reader) != "pyav":  # labels that were made before there was a choice stay up to date
            digest.update(scaling_of(self.reader).encode())
        if self.frame_rate != self.spec.frame_rate:
            digest.update(f"frame rate {self.frame_rate}".encode())
        if self.checkpoint.frame_encoder:
            digest.update(self.checkpoint.frame_encoder.fingerprint().encode())
        for name, tensor in self.checkpoint.labeller.state_dict().items():
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]


def load_model(
    location: str | Sequence[str],
    *,
    device: str,
    precision: Precision = "full",
    static_threshold: float | None = None,
    batch_frames: int = BATCH_FRAMES,
    reader: Backend = "auto",
    opens_encoders: bool = True,
) -> Model:
    """Load a labeller, or several that label together, and open their encoders.

    For a CPU the encoder is exported at the first use, and the export is kept beside the checkpoint folder.

    Args:
        location: A checkpoint folder, or an MLflow URI (models:/name/1, runs:/<id>/model). Of several, the
            probabilities are averaged, and the first one says how they are decided.
        device: See `choose_device`.
        precision: See `Model`.
        static_threshold: See `Model`.
        batch_frames: See `Model`.
        reader: See `Model`.
        opens_encoders: Whether the encoders are opened now. Otherwise they are at the first use: a caller that has the
            model used elsewhere needs half a gigabyte less.

    Raises:
        InputError: No location is given, there is no labeller, the device is absent or cannot compute with the
            precision, decord or OpenCV is asked for with a model of ready features, or the models cannot label
            together, see `check_alike`.
    """
    locations = [location] if isinstance(location, str) else location
    if not locations:
        raise InputError("got no model, expected at least one")
    members = tuple(_read_model(each, device, precision, static_threshold, batch_frames, reader) for each in locations)
    model = members[0]
    if len(members) > 1:
        check_alike([member.spec for member in members], locations)
        checkpoint = replace(model.checkpoint, spec=spec_of_average(model.spec))
        model = replace(model, checkpoint=checkpoint, members=members)
    for first, *_ in model.by_encoder if opens_encoders else ():
        first.runtime  # noqa: B018  opened now, so that an error comes before there is work to lose
    return model


def _read_model(
    location: str,
    device: str,
    precision: Precision,
    static_threshold: float | None,
    batch_frames: int,
    reader: Backend,
) -> Model:
    folder = find_checkpoint(location)
    checkpoint = load_checkpoint(folder, device=choose_device(device))
    if reader == "nvdec" and checkpoint.frame_encoder is not None and checkpoint.frame_encoder.device.type != "cuda":
        raise InputError(
            "reader nvdec decodes on the GPU of the labeller, which computes on a CPU here: use reader auto, or device"
            " cuda on a machine with an NVIDIA GPU"
        )
    if checkpoint.frame_encoder is None and scaling_reader(reader) != "pyav":
        raise InputError(f"{location}: was trained on ready features, which no reader decodes: leave out {reader!r}")
    return Model(checkpoint, precision, find_exports(location), static_threshold, batch_frames, reader)
