"""Stage train_labeller: the recurrent network, on cached features or end to end with its encoder."""

from pipeline.checkpoints.encoder import load_encoder
from pipeline.config import load_params
from pipeline.stages import run_stage
from pipeline.stages.paths import ENCODER, FEATURES, LABELLER, PREPARED
from pipeline.training.labeller import train
from pipeline.training.labeller_data import Material


def main() -> None:
    """Write models/labeller."""
    params = load_params()
    from_pixels = params.encoder.training == "end_to_end"
    material = Material.open(PREPARED, FEATURES, load_encoder(ENCODER), from_pixels=from_pixels)
    train(params, material, LABELLER, name="labeller")


if __name__ == "__main__":
    run_stage(main)
