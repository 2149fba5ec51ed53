"""The labels of models in the studio: which models there are, and what they say of each video.

The server never loads a model: `predicting` does, in a process of its own. T frames, K classes of the data set.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from pipeline.annotations.label_space import LabelSpace
from pipeline.errors import InputError
from pipeline.files import read_bounded
from pipeline.labelling.location import MLFLOW_SCHEMES
from pipeline.studio.labels.tracks import Tracks
from pipeline.studio.models.prediction_files import (
    CHECKPOINT_FILES,
    MAX_MODEL_BYTES,
    KnownModel,
    PredictionFile,
    Stamp,
    Stored,
    find_fresh,
    map_labels,
    names_of,
    read_stored,
    stamp_of,
    unknown_classes,
    why_useless,
)
from pipeline.studio.models.pyramid import Pyramid, count_levels
from pipeline.studio.places import Places, Video
from pipeline.studio.requests import RefusedError

PREDICTIONS = "predictions"  # the folder in that of the studio's state
MAX_PYRAMID_BYTES = 128 << 20  # in memory: a video of ten hours with 20 classes has 25 MB


class Classes(Protocol):
    """What the predictions need of the labels."""

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the data set; it raises InputError where they cannot be read."""
        ...


def find_default_model(folder: Path, label_space: LabelSpace) -> str | None:
    """Return the location of the model of the current project; None where there is none, or none for these classes.

    Its classes are read without torch, which takes seconds and memory.

    Args:
        folder: The folder of its checkpoint.
        label_space: The classes of the data set.
    """
    try:
        content = json.loads(read_bounded(folder / CHECKPOINT_FILES[0], max_bytes=MAX_MODEL_BYTES))
        groups = content.get("groups")
        space = LabelSpace(tuple(content["classes"]), content["background"], None if groups is None else tuple(groups))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if why_useless(space, label_space) else str(folder)


class Predictions:
    """The labels of models. All methods may be called from any thread.

    Args:
        places: The folders.
        labels: The classes of the data set.
        model: The location of the model that labels; None for none.

    Attributes:
        folder: Where what the models say is kept.
        model: See above.
    """

    def __init__(self, places: Places, labels: Classes, model: str | None) -> None:
        self.folder = places.state / PREDICTIONS
        self.model = model
        self._labels = labels
        self._lock = Lock()
        self._pyramids: OrderedDict[tuple[object, ...], Pyramid] = OrderedDict()

    def models(self) -> list[KnownModel]:
        """Return the models that have labelled videos, newest first."""
        folders = self.folder.iterdir() if self.folder.is_dir() else []
        found = [KnownModel.read(folder) for folder in folders if folder.is_dir()]
        return sorted((model for model in found if model), key=lambda model: (-model.created, model.key))

    def stamp(self) -> Stamp:
        """Return what tells that the model that labels has changed; empty where it is not a folder."""
        is_folder = self.model is not None and not self.model.startswith(MLFLOW_SCHEMES)
        return stamp_of(Path(self.model)) if is_folder and self.model is not None else []

    def current(self) -> KnownModel | None:
        """Return the model that labels, where it has been loaded once and has not changed since."""
        stamp = self.stamp()
        return next((model for model in self.models() if stamp and model.stamp == stamp), None)

    def find_model(self, key: str) -> KnownModel:
        """Return a model by its key.

        Raises:
            RefusedError: There is none.
        """
        found = next((model for model in self.models() if model.key == key), None)
        if found is None:
            raise RefusedError(404, "there is no such model")
        return found

    def find_file(self, video: Video, key: str) -> PredictionFile | None:
        """Return what a model said of a video as it is now; None where it has not labelled it."""
        return find_fresh(self.folder / key, video)

    def read(self, video: Video, model: KnownModel) -> Stored | None:
        """Return what a model says of a video, in the classes of the data set; None where it has not labelled it.

        Raises:
            InputError: The classes cannot be mapped, or cannot be read.
        """
        file = self.find_file(video, model.key)
        return None if file is None else read_stored(file, model.label_space, self._labels.label_space)

    def describe(self, video: Video) -> dict[str, Any]:
        """Return what `GET /api/videos/{id}/predictions` answers."""
        space, models = self._labels.label_space, self.models()
        names, current = names_of(models), self.current()
        found = []
        problems = []
        for model in models:
            file = self.find_file(video, model.key)
            if file is None:
                continue
            try:
                labels = map_labels(file.read_labels(), model.label_space, space)
            except InputError as error:
                problems.append(f"{names[model.key]}: {error}")
                continue
            found.append(
                {
                    "id": model.key,
                    "name": names[model.key],
                    "created": model.created,
                    "tracks": Tracks.from_labels(labels, space).to_json(),
                    "num_levels": count_levels(file.num_frames),
                    "has_probabilities": True,
                    "is_whole": file.is_whole,
                    "unknown": unknown_classes(model.label_space, space),
                    "is_current": current is not None and model.key == current.key,
                }
            )
        return {"models": found, "problems": problems, "is_wanted": self.model is not None and not self.is_done(video)}

    def count_done(self, videos: Iterable[Video]) -> int:
        """Return how many of some videos `is_done`."""
        current = self.current()
        return 0 if current is None else sum(self.find_file(video, current.key) is not None for video in videos)

    def is_done(self, video: Video) -> bool:
        """Return whether the model that labels is known to have labelled a video as it is now."""
        current = self.current()
        return current is not None and self.find_file(video, current.key) is not None

    def tile(self, video: Video, key: str, level: int, index: int) -> bytes:
        """Return a tile, see `pyramid`.

        Raises:
            RefusedError: There is none.
            InputError: The classes cannot be mapped, or cannot be read.
        """
        space, model = self._labels.label_space, self.find_model(key)
        file = self.find_file(video, key)
        if file is None:
            raise RefusedError(404, "the model has not labelled this video as it is now")
        name = (video.id, key, *file.version, space.classes)
        with self._lock:
            pyramid = self._pyramids.get(name)
            if pyramid is None:
                stored = read_stored(file, model.label_space, space)
                assert stored.probabilities is not None
                pyramid = self._pyramids[name] = Pyramid(stored.probabilities, stored.labels, space)
                while len(self._pyramids) > 1 and sum(p.num_bytes for p in self._pyramids.values()) > MAX_PYRAMID_BYTES:
                    self._pyramids.popitem(last=False)
            self._pyramids.move_to_end(name)
        found = pyramid.tile(level, index)
        if found is None:
            raise RefusedError(404, "there is no such tile")
        return found
