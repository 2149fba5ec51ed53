"""Stage train_captioner: train the recurrent network that describes images, on cached features."""

from pipeline.checkpoints.encoder import load_encoder
from pipeline.config.params import load_params
from pipeline.datasets.caption_manifest import read_caption_manifest
from pipeline.datasets.regions import Regions
from pipeline.stages import run_stage
from pipeline.stages.paths import CAPTIONER, CAPTIONS, IMAGE_ENCODER, REGIONS
from pipeline.training.captioner import CaptionTrainingData, train_captioner


def main() -> None:
    """Write models/captioner."""
    frame_encoder = load_encoder(IMAGE_ENCODER)
    assert frame_encoder is not None, "finetune_image_encoder writes one"
    training_data = CaptionTrainingData.open(read_caption_manifest(CAPTIONS), Regions(REGIONS), frame_encoder)
    train_captioner(load_params(), training_data, CAPTIONER, name="captioner")


if __name__ == "__main__":
    run_stage(main)
