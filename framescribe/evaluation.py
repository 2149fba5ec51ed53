"""Checking data sets and scoring labels from Python."""

import os
from pathlib import Path
from typing import NamedTuple

from pipeline.annotations.problems import Problem
from pipeline.datasets.scan import scan_dataset
from pipeline.datasets.support import count_support
from pipeline.datasets.warnings import find_notes, find_warnings
from pipeline.metrics.folders import evaluate_folders
from pipeline.metrics.videos import Report

__all__ = ["DatasetCheck", "check_dataset", "evaluate"]


class DatasetCheck(NamedTuple):
    """What a data set holds, and what is wrong with it.

    Attributes:
        class_names: The classes of classes.txt or classes.csv, or those that the labels name.
        num_videos: How many videos, or files of features, there are.
        num_frames: The frames of those that can be read.
        problems: Every problem that was found, each with its file, line and likely cause; `str(problem)` is a sentence.
        warnings: What does not prevent training, but probably is a mistake or too little, a sentence each:
            classes of which there are few videos or segments, classes that always or never occur together, groups of
            classes that are spelt almost alike, videos that are in no split, files in labels/ that are not read,
            numbers of frames that are probably seconds, and labels of frames that nobody looked at.
        notes: What is read in a way that you may not expect, a sentence each: columns that are passed over, frames that
            are counted from 1, classes that no class list names.
    """

    class_names: tuple[str, ...]
    num_videos: int
    num_frames: int
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def check_dataset(
    root: str | os.PathLike[str], *, independent: bool = False, follow_links: bool = False
) -> DatasetCheck:
    """List every problem of a data set of labelled videos or features, as `framescribe check` does.

    Args:
        root: The folder of the data set.
        independent: Whether any of the classes may overlap, also where a classes.txt says no more than their names.
        follow_links: Whether text files are read that are links out of the data set.

    Returns:
        What the data set holds and every problem of it. A data set without problems can be trained on.

    Example:
        >>> import framescribe
        >>> check = framescribe.check_dataset("dataset")
        >>> check.class_names, check.num_videos
        (('idle', 'left', 'right'), 6)
        >>> for problem in check.problems:
        ...     print(problem)
    """
    scan = scan_dataset(Path(root), independent=independent, follow_links=follow_links)
    problems = (*scan.all_problems(), *scan.unused_class_problems())
    num_frames = sum(source.num_frames for source in scan.sources.values())
    usable = scan.usable_sources()
    support = count_support(usable, scan.labels, scan.label_space)
    warnings = find_warnings(scan, usable, support, reported=scan.unused_classes())
    notes = tuple(find_notes(scan))
    return DatasetCheck(scan.label_space.classes, len(scan.sources), num_frames, problems, tuple(warnings), notes)


def evaluate(
    truth: str | os.PathLike[str],
    predicted: str | os.PathLike[str],
    *,
    background: str | None = None,
    independent: bool = False,
    follow_links: bool = False,
) -> Report:
    """Score predicted labels against true ones, as `framescribe evaluate` does.

    Args:
        truth: A folder of true label files, or a labels.csv with one class per video.
        predicted: A folder of label files that `framescribe label` or `label_folder` wrote.
        background: A class that is left out of the segment scores when they are computed a second time.
        independent: Whether any of the classes may overlap, also where a classes.txt says no more than their names.
        follow_links: Whether files are read that are links out of their folder.

    Returns:
        A nested dict of scores in percent: of all frames and segments, of each class and of each video. A video whose
        labels cannot be read or do not fit its truth is in `not_scored`, and `failures` has a sentence on each problem;
        `without_prediction` and `without_truth` name the videos that have labels on one side only;
        `frames_without_prediction` counts, by video, the frames that could not be decoded and are left out.

    Raises:
        InputError: A folder holds no label files, or not a single video can be scored.

    Example:
        >>> import framescribe
        >>> scores = framescribe.evaluate("dataset/labels", "dataset/labels")
        >>> scores["frames"]["accuracy"]["pooled"]
        100.0
    """
    return evaluate_folders(
        Path(truth), Path(predicted), background=background, independent=independent, follow_links=follow_links
    )
