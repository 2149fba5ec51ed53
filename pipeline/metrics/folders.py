"""`framescribe evaluate`: score a folder of predicted labels against true ones, or compare two annotators.

T frames, K classes.
"""

import csv
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from pipeline.annotations.formats import registry
from pipeline.annotations.formats.scored import Scored
from pipeline.annotations.layouts import DECODE_REPORT, FRAMES, SEGMENTS
from pipeline.annotations.problems import AnnotationError, Problem, condense, read_lines
from pipeline.annotations.segments import frames_of_video
from pipeline.errors import InputError
from pipeline.files import canonical, is_elsewhere
from pipeline.metrics.agreement import compare_annotators
from pipeline.metrics.label_files import (
    LabelReader,
    elsewhere,
    find_label_files,
    find_label_space,
    other_length,
    stem_of,
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
) -> Report:
    """Score a folder of `<stem>.frames.csv`, `.segments.csv`, `.csv` or `.txt` against another one.

    The class list is the `classes.txt` or `classes.csv` in `truth` or beside it, as in a data set; failing that, the
    sorted names that the files use. What a `scored.csv` there says that nobody looked at is not scored. Where only one
    side says how long a video is (a .csv of segments does not), the other takes its length. A video whose files cannot
    be read or do not fit each other is not scored, and costs no other video.

    Where classes overlap, average precision needs the probabilities of a `.frames.csv` of every video that is scored.

    Args:
        truth: The folder with the true labels; or a labels.csv, where the label of a video is that of all its frames
            that are predicted.
        predicted: The folder with the predicted labels. Frames without a label in what `framescribe label` wrote could
            not be decoded, and are left out of the scores.
        background: See `LabelSpace`.
        independent: Whether any of the classes may overlap, also where the class list does not say so.
        follow_links: Whether files are read that are links out of their folder.

    Returns:
        The report of `evaluate`, and:
            without_prediction         the stems of `truth` that have none
            without_truth              the stems of `predicted` that have no true labels
            frames_without_prediction  {stem: labelled frames that are left out, as they could not be decoded}
            length_not_known           the stems of overlapping classes of which nothing says how long the video is
            not_scored                 the stems on both sides that are left out because of a problem
            failures                   the problems, and those of a scored.csv, shortened by `condense`

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
    if table and not follow_links and is_elsewhere(truth):
        raise AnnotationError([elsewhere(truth)])
    of_videos = table.read(truth, label_space) if table else {}
    stems = of_videos.keys() | true_files.keys()
    if not stems & predicted_files.keys():
        raise InputError(f"no video of {truth} has a prediction in {predicted}: do the stems differ?")
    scored = Scored.of(truth, label_space, follow_links=follow_links)
    videos = _Videos(LabelReader(label_space, follow_links), _partial_stems(predicted), scored)
    for stem, path in sorted(predicted_files.items()):
        if stem in true_files:
            videos.read(stem, true_files[stem], path)
        elif stem in of_videos:
            videos.read(stem, of_videos[stem][0], path)
    problems = [
        *scored.find_unknown(stems | predicted_files.keys()),
        *(problem for of_video in videos.reader.problems.values() for problem in of_video),
    ]
    if not videos.true_labels:
        raise AnnotationError(problems)
    has_probabilities = videos.probabilities.keys() == videos.true_labels.keys()
    probabilities = videos.probabilities if has_probabilities else None
    return evaluate(videos.true_labels, videos.predicted_labels, label_space, probabilities) | {
        "without_prediction": sorted(stems - predicted_files.keys()),
        "without_truth": sorted(predicted_files.keys() - stems),
        "frames_without_prediction": videos.num_left_out,
        "length_not_known": [stem for stem in videos.true_labels if stem in videos.reader.without_length],
        "not_scored": sorted(videos.reader.problems),
        "failures": [str(problem) for problem in condense(problems)],
    }


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
        """Describe that lost frames of a video cannot be told from frames without a class, as its file has neither."""
        if stem not in self.partial or not path.name.endswith(SEGMENTS) or self.reader.has_length(path):
            return None
        fault = "does not tell frames that could not be decoded from frames without a class"
        return Problem(path, None, f"{fault}: label {stem} with --formats csv, whose {stem}{FRAMES} tells them apart")

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


def agreement_of(first: Path, second: Path, *, independent: bool = False, follow_links: bool = False) -> Report:
    """Compare the labels of two annotators.

    The class list is that of the first side, or failing that of the second, in the folder or beside it; failing both,
    the sorted names that the files use. What the scored.csv of a side says that its annotator did not look at is left
    out.

    Args:
        first: The folder with the label files of the first annotator; or one label file.
        second: That of the second one; a file where `first` is a file, whatever its stem.
        independent: See `evaluate_folders`.
        follow_links: See `evaluate_folders`.

    Returns:
        The report of `compare_annotators`, and:
            only_first, only_second   the stems that one of the annotators has not labelled
            length_not_known          as in `evaluate_folders`
            not_compared              the stems on both sides that are left out because of a problem
            failures                  the problems, and those of a scored.csv, shortened by `condense`

    Raises:
        InputError: A folder has no label files, one side is a file and the other a folder, no video is on both sides,
            or no video is left to be compared: then an AnnotationError with every problem of every file.
    """
    first, second = Path(first), Path(second)
    one_files, two_files = _files_of_sides(first, second)
    files = [*one_files.values(), *two_files.values()]
    places = [first if first.is_dir() else first.parent, second if second.is_dir() else second.parent]
    reader = LabelReader(
        find_label_space(places, files, independent=independent, follow_links=follow_links), follow_links
    )
    both = sorted(one_files.keys() & two_files.keys())
    if not both:
        raise InputError(f"no video has labels in both {first} and {second}: do the stems differ?")
    scored = [Scored.of(place, reader.label_space, follow_links=follow_links) for place in places]
    sides: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    for stem in both:
        one = reader.read(stem, one_files[stem], other=two_files[stem])
        two = reader.read(stem, two_files[stem], other=one_files[stem])
        if one is None or two is None:
            continue
        files_of_video = (one_files[stem], two_files[stem])
        stems_of_files = map(stem_of, files_of_video)
        one = reader.lengthen_to_scored(stem, one, files_of_video, list(zip(scored, stems_of_files, strict=True)))
        one, two = reader.same_length(one, one_files[stem], two, two_files[stem])
        if len(one) != len(two):
            message = f"got {len(two)} labels for {len(one)} of {one_files[stem]}"
            reader.add(stem, [other_length(two_files[stem], message)])
            continue
        one = reader.keep_scored(stem, one, scored[0], stem_of_file=stem_of(one_files[stem]))
        two = reader.keep_scored(stem, two, scored[1], stem_of_file=stem_of(two_files[stem]))
        if one is not None and two is not None:
            sides[0][stem], sides[1][stem] = one, two
    unknown = [problem for of_side in scored for problem in of_side.find_unknown(one_files.keys() | two_files.keys())]
    problems = [
        *(dict.fromkeys(unknown) if first.is_dir() else ()),  # beside a file there may be other videos
        *(problem for of_video in reader.problems.values() for problem in of_video),
    ]
    if not sides[0]:
        raise AnnotationError(problems)
    return compare_annotators(*sides, reader.label_space) | {
        "only_first": sorted(one_files.keys() - two_files.keys()),
        "only_second": sorted(two_files.keys() - one_files.keys()),
        "length_not_known": [stem for stem in sides[0] if stem in reader.without_length],
        "not_compared": sorted(reader.problems),
        "failures": [str(problem) for problem in condense(problems)],
    }


def _files_of_sides(first: Path, second: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the label files of both sides by stem; two files are labels of one video."""
    if not first.is_file() and not second.is_file():
        return find_label_files(first), find_label_files(second)
    if not (first.is_file() and second.is_file()):
        file, other = (first, second) if first.is_file() else (second, first)
        raise InputError(
            f"{file} is a file and {other} is not: expected two folders of label files, or two label files"
        )
    stem = stem_of(first)
    return {stem: first}, {stem: second}
