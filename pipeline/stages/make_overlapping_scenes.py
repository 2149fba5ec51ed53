"""Stage make_overlapping_scenes: write the variant of the embedded data set in which classes overlap."""

from pipeline.config import load_params
from pipeline.datasets.scenes.overlapping import make_overlapping_scenes
from pipeline.stages import run_stage
from pipeline.stages.paths import OVERLAPPING_SCENES


def main() -> None:
    """Write data/scenes_overlapping."""
    scenes = load_params().scenes
    make_overlapping_scenes(
        OVERLAPPING_SCENES,
        num_videos=scenes.num_videos,
        seed=scenes.seed,
        num_frames=(scenes.shortest_frames, scenes.longest_frames),
        noise=scenes.noise,
    )


if __name__ == "__main__":
    run_stage(main)
