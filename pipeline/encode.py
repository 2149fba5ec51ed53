"""Video -> features: the one path that training and labelling both take.

T frames, F features, h and w pixels. Memory is bounded by one batch of frames, whatever the video's length.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from pipeline.errors import InputError
from pipeline.models.encoder import Encoder
from pipeline.video.preprocess import Preprocess
from pipeline.video.reader import VideoReader


class EncodedFrames(NamedTuple):
    """features float32 [T,F] on the encoder's device; pts_seconds float64 [T]."""

    features: torch.Tensor
    pts_seconds: np.ndarray


@torch.inference_mode()
def encode_video(
    reader: VideoReader, encoder: Encoder, preprocess: Preprocess, *, batch_size: int
) -> Iterator[EncodedFrames]:
    """Yield the features of every frame in order, `batch_size` frames at a time. The encoder must be in eval mode.

    Raises InputError, before a frame is decoded, where the video is smaller than the region of interest; VideoError
    where a frame cannot be decoded.
    """
    properties = reader.properties
    try:
        preprocess.crop_box(width=properties.width, height=properties.height)
    except InputError as error:
        raise InputError(f"{properties.path}: {error}") from None
    device = next(encoder.parameters()).device
    for frames in reader.read(batch_size=batch_size):
        yield EncodedFrames(encoder(preprocess(frames.pixels).to(device)), frames.pts_seconds)


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. Raises InputError where CUDA is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but torch sees no CUDA device here: use cpu or auto")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")
