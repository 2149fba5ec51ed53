"""The lanes of the page of `framescribe review`: labels over the time of a stretch, for all classes or for each.

K classes, n frames of a stretch.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import PRESENT, LabelSpace
from pipeline.drawing.colors import class_colors
from pipeline.labelling.doubts import Doubt

NOT_LABELLED = "#9aa0a6"
ABSENT_COLOR = "transparent"
MIN_SHOWN = 0.05  # where classes overlap: the mean probability from which a class that is never on has a lane


class Run(NamedTuple):
    """Consecutive frames of one label, in a bar over the width of the strip.

    Attributes:
        num_frames: The number of frames.
        color: The colour of the label, as CSS says it.
        name: The name of the class, or "not labelled"; where classes overlap: "yes", "no" or "not labelled".
    """

    num_frames: int
    color: str
    name: str


class Lane(NamedTuple):
    """Labels over the time of a stretch.

    Attributes:
        name: The name of the class, where classes overlap; otherwise "".
        percent: Its mean probability in the doubted frames, in percent; 0 where classes are exclusive.
        threshold: The probability from which the class is on, in percent; 0 where classes are exclusive.
        runs: The labels of the model.
        given_runs: The labels that people gave; empty where there are none.
    """

    name: str
    percent: float
    threshold: float
    runs: list[Run]
    given_runs: list[Run]


def make_lanes(
    doubts: Sequence[Doubt],
    labels: np.ndarray,
    given: np.ndarray,
    probabilities: np.ndarray,
    label_space: LabelSpace,
    thresholds: Sequence[float],
) -> list[Lane]:
    """Make the lanes of a stretch.

    Args:
        doubts: The labels for which it is listed.
        labels: int64 [n], or int8 [n, K] where classes overlap, the labels of the model.
        given: As `labels`, the labels that people gave.
        probabilities: [K], the means over the doubted frames.
        label_space: The classes.
        thresholds: [K], the probability from which each class is on, where classes overlap.

    Returns:
        One lane where classes are exclusive. Otherwise one for each class, the doubted ones first, but not those that
        no label has and that are improbable.
    """
    colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in class_colors(label_space).tolist()]
    is_given = label_space.labelled_frames(given).any()
    doubted = [doubt.class_index for doubt in doubts if doubt.class_index is not None]
    if not doubted:
        values = {index: (name, colors[index]) for index, name in enumerate(label_space.classes)}
        return [Lane("", 0.0, 0.0, _runs(labels, values), _runs(given, values) if is_given else [])]
    is_shown = ((labels == PRESENT) | (given == PRESENT)).any(axis=0) | (probabilities >= MIN_SHOWN)
    others = [index for index in np.flatnonzero(is_shown).tolist() if index not in doubted]
    lanes = []
    for index in (*doubted, *others):
        values = {0: ("no", ABSENT_COLOR), 1: ("yes", colors[index])}
        given_runs = _runs(given[:, index], values) if is_given else []
        percents = 100 * float(probabilities[index]), 100 * thresholds[index]
        lanes.append(Lane(label_space.classes[index], *percents, _runs(labels[:, index], values), given_runs))
    return lanes


def _runs(labels: np.ndarray, values: dict[int, tuple[str, str]]) -> list[Run]:
    """Return the runs of labels [n], of which `values` has the names and colours."""
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    runs = []
    for start, stop in pairwise(edges):
        name, color = values.get(int(labels[start]), ("not labelled", NOT_LABELLED))
        runs.append(Run(stop - start, color, name))
    return runs
