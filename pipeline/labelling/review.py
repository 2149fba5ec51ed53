"""The work of `framescribe review`: the stretches of videos that are most worth annotating, ranked, with pictures.

One video is in memory at a time, and of earlier videos the stretches that may still be listed. T frames, K classes.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.formats.scored import Scored
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError, Problem, without_content
from pipeline.annotations.read import check_without_video, find_annotation, read_annotation
from pipeline.annotations.times import FrameTimes
from pipeline.drawing.strips import is_strip, read_strips, spread_frames, write_jpeg
from pipeline.errors import InputError, name_failure
from pipeline.files import check_is_no_folder
from pipeline.labelling.doubts import find_doubts
from pipeline.labelling.model import Model
from pipeline.labelling.review_page import PAGE, TABLE, Doubted, ReviewItem, write_page, write_table
from pipeline.labelling.stretches import Stretch, find_stretches, frame_gains
from pipeline.labelling.video import VideoLabels, label_video
from pipeline.text.wording import counted

STRIPS = "strips"  # the folder of the pictures, in that of the list
STRIP = re.compile(r".*_\d+-\d+\.jpg")
FRAMES_OF_STRIP = 6
KINDS = {"disagrees": "where the model contradicts a label", "uncertain": "where it is uncertain"}
FEATURE_FRAME_RATE = 25.0  # of ready features, whose files do not hold it


@dataclass(frozen=True)
class Listing:
    """The limits of the list.

    Attributes:
        top: The number of stretches.
        per_video: The maximum number of stretches of one video.
        shortest_seconds: The length of the shortest stretch; a shorter video is one stretch.
        longest_seconds: The length of the longest stretch, at least shortest_seconds.
    """

    top: int
    per_video: int
    shortest_seconds: float
    longest_seconds: float


class ReviewOutcome(NamedTuple):
    """The outcome of a review.

    Attributes:
        listed: The stretches, the best first.
        num_labelled: The number of videos that were labelled.
        num_failed: The number of videos that could not be labelled or shown.
    """

    listed: list[ReviewItem]
    num_labelled: int
    num_failed: int

    def describe(self) -> str:
        """Say in one sentence how many stretches are listed, why, and how they spread over the videos."""
        if not self.listed:
            return f"nothing worth a look in {counted(self.num_labelled, 'video')}"
        of_video = Counter(item.stem for item in self.listed)
        why = Counter(item.why for item in self.listed)
        kinds = [f"{why[kind]} {text}" for kind, text in KINDS.items() if why[kind]]
        spread = f"{len(of_video)} of {counted(self.num_labelled, 'video')} (at most {max(of_video.values())} of one)"
        return f"{counted(len(self.listed), 'stretch', 'stretches')} of {spread}: {', '.join(kinds)}"


def find_given(paths: Sequence[Path], folder: Path, label_space: LabelSpace) -> dict[str, Path]:
    """Find the label files of videos.

    Args:
        paths: The videos.
        folder: The folder of the label files.
        label_space: The classes of the model.

    Returns:
        The label file of each video that has one, by the video's stem.

    Raises:
        InputError: No video has a label file.
        AnnotationError: Every problem of every file, and of a scored.csv, that shows without the video: a class that
            the model does not know, for example.
    """
    found: dict[str, Path] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            annotation = find_annotation(folder, path.stem, file_name=path.name)
            if annotation is not None:
                check_without_video(annotation, label_space)
                found[path.stem] = annotation
        except AnnotationError as error:
            problems += without_content(error.problems, folder)
    try:
        Scored.of(folder, label_space, follow_links=True)
    except AnnotationError as error:
        problems += without_content(error.problems, folder.resolve().parent)
    if problems:
        raise AnnotationError(dict.fromkeys(problems))
    if not found:
        raise InputError(f"{folder}: has no labels of any of the {len(paths)} videos: do the stems differ?")
    return found


def review_files(
    paths: Sequence[Path],
    model: Model,
    out: Path,
    *,
    listing: Listing,
    given: dict[str, Path],
    on_failure: Callable[[str], None],
    on_progress: Callable[[Path, int], None] = lambda path, num_frames: None,
) -> ReviewOutcome:
    """Label files, list the stretches that are most worth a look, and write the list with its pictures.

    Where no file can be labelled nothing is written, and an earlier list stays.

    Args:
        paths: The files.
        model: The labeller.
        out: The folder of the list.
        listing: The limits of the list.
        given: The label files that people wrote, by stem, see `find_given`.
        on_failure: It is called with one sentence for each file that cannot be labelled, or whose frames cannot be
            shown, whatever was raised; the others are still reviewed.
        on_progress: It is called with a file and the number of its frames that are labelled so far.

    Raises:
        InputError: A folder or a link in `out` is in the place of what is written.
    """
    _check_places(out)
    listed: list[ReviewItem] = []
    labelled: dict[str, Path] = {}
    num_failed = 0
    for path in paths:
        try:
            _check_is_first(path, labelled.get(path.stem))
            found = review_video(path, model, listing=listing, given=given.get(path.stem), on_progress=on_progress)
        except Exception as error:  # a decoder or a runtime may raise anything
            on_failure(name_failure(path, "could not be labelled", error, out))
            num_failed += 1
            continue
        labelled[path.stem] = path
        listed = sorted([*listed, *found], key=lambda item: -item.stretch.score)[: listing.top]
    if labelled and model.runtime:
        listed, num_not_shown = _with_pictures(listed, labelled, out, on_failure)
        num_failed += num_not_shown
    outcome = ReviewOutcome(listed, len(labelled), num_failed)
    if labelled:
        _write(outcome, model, out)
    return outcome


def review_video(
    path: Path,
    model: Model,
    *,
    listing: Listing,
    given: Path | None = None,
    on_progress: Callable[[Path, int], None] = lambda path, num_frames: None,
) -> list[ReviewItem]:
    """Find the stretches of one file that are most worth a look.

    Args:
        path: The file.
        model: The labeller.
        listing: The limits of the list.
        given: Its labels by people, in a layout of a data set, which may leave out frames, as may a scored.csv in their
            folder or beside it; None where there are none.
        on_progress: As in `review_files`.

    Returns:
        The stretches, the best first, without pictures.

    Raises:
        InputError: As in `label_video`.
        AnnotationError: As in `read_annotation` and `Scored`.
    """
    result = label_video(path, model, on_progress=lambda num_frames: on_progress(path, num_frames))
    num_frames, label_space = len(result.labels), model.spec.label_space
    given_labels = label_space.unlabelled(num_frames)
    if given is not None:
        scored = Scored.of(given.parent, label_space, follow_links=True)
        times = None if np.isnan(result.frame_seconds) else FrameTimes(result.pts_seconds, result.frame_seconds)
        labels = read_annotation(given, label_space, num_frames=num_frames, times=times)
        given_labels = scored.keep(path.stem, labels, label_space)
    gains = frame_gains(result.class_probabilities, result.labels, given_labels, label_space)
    frame_rate = FEATURE_FRAME_RATE if np.isnan(result.frame_seconds) else 1 / result.frame_seconds
    shortest, longest = (
        max(1, round(seconds * frame_rate)) for seconds in (listing.shortest_seconds, listing.longest_seconds)
    )
    most = min(listing.top, listing.per_video)
    of_frames = gains if gains.ndim == 1 else gains.max(axis=1)
    stretches = find_stretches(of_frames, shortest_frames=shortest, longest_frames=longest, most=most)
    return [_listed(path.stem, stretch, result, given_labels, gains, label_space) for stretch in stretches]


def _listed(
    stem: str,
    stretch: Stretch,
    result: VideoLabels,
    given_labels: np.ndarray,
    gains: np.ndarray,
    label_space: LabelSpace,
) -> ReviewItem:
    """Copy the parts of a video's arrays that a stretch needs; a view would keep the whole arrays in memory."""
    inside = slice(stretch.start, stretch.stop)
    labels, given = result.labels[inside].copy(), given_labels[inside].copy()
    doubts = find_doubts(gains[inside], labels, given, label_space)
    frames = [doubt.frames(labels, given) for doubt in doubts]
    class_probabilities = result.class_probabilities[inside]
    probabilities = class_probabilities[frames[0]].mean(axis=0, dtype=np.float64)
    for doubt, is_doubted in zip(doubts[1:], frames[1:], strict=True):
        probabilities[doubt.class_index] = class_probabilities[is_doubted, doubt.class_index].mean(dtype=np.float64)
    first, *others = (Doubted(doubt, int(is_doubted.sum())) for doubt, is_doubted in zip(doubts, frames, strict=True))
    times = np.append(result.pts_seconds, result.pts_seconds[-1] + result.frame_seconds)
    return ReviewItem(
        stem=stem,
        stretch=stretch,
        start_seconds=float(times[stretch.start]),
        stop_seconds=float(times[stretch.stop]),
        doubt=first.doubt,
        num_doubted=first.num_frames,
        probabilities=probabilities,
        labels=labels,
        given_labels=given,
        others=tuple(others),
    )


def _with_pictures(
    listed: Sequence[ReviewItem], paths: dict[str, Path], out: Path, on_failure: Callable[[str], None]
) -> tuple[list[ReviewItem], int]:
    """Write a strip of frames for each stretch; return the new list, and how many videos failed to be read again."""
    listed = list(listed)
    num_failed = 0
    of_video: dict[str, list[int]] = {}
    for position in sorted(range(len(listed)), key=lambda position: listed[position].stretch.start):
        of_video.setdefault(listed[position].stem, []).append(position)
    for stem, positions in of_video.items():
        path = paths[stem]
        video = os.path.relpath(path.resolve(), out.resolve())
        stretches = [listed[position].stretch for position in positions]
        frame_lists = [spread_frames(start, stop, most=FRAMES_OF_STRIP) for start, stop, _ in stretches]
        try:
            for position, strip in zip(positions, read_strips(path, frame_lists), strict=True):
                start, stop, _ = listed[position].stretch
                picture = f"{STRIPS}/{stem}_{start}-{stop}.jpg"
                write_jpeg(out / picture, strip)
                listed[position] = replace(listed[position], video=video, picture=picture)
        except Exception as error:
            failure = name_failure(path, "its frames could not be shown", error, out)
            on_failure(f"{failure}; its stretches are listed without pictures")
            num_failed += 1
    return listed, num_failed


def _write(outcome: ReviewOutcome, model: Model, out: Path) -> None:
    """Write the table and the page; the pictures of an earlier list go last, so that a page always has its own."""
    label_space = model.spec.label_space
    write_table(out / TABLE, outcome.listed, label_space)
    thresholds = [decision.threshold for decision in model.spec.class_decisions]
    write_page(out / PAGE, outcome.listed, label_space, summary=outcome.describe(), thresholds=thresholds)
    shown = {item.picture for item in outcome.listed}
    for path in (out / STRIPS).glob("*.jpg"):
        if STRIP.fullmatch(path.name) and f"{STRIPS}/{path.name}" not in shown and is_strip(path):
            path.unlink()


def _check_places(out: Path) -> None:
    """Raise InputError, before there is work to lose, where something in `out` is in the place of what is written."""
    for name in (TABLE, PAGE):
        check_is_no_folder(out / name)
    strips = out / STRIPS
    if strips.is_symlink() or (strips.exists() and not strips.is_dir()):
        raise InputError(
            f"{strips}: got a link or a file, expected a folder or nothing there: pictures are written into it, and not"
            " through a link: move it away, or write elsewhere"
        )


def _check_is_first(path: Path, other: Path | None) -> None:
    if other is not None:
        raise InputError(
            f"{path}: has the name of {other}, they could not be told apart: review it in a call of its own"
        )
