"""Conversion between labels as one class index per frame and labels as segments.

A segment is a run of frames of one class, half-open: [start, stop). Unlabelled frames have the label IGNORE_INDEX (see
`label_space`) and belong to no segment.

Shapes: T frames.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import IGNORE_INDEX


class Segment(NamedTuple):
    """The frames start, start + 1, ..., stop - 1, all of one class."""

    start: int
    stop: int
    class_index: int


def segments_from_frames(labels: np.ndarray) -> list[Segment]:
    """Return the runs of equal labels of `labels` int64 [T], in order; runs of IGNORE_INDEX are left out.

    >>> segments_from_frames(np.array([2, 2, -100, 0]))
    [Segment(start=0, stop=2, class_index=2), Segment(start=3, stop=4, class_index=0)]
    """
    labels = np.asarray(labels)
    if len(labels) == 0:
        return []
    starts = np.concatenate([[0], np.flatnonzero(labels[1:] != labels[:-1]) + 1])
    stops = np.append(starts[1:], len(labels))
    runs = zip(starts.tolist(), stops.tolist(), labels[starts].tolist(), strict=True)
    return [Segment(*run) for run in runs if run[2] != IGNORE_INDEX]


def median_segment_frames(videos: Iterable[np.ndarray]) -> float:
    """Return the median length of the segments of all `videos`, labels int64 [T] each; 1 where there is no segment.

    >>> median_segment_frames([np.array([2, 2, 2, 0]), np.array([1, 1])])
    2.0
    """
    lengths = [segment.stop - segment.start for labels in videos for segment in segments_from_frames(labels)]
    return float(np.median(lengths)) if lengths else 1.0


def frames_from_segments(segments: Iterable[Segment], num_frames: int) -> np.ndarray:
    """Convert segments to labels.

    Args:
        segments: The segments, in any order.
        num_frames: T, the number of frames of the video.

    Returns:
        Labels int64 [T]; IGNORE_INDEX for a frame in no segment.

    Raises:
        ValueError: A segment is empty, reaches outside [0, T), or overlaps another.

    >>> frames_from_segments([Segment(1, 3, 7)], 4).tolist()
    [-100, 7, 7, -100]
    """
    labels = np.full(num_frames, IGNORE_INDEX, dtype=np.int64)
    for segment in segments:
        if not 0 <= segment.start < segment.stop <= num_frames:
            raise ValueError(f"got {segment}, expected 0 <= start < stop <= {num_frames} frames")
        if (labels[segment.start : segment.stop] != IGNORE_INDEX).any():
            raise ValueError(f"{segment} overlaps another segment: a frame has one class")
        labels[segment.start : segment.stop] = segment.class_index
    return labels
