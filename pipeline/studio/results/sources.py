"""Whose labels the results and the export are of: those that were given, or those of a model.

T frames, K classes.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from threading import Lock
from typing import Any, Generic, TypeVar

from pipeline.files import canonical, version_of
from pipeline.studio.labels.store import LabelStore
from pipeline.studio.labels.tracks import Tracks
from pipeline.studio.models.prediction_files import map_labels, names_of, unknown_classes
from pipeline.studio.models.predictions import Predictions
from pipeline.studio.places import Video

GIVEN = "given"
Found = TypeVar("Found")


def shown_videos(videos: Mapping[str, Video]) -> list[Video]:
    """Return the videos whose content is shown, in the order of their stems.

    Sums over them are then those of `framescribe evaluate` and `framescribe summarize` to the last digit.
    """
    shown = (video for video in videos.values() if video.refusal is None)
    return sorted(shown, key=lambda video: canonical(video.stem))


class Sources:
    """The labels by their source, which is GIVEN or the key of a model. All methods may be called from any thread.

    Args:
        labels: The given labels.
        predictions: The labels of models.
    """

    def __init__(self, labels: LabelStore, predictions: Predictions) -> None:
        self.labels, self.predictions = labels, predictions

    def describe_models(self) -> list[dict[str, Any]]:
        """Return the models that have labelled videos, newest first, by their ids and names."""
        models = self.predictions.models()
        names = names_of(models)
        return [{"id": model.key, "name": names[model.key]} for model in models]

    def name_of(self, source: str) -> str:
        """Return what the page calls a source.

        Raises:
            RefusedError: There is no such model.
        """
        if source == GIVEN:
            return "given labels" if self.labels.places.is_dataset else "label files"
        return names_of(self.predictions.models())[self.predictions.find_model(source).key]

    def unknown_classes(self, source: str) -> list[str]:
        """Return the classes of a model that the data set does not have: their frames count as unlabelled.

        Raises:
            RefusedError: There is no such model.
        """
        return unknown_classes(self.predictions.find_model(source).label_space, self.labels.label_space)

    def read(self, video: Video, source: str) -> tuple[Hashable, Tracks | None]:
        """Return the labels of a video, edits included, and their fingerprint.

        The labels are None where the source has none of the video as it is now.

        Raises:
            InputError: They cannot be read, or are not of classes of this data set.
            RefusedError: There is no such model.
        """
        if source == GIVEN:
            self.labels.look_again(video)
            with self.labels.opened(video):  # no edit comes between both
                return self.fingerprint(video, source), self.labels.tracks(video)
        model, space = self.predictions.find_model(source), self.labels.label_space
        fingerprint = self.fingerprint(video, source)
        file = self.predictions.find_file(video, model.key)
        if file is None:
            return fingerprint, None
        return fingerprint, Tracks.from_labels(map_labels(file.read_labels(), model.label_space, space), space)

    def fingerprint(self, video: Video, source: str) -> Hashable:
        """Return what changes when the labels of a video do, without reading them."""
        if source == GIVEN:
            return self.labels.fingerprint(video)
        path = self.predictions.folder / source / f"{video.id}.npz"
        return version_of(path), version_of(video.path), self.labels.label_space


class Kept(Generic[Found]):
    """What was found of videos, until their labels change. All methods may be called from any thread.

    Args:
        most: How many are kept; those that were not used for longest go first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: OrderedDict[Hashable, tuple[Hashable, Found]] = OrderedDict()
        self._lock = Lock()

    def get(
        self, key: Hashable, fingerprint: Callable[[], Hashable], find: Callable[[], tuple[Hashable, Found]]
    ) -> Found:
        """Return what was found for a key, or find it where it is of other labels.

        Args:
            key: The key.
            fingerprint: Returns what changes when the labels do.
            find: Returns the fingerprint of the labels that it reads, and what it finds.
        """
        now = fingerprint()
        with self._lock:
            kept = self._found.get(key)
            if kept is not None and kept[0] == now:
                self._found.move_to_end(key)
                return kept[1]
        found = find()
        with self._lock:
            self._found[key] = found
            self._found.move_to_end(key)
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        return found[1]
