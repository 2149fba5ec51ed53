"""A trained labeller as a folder: weights, classes, preprocessing and settings, all that is needed to label a video.

`checkpoint.json` describes the model and names the run that made it; `weights.safetensors` contains its tensors and
nothing else. A folder whose parts do not fit together is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import nn

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segment_model import SegmentModel
from pipeline.checkpoints.encoder import EncoderSpec, FrameEncoder, rebuild_encoder
from pipeline.checkpoints.storage import (
    SPEC,
    Lineage,
    add_weights,
    check_num_weights,
    load_weights,
    read_spec,
    save_spec,
    save_weights,
)
from pipeline.config.labeller import LabellerSettings
from pipeline.config.section import FrameRate, Section, SegmentFrames
from pipeline.errors import InputError
from pipeline.models.encoders.encoder import Encoder
from pipeline.models.labeller import Labeller, least_num_weights
from pipeline.models.novelty import MAX_DIRECTIONS, MAX_READ_FEATURES, Novelty

MAX_FEATURES = 10_000_000
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0  # training finds none below 0.05 or above 20
CurveWeight = Annotated[float, Field(ge=0, le=1000)]
CurveShift = Annotated[float, Field(ge=-1000, le=1000)]


# Fields that are not written where they are None: checkpoints from before they existed keep their fingerprints.
OPTIONAL = ("groups", "decisions", "frame_rate", "segments", "confidence", "novelty")
# Settings that are written only where they differ: labels that were made before there was a choice stay up to date.
USUAL = {"decoding": "merge", "look_ahead": 0, "map_filters": None}


class Decision(Section):
    """How the probability of a class becomes its label, where classes overlap: see `postprocessing.decisions`.

    Attributes:
        threshold: The class is on from this probability.
        min_segment_frames: The length of its shortest bout in frames. The shortest gap between bouts of a group, in
            which it has none of its classes, is as long as the smallest of its classes' values: the same value for a
            class that is alone in its group.
        temperature: The temperature of its probability, the same for all classes of a group.
    """

    threshold: float = Field(default=0.5, ge=0, le=1)
    min_segment_frames: SegmentFrames = 1
    temperature: float = Field(default=1.0, ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)


class NoveltySpec(Section):
    """How the distance of a frame to the training frames is measured: see `models.novelty`.

    Attributes:
        num_read: The number of features of a frame that are read.
        num_directions: The number of directions onto which they are projected.
        limit: The distance of a frame whose novelty is 1.
    """

    num_read: int = Field(ge=1, le=MAX_READ_FEATURES)
    num_directions: int = Field(ge=1, le=MAX_DIRECTIONS)
    limit: float = Field(gt=0, allow_inf_nan=False)


class CheckpointSpec(Section):
    """The content of a labeller's checkpoint.json.

    Attributes:
        format: The version of the layout.
        kind: The kind of the model.
        classes: The names of the classes in the order of their indices.
        background: The background class; None where there is none.
        groups: The name of the group of each class, where classes overlap; None where they are exclusive.
        decisions: How each class is decided, by its name, where classes overlap; None where they are exclusive, or
            where all are decided at the threshold 0.5 with the labeller's `min_segment_frames`.
        num_features: The number of features per frame that the labeller reads.
        encoder: The encoder without its weights; None for a model that was trained on ready features.
        labeller: The settings of the labeller.
        frame_rate: How many frames per second it was trained on, see `choose_frames`; None: on every frame.
        temperature: The temperature of the probabilities of exclusive classes, see `postprocessing.temperature`; 1
            where there was no validation split.
        segments: The segments that the labels of exclusive classes are decoded with, see `postprocessing.viterbi`; None
            where `labeller.decoding` is merge.
        confidence: The curve that makes of the probability of a label how often such labels are right, where classes
            are exclusive, see `postprocessing.confidence`; None changes nothing, as where there was no validation
            split.
        novelty: How unlike the training frames a frame is; None where that is not known.
        lineage: The origin of the model.
    """

    format: Literal[1] = 1
    kind: Literal["labeller"] = "labeller"
    classes: tuple[str, ...] = Field(min_length=1)
    background: str | None
    groups: tuple[str, ...] | None = None
    decisions: dict[str, Decision] | None = None
    num_features: int = Field(ge=1, le=MAX_FEATURES)
    encoder: EncoderSpec | None
    labeller: LabellerSettings
    frame_rate: FrameRate | None = None
    temperature: float = Field(default=1.0, ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)
    segments: SegmentModel | None = None
    confidence: tuple[CurveWeight, CurveWeight, CurveShift] | None = None
    novelty: NoveltySpec | None = None
    lineage: Lineage

    @model_validator(mode="after")
    def _names_are_consistent(self) -> Self:
        if self.groups is not None and len(self.groups) != len(self.classes):
            raise ValueError(f"groups: got {len(self.groups)}, expected one for each of {len(self.classes)} classes")
        space = self.label_space  # it refuses inconsistent names
        if self.decisions is None:
            return self
        if space.is_exclusive:
            raise ValueError("decisions: got some, expected none: the classes exclude each other")
        if set(self.decisions) != set(self.classes):
            raise ValueError(f"decisions: got {', '.join(self.decisions)}, expected {', '.join(self.classes)}")
        for members in space.group_members:
            temperatures = {self.decisions[self.classes[index]].temperature for index in members}
            if len(temperatures) > 1:
                names = ", ".join(self.classes[index] for index in members)
                raise ValueError(f"decisions: got several temperatures for the group of {names}, expected one")
        return self

    @model_validator(mode="after")
    def _frames_have_a_rate(self) -> Self:
        if self.encoder is None and self.frame_rate is not None:
            raise ValueError(f"frame_rate: got {self.frame_rate:g}, expected none: ready features have no times")
        return self

    @model_validator(mode="after")
    def _lengths_are_in_frames(self) -> Self:
        if "auto" in (self.labeller.min_segment_frames, self.labeller.pool_frames):
            raise ValueError("min_segment_frames and pool_frames of a trained labeller are numbers, got auto")
        return self

    @model_validator(mode="after")
    def _segments_are_those_of_the_classes(self) -> Self:
        if self.labeller.decoding != ("merge" if self.segments is None else "viterbi"):
            got = "no segments" if self.segments is None else "segments"
            raise ValueError(
                f"got decoding {self.labeller.decoding} and {got}, expected viterbi with segments, or merge without"
            )
        if self.segments is not None and self.segments.num_classes != len(self.classes):
            raise ValueError(f"segments: got {self.segments.num_classes} classes, expected {len(self.classes)}")
        for name, found in (("segments", self.segments), ("confidence", self.confidence)):
            if found is not None and not self.label_space.is_exclusive:
                raise ValueError(f"{name}: got some, expected none: the classes overlap")
        return self

    @property
    def label_space(self) -> LabelSpace:
        """The classes of its labels."""
        return LabelSpace(self.classes, self.background, self.groups)

    @property
    def class_decisions(self) -> tuple[Decision, ...]:
        """How each class is decided, in the order of the classes, where they overlap."""
        default = Decision(min_segment_frames=self.min_segment_frames)
        return tuple((self.decisions or {}).get(name, default) for name in self.classes)

    @model_serializer(mode="wrap")
    def _without_what_it_lacks(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = serialize(self)
        for name, usual in USUAL.items():
            if fields["labeller"][name] == usual:
                del fields["labeller"][name]
        return {name: value for name, value in fields.items() if value is not None or name not in OPTIONAL}

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
        novelty: How unlike the training frames a frame is; None where the checkpoint does not have it.
    """

    spec: CheckpointSpec
    labeller: Labeller
    frame_encoder: FrameEncoder | None
    novelty: Novelty | None = None


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


def set_tuned(
    folder: Path,
    *,
    temperature: float,
    min_segment_frames: int | None,
    segments: SegmentModel | None = None,
    confidence: tuple[float, float, float] | None = None,
) -> None:
    """Write the values that were fitted after training into a labeller's checkpoint.json.

    Args:
        folder: The checkpoint.
        temperature: The temperature of the probabilities.
        min_segment_frames: The minimum length of a segment, in frames; None leaves the value that is there.
        segments: The segments to decode with; None leaves the decoding that is there.
        confidence: The curve of the probabilities of labels; None changes none of them.

    Raises:
        InputError: The folder does not contain the checkpoint.json of a labeller.
    """
    spec = read_spec(folder, CheckpointSpec, kind="labeller")
    labeller = spec.labeller
    if segments is not None:
        labeller = labeller.model_copy(update={"decoding": "viterbi"})
        spec = spec.model_copy(update={"segments": segments})
    if min_segment_frames is not None:
        labeller = labeller.model_copy(update={"min_segment_frames": min_segment_frames})
    spec = spec.model_copy(update={"temperature": temperature, "confidence": confidence, "labeller": labeller})
    save_spec(folder, spec)


def set_decisions(folder: Path, decisions: Mapping[str, Decision]) -> None:
    """Write the decisions that were fitted after training into a labeller's checkpoint.json, where classes overlap.

    Args:
        folder: The checkpoint.
        decisions: How each class is decided, by its name.

    Raises:
        InputError: The folder does not contain the checkpoint.json of a labeller.
    """
    spec = read_spec(folder, CheckpointSpec, kind="labeller")
    save_spec(folder, spec.model_copy(update={"decisions": dict(decisions)}))


def set_novelty(folder: Path, novelty: Novelty, limit: float) -> None:
    """Write how unlike the training frames a frame is into a labeller's checkpoint.

    Args:
        folder: The checkpoint.
        novelty: The distance of a frame to the training frames.
        limit: The distance of a frame whose novelty is 1.

    Raises:
        InputError: The folder does not contain the checkpoint of a labeller.
    """
    spec = read_spec(folder, CheckpointSpec, kind="labeller")
    add_weights(folder, {"novelty": novelty})  # before checkpoint.json says that they are there
    described = NoveltySpec(num_read=len(novelty.mean), num_directions=novelty.num_directions, limit=limit)
    save_spec(folder, spec.model_copy(update={"novelty": described}))


def make_labeller(
    settings: LabellerSettings,
    label_space: LabelSpace,
    *,
    num_features: int,
    grid: int = 1,
    feature_noise: float = 0.0,
    feature_dropout: float = 0.0,
) -> Labeller:
    """Make an untrained labeller for a label space.

    Args:
        settings: The settings of the labeller.
        label_space: The classes that it distinguishes.
        num_features: See `Labeller`.
        grid: See `Labeller`.
        feature_noise: See `Labeller`.
        feature_dropout: See `Labeller`.
    """
    return Labeller(
        settings,
        num_features=num_features,
        num_classes=label_space.num_classes,
        grid=grid,
        groups=None if label_space.is_exclusive else label_space.group_members,
        feature_noise=feature_noise,
        feature_dropout=feature_dropout,
    )


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
    grid = spec.encoder.grid if spec.encoder else 1
    described = least_num_weights(spec.labeller, num_features=spec.num_features, num_classes=num_classes, grid=grid)
    check_num_weights(folder, "labeller", described)
    labeller = make_labeller(spec.labeller, spec.label_space, num_features=spec.num_features, grid=grid)
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
    if spec.novelty:
        num_read, num_directions = spec.novelty.num_read, spec.novelty.num_directions
        check_num_weights(folder, "novelty", num_read * num_directions)
        modules["novelty"] = Novelty(spec.num_features, num_read, num_directions)
    load_weights(folder, modules)
    for module in modules.values():
        module.to(device).eval()
    return Checkpoint(spec, labeller, frame_encoder, _checked_novelty(modules.get("novelty"), folder))


def _checked_novelty(novelty: nn.Module | None, folder: Path) -> Novelty | None:
    """Return the same, unless it reads features that a frame does not have."""
    assert novelty is None or isinstance(novelty, Novelty)
    if novelty is not None and not bool(((novelty.chosen >= 0) & (novelty.chosen < novelty.num_features)).all()):
        raise InputError(f"{folder}: its novelty reads features that its frames do not have: was it changed?")
    return novelty
