"""A trained model as a folder: weights, classes, preprocessing and settings, enough to label a video anywhere.

`checkpoint.json` says what the model is and which run made it; `weights.safetensors` holds its tensors, nothing else.
A folder whose parts do not fit together is refused.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self, TypeVar

import torch
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from pipeline.config import Labeller as LabellerSettings
from pipeline.config import Pixels, Section
from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.models.encoder import BatchNormMode, Encoder, build_encoder
from pipeline.models.labeller import Labeller
from pipeline.video.preprocess import Preprocess

SPEC, ENCODER_SPEC, WEIGHTS = "checkpoint.json", "encoder.json", "weights.safetensors"
SpecType = TypeVar("SpecType", bound=Section)


class PreprocessSpec(Section):
    """The fields of Preprocess."""

    size: tuple[int, int]
    crop: tuple[float, float, float, float] | None
    crop_unit: Literal["pixels", "fractions"]
    color: Literal["rgb", "grey"]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class EncoderSpec(Section):
    """What rebuilds an encoder around its weights, and the frames that it expects."""

    name: str
    grid: PositiveInt
    stride: PositiveInt | None = None  # checkpoints from before there was a choice do not name it
    batch_norm: BatchNormMode
    batch_size: PositiveInt
    preprocess: PreprocessSpec


class Lineage(Section):
    """Where a model comes from."""

    run_id: str
    git_commit: str
    data_fingerprint: str
    dvc_experiment: str | None


class CheckpointSpec(Section):
    """All of a labeller's checkpoint.json. `encoder` is None for a model trained on ready features."""

    format: Literal[1] = 1
    kind: Literal["labeller"] = "labeller"
    classes: tuple[str, ...] = Field(min_length=1)
    background: str | None
    num_features: PositiveInt
    encoder: EncoderSpec | None
    labeller: LabellerSettings
    # Of the probabilities, see labels.temperature; 1 where there was no validation split.
    temperature: PositiveFloat = 1.0
    lineage: Lineage

    @model_validator(mode="after")
    def _names_are_consistent(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class is listed twice")
        if self.background is not None and self.background not in self.classes:
            raise ValueError(f"background {self.background!r} is no class")
        return self

    @model_validator(mode="after")
    def _lengths_are_in_frames(self) -> Self:
        if "auto" in (self.labeller.min_segment_frames, self.labeller.pool_frames):
            raise ValueError("min_segment_frames and pool_frames of a trained labeller are numbers, got auto")
        return self

    @property
    def min_segment_frames(self) -> int:
        """Of the labels that it gives; training has made a number of `auto`."""
        assert self.labeller.min_segment_frames != "auto", "refused when it was read"
        return self.labeller.min_segment_frames


@dataclass(frozen=True)
class FrameEncoder:
    """An encoder with the preprocessing of its frames: pixels -> features."""

    spec: EncoderSpec
    encoder: Encoder

    @property
    def preprocess(self) -> Preprocess:
        return Preprocess(**self.spec.preprocess.model_dump())

    def fingerprint(self) -> str:
        """Hex digest over everything that decides what features come out of a given frame."""
        text = self.encoder.fingerprint() + self.spec.preprocess.model_dump_json()
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Checkpoint:
    """A model ready to label: in eval mode, on its device."""

    spec: CheckpointSpec
    labeller: Labeller
    frames: FrameEncoder | None


def make_labeller(
    settings: LabellerSettings,
    *,
    num_features: int,
    num_classes: int,
    feature_noise: float = 0.0,
    feature_dropout: float = 0.0,
) -> Labeller:
    """The labeller that the settings describe, with lengths in frames, freshly initialised.

    The noise and the dropout of features are those of training, and no part of a checkpoint.
    """
    assert settings.pool_frames != "auto", "training makes a number of it"
    return Labeller(
        num_features,
        num_classes,
        cell=settings.cell,
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        bidirectional=settings.bidirectional,
        dropout=settings.dropout,
        head=settings.head,
        inputs=settings.inputs,
        delta_frames=settings.delta_frames,
        normalize=settings.normalize,
        pool_frames=settings.pool_frames,
        recurrent_init=settings.recurrent_init,
        feature_noise=feature_noise,
        feature_dropout=feature_dropout,
    )


def make_frame_encoder(
    name: str,
    *,
    weights: str | None,
    grid: int,
    stride: int | None = None,
    batch_norm: BatchNormMode,
    batch_size: int,
    pixels: Pixels,
) -> FrameEncoder:
    """The encoder of `build_encoder`, with the preprocessing that `pixels` asks for; as seeded where it is random."""
    encoder = build_encoder(name, weights=weights, grid=grid, stride=stride, batch_norm=batch_norm)
    preprocess = Preprocess(
        size=pixels.size or encoder.size,
        crop=pixels.crop,
        crop_unit=pixels.crop_unit,
        color=pixels.color,
        mean=encoder.mean,
        std=encoder.std,
    )
    encoder.check_size(*preprocess.size)
    preprocessing = PreprocessSpec(**asdict(preprocess))
    spec = EncoderSpec(
        name=name,
        grid=grid,
        stride=stride,
        batch_norm=batch_norm,
        batch_size=batch_size,
        preprocess=preprocessing,
    )
    return FrameEncoder(spec, encoder.eval())


def save_checkpoint(folder: Path, spec: CheckpointSpec, labeller: Labeller, encoder: Encoder | None) -> None:
    """Write weights, then checkpoint.json, each whole or not at all."""
    save_weights(folder, {"labeller": labeller} | ({"encoder": encoder} if encoder else {}))
    save_spec(folder, spec)


def save_spec(folder: Path, spec: Section) -> None:
    """Write checkpoint.json, whole or not at all."""
    with replacing(folder / SPEC) as path:
        path.write_text(spec.model_dump_json(indent=1) + "\n")


def set_tuned(folder: Path, *, temperature: float, min_segment_frames: int | None) -> None:
    """Write into a labeller's checkpoint.json what was fitted after training; None leaves what is there."""
    spec = read_spec(folder, CheckpointSpec, kind="labeller")
    labeller = spec.labeller
    if min_segment_frames is not None:
        labeller = labeller.model_copy(update={"min_segment_frames": min_segment_frames})
    spec = spec.model_copy(update={"temperature": temperature, "labeller": labeller})
    save_spec(folder, spec)


def load_checkpoint(folder: Path, *, device: torch.device, classes: tuple[str, ...] | None = None) -> Checkpoint:
    """Read a checkpoint. `classes`: those that the caller's data has.

    Raises InputError where the folder is no whole checkpoint, its parts do not fit, or its classes are others.
    """
    spec = read_spec(folder, CheckpointSpec, kind="labeller")
    if classes is not None and classes != spec.classes:
        raise InputError(f"{folder}: {_describe_class_change(spec.classes, classes)}")
    labeller = make_labeller(spec.labeller, num_features=spec.num_features, num_classes=len(spec.classes))
    modules: dict[str, nn.Module] = {"labeller": labeller}
    frames = None
    if spec.encoder:
        frames = rebuild_encoder(spec.encoder, folder / SPEC)
        if frames.encoder.num_features != spec.num_features:
            raise InputError(
                f"{folder / SPEC}: its encoder gives {frames.encoder.num_features} features a frame, its labeller"
                f" takes {spec.num_features}: was one of them changed?"
            )
        modules["encoder"] = frames.encoder
    load_weights(folder, modules)
    for module in modules.values():
        module.to(device).eval()
    return Checkpoint(spec, labeller, frames)


def save_encoder(folder: Path, frames: FrameEncoder | None) -> None:
    """Write an encoder without a labeller; None (ready features) is written too, as `null`."""
    if frames:
        save_weights(folder, {"encoder": frames.encoder})
    with replacing(folder / ENCODER_SPEC) as path:
        path.write_text((frames.spec.model_dump_json(indent=1) if frames else "null") + "\n")


def load_encoder(folder: Path) -> FrameEncoder | None:
    """Read what `save_encoder` wrote, in eval mode. Raises InputError where it is missing, broken or does not fit."""
    text = _read_text(folder / ENCODER_SPEC, missing=f"{folder}: holds no encoder: make one with `dvc repro`")
    if text.strip() == "null":
        return None
    frames = rebuild_encoder(_parse_spec(EncoderSpec, text, folder / ENCODER_SPEC), folder / ENCODER_SPEC)
    load_weights(folder, {"encoder": frames.encoder})
    frames.encoder.eval()
    return frames


def read_spec(folder: Path, spec: type[SpecType], *, kind: str) -> SpecType:
    """The checkpoint.json of a model of this kind. InputError where there is none, or it is of another kind."""
    text = _read_spec_text(folder)
    found = _kind(text)
    if found not in (None, kind):
        raise InputError(f"{folder}: holds a {found}, expected a {kind}: was another model meant?")
    return _parse_spec(spec, text, folder / SPEC)


def read_kind(folder: Path) -> str:
    """What kind of model a checkpoint holds, "labeller" or "captioner". InputError where the folder is none.

    A broken one counts as a labeller: whoever loads it tells what is wrong with it.
    """
    return _kind(_read_spec_text(folder)) or "labeller"


def _read_spec_text(folder: Path) -> str:
    missing = f"{folder}: is no checkpoint, it has no {SPEC}: train one with `dvc repro`"
    return _read_text(folder / SPEC, missing=missing if folder.exists() else f"{folder}: no such folder")


def _kind(text: str) -> str | None:
    """What kind of model a checkpoint.json is of; None where it is broken.

    One that does not say is from before there were captioners.
    """
    try:
        fields = json.loads(text)
    except json.JSONDecodeError:
        return None
    return fields.get("kind", "labeller") if isinstance(fields, dict) else None


def _read_text(path: Path, *, missing: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(missing) from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text: was it overwritten, or cut short?") from None


def _parse_spec(kind: type[SpecType], text: str, path: Path) -> SpecType:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors()]
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InputError(f"{path}: is not of this version, or was changed: {'; '.join(problems[:3])}{more}") from None


def rebuild_encoder(spec: EncoderSpec, path: Path) -> FrameEncoder:
    """The encoder without its weights, which the caller loads; `path` is where the spec was read."""
    try:
        encoder = build_encoder(spec.name, weights=None, grid=spec.grid, stride=spec.stride, batch_norm=spec.batch_norm)
        frames = FrameEncoder(spec, encoder)
        encoder.check_size(*frames.preprocess.size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return frames


def save_weights(folder: Path, modules: dict[str, nn.Module]) -> None:
    """Write the tensors of several modules into one file, each name prefixed with its module's."""
    tensors = {
        f"{prefix}.{name}": tensor.detach().cpu().contiguous()
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    with replacing(folder / WEIGHTS) as path:
        path.write_bytes(save(tensors))  # safetensors' own save_file makes files that only their owner can read


def load_weights(folder: Path, modules: dict[str, nn.Module]) -> None:
    """Load what `save_weights` wrote, strictly; tensors of modules that are not asked for are passed over.

    Raises InputError where the file is missing, broken or does not fit.
    """
    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: is missing: the checkpoint is not whole") from None
    except SafetensorError as error:
        raise InputError(f"{path}: cannot be read ({error}): was it cut short?") from None
    expected = {
        f"{prefix}.{name}": tensor for prefix, module in modules.items() for name, tensor in module.state_dict().items()
    }
    problems = [f"{name} is missing" for name in expected if name not in tensors]
    strays = [name for name in tensors if name not in expected and name.split(".")[0] in modules]
    problems += [f"{name} is no part of the model" for name in strays]
    for name in expected.keys() & tensors.keys():
        if tensors[name].shape != expected[name].shape:
            problems.append(f"{name} has shape {list(tensors[name].shape)}, expected {list(expected[name].shape)}")
        elif not tensors[name].isfinite().all():
            problems.append(f"{name} holds NaN or infinity")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        shown = "; ".join(sorted(problems)[:3])
        raise InputError(f"{path}: does not fit the model that is described beside it: {shown}{more}")
    for prefix, module in modules.items():
        start = f"{prefix}."
        module.load_state_dict({name.removeprefix(start): tensors[name] for name in expected if name.startswith(start)})


def _describe_class_change(had: tuple[str, ...], got: tuple[str, ...]) -> str:
    missing, new = [c for c in had if c not in got], [c for c in got if c not in had]
    parts = [f"the data lacks {', '.join(missing)}"] * bool(missing) + [f"the data adds {', '.join(new)}"] * bool(new)
    change = "; ".join(parts) or "the order differs"
    return f"was trained on another class list ({len(had)} classes, the data has {len(got)}): {change}"
