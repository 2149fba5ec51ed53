"""Stage finetune_image_encoder: build the captioner's encoder and, if set, train it to find the words of captions."""

import shutil

import torch

from pipeline.checkpoints.encoder import FrameEncoder, make_frame_encoder, save_encoder
from pipeline.config.params import Params, load_params
from pipeline.datasets.caption_manifest import read_caption_manifest
from pipeline.stages import run_stage
from pipeline.stages.paths import CAPTIONS, IMAGE_ENCODER
from pipeline.training import ranks

CLASSIFIER = IMAGE_ENCODER / "classifier"


def main() -> None:
    """Write models/image_encoder; if it was trained as a word classifier, the folder also contains that classifier."""
    params = load_params()
    frame_encoder = make_encoder(params)
    if params.captions.encoder.training == "word_classifier":
        from pipeline.training.word_classifier import train_word_classifier  # a frozen one is spared these seconds

        train_word_classifier(params, read_caption_manifest(CAPTIONS), frame_encoder, CLASSIFIER)
    elif ranks.is_first():
        shutil.rmtree(IMAGE_ENCODER, ignore_errors=True)
    if ranks.is_first():  # the others are done before it has chosen the best weights
        save_encoder(IMAGE_ENCODER, frame_encoder)


def make_encoder(params: Params) -> FrameEncoder:
    """Make the encoder and the preprocessing that the settings describe, with the weights that it begins with.

    Raises:
        InputError: See `make_frame_encoder`.
    """
    settings = params.captions.encoder
    torch.manual_seed(params.seed)
    return make_frame_encoder(
        settings.name,
        weights=settings.weights,
        grid=settings.grid,
        stride=settings.stride,
        batch_norm="frozen",
        batch_size=settings.batch_size,
        pixels=params.captions.pixels,
    )


if __name__ == "__main__":
    run_stage(main)
