"""Stage make_scenes: write the embedded data set from its seed."""

from typing import TypedDict

from pipeline.config.data import Scenes
from pipeline.config.params import load_params
from pipeline.datasets.scenes.write import make_scenes
from pipeline.stages import run_stage
from pipeline.stages.paths import SCENES


class VideoSettings(TypedDict):
    """The arguments that make the videos of the data set, and those of its variant in which classes overlap."""

    num_videos: int
    seed: int
    num_frames: tuple[int, int]
    noise: float


def main() -> None:
    """Write data/scenes."""
    scenes = load_params().scenes
    make_scenes(SCENES, num_images=scenes.num_images, **video_settings(scenes))


def video_settings(scenes: Scenes) -> VideoSettings:
    """Return the settings of the videos."""
    return {
        "num_videos": scenes.num_videos,
        "seed": scenes.seed,
        "num_frames": (scenes.shortest_frames, scenes.longest_frames),
        "noise": scenes.noise,
    }


if __name__ == "__main__":
    run_stage(main)
