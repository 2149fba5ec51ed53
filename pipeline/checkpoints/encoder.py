"""An encoder with its preprocessing: its description in a checkpoint, and functions to make, save and load it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pipeline.checkpoints.storage import (
    ENCODER_SPEC,
    check_num_weights,
    count_weights,
    load_weights,
    parse_spec,
    read_text,
    save_weights,
)
from pipeline.config.data import Pixels
from pipeline.config.section import BatchSize, Edge, Grid, Section, Side, Stride
from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.models.encoders.building import build_encoder, is_known
from pipeline.models.encoders.efficientnet_lite import LITES
from pipeline.models.encoders.encoder import BatchNormMode, Encoder
from pipeline.models.encoders.small_cnn import SMALL_CNN
from pipeline.models.encoders.timm_networks import PREFIX, timm_num_weights
from pipeline.video.preprocess import Preprocess

SMALL_ENCODER = 2_000_000  # weights, which are built in no time


# Pixels have values from 0 to 1. An encoder that takes values from 0 to 255 has a std of 1/255.
Mean = Annotated[float, Field(ge=-1000, le=1000)]
Std = Annotated[float, Field(ge=1e-6, le=1000)]


class PreprocessSpec(Section):
    """The fields of `Preprocess`, which documents them."""

    size: tuple[Side, Side]
    crop: tuple[Edge, Edge, Edge, Edge] | None
    crop_unit: Literal["pixels", "fractions"]
    color: Literal["rgb", "grey"]
    mean: tuple[Mean, Mean, Mean]
    std: tuple[Std, Std, Std]
    follow_motion: bool = False

    @model_serializer(mode="wrap")
    def _without_what_it_lacks(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = serialize(self)
        if not self.follow_motion:  # labels that were made before there was a choice stay up to date
            del fields["follow_motion"]
        return fields


class EncoderSpec(Section):
    """The description of an encoder, from which it is rebuilt around its weights, and of the frames that it expects.

    Attributes:
        name: See `build_encoder`, as for `grid`, `stride` and `batch_norm`.
        grid: See `build_encoder`.
        stride: See `build_encoder`.
        last_stage: See `build_encoder`.
        batch_norm: See `build_encoder`.
        batch_size: The number of frames or images in a batch.
        preprocess: The preprocessing of the frames.
    """

    name: str
    grid: Grid
    stride: Stride | None = None  # older checkpoints, written before there was a choice, do not name it
    last_stage: str | None = None
    batch_norm: BatchNormMode
    batch_size: BatchSize
    preprocess: PreprocessSpec

    @model_validator(mode="after")
    def _one_cut(self) -> Self:
        if self.stride is not None and self.last_stage is not None:
            raise ValueError(
                f"got stride {self.stride} and last_stage {self.last_stage!r}, expected one of them at most"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_it_lacks(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = serialize(self)
        if self.last_stage is None:  # labels that were made before there was a choice stay up to date
            del fields["last_stage"]
        return fields


@dataclass(frozen=True)
class FrameEncoder:
    """An encoder with the preprocessing of its frames: together they compute features from pixels.

    Attributes:
        spec: The description of both.
        encoder: The encoder.
    """

    spec: EncoderSpec
    encoder: Encoder

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing of the frames."""
        return Preprocess(**self.spec.preprocess.model_dump())

    @property
    def device(self) -> torch.device:
        """The device that computes."""
        return next(self.encoder.parameters()).device

    def fingerprint(self) -> str:
        """Return a hex digest over everything that determines the features of a given frame."""
        text = self.encoder.fingerprint() + self.spec.preprocess.model_dump_json()
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_frame_encoder(
    name: str,
    *,
    weights: str | None,
    grid: int,
    stride: int | None = None,
    last_stage: str | None = None,
    batch_norm: BatchNormMode,
    batch_size: int,
    pixels: Pixels,
    follow_motion: bool = False,
) -> FrameEncoder:
    """Make the encoder of `build_encoder`, with the preprocessing that the settings describe.

    Torch's random state determines random weights.

    Args:
        name: See `build_encoder`.
        weights: See `build_encoder`.
        grid: See `build_encoder`.
        stride: See `build_encoder`.
        last_stage: See `build_encoder`.
        batch_norm: See `build_encoder`.
        batch_size: The number of frames or images in a batch.
        pixels: The settings of the preprocessing.
        follow_motion: See `Region`. The size of `pixels` is then that of each half.

    Raises:
        InputError: See `build_encoder`; or the encoder does not accept frames of this size.
    """
    num_views = 2 if follow_motion else 1  # side by side
    encoder = build_encoder(
        name,
        weights=weights,
        grid=grid,
        stride=stride,
        last_stage=last_stage,
        batch_norm=batch_norm,
        size=None if pixels.size is None else (pixels.size[0], num_views * pixels.size[1]),
    )
    height, width = pixels.size or encoder.size
    preprocess = Preprocess(
        size=(height, num_views * width),
        crop=pixels.crop,
        crop_unit=pixels.crop_unit,
        color=pixels.color,
        mean=encoder.mean,
        std=encoder.std,
        follow_motion=follow_motion,
    )
    encoder.check_size(*preprocess.size)
    preprocessing = PreprocessSpec(**asdict(preprocess))
    spec = EncoderSpec(
        name=name,
        grid=grid,
        stride=stride,
        last_stage=last_stage,
        batch_norm=batch_norm,
        batch_size=batch_size,
        preprocess=preprocessing,
    )
    return FrameEncoder(spec, encoder.eval())


def save_encoder(folder: Path, frame_encoder: FrameEncoder | None) -> None:
    """Write an encoder without a labeller.

    Args:
        folder: The folder of the encoder.
        frame_encoder: The encoder; None, which means ready features, is written as `null`.
    """
    if frame_encoder:
        save_weights(folder, {"encoder": frame_encoder.encoder})
    with replacing(folder / ENCODER_SPEC) as path:
        path.write_text((frame_encoder.spec.model_dump_json(indent=1) if frame_encoder else "null") + "\n")


def load_encoder(folder: Path) -> FrameEncoder | None:
    """Read the encoder that `save_encoder` wrote.

    Returns:
        The encoder in eval mode; None for ready features.

    Raises:
        InputError: The encoder is missing or broken, or its parts do not fit together.
    """
    text = read_text(folder / ENCODER_SPEC, missing=f"{folder}: holds no encoder: make one with `dvc repro`")
    if text.strip() == "null":
        return None
    spec = parse_spec(EncoderSpec, text, folder / ENCODER_SPEC)
    frame_encoder = rebuild_encoder(spec, folder, ENCODER_SPEC)
    load_weights(folder, {"encoder": frame_encoder.encoder})
    frame_encoder.encoder.eval()
    return frame_encoder


def rebuild_encoder(spec: EncoderSpec, folder: Path, file: str) -> FrameEncoder:
    """Build an encoder with random weights; the caller loads its weights.

    Args:
        spec: The description of the encoder.
        folder: The checkpoint that has its weights.
        file: The name of the file in it that the description was read from, for messages.

    Raises:
        InputError: The description does not describe an encoder, or one that is larger than its weights.
    """
    with _naming(folder / file):
        num_published = _num_published_weights(spec.name)
    if num_published > 2 * count_weights(folder, "encoder") + SMALL_ENCODER:
        with _naming(folder / file):
            num_weights = _num_weights(spec)
        check_num_weights(folder, "encoder", num_weights)
    with _naming(folder / file):
        frame_encoder = FrameEncoder(spec, _build(spec))
        frame_encoder.encoder.check_size(*frame_encoder.preprocess.size)
    return frame_encoder


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in which the description of an encoder is wrong."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _build(spec: EncoderSpec) -> Encoder:
    return build_encoder(
        spec.name,
        weights=None,
        grid=spec.grid,
        stride=spec.stride,
        last_stage=spec.last_stage,
        batch_norm=spec.batch_norm,
        size=spec.preprocess.size,
    )


def _num_weights(spec: EncoderSpec) -> int:
    """Return how many weights an encoder has, without memory for them.

    That takes seconds, and is only done where the encoder is probably too large. Some networks (regnet) cannot be built
    so: they count as 0, and the largest takes 2.6 GB.
    """
    try:
        with torch.device("meta"):
            return sum(weight.numel() for weight in _build(spec).parameters())
    except NotImplementedError:
        return 0


def _num_published_weights(name: str) -> int:
    """Return how many weights a network of others has; 0 for our own, which are small, and an unknown name."""
    if name in (*LITES, SMALL_CNN) or not is_known(name):
        return 0
    if name.startswith(PREFIX):
        return timm_num_weights(name)
    import torchvision

    return torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
