"""The layouts of label files: their names, their headers, and how times are written.

Frames are numbered from 0; segments are half-open, [start, stop).

Shapes: T frames, K classes.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import RESERVED_NAMES, LabelSpace
from pipeline.annotations.segments import Segment, segments_from_frames

FRAMES, SEGMENTS, LIVE = ".frames.csv", ".segments.csv", ".live.csv"  # follow a stem; `framescribe label` writes them
NOVELTY = ".novelty.csv"  # follows a stem too, and has no labels
SCORED = "scored.csv"  # is beside the class list: which frames people looked at
DECODE_REPORT = "decode_report.csv"  # is beside them, and beside the manifest of a data set
IMPORT_REPORT = "import_report.csv"  # is in an imported data set: what did not become a label
BUDGET, TRANSITIONS = "budget.csv", "transitions.csv"  # `framescribe summarize` writes them
VIDEO_LABELS = "labels.csv"  # is beside the folder labels/ of a data set, or replaces it
SEGMENTS_HEADER = ("start", "stop", "class")
SCORED_HEADER = ("stem", "start", "stop", "class")  # the last column may be missing
VIDEO_LABELS_HEADER = ("stem", "class")
PREDICTED_FRAMES_HEADER = ("frame", "time_seconds", "label", "probability")
OVERLAPPING_FRAMES_START = RESERVED_NAMES  # a column for each class follows
PROBABILITY_DECIMALS = 4
# Where classes overlap, their ranking is scored from the files (average precision), so that probabilities near 0 and 1
# should not become ties.
OVERLAPPING_PROBABILITY_DECIMALS = 6
NOVELTY_HEADER = ("frame", "time_seconds", "novelty")
NOVELTY_DECIMALS = 3
PREDICTED_SEGMENTS_HEADER = ("start", "stop", "start_seconds", "stop_seconds", "label", "probability")


class Span(NamedTuple):
    """A part of a video, given by its times.

    Attributes:
        start_seconds: The time at which it starts.
        stop_seconds: The time just after its end.
        label: The name of its class; None where it has none.
    """

    start_seconds: float
    stop_seconds: float
    label: str | None


def timed_segments(
    labels: np.ndarray, pts_seconds: np.ndarray, frame_duration_seconds: float
) -> Iterator[tuple[Segment, tuple[float, float]]]:
    """Yield the segments of labels with the times at which they start and stop.

    A segment ends when the frame at its `stop` begins. A segment that contains the last frame ends
    `frame_duration_seconds` after that frame begins.

    Args:
        labels: int64 [T], or int8 [T, K] where classes overlap: then the segments do, in the order of their starts.
        pts_seconds: float64 [T], the presentation time of each frame.
        frame_duration_seconds: The duration of the last frame.

    Yields:
        Each segment with its start and its stop in seconds.
    """
    seconds = np.append(pts_seconds, pts_seconds[-1] + frame_duration_seconds if len(labels) else 0.0)
    for segment in segments_from_frames(labels):
        yield segment, (float(seconds[segment.start]), float(seconds[segment.stop]))


def mean_probability(segment: Segment, probabilities: np.ndarray) -> float:
    """Return the mean probability of the class of a segment over its frames.

    Args:
        segment: The segment.
        probabilities: float [T], of each frame's label; or [T, K], of all classes, where they overlap.
    """
    inside = probabilities[segment.start : segment.stop]
    of_class = inside if inside.ndim == 1 else inside[:, segment.class_index]
    return float(of_class.mean(dtype=np.float64))


def names_of_frame(label: np.ndarray, label_space: LabelSpace) -> tuple[str, ...] | None:
    """Return the names of the classes of a frame, of its labels int8 [K]; None where it is not labelled."""
    if not label_space.is_labelled(label).any():
        return None
    return label_space.class_names(label[np.newaxis])[0]


def seconds_cell(seconds: float) -> str:
    """Format a time for a cell; empty where there is none (NaN), as ready features have no times."""
    return "" if math.isnan(seconds) else f"{seconds:.6f}"
