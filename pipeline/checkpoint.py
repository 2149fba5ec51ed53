"""A trained model as a folder: weights, classes, preprocessing and settings, enough to label a video anywhere.

`checkpoint.json` says what the model is and which run made it; `weights.safetensors` holds its tensors, nothing else.
A folder whose parts do not fit together is refused.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline.config import Labeller as LabellerSettings
from pipeline.config import Section
from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.models.encoder import Encoder, build_encoder
from pipeline.models.labeller import Labeller
from pipeline.video.preprocess import Preprocess

SPEC, ENCODER_SPEC, WEIGHTS = "checkpoint.json", "encoder.json", "weights.safetensors"


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
    grid: int
    batch_norm: Literal["frozen", "group_norm", "trained"]
    batch_size: int
    preprocess: PreprocessSpec


class Lineage(Section):
    """Where a model comes from."""

    run_id: str
    git_commit: str
    data_fingerprint: str
    dvc_experiment: str | None


class CheckpointSpec(Section):
    """All of checkpoint.json. `encoder` is None for a model trained on ready features."""

    format: Literal[1] = 1
    classes: tuple[str, ...]
    background: str | None
    num_features: int
    encoder: EncoderSpec | None
    labeller: LabellerSettings
    lineage: Lineage


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


def make_labeller(settings: LabellerSettings, *, num_features: int, num_classes: int) -> Labeller:
    """The labeller that the settings describe, freshly initialised."""
    return Labeller(
        num_features,
        num_classes,
        cell=settings.cell,
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        bidirectional=settings.bidirectional,
        dropout=settings.dropout,
        head=settings.head,
    )


def preprocess_spec(preprocess: Preprocess) -> PreprocessSpec:
    """A Preprocess as it is written."""
    return PreprocessSpec(**asdict(preprocess))


def save_checkpoint(folder: Path, spec: CheckpointSpec, labeller: Labeller, encoder: Encoder | None) -> None:
    """Write weights, then checkpoint.json, each whole or not at all."""
    save_weights(folder, {"labeller": labeller} | ({"encoder": encoder} if encoder else {}))
    with replacing(folder / SPEC) as path:
        path.write_text(spec.model_dump_json(indent=1) + "\n")


def load_checkpoint(folder: Path, *, device: torch.device, classes: tuple[str, ...] | None = None) -> Checkpoint:
    """Read a checkpoint. `classes`: those that the caller's data has.

    Raises InputError where the folder is no whole checkpoint, its parts do not fit, or its classes are others.
    """
    try:
        spec = CheckpointSpec.model_validate_json((folder / SPEC).read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder}: is no checkpoint, it has no {SPEC}: train one with `dvc repro`") from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{folder / SPEC}: is not a checkpoint of this version: {_first_line(error)}") from None
    if classes is not None and classes != spec.classes:
        raise InputError(f"{folder}: {_describe_class_change(spec.classes, classes)}")
    labeller = make_labeller(spec.labeller, num_features=spec.num_features, num_classes=len(spec.classes))
    modules: dict[str, nn.Module] = {"labeller": labeller}
    frames = None
    if spec.encoder:
        frames = FrameEncoder(spec.encoder, rebuild_encoder(spec.encoder))
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
    """Read what `save_encoder` wrote, in eval mode."""
    text = (folder / ENCODER_SPEC).read_text()
    if text.strip() == "null":
        return None
    spec = EncoderSpec.model_validate_json(text)
    frames = FrameEncoder(spec, rebuild_encoder(spec))
    load_weights(folder, {"encoder": frames.encoder})
    frames.encoder.eval()
    return frames


def rebuild_encoder(spec: EncoderSpec) -> Encoder:
    """The encoder without its weights, which the caller loads."""
    return build_encoder(spec.name, weights=None, grid=spec.grid, batch_norm=spec.batch_norm)


def save_weights(folder: Path, modules: dict[str, nn.Module]) -> None:
    """Write the tensors of several modules into one file, each name prefixed with its module's."""
    tensors = {
        f"{prefix}.{name}": tensor.detach().cpu().contiguous()
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    with replacing(folder / WEIGHTS) as path:
        save_file(tensors, path)


def load_weights(folder: Path, modules: dict[str, nn.Module]) -> None:
    """Load what `save_weights` wrote, strictly. Raises InputError where the file is missing, broken or does not fit."""
    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
        for prefix, module in modules.items():
            start = len(prefix) + 1
            module.load_state_dict({k[start:]: v for k, v in tensors.items() if k.startswith(f"{prefix}.")})
    except FileNotFoundError:
        raise InputError(f"{path}: is missing: the checkpoint is not whole") from None
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{path}: does not fit its {SPEC} ({_first_line(error)}): was one of them changed, or cut short?"
        ) from None


def _first_line(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:3])


def _describe_class_change(had: tuple[str, ...], got: tuple[str, ...]) -> str:
    missing, new = [c for c in had if c not in got], [c for c in got if c not in had]
    parts = [f"the data lacks {', '.join(missing)}"] * bool(missing) + [f"the data adds {', '.join(new)}"] * bool(new)
    change = "; ".join(parts) or "the order differs"
    return f"was trained on another class list ({len(had)} classes, the data has {len(got)}): {change}"
