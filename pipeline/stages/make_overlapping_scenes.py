"""Stage make_overlapping_scenes: write the variant of the embedded data set in which classes overlap."""

from pipeline.config.params import load_params
from pipeline.datasets.scenes.overlapping import make_overlapping_scenes
from pipeline.stages import run_stage
from pipeline.stages.make_scenes import video_settings
from pipeline.stages.paths import OVERLAPPING_SCENES


def main() -> None:
    """Write data/scenes_overlapping."""
    make_overlapping_scenes(OVERLAPPING_SCENES, **video_settings(load_params().scenes))


if __name__ == "__main__":
    run_stage(main)
