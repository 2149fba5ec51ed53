"""The layouts of label files: their names, their headers, and how times are written.

T frames, numbered from 0; segments are half-open, [start, stop).
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import Segment, segments_from_frames

FRAMES, SEGMENTS, LIVE = ".frames.csv", ".segments.csv", ".live.csv"  # after a stem: what `framescribe label` writes
DECODE_REPORT = "decode_report.csv"  # lies beside them, and beside the manifest of a data set
VIDEO_LABELS = "labels.csv"  # lies beside the folder labels/ of a data set, or in place of it
SEGMENTS_HEADER = ("start", "stop", "class")
VIDEO_LABELS_HEADER = ("stem", "class")
PREDICTED_FRAMES_HEADER = ("frame", "time_seconds", "label", "probability")
PREDICTED_SEGMENTS_HEADER = ("start", "stop", "start_seconds", "stop_seconds", "label", "probability")


class Span(NamedTuple):
    """A part of a video by its times, from `start_seconds` until just before `stop_seconds`; label None: no class."""

    start_seconds: float
    stop_seconds: float
    label: str | None


def timed_segments(
    labels: np.ndarray, pts_seconds: np.ndarray, frame_duration_seconds: float
) -> Iterator[tuple[Segment, tuple[float, float]]]:
    """The segments of labels int64 [T] with the times at which they start and stop, in seconds.

    A segment ends when the frame at `stop` begins; the last one, `frame_duration_seconds` after the last frame began.
    """
    seconds = np.append(pts_seconds, pts_seconds[-1] + frame_duration_seconds if len(labels) else 0.0)
    for segment in segments_from_frames(labels):
        yield segment, (float(seconds[segment.start]), float(seconds[segment.stop]))


def seconds_cell(seconds: float) -> str:
    """Empty where there is no time (NaN): ready features do not say when a frame was."""
    return "" if math.isnan(seconds) else f"{seconds:.6f}"


def check_predicted(
    labels: np.ndarray, probabilities: np.ndarray, pts_seconds: np.ndarray, label_space: LabelSpace
) -> None:
    """ValueError where the arrays are not of one length [T], or a label is not valid in `label_space`."""
    if not labels.shape == probabilities.shape == pts_seconds.shape or labels.ndim != 1:
        shapes = f"{labels.shape}, {probabilities.shape} and {pts_seconds.shape}"
        raise ValueError(f"got labels, probabilities and pts_seconds of shapes {shapes}, expected [T] for each")
    label_space.check(labels)
