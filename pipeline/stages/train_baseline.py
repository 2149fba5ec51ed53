"""Stage train_baseline: train with the same encoder, settings and data, but without the recurrent network.

The difference to the labeller shows the value of memory.
"""

from pipeline.checkpoints.encoder import load_encoder
from pipeline.config.params import Tracking, load_params
from pipeline.config.training import Distillation
from pipeline.stages import run_stage
from pipeline.stages.paths import BASELINE, ENCODER, FEATURES, PREPARED
from pipeline.training.labeller import train
from pipeline.training.labeller_data import TrainingData


def main() -> None:
    """Write models/baseline."""
    params = load_params()
    alone = params.labeller.model_copy(
        update={"cell": "none", "num_layers": 1, "bidirectional": False, "look_ahead": 0, "inputs": "features"}
    )
    without_history = params.training.model_copy(update={"burn_in_frames": 0})
    params = params.model_copy(
        update={"labeller": alone, "training": without_history, "distillation": Distillation(), "tracking": Tracking()}
    )
    from_pixels = params.encoder.training == "end_to_end"
    training_data = TrainingData.open(PREPARED, FEATURES, load_encoder(ENCODER), from_pixels=from_pixels)
    train(params, training_data, BASELINE, name="baseline")


if __name__ == "__main__":
    run_stage(main)
