"""A data set with given labels and those of a model, as the studio and as the command line see them."""

from pathlib import Path

import numpy as np
from made_labelling import write_video

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.write import write_frames
from pipeline.files import version_of
from pipeline.studio.clocks import read_clock
from pipeline.studio.models.prediction_files import KnownModel, write_prediction
from pipeline.studio.places import id_of

KEY = "a" * 16
EXCLUSIVE = LabelSpace(("rest", "<script>", "groom"))
OVERLAPPING = LabelSpace(("rest", "rear", "call"), groups=("posture", "posture", "voice"))
NUM_FRAMES = {"one": 60, "two": 45, "three": 50}  # of "three", nothing is given


def _write_given(folder: Path, stem: str, labels: np.ndarray, space: LabelSpace) -> None:
    columns = [labels] if space.is_exclusive else list(labels.T)
    rows = []
    for index, column in enumerate(columns):
        for start, value in enumerate(column.tolist()):
            name = value if space.is_exclusive else index
            if value >= 0 and (space.is_exclusive or value == 1):
                rows.append(f"{start},{start + 1},{space.classes[name]}\n")
    (folder / f"{stem}.csv").write_text("start,stop,class\n" + "".join(rows), encoding="utf-8")


def write_results(place: Path, predicted: Path, *, space: LabelSpace, lost: int = 0) -> dict[str, np.ndarray]:
    """Write videos, given labels, and the labels of a model: for the studio, and as `framescribe label` writes them.

    Args:
        place: The data set.
        predicted: The folder of the label files of the model.
        space: The classes.
        lost: So many frames at the end of the first video could not be decoded.

    Returns:
        The labels of the model by the stem.
    """
    random = np.random.default_rng(0)
    for folder in (place / "videos", place / "labels", predicted):
        folder.mkdir(parents=True, exist_ok=True)
    if space.groups is None:
        (place / "classes.txt").write_text("".join(f"{name}\n" for name in space.classes))
    else:
        rows = "".join(f"{name},{group}\n" for name, group in zip(space.classes, space.groups, strict=True))
        (place / "classes.csv").write_text(f"class,group\n{rows}")
    folder = place / ".studio" / "predictions" / KEY
    folder.mkdir(parents=True)
    thresholds = () if space.is_exclusive else (0.5,) * space.num_classes
    KnownModel(KEY, "my <model>", 1e9, space.classes, None, space.groups, thresholds, [], {}).write(folder)
    of_model = {}
    for stem, num_frames in NUM_FRAMES.items():
        video = place / "videos" / f"{stem}.mp4"
        write_video(video, num_frames)
        true, labels = (_random_labels(random, num_frames, space) for _ in range(2))
        if stem == "one" and space.is_exclusive:
            true[20:27] = -100  # nobody labelled them
        if stem == "one" and lost:
            labels[-lost:] = -100
        if stem != "three":
            _write_given(place / "labels", stem, true, space)
        pts = read_clock(video).times.pts_seconds
        shape = (num_frames, space.num_classes)
        probabilities = random.uniform(0.1, 0.9, shape)
        if stem == "one" and lost:
            probabilities[-lost:] = np.nan
        of_labels = probabilities if not space.is_exclusive else probabilities[:, 0]
        write_frames(
            predicted / f"{stem}.frames.csv", labels, probabilities=of_labels, pts_seconds=pts, label_space=space
        )
        version = version_of(video)
        assert version is not None
        path = folder / f"{id_of(stem)}.npz"
        write_prediction(path, labels=labels, probabilities=probabilities, pts_seconds=pts, version=version)
        of_model[stem] = labels
    return of_model


def _random_labels(random: np.random.Generator, num_frames: int, space: LabelSpace) -> np.ndarray:
    """Return labels whose runs are five frames long."""
    num_runs = -(-num_frames // 5)
    if space.is_exclusive:
        return np.repeat(random.integers(0, space.num_classes, num_runs), 5)[:num_frames]
    posture, voice = random.integers(0, 2, num_runs), random.integers(0, 2, num_runs)
    runs = np.stack([posture == 0, posture == 1, voice == 1], axis=1).astype(np.int8)
    return np.repeat(runs, 5, axis=0)[:num_frames]
