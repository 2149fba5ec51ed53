"""`framescribe evaluate`: score a folder of predicted labels against a folder of true ones."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.annotations.classes import read_classes
from pipeline.annotations.formats import registry
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import DECODE_REPORT, LIVE
from pipeline.annotations.problems import AnnotationError, Problem
from pipeline.annotations.read import class_names_in, read_predicted
from pipeline.errors import InputError
from pipeline.metrics.report import Report, evaluate

NO_LABELS = frozenset({"classes.txt", DECODE_REPORT})  # they lie beside label files
Read = TypeVar("Read")


def evaluate_folders(truth: Path, predicted: Path, *, background: str | None = None) -> Report:
    """Score two folders of `<stem>.frames.csv`, `.segments.csv`, `.csv` or `.txt`.

    The class list is the `classes.txt` in `truth` or beside it, as in a data set; failing that, the sorted names that
    the files use. Where only one side says how long a video is (a .csv of segments does not), the other takes its
    length.

    Args:
        truth: The folder of the true labels. It may also be a labels.csv: the class of a video is that of all its
            frames that are predicted.
        predicted: The folder of the predicted labels.
        background: The class that is left out of the scores without background; None for none.

    Returns:
        The report, see `evaluate`. Videos of `truth` without a prediction are not scored, and are named as
        `without_prediction`.

    Raises:
        InputError: A folder has no label files, no video has a prediction, or `evaluate` raises it.
        AnnotationError: Every problem of every file.
    """
    truth, predicted = Path(truth), Path(predicted)
    table = registry.video_table_of(truth)
    true_files, predicted_files = {} if table else find_label_files(truth), find_label_files(predicted)
    classes = _find_classes(truth, [*([truth] if table else true_files.values()), *predicted_files.values()])
    label_space = LabelSpace(classes, background)
    of_videos = table.read(truth, label_space) if table else {}
    stems = of_videos.keys() | true_files.keys()
    scored = stems & predicted_files.keys()
    if not scored:
        raise InputError(f"no video of {truth} has a prediction in {predicted}: do the stems differ?")
    true_labels = _read_folder({stem: path for stem, path in true_files.items() if stem in scored}, label_space)
    predicted_labels = _read_folder(predicted_files, label_space)
    for stem in true_labels.keys() & predicted_labels.keys():
        num_frames = max(len(true_labels[stem]), len(predicted_labels[stem]))
        for files, labels in ((true_files, true_labels), (predicted_files, predicted_labels)):
            layout = registry.format_of(files[stem])
            if layout is not None and not layout.has_length:
                gap = label_space.unlabelled(num_frames - len(labels[stem]))
                labels[stem] = np.concatenate([labels[stem], gap])
    for stem in scored & of_videos.keys():
        true_labels[stem] = label_space.unlabelled(len(predicted_labels[stem]))
        true_labels[stem][label_space.is_labelled(predicted_labels[stem])] = of_videos[stem][0]
    report = evaluate(true_labels, predicted_labels, label_space)
    return report | {"without_prediction": sorted(stems - scored)}


def find_label_files(folder: Path) -> dict[str, Path]:
    """Find the label file of each video in a folder, without live ones.

    Args:
        folder: The folder.

    Returns:
        The files by stem.

    Raises:
        InputError: There is no such folder, or it has no label files.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: expected one that holds label files")
    files: dict[str, Path] = {}
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    for layout in registry.FORMATS:
        for path in [path for path in found if registry.format_of(path) == layout]:
            # live labels may have gaps, and nobody may have labelled their video
            if path.name not in NO_LABELS and not path.name.endswith(LIVE):
                files.setdefault(layout.stem(path), path)
    if not files:
        cause = f", did you mean {folder / 'labels'}?" if (folder / "labels").is_dir() else ""
        expected = ", ".join(f"<stem>{layout.suffix}" for layout in registry.FORMATS)
        raise InputError(f"{folder} holds no label files: expected {expected}{cause}")
    return files


def _find_classes(truth: Path, files: Iterable[Path]) -> tuple[str, ...]:
    for folder in (truth, truth.resolve().parent):
        if (folder / "classes.txt").is_file():
            return read_classes(folder / "classes.txt")
    return tuple(sorted(set().union(*_read_each(files, class_names_in))))


def _read_folder(files: dict[str, Path], label_space: LabelSpace) -> dict[str, np.ndarray]:
    labels = _read_each(files.values(), lambda path: read_predicted(path, label_space))
    return dict(zip(files, labels, strict=True))


def _read_each(files: Iterable[Path], read: Callable[[Path], Read]) -> list[Read]:
    """Return `read(path)` of every file; raise the problems of all of them as one AnnotationError."""
    results: list[Read] = []
    problems: list[Problem] = []
    for path in files:
        try:
            results.append(read(path))
        except AnnotationError as error:
            problems.extend(error.problems)
    if problems:
        raise AnnotationError(problems)
    return results
