"""The layouts of label files: their names, their headers, and how times are written.

Frames are numbered from 0; segments are half-open, [start, stop).

Shapes: T frames.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import Segment, segments_from_frames

FRAMES, SEGMENTS, LIVE = ".frames.csv", ".segments.csv", ".live.csv"  # follow a stem; `framescribe label` writes them
SCORED = "scored.csv"  # is beside the class list: which frames people looked at
DECODE_REPORT = "decode_report.csv"  # is beside them, and beside the manifest of a data set
VIDEO_LABELS = "labels.csv"  # is beside the folder labels/ of a data set, or replaces it
SEGMENTS_HEADER = ("start", "stop", "class")
SCORED_HEADER = ("stem", "start", "stop", "class")  # the last column may be missing
VIDEO_LABELS_HEADER = ("stem", "class")
PREDICTED_FRAMES_HEADER = ("frame", "time_seconds", "label", "probability")
OVERLAPPING_FRAMES_START = ("frame", "time_seconds", "labels")  # a column for each class follows
PREDICTED_SEGMENTS_HEADER = ("start", "stop", "start_seconds", "stop_seconds", "label", "probability")


def predicted_frames_header(label_space: LabelSpace) -> tuple[str, ...]:
    """Return the header of a `<stem>.frames.csv`.

    Where classes overlap, the column `labels` has the names of the classes of a frame, joined by the SEPARATOR, and a
    column for each class has its probability. All of them are empty for a frame that was not decoded.

    >>> predicted_frames_header(LabelSpace.independent(("eats", "rears")))
    ('frame', 'time_seconds', 'labels', 'eats', 'rears')
    """
    return PREDICTED_FRAMES_HEADER if label_space.is_exclusive else (*OVERLAPPING_FRAMES_START, *label_space.classes)


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
        labels: int64 [T].
        pts_seconds: float64 [T], the presentation time of each frame.
        frame_duration_seconds: The duration of the last frame.

    Yields:
        Each segment with its start and its stop in seconds.
    """
    seconds = np.append(pts_seconds, pts_seconds[-1] + frame_duration_seconds if len(labels) else 0.0)
    for segment in segments_from_frames(labels):
        yield segment, (float(seconds[segment.start]), float(seconds[segment.stop]))


def seconds_cell(seconds: float) -> str:
    """Format a time for a cell; empty where there is none (NaN), as ready features have no times."""
    return "" if math.isnan(seconds) else f"{seconds:.6f}"


def check_predicted(
    labels: np.ndarray, probabilities: np.ndarray, pts_seconds: np.ndarray, label_space: LabelSpace
) -> None:
    """Check predicted labels before they are written.

    Args:
        labels: int64 [T].
        probabilities: float [T].
        pts_seconds: float64 [T].
        label_space: The classes.

    Raises:
        ValueError: The arrays are not one-dimensional and of the same length, or a label is not valid in `label_space`.
    """
    if not labels.shape == probabilities.shape == pts_seconds.shape or labels.ndim != 1:
        shapes = f"{labels.shape}, {probabilities.shape} and {pts_seconds.shape}"
        raise ValueError(f"got labels, probabilities and pts_seconds of shapes {shapes}, expected [T] for each")
    label_space.check(labels)
