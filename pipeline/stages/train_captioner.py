"""Stage train_captioner: the recurrent network that looks at images and writes, on cached features."""

from pipeline.checkpoints.encoder import load_encoder
from pipeline.config import load_params
from pipeline.datasets.captions import read_caption_manifest
from pipeline.datasets.regions import Regions
from pipeline.stages import run_stage
from pipeline.stages.paths import CAPTIONER, CAPTIONS
from pipeline.training.captioner import CaptionMaterial, train_captioner


def main() -> None:
    """Write models/captioner."""
    frames = load_encoder(CAPTIONS / "encoder")
    assert frames is not None, "prepare_captions writes one"
    material = CaptionMaterial.open(read_caption_manifest(CAPTIONS), Regions(CAPTIONS), frames)
    train_captioner(load_params(), material, CAPTIONER, name="captioner")


if __name__ == "__main__":
    run_stage(main)
