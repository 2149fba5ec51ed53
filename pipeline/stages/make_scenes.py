"""Stage make_scenes: write the embedded data set from its seed."""

from pipeline.config import load_params
from pipeline.datasets.scenes.write import make_scenes
from pipeline.stages import run_stage
from pipeline.stages.paths import SCENES


def main() -> None:
    """Write data/scenes."""
    scenes = load_params().scenes
    make_scenes(
        SCENES,
        num_videos=scenes.num_videos,
        num_images=scenes.num_images,
        seed=scenes.seed,
        num_frames=(scenes.shortest_frames, scenes.longest_frames),
        noise=scenes.noise,
    )


if __name__ == "__main__":
    run_stage(main)
