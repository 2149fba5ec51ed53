"""The labels of models as the studio keeps them on disk: a folder for each model, and in it a file for each video.

    predictions/<key>/model.json        what the model is
    predictions/<key>/<video id>.npz    its labels and probabilities of a video

T frames, K classes of the model.
"""

import hashlib
import json
import time
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import TypeAdapter

from pipeline.annotations.label_space import LabelSpace
from pipeline.errors import InputError
from pipeline.files import read_bounded, replacing, version_of
from pipeline.studio.places import Video

MODEL = "model.json"
MAX_MODEL_BYTES = 1 << 24
CHECKPOINT_FILES = ("checkpoint.json", "weights.safetensors")
Stamp = list[list[Any]]


@dataclass(frozen=True)
class KnownModel:
    """A model that has labelled videos for the studio: the content of a model.json.

    Attributes:
        key: The fingerprint of the model, see `labelling.model.Model`.
        name: What the page calls it.
        created: When its checkpoint was written, in seconds since 1970.
        classes: The names of its K classes.
        background: Its background class; None for none.
        groups: The group of each class, where they overlap; None where they exclude each other.
        thresholds: From which probability each class is on, where they overlap.
        stamp: The names, sizes and times of the files of its checkpoint, by which it is found again without loading it.
        about: See `labelling.report.describe_model`.
    """

    key: str
    name: str
    created: float
    classes: tuple[str, ...]
    background: str | None
    groups: tuple[str, ...] | None
    thresholds: tuple[float, ...]
    stamp: Stamp
    about: dict[str, Any]

    @property
    def label_space(self) -> LabelSpace:
        """The classes."""
        return LabelSpace(self.classes, self.background, self.groups)

    def write(self, folder: Path) -> None:
        """Write model.json into the folder of the model."""
        with replacing(folder / MODEL) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the model of a folder; None where there is none that this version wrote."""
        try:
            model = TypeAdapter(cls).validate_json(read_bounded(folder / MODEL, max_bytes=MAX_MODEL_BYTES))
            model.label_space  # noqa: B018  names that cannot be classes are refused here
        except (OSError, ValueError):
            return None
        return model if model.key == folder.name else None


class Stored(NamedTuple):
    """What a model says of a video.

    Attributes:
        labels: int64 [T], or int8 [T, K] where classes overlap; frames that were not decoded have none.
        probabilities: float32 [T, K]; NaN for a frame that was not decoded. None where they are not known.
    """

    labels: np.ndarray
    probabilities: np.ndarray | None


class PredictionFile(NamedTuple):
    """The file of a video: what can be said of it without reading the arrays.

    Attributes:
        path: The file.
        version: The size and the time of the last change of the video that was labelled.
        num_frames: T.
        pts: A digest of the times of the frames.
        is_whole: Whether all frames could be decoded.
    """

    path: Path
    version: tuple[int, int]
    num_frames: int
    pts: str
    is_whole: bool

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """Read what is said of the video; None where there is no whole file."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                about = json.loads(str(arrays["about"]))
            size, changed = about["version"]
            return cls(path, (size, changed), about["num_frames"], about["pts"], about["is_whole"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            return None

    def read_labels(self) -> np.ndarray:
        """Read the labels alone: int64 [T] or int8 [T, K]."""
        with np.load(self.path, allow_pickle=False) as arrays:
            labels: np.ndarray = arrays["labels"]
        return labels.astype(np.int64) if labels.ndim == 1 else labels

    def read_probabilities(self) -> np.ndarray:
        """Read the probabilities: float16 [T, K]."""
        with np.load(self.path, allow_pickle=False) as arrays:
            probabilities: np.ndarray = arrays["class_probabilities"]
        return probabilities


def write_prediction(
    path: Path, *, labels: np.ndarray, probabilities: np.ndarray, pts_seconds: np.ndarray, version: tuple[int, int]
) -> None:
    """Write what a model says of a video.

    Args:
        path: The file.
        labels: int64 [T] or int8 [T, K].
        probabilities: [T, K], of all classes.
        pts_seconds: float64 [T], the times of the frames.
        version: The size and the time of the last change of the video.
    """
    about = {
        "version": version,
        "num_frames": len(labels),
        "pts": digest_of_times(pts_seconds),
        "is_whole": bool(np.isfinite(probabilities).all()),
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            about=np.array(json.dumps(about)),
            labels=labels.astype(np.int32) if labels.ndim == 1 else labels,
            class_probabilities=probabilities.astype(np.float16),
        )


def digest_of_times(pts_seconds: np.ndarray) -> str:
    """Return a digest of the times of frames, float64 [T] in seconds."""
    return hashlib.sha256(np.ascontiguousarray(pts_seconds, dtype="<f8").tobytes()).hexdigest()[:16]


def stamp_of(checkpoint: Path) -> Stamp:
    """Return what tells that a checkpoint folder has changed; empty where there is no folder."""
    found: Stamp = []
    for name in CHECKPOINT_FILES:
        version = version_of(checkpoint / name)
        if version is not None:
            found.append([name, *version])
    return found


def find_fresh(folder: Path, video: Video) -> PredictionFile | None:
    """Return the file of a video in the folder of a model, unless the video has changed since."""
    found = PredictionFile.open(folder / f"{video.id}.npz")
    return found if found is not None and found.version == version_of(video.path) else None


def unknown_classes(model: LabelSpace, dataset: LabelSpace) -> list[str]:
    """Return the classes of a model that a data set does not have."""
    return [name for name in model.classes if dataset.index(name) is None]


def why_useless(model: LabelSpace, dataset: LabelSpace) -> str | None:
    """Return why the labels of a model say nothing of a data set, as a sentence; None where they do."""
    if not dataset.classes:
        return "This data set has no classes yet."
    try:
        _check_kinds(model, dataset)
    except InputError as error:
        return f"{str(error).capitalize()}."
    if not (set(model.classes) - {model.background}) & (set(dataset.classes) - {dataset.background}):
        return f"The model has none of the classes of this data set: it has {', '.join(model.classes)}."
    return None


def map_labels(labels: np.ndarray, model: LabelSpace, dataset: LabelSpace) -> np.ndarray:
    """Return the labels of a model in the classes of a data set, which are found by their names.

    Frames whose class the data set does not have are unlabelled; a class that the model does not know is unknown.

    Args:
        labels: int64 [T] or int8 [T, K].
        model: The classes of the model.
        dataset: The classes of the data set.

    Raises:
        InputError: The classes of one overlap, and those of the other exclude each other.
    """
    _check_kinds(model, dataset)
    if model.classes == dataset.classes:
        return labels
    unlabelled = dataset.unlabelled(len(labels))
    if model.is_exclusive:
        is_labelled = model.is_labelled(labels)
        indices = [dataset.index(name) for name in model.classes]
        places = np.array([-1 if index is None else index for index in indices])
        found = places[np.where(is_labelled, labels, 0)]
        return np.where(is_labelled & (found >= 0), found, unlabelled)
    for index, name in enumerate(dataset.classes):
        source = model.index(name)
        if source is not None:
            unlabelled[:, index] = labels[:, source]
    return unlabelled


def map_probabilities(probabilities: np.ndarray, model: LabelSpace, dataset: LabelSpace) -> np.ndarray:
    """Return probabilities [T, K] in the classes of a data set; 0 for those that the model does not know.

    Raises:
        InputError: As for `map_labels`.
    """
    _check_kinds(model, dataset)
    if model.classes == dataset.classes:
        return probabilities
    found = np.zeros((len(probabilities), dataset.num_classes), probabilities.dtype)
    for index, name in enumerate(dataset.classes):
        source = model.index(name)
        if source is not None:
            found[:, index] = probabilities[:, source]
    return found


def _check_kinds(model: LabelSpace, dataset: LabelSpace) -> None:
    if model.is_exclusive != dataset.is_exclusive:
        kinds = ("overlap", "exclude each other")
        raise InputError(
            f"the classes of the model {kinds[model.is_exclusive]}, and those of the data set"
            f" {kinds[dataset.is_exclusive]}: its labels cannot be shown here"
        )


def read_stored(file: PredictionFile, model: LabelSpace, dataset: LabelSpace) -> Stored:
    """Read what a model says of a video, in the classes of a data set.

    Raises:
        InputError: As for `map_labels`.
    """
    labels = map_labels(file.read_labels(), model, dataset)
    probabilities = map_probabilities(file.read_probabilities(), model, dataset)
    return Stored(labels, probabilities.astype(np.float32))


def names_of(models: Sequence[KnownModel]) -> dict[str, str]:
    """Return what the page calls models, newest first: of several with one name, the older ones get their day."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for model in models:
        name = model.name
        if name in taken:
            name = f"{name}, {time.strftime('%d %b %H:%M', time.localtime(model.created))}"
        while name in taken:
            name += "'"
        taken.add(name)
        found[model.key] = name
    return found
