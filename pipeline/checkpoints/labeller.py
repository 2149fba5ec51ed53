"""A trained labeller as a folder: weights, classes, preprocessing and settings, all that is needed to label a video.

`checkpoint.json` describes the model and names the run that made it; `weights.safetensors` contains its tensors and
nothing else. A folder whose parts do not fit together is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from pipeline.annotations.label_space import LabelSpace
from pipeline.checkpoints.encoder import EncoderSpec, FrameEncoder, rebuild_encoder
from pipeline.checkpoints.storage import (
    SPEC,
    Lineage,
    check_num_weights,
    load_weights,
    read_spec,
    save_spec,
    save_weights,
)
from pipeline.config import LabellerSettings, Section
from pipeline.errors import InputError
from pipeline.models.encoders.encoder import Encoder
from pipeline.models.labeller import Labeller, least_num_weights

MAX_FEATURES = 10_000_000
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0  # training finds none below 0.05 or above 20


class CheckpointSpec(Section):
    """The content of a labeller's checkpoint.json.

    Attributes:
        format: The version of the layout.
        kind: The kind of the model.
        classes: The names of the classes in the order of their indices.
        background: The background class; None where there is none.
        num_features: The number of features per frame that the labeller reads.
        encoder: The encoder without its weights; None for a model that was trained on ready features.
        labeller: The settings of the labeller.
        temperature: The temperature of the probabilities, see `postprocessing.temperature`; 1 where there was no
            validation split.
        lineage: The origin of the model.
    """

    format: Literal[1] = 1
    kind: Literal["labeller"] = "labeller"
    classes: tuple[str, ...] = Field(min_length=1)
    background: str | None
    num_features: int = Field(ge=1, le=MAX_FEATURES)
    encoder: EncoderSpec | None
    labeller: LabellerSettings
    temperature: float = Field(default=1.0, ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)
    lineage: Lineage

    @model_validator(mode="after")
    def _names_are_consistent(self) -> Self:
        LabelSpace(self.classes, self.background)  # it refuses inconsistent names
        return self

    @model_validator(mode="after")
    def _lengths_are_in_frames(self) -> Self:
        if "auto" in (self.labeller.min_segment_frames, self.labeller.pool_frames):
            raise ValueError("min_segment_frames and pool_frames of a trained labeller are numbers, got auto")
        return self

    @property
    def label_space(self) -> LabelSpace:
        """The classes of its labels."""
        return LabelSpace(self.classes, self.background)

    @property
    def min_segment_frames(self) -> int:
        """The minimum length of a segment, in frames; training has replaced `auto` by a number."""
        assert self.labeller.min_segment_frames != "auto", "refused when it was read"
        return self.labeller.min_segment_frames


@dataclass(frozen=True)
class Checkpoint:
    """A model that is ready to label: in eval mode, on its device.

    Attributes:
        spec: The content of checkpoint.json.
        labeller: The labeller.
        frame_encoder: The encoder with its preprocessing; None for a model that was trained on ready features.
    """

    spec: CheckpointSpec
    labeller: Labeller
    frame_encoder: FrameEncoder | None


def save_checkpoint(folder: Path, spec: CheckpointSpec, labeller: Labeller, encoder: Encoder | None) -> None:
    """Write the weights, then checkpoint.json, each completely or not at all.

    Args:
        folder: The checkpoint.
        spec: The content of checkpoint.json.
        labeller: The labeller.
        encoder: Its encoder; None for ready features.
    """
    save_weights(folder, {"labeller": labeller} | ({"encoder": encoder} if encoder else {}))
    save_spec(folder, spec)


def set_tuned(folder: Path, *, temperature: float, min_segment_frames: int | None) -> None:
    """Write the values that were fitted after training into a labeller's checkpoint.json.

    Args:
        folder: The checkpoint.
        temperature: The temperature of the probabilities.
        min_segment_frames: The minimum length of a segment, in frames; None leaves the value that is there.

    Raises:
        InputError: The folder does not contain the checkpoint.json of a labeller.
    """
    spec = read_spec(folder, CheckpointSpec, kind="labeller")
    labeller = spec.labeller
    if min_segment_frames is not None:
        labeller = labeller.model_copy(update={"min_segment_frames": min_segment_frames})
    spec = spec.model_copy(update={"temperature": temperature, "labeller": labeller})
    save_spec(folder, spec)


def load_checkpoint(folder: Path, *, device: torch.device, label_space: LabelSpace | None = None) -> Checkpoint:
    """Read a checkpoint.

    Args:
        folder: The checkpoint.
        device: The device of the model.
        label_space: The classes of the caller's data; None accepts a model of any classes.

    Raises:
        InputError: The folder does not contain a complete checkpoint of a labeller, its parts do not fit together, or
            its classes are not those of `label_space`.
    """
    spec = read_spec(folder, CheckpointSpec, kind="labeller")
    if label_space is not None and (change := spec.label_space.describe_change(label_space)):
        raise InputError(f"{folder}: {change}")
    num_classes = spec.label_space.num_classes
    described = least_num_weights(spec.labeller, num_features=spec.num_features, num_classes=num_classes)
    check_num_weights(folder, "labeller", described)
    labeller = Labeller(spec.labeller, num_features=spec.num_features, num_classes=num_classes)
    modules: dict[str, nn.Module] = {"labeller": labeller}
    frame_encoder = None
    if spec.encoder:
        frame_encoder = rebuild_encoder(spec.encoder, folder, SPEC)
        if frame_encoder.encoder.num_features != spec.num_features:
            raise InputError(
                f"{folder / SPEC}: its encoder gives {frame_encoder.encoder.num_features} features per frame, its"
                f" labeller takes {spec.num_features}: was one of them changed?"
            )
        modules["encoder"] = frame_encoder.encoder
    load_weights(folder, modules)
    for module in modules.values():
        module.to(device).eval()
    return Checkpoint(spec, labeller, frame_encoder)
