"""Stage train_labeller: train the recurrent network, on cached features or end to end with its encoder."""

from pipeline.checkpoints.encoder import load_encoder
from pipeline.config.params import load_params
from pipeline.stages import run_stage
from pipeline.stages.paths import ENCODER, FEATURES, LABELLER, PREPARED
from pipeline.training.labeller import train
from pipeline.training.labeller_data import TrainingData


def main() -> None:
    """Write models/labeller."""
    params = load_params()
    from_pixels = params.encoder.training == "end_to_end"
    training_data = TrainingData.open(PREPARED, FEATURES, load_encoder(ENCODER), from_pixels=from_pixels)
    train(params, training_data, LABELLER, name="labeller")


if __name__ == "__main__":
    run_stage(main)
