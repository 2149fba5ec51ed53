"""The paths of the outputs of the stages; dvc.yaml names the same paths."""

from pathlib import Path

SCENES = Path("data/scenes")
OVERLAPPING_SCENES = Path("data/scenes_overlapping")
PREPARED = Path("data/prepared")
FEATURES = Path("data/features")
ENCODER = Path("models/encoder")
LABELLER = Path("models/labeller")
BASELINE = Path("models/baseline")
RESULTS = Path("results")
OUTPUTS = Path("outputs")
CAPTIONS = Path("data/captions")
REGIONS = Path("data/regions")
IMAGE_ENCODER = Path("models/image_encoder")
CAPTIONER = Path("models/captioner")
CAPTION_RESULTS = Path("results/captions")
