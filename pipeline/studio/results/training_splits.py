"""On which videos a model was trained, as far as the current project says it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.files import canonical
from pipeline.studio.places import Places, Video

PREPARED = Path("data/prepared")  # in the project in which the studio is started
# Split in the manifest: the name of the group, and what its scores mean. The first one counts most.
EXPLANATIONS = {
    "test": ("held out (test)", "Training does not use these videos: this is how good the model is on new ones."),
    "val": ("validation", "Training does not learn from these videos, but chooses by them when it ends."),
    "train": ("training", "Training learns from these videos: expect lower scores on new ones."),
    None: ("not in the training data", "The project's training data do not have these videos."),
}


@dataclass(frozen=True)
class Splits:
    """The splits of the videos.

    Attributes:
        of_stems: The split of each video by its stem; None where nothing says it.
        note: A sentence on what is known.
    """

    of_stems: Mapping[str, str | None] | None
    note: str

    def groups(self) -> list[tuple[str | None, str, str]]:
        """Return the split, the name and the explanation of each group."""
        if self.of_stems is None:
            return [(None, "all videos", "The model may have been trained on some of them.")]
        return [(split, *texts) for split, texts in EXPLANATIONS.items()]

    def split_of(self, video: Video) -> str | None:
        """Return the split of a video; None where it is in none."""
        return (self.of_stems or {}).get(canonical(video.stem))


def find_splits(places: Places, about: Mapping[str, Any], prepared: Path = PREPARED) -> Splits:
    """Find out on which videos a model was trained.

    Args:
        places: The folders of the studio.
        about: What the model says of where it comes from.
        prepared: The folder of the manifest of the project.
    """
    unknown = "It is not known on which of these videos the model was trained"
    if not (prepared / "manifest.json").is_file():
        return Splits(None, f"{unknown}: the folder where the studio was started has no training.")
    from pipeline.datasets.manifest import read_without_labels

    try:
        manifest = read_without_labels(prepared)
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError, InputError):
        return Splits(None, f"{unknown}: {prepared / 'manifest.json'} cannot be read.")
    folder = places.videos.resolve()
    of_stems = {
        canonical(source.stem): source.split
        for source in manifest.sources
        if Path(source.path).resolve().is_relative_to(folder)
    }
    if not of_stems:
        return Splits(None, f"{unknown}: the latest training here was on another data set.")
    if about.get("data_fingerprint") == manifest.fingerprint():
        return Splits(of_stems, "The groups below are those of the training of this model.")
    return Splits(
        of_stems,
        "The groups below are those of the latest training. This model was trained on another version of the data, in"
        " which a video may have been in another group.",
    )
