"""`framescribe evaluate`: score a folder of predicted labels against true ones.

T frames, K classes.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from pipeline.annotations.formats import registry
from pipeline.annotations.formats.base import VideoTable
from pipeline.annotations.formats.scored import Scored
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import DECODE_REPORT, FRAMES, SEGMENTS
from pipeline.annotations.problems import AnnotationError, Problem, condense, read_lines
from pipeline.annotations.segments import frames_of_video
from pipeline.errors import InputError
from pipeline.files import canonical, is_elsewhere
from pipeline.metrics.label_files import (
    LabelReader,
    StampsOf,
    elsewhere,
    find_label_files,
    find_label_space,
    no_stamps,
    other_length,
)
from pipeline.metrics.report import evaluate
from pipeline.metrics.videos import Report


def evaluate_folders(
    truth: Path,
    predicted: Path,
    *,
    background: str | None = None,
    independent: bool = False,
    follow_links: bool = False,
    stamps_of: StampsOf = no_stamps,
) -> Report:
    """Score a folder of `<stem>.frames.csv`, `.segments.csv`, `.csv` or `.txt` against another one.

    The class list is the `classes.txt` or `classes.csv` in `truth` or beside it, as in a data set; failing that, the
    sorted names that the files use. What a `scored.csv` there says that nobody looked at is not scored. Where only one
    side says how long a video is (a .csv of segments does not), the other takes its length. A video whose files cannot
    be read or do not fit each other is not scored; the other videos are.

    Where classes overlap, average precision needs the probabilities of a `.frames.csv` of every video that is scored.

    Args:
        truth: The folder with the true labels; or a labels.csv, where the label of a video is that of all its frames
            that are predicted.
        predicted: The folder with the predicted labels. Frames without a label in what `framescribe label` wrote could
            not be decoded, and are left out of the scores.
        background: See `LabelSpace`.
        independent: Whether any of the classes may overlap, also where the class list does not say so.
        follow_links: Whether files are read that are links out of their folder.
        stamps_of: See `LabelReader`: labels in seconds need it, and it says how long videos are.

    Returns:
        The report of `evaluate`, and:
            without_prediction         the stems of `truth` that have none
            without_truth              the stems of `predicted` that have no true labels
            frames_without_prediction  {stem: labelled frames that are left out, as they could not be decoded}
            length_not_known           the stems of overlapping classes of which nothing says how long the video is
            not_scored                 the stems on both sides that are left out because of a problem
            failures                   the problems, and those of a scored.csv, shortened by `condense`
            without_probabilities      where classes overlap: the stems that have none, so that no average precision and
                                       calibration error can be computed

    Raises:
        InputError: A folder has no label files, no video has both, or no video is left to be scored: then an
            AnnotationError with every problem of every file.
    """
    truth, predicted = Path(truth), Path(predicted)
    table = registry.video_table_of(truth)
    true_files, predicted_files = {} if table else find_label_files(truth), find_label_files(predicted)
    files = [*([truth] if table else true_files.values()), *predicted_files.values()]
    label_space = find_label_space(
        [truth], files, background=background, independent=independent, follow_links=follow_links
    )
    true = _read_table(table, truth, label_space, follow_links=follow_links) if table else true_files
    if not true.keys() & predicted_files.keys():
        raise InputError(f"no video of {truth} has a prediction in {predicted}: do the stems differ?")
    scored = Scored.of(truth, label_space, follow_links=follow_links)
    videos = _Videos(LabelReader(label_space, follow_links, stamps_of), _partial_stems(predicted), scored)
    for stem in sorted(true.keys() & predicted_files.keys()):
        videos.read(stem, true[stem], predicted_files[stem])
    problems = [*scored.find_unknown(true.keys() | predicted_files.keys()), *videos.reader.all_problems()]
    if not videos.true_labels:
        raise AnnotationError(problems)
    return videos.evaluate() | {
        "without_prediction": sorted(true.keys() - predicted_files.keys()),
        "without_truth": sorted(predicted_files.keys() - true.keys()),
        "frames_without_prediction": videos.num_left_out,
        "length_not_known": [stem for stem in videos.true_labels if stem in videos.reader.without_length],
        "not_scored": sorted(videos.reader.problems),
        "failures": [str(problem) for problem in condense(problems)],
    }


def _read_table(
    table: VideoTable, path: Path, label_space: LabelSpace, *, follow_links: bool
) -> Mapping[str, int | np.ndarray]:
    """Read the label of all frames of each video."""
    if not follow_links and is_elsewhere(path):
        raise AnnotationError([elsewhere(path)])
    return {stem: label for stem, (label, _) in table.read(path, label_space).items()}


@dataclass
class _Videos:
    """The labels of the videos that can be scored, by their stems.

    Attributes:
        reader: It reads their files, and has the problems of the videos that cannot be scored.
        partial: The stems of the videos that were labelled in part.
        scored: What people looked at.
        true_labels: int64 [T], or int8 [T, K] where classes overlap.
        predicted_labels: Likewise.
        probabilities: float32 [T, K] where classes overlap, of the videos that have them.
        num_left_out: How many labelled frames are left out, as they have no prediction.
    """

    reader: LabelReader
    partial: frozenset[str]
    scored: Scored
    true_labels: dict[str, np.ndarray] = field(default_factory=dict)
    predicted_labels: dict[str, np.ndarray] = field(default_factory=dict)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    num_left_out: dict[str, int] = field(default_factory=dict)

    def read(self, stem: str, true_file: Path | int | np.ndarray, predicted_file: Path) -> None:
        """Read the labels of a video.

        Args:
            stem: The stem of the video.
            true_file: The file with its true labels, or the label of all its frames.
            predicted_file: The file with its predicted labels.
        """
        predicted = self.reader.read(stem, predicted_file)
        if predicted is not None:
            predicted = self.reader.lengthen_to_scored(
                stem, predicted, (true_file, predicted_file), [(self.scored, stem)]
            )
        if isinstance(true_file, Path):
            true = self.reader.read(stem, true_file, other=predicted_file)
        else:
            true = None if predicted is None else frames_of_video(true_file, len(predicted))
        if true is None or predicted is None:
            return
        if problem := self._check_gaps(stem, predicted_file):
            self.reader.add(stem, [problem])
            return
        cause = ""
        if isinstance(true_file, Path):
            true, predicted, cause = self._align(stem, true, true_file, predicted, predicted_file)
        if problem := self._check(stem, true, predicted, predicted_file, cause):
            self.reader.add(stem, [problem])
            return
        true = self.reader.keep_scored(stem, true, self.scored)
        probabilities = self.reader.read_probabilities(stem, predicted_file)
        if true is None or stem in self.reader.problems:
            return
        self._leave_out_undecoded(stem, true, predicted)
        self.true_labels[stem], self.predicted_labels[stem] = true, predicted
        if probabilities is not None:
            lost = ((0, len(true) - len(probabilities)), (0, 0))
            self.probabilities[stem] = np.pad(probabilities, lost, constant_values=np.nan)

    def evaluate(self) -> Report:
        """Score the videos; probabilities count where every video has them."""
        without = sorted(self.true_labels.keys() - self.probabilities.keys())
        label_space, probabilities = self.reader.label_space, None if without else self.probabilities
        report = evaluate(self.true_labels, self.predicted_labels, label_space, probabilities)
        return report if label_space.is_exclusive else report | {"without_probabilities": without}

    def _align(
        self, stem: str, true: np.ndarray, true_file: Path, predicted: np.ndarray, predicted_file: Path
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """Bring both sides to the same length where one of them does not say it, or lacks the end of the video.

        Returns:
            The true and the predicted labels, and why they cannot be compared, "" where nothing is known against it.
        """
        knows_length, num_predicted = self.reader.has_length(true_file), len(predicted)
        true, predicted = self.reader.same_length(true, true_file, predicted, predicted_file)
        begins = _begins_with_the_video(predicted_file) if stem in self.partial else None
        if begins:  # what is missing is the end
            predicted = np.concatenate([predicted, self._unlabelled(len(true) - len(predicted))])
        if begins is False and not (knows_length and len(true) == num_predicted):
            return true, predicted, "its first frames could not be decoded, so the numbers of the others are not known"
        return true, predicted, ""

    def _unlabelled(self, num_frames: int) -> np.ndarray:
        return self.reader.label_space.unlabelled(max(0, num_frames))

    def _is_missing(self, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return which true labels have no prediction: bool, in the shape of the labels."""
        is_labelled = self.reader.label_space.is_labelled
        return is_labelled(true) & ~is_labelled(predicted)

    def _leave_out_undecoded(self, stem: str, true: np.ndarray, predicted: np.ndarray) -> None:
        """Take the true labels away where there is no prediction."""
        is_missing = self._is_missing(true, predicted)
        if is_missing.any():
            self.num_left_out[stem] = _num_frames(is_missing)
            true[is_missing] = self._unlabelled(len(true))[is_missing]

    def _check_gaps(self, stem: str, path: Path) -> Problem | None:
        """Describe that a file does not distinguish lost frames from frames without a class, as it has neither."""
        if stem not in self.partial or not path.name.endswith(SEGMENTS) or self.reader.has_length(path):
            return None
        fault = "does not distinguish frames that could not be decoded from frames without a class"
        return Problem(path, None, f"{fault}: label {stem} with --formats csv, whose {stem}{FRAMES} distinguishes them")

    def _check(self, stem: str, true: np.ndarray, predicted: np.ndarray, path: Path, cause: str) -> Problem | None:
        """Describe why the labels cannot be compared; `cause` is known already, or ""."""
        if len(true) != len(predicted):
            return other_length(
                path, f"got {len(predicted)} predicted labels for {len(true)} true ones of {stem}", cause
            )
        if cause:
            return Problem(path, None, f"cannot be compared with the true labels of {stem}: {cause}")
        is_missing = self._is_missing(true, predicted)
        layout = registry.format_of(path)
        if is_missing.any() and layout is not None and layout.is_of_people:  # no frame was lost: nobody labelled it
            num_labelled = _num_frames(self.reader.label_space.is_labelled(true))
            missing = f"{_num_frames(is_missing)} of {num_labelled} labelled frames have no prediction"
            return Problem(path, None, f"{missing}: give them a class, for example a background class")
        return None


def _num_frames(is_chosen: np.ndarray) -> int:
    """Return the number of frames with a chosen label, of bool [T] or [T, K]."""
    return int(is_chosen.sum() if is_chosen.ndim == 1 else is_chosen.any(axis=1).sum())


def _partial_stems(folder: Path) -> frozenset[str]:
    """Return the stems of the videos of which a decode_report.csv in `folder` says that frames could not be decoded."""
    path = folder / DECODE_REPORT
    if not path.is_file() or is_elsewhere(path):
        return frozenset()
    try:
        rows = list(csv.DictReader(read_lines(path)))
    except (AnnotationError, csv.Error):
        return frozenset()  # it is not a label file: the lengths of the labels show what is wrong
    return frozenset(canonical(row["stem"]) for row in rows if row.get("stem") and row.get("outcome") == "partly")


def _begins_with_the_video(path: Path) -> bool | None:
    """Return whether frame 0 of a .frames.csv or .segments.csv is the first frame of its video, which has the time 0.

    A decoder may lose frames at the start of a damaged video; the number of each frame is then unknown. None where the
    file does not say at which times its frames are.
    """
    if not path.name.endswith((FRAMES, SEGMENTS)):
        return None
    rows = list(islice(csv.DictReader(read_lines(path)), 2))
    try:
        if path.name.endswith(FRAMES):
            first, second = (float(row["time_seconds"]) for row in rows)
        else:
            start, stop, first_seconds, last_seconds = (float(text) for text in list(rows[0].values())[:4])
            frame_seconds = (last_seconds - first_seconds) / (stop - start)
            first = first_seconds - start * frame_seconds
            second = first + frame_seconds
    except (ValueError, IndexError):
        return None
    return abs(first) < (second - first) / 2
