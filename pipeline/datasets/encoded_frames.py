"""Which frames of each video of a prepared data set are encoded, where that is not every frame.

One file has for each video an array int64 [T]: the frame that is encoded instead of each of its T frames.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from pipeline.files import replacing
from pipeline.video.frame_choice import FrameChoice

FILE = "encoded_frames.safetensors"


def write_choices(choices: Mapping[str, FrameChoice], folder: Path) -> None:
    """Write the choice of each video, by its stem, into a prepared data set."""
    with replacing(folder / FILE) as path:
        save_file({stem: choice.positions[choice.nearest] for stem, choice in choices.items()}, path)


def read_choices(folder: Path) -> dict[str, FrameChoice]:
    """Read what `write_choices` wrote into a prepared data set; nothing where every frame is encoded."""
    if not (folder / FILE).exists():
        return {}
    instead = load_file(folder / FILE)
    return {stem: FrameChoice(*np.unique(frames, return_inverse=True)) for stem, frames in instead.items()}
