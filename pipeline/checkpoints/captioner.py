"""A trained captioner as a folder: weights, vocabulary, preprocessing and settings.

The folder contains all that is needed to describe an image. Its layout is that of `pipeline.checkpoints.labeller`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

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
from pipeline.config.captioner import CaptionerSettings
from pipeline.config.section import Section
from pipeline.errors import InputError
from pipeline.models.captioner import Captioner, least_num_weights
from pipeline.models.encoders.encoder import Encoder
from pipeline.text.vocabulary import Vocabulary


class CaptionerSpec(Section):
    """The content of a captioner's checkpoint.json.

    Attributes:
        format: The version of the layout.
        kind: The kind of the model.
        words: The words of the vocabulary, in order.
        encoder: The encoder without its weights.
        captioner: The settings of the captioner.
        lineage: The origin of the model.
    """

    format: Literal[1] = 1
    kind: Literal["captioner"] = "captioner"
    words: tuple[str, ...]
    encoder: EncoderSpec
    captioner: CaptionerSettings
    lineage: Lineage


@dataclass(frozen=True)
class CaptionCheckpoint:
    """A model that is ready to describe images: in eval mode, on its device.

    Attributes:
        spec: The content of checkpoint.json.
        vocabulary: The words of the model.
        captioner: The captioner.
        frame_encoder: The encoder with its preprocessing.
    """

    spec: CaptionerSpec
    vocabulary: Vocabulary
    captioner: Captioner
    frame_encoder: FrameEncoder


def make_captioner(settings: CaptionerSettings, encoder: Encoder, *, num_words: int) -> Captioner:
    """Make a captioner with random weights.

    Args:
        settings: The settings of the captioner.
        encoder: The encoder whose regions it reads.
        num_words: The number of words in its vocabulary.
    """
    return Captioner(settings, num_channels=encoder.num_channels, num_words=num_words, num_regions=encoder.grid**2)


def save_captioner(folder: Path, spec: CaptionerSpec, captioner: Captioner, frame_encoder: FrameEncoder) -> None:
    """Write the weights, then checkpoint.json, each completely or not at all.

    Args:
        folder: The checkpoint.
        spec: The content of checkpoint.json.
        captioner: The captioner.
        frame_encoder: Its encoder.
    """
    save_weights(folder, {"captioner": captioner, "encoder": frame_encoder.encoder})
    save_spec(folder, spec)


def load_captioner(folder: Path, *, device: torch.device) -> CaptionCheckpoint:
    """Read a checkpoint.

    Args:
        folder: The checkpoint.
        device: The device of the model.

    Raises:
        InputError: The folder does not contain a complete checkpoint of a captioner, or its parts do not fit together.
    """
    spec = read_spec(folder, CaptionerSpec, kind="captioner")
    try:
        vocabulary = Vocabulary(spec.words)
    except InputError as error:
        raise InputError(f"{folder / SPEC}: {error}") from None
    frame_encoder = rebuild_encoder(spec.encoder, folder, SPEC)
    encoder = frame_encoder.encoder
    described = least_num_weights(
        spec.captioner, num_channels=encoder.num_channels, num_words=len(vocabulary), num_regions=encoder.grid**2
    )
    check_num_weights(folder, "captioner", described)
    captioner = make_captioner(spec.captioner, frame_encoder.encoder, num_words=len(vocabulary))
    load_weights(folder, {"captioner": captioner, "encoder": frame_encoder.encoder})
    captioner.to(device).eval()
    frame_encoder.encoder.to(device).eval()
    return CaptionCheckpoint(spec, vocabulary, captioner, frame_encoder)
