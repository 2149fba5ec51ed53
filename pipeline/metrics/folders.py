"""`framescribe evaluate`: score a folder of predicted labels against a folder of true ones."""

import csv
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.annotations.classes import CLASSES, CLASSES_WITH_GROUPS, find_class_list, read_class_list
from pipeline.annotations.formats import registry
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import DECODE_REPORT, FRAMES, LIVE, SCORED
from pipeline.annotations.problems import AnnotationError, Problem, condense, read_lines, without_content
from pipeline.annotations.read import class_names_in, read_predicted
from pipeline.annotations.segments import frames_in_no_row, frames_of_video
from pipeline.errors import InputError
from pipeline.files import canonical, is_dangling, is_hidden, leads_out
from pipeline.metrics.report import evaluate
from pipeline.metrics.videos import Report

NO_LABELS = frozenset({CLASSES, CLASSES_WITH_GROUPS, SCORED, DECODE_REPORT})  # lie beside them


def evaluate_folders(
    truth: Path, predicted: Path, *, background: str | None = None, follow_links: bool = False
) -> Report:
    """Score a folder of `<stem>.frames.csv`, `.segments.csv`, `.csv` or `.txt` against another one.

    The class list is the `classes.txt` or `classes.csv` in `truth` or beside it, as in a data set; failing that, the
    sorted names that the files use. Where only one side says how long a video is (a .csv of segments does not), the
    other takes its length. A video whose files cannot be read or do not fit each other is not scored, and costs no
    other video.

    Args:
        truth: The folder with the true labels; or a labels.csv, where the class of a video is that of all its frames
            that are predicted.
        predicted: The folder with the predicted labels. Frames without a label in what `framescribe label` wrote could
            not be decoded, and are left out of the scores.
        background: See `LabelSpace`.
        follow_links: Whether files are read that are links out of their folder.

    Returns:
        The report of `evaluate`, and:
            without_prediction         the stems of `truth` that have none
            frames_without_prediction  {stem: labelled frames that are left out, as they could not be decoded}
            not_scored                 the stems of `predicted` that are left out because of a problem
            failures                   the problems, shortened by `condense`

    Raises:
        InputError: A folder has no label files, no video has both, or no video is left to be scored: then an
            AnnotationError with every problem of every file.
    """
    truth, predicted = Path(truth), Path(predicted)
    table = registry.video_table_of(truth)
    true_files, predicted_files = {} if table else find_label_files(truth), find_label_files(predicted)
    files = [*([truth] if table else true_files.values()), *predicted_files.values()]
    readable = [path for path in files if follow_links or not _is_elsewhere(path)]
    label_space = _find_classes(truth, readable, follow_links, background)
    if table and not follow_links and _is_elsewhere(truth):
        raise AnnotationError([_elsewhere(truth)])
    of_videos = table.read(truth, label_space) if table else {}
    stems = of_videos.keys() | true_files.keys()
    if not stems & predicted_files.keys():
        raise InputError(f"no video of {truth} has a prediction in {predicted}: do the stems differ?")
    videos = _Videos(label_space, _partial_stems(predicted), follow_links)
    for stem, path in sorted(predicted_files.items()):
        if stem not in stems:
            videos.problems[stem] = [Problem(path, None, f"{truth} has no labels of it: is it misspelt?")]
        elif stem in true_files:
            videos.read(stem, true_files[stem], path)
        else:
            videos.read(stem, of_videos[stem][0], path)
    problems = [problem for of_video in videos.problems.values() for problem in of_video]
    if not videos.true_labels:
        raise AnnotationError(problems)
    return evaluate(videos.true_labels, videos.predicted_labels, label_space) | {
        "without_prediction": sorted(stems - predicted_files.keys()),
        "frames_without_prediction": videos.num_left_out,
        "not_scored": sorted(videos.problems),
        "failures": [str(problem) for problem in condense(problems)],
    }


@dataclass
class _Videos:
    """The labels of the videos that can be scored, and the problems of those that cannot, by their stems.

    Attributes:
        label_space: The classes.
        partial: The stems of the videos that were labelled in part.
        follow_links: See `evaluate_folders`.
        true_labels: int64 [T].
        predicted_labels: int64 [T].
        num_left_out: How many labelled frames are left out, as they have no prediction.
        problems: Why videos are not scored.
    """

    label_space: LabelSpace
    partial: frozenset[str]
    follow_links: bool
    true_labels: dict[str, np.ndarray] = field(default_factory=dict)
    predicted_labels: dict[str, np.ndarray] = field(default_factory=dict)
    num_left_out: dict[str, int] = field(default_factory=dict)
    problems: dict[str, list[Problem]] = field(default_factory=dict)

    def read(self, stem: str, true_file: Path | int | np.ndarray, predicted_file: Path) -> None:
        """Read the labels of a video.

        Args:
            stem: The stem of the video.
            true_file: The file with its true labels, or the label of all its frames.
            predicted_file: The file with its predicted labels.
        """
        predicted = self._read_file(stem, predicted_file)
        if isinstance(true_file, Path):
            true = self._read_file(stem, true_file)
        else:
            true = None if predicted is None else frames_of_video(true_file, len(predicted))
        if true is None or predicted is None:
            return
        if isinstance(true_file, Path):
            true = self._lengthen(true, true_file, len(predicted))
            predicted = self._lengthen(predicted, predicted_file, len(true))
            if stem in self.partial and _begins_with_the_video(predicted_file):
                predicted = self._lengthen(predicted, None, len(true))
        if problem := self._check(stem, true, predicted, predicted_file):
            self.problems[stem] = [problem]
            return
        is_left_out = self.label_space.is_labelled(true) & ~self.label_space.is_labelled(predicted)
        if is_left_out.any():
            self.num_left_out[stem] = int(is_left_out.sum())
            true[is_left_out] = self.label_space.unlabelled(self.num_left_out[stem])
        self.true_labels[stem], self.predicted_labels[stem] = true, predicted

    def _read_file(self, stem: str, path: Path) -> np.ndarray | None:
        if not self.follow_links and _is_elsewhere(path):
            self.problems.setdefault(stem, []).append(_elsewhere(path))
            return None
        try:
            return read_predicted(path, self.label_space)
        except AnnotationError as error:
            self.problems.setdefault(stem, []).extend(without_content(error.problems, path.parent))
            return None

    def _lengthen(self, labels: np.ndarray, path: Path | None, num_frames: int) -> np.ndarray:
        """Add frames up to `num_frames`, where the file at `path` does not say how many there are."""
        num_missing = max(0, num_frames - len(labels))
        layout = None if path is None else registry.format_of(path)
        if path is None or layout is None:
            return np.concatenate([labels, self.label_space.unlabelled(num_missing)])
        if layout.has_length(path, self.label_space):
            return labels
        return np.concatenate([labels, frames_in_no_row(num_missing, self.label_space)])

    def _check(self, stem: str, true: np.ndarray, predicted: np.ndarray, path: Path) -> Problem | None:
        if len(true) != len(predicted):
            cause = "they are of different videos or frame rates"
            message = f"got {len(predicted)} predicted labels for {len(true)} true ones of {stem}: {cause}"
            return Problem(path, None, message, fault="another number of predicted labels")
        is_labelled = self.label_space.is_labelled(true)
        num_missing = int((is_labelled & ~self.label_space.is_labelled(predicted)).sum())
        layout = registry.format_of(path)
        if num_missing and layout is not None and layout.is_of_data_set:  # no frame was lost: nobody gave it a class
            missing = f"{num_missing} of {is_labelled.sum()} labelled frames have no prediction"
            return Problem(path, None, f"{missing}: give them a class, for example a background class")
        return None


def _is_elsewhere(path: Path) -> bool:
    return leads_out(path, path.parent) and not is_dangling(path)


def _elsewhere(path: Path) -> Problem:
    return Problem(path, None, "is a link out of the folder, and is not read: --follow-links reads it, if you trust it")


def _partial_stems(folder: Path) -> frozenset[str]:
    """Return the stems of the videos of which a decode_report.csv in `folder` says that frames could not be decoded."""
    path = folder / DECODE_REPORT
    if not path.is_file() or _is_elsewhere(path):
        return frozenset()
    try:
        rows = list(csv.DictReader(read_lines(path)))
    except (AnnotationError, csv.Error):
        return frozenset()  # it is not a label file: the lengths of the labels show what is wrong
    return frozenset(canonical(row["stem"]) for row in rows if row.get("stem") and row.get("outcome") == "partly")


def _begins_with_the_video(path: Path) -> bool:
    """Return whether the first row of a .frames.csv is the first frame of its video, which has the time 0.

    A decoder may lose frames at the start of a damaged video; the number of each frame is then unknown.
    """
    if not path.name.endswith(FRAMES):
        return False
    times = [row["time_seconds"] for row, _ in zip(csv.DictReader(read_lines(path)), range(2), strict=False)]
    try:
        first, second = map(float, times)
    except ValueError:
        return False
    return abs(first) < (second - first) / 2


def find_label_files(folder: Path) -> dict[str, Path]:
    """Find the label file of each video in `folder`, without live ones.

    Returns:
        The files by the `canonical` form of the stem.

    Raises:
        InputError: There are none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: expected one that holds label files")
    files: dict[str, Path] = {}
    found = [path for path in sorted(folder.iterdir()) if path.is_file() or is_dangling(path)]
    for layout in registry.FORMATS:
        for path in [path for path in found if registry.format_of(path) == layout]:
            # live labels may have gaps, and be of what nobody has labelled
            if path.name not in NO_LABELS and not path.name.endswith(LIVE) and not is_hidden(path):
                files.setdefault(canonical(layout.stem(path)), path)
    if not files:
        cause = f", did you mean {folder / 'labels'}?" if (folder / "labels").is_dir() else ""
        expected = ", ".join(f"<stem>{layout.suffix}" for layout in registry.FORMATS)
        raise InputError(f"{folder} holds no label files: expected {expected}{cause}")
    return files


def _find_classes(truth: Path, files: Iterable[Path], follow_links: bool, background: str | None) -> LabelSpace:
    for folder in (truth, truth.resolve().parent):
        path = find_class_list(folder)
        if path.is_file() and (follow_links or not _is_elsewhere(path)):
            return read_class_list(path).label_space(background=background)
    names: dict[str, str] = {}
    for path in files:
        with suppress(AnnotationError):  # it is reported where the labels are read
            names |= {canonical(name): name for name in class_names_in(path)}
    return LabelSpace(tuple(sorted(names.values())), background)
