"""Stage finetune_encoder: build the encoder and, if set, train it to classify each frame by itself (one-to-one)."""

import shutil

import torch

from pipeline.checkpoints.encoder import FrameEncoder, make_frame_encoder, save_encoder
from pipeline.checkpoints.storage import load_weights
from pipeline.config.data import Pixels, VideoPixels
from pipeline.config.labeller import LabellerSettings
from pipeline.config.params import Params, Tracking, load_params
from pipeline.config.training import Distillation
from pipeline.datasets.frame_size import frame_size
from pipeline.datasets.manifest import read_without_labels
from pipeline.stages import run_stage
from pipeline.stages.paths import ENCODER, FEATURES, PREPARED
from pipeline.training import ranks
from pipeline.video.region import Region

FRAME_HEAD = LabellerSettings(
    cell="none",
    hidden_size=256,
    num_layers=1,
    bidirectional=False,
    dropout=0.2,
    head="many_to_many",
    inputs="features",
    delta_frames=1,
    min_segment_frames=1,
)


CLASSIFIER = ENCODER / "classifier"


def main() -> None:
    """Write models/encoder; if it was trained as a frame classifier, the folder also contains that classifier."""
    params = load_params()
    frame_encoder = make_encoder(params)
    if params.encoder.training == "frame_classifier":
        train_classifier(params, frame_encoder)
    elif ranks.is_first():
        shutil.rmtree(ENCODER, ignore_errors=True)
    if ranks.is_first():
        save_encoder(ENCODER, frame_encoder)


def make_encoder(params: Params) -> FrameEncoder | None:
    """Make the encoder and the preprocessing that the settings describe; None where features are given."""
    settings = params.encoder
    if settings.name == "given":
        return None
    torch.manual_seed(params.seed)
    return make_frame_encoder(
        settings.name,
        weights=settings.weights,
        grid=settings.grid,
        last_stage=settings.last_stage,
        batch_norm=settings.batch_norm,
        batch_size=settings.batch_size,
        pixels=find_pixels(params.dataset.pixels),
        follow_motion=params.dataset.pixels.follow_motion,
    )


def find_pixels(settings: VideoPixels) -> Pixels:
    """Return the preprocessing of the frames, of which the data set may decide the size.

    Args:
        settings: The settings.

    Raises:
        InputError: See `frame_size`.
    """
    size = settings.size
    if size == "auto":
        sources = [source for source in read_without_labels(PREPARED).sources if source.split is not None]
        size = frame_size(sources, Region(size=(1, 1), crop=settings.crop, crop_unit=settings.crop_unit))
    return Pixels(**settings.model_dump(exclude={"follow_motion"}) | {"size": size})


def train_classifier(params: Params, frame_encoder: FrameEncoder | None) -> None:
    """Train the encoder with a head that sees one frame at a time.

    Args:
        params: The settings.
        frame_encoder: The encoder, which has its best weights afterwards.
    """
    from pipeline.training.labeller import train
    from pipeline.training.labeller_data import TrainingData  # a frozen encoder does not need it, and it takes seconds

    assert frame_encoder is not None, "config refuses a frame classifier on given features"
    alone = params.model_copy(
        update={
            "labeller": FRAME_HEAD,
            "training": params.encoder.classifier,
            "distillation": Distillation(),
            "tracking": Tracking(),
        }
    )
    training_data = TrainingData.open(PREPARED, FEATURES, frame_encoder, from_pixels=True)
    train(alone, training_data, CLASSIFIER, name="frame_classifier")
    if ranks.is_first():  # the others are done before it has chosen the best weights
        load_weights(CLASSIFIER, {"encoder": frame_encoder.encoder})


if __name__ == "__main__":
    run_stage(main)
