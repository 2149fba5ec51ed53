"""Conversion between labels per frame and labels as segments.

A segment is a run of frames of one class, half-open: [start, stop). Unlabelled frames have the label IGNORE_INDEX (see
`label_space`) and belong to no segment. Where classes overlap, labels are int8 [T, K], and segments of different
classes overlap too.

Shapes: T frames, K classes.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace


class Segment(NamedTuple):
    """The frames start, start + 1, ..., stop - 1, all of one class."""

    start: int
    stop: int
    class_index: int


def segments_from_frames(labels: np.ndarray) -> list[Segment]:
    """Return the segments of labels, in the order of their starts, stops and classes.

    Args:
        labels: int64 [T]: the segments are the runs of equal labels other than IGNORE_INDEX. Or int8 [T, K], where
            classes overlap: they are the runs of PRESENT of each class.

    >>> segments_from_frames(np.array([2, 2, -100, 0]))
    [Segment(start=0, stop=2, class_index=2), Segment(start=3, stop=4, class_index=0)]
    >>> segments_from_frames(np.array([[0, 1], [1, 1], [1, -100]], dtype=np.int8))
    [Segment(start=0, stop=2, class_index=1), Segment(start=1, stop=3, class_index=0)]
    """
    labels = np.asarray(labels)
    if labels.ndim == 2:
        columns = enumerate((labels == PRESENT).T)
        runs_of = ((index, run) for index, column in columns for run in segments_from_frames(column) if run.class_index)
        return sorted(Segment(run.start, run.stop, index) for index, run in runs_of)
    if len(labels) == 0:
        return []
    starts = np.concatenate([[0], np.flatnonzero(labels[1:] != labels[:-1]) + 1])
    stops = np.append(starts[1:], len(labels))
    runs = zip(starts.tolist(), stops.tolist(), labels[starts].tolist(), strict=True)
    return [Segment(*run) for run in runs if run[2] != IGNORE_INDEX]


def median_segment_frames(videos: Iterable[np.ndarray]) -> float:
    """Return the median length of the segments of all `videos`, labels of either form; 1 where there is no segment.

    >>> median_segment_frames([np.array([2, 2, 2, 0]), np.array([1, 1])])
    2.0
    """
    lengths = [segment.stop - segment.start for labels in videos for segment in segments_from_frames(labels)]
    return float(np.median(lengths)) if lengths else 1.0


def presence_from_segments(segments: Iterable[Segment], num_frames: int, label_space: LabelSpace) -> np.ndarray:
    """Convert segments of classes that overlap to labels.

    Args:
        segments: The segments, in any order.
        num_frames: T, the number of frames of the video.
        label_space: The K classes.

    Returns:
        Labels int8 [T, K]: PRESENT in the frames of a segment of the class, ABSENT elsewhere.

    Raises:
        ValueError: A segment is empty, or reaches outside [0, T); or a frame has two classes of one group.

    >>> space = LabelSpace.independent(("eats", "rears"))
    >>> presence_from_segments([Segment(0, 2, 0), Segment(1, 3, 1)], 3, space).tolist()
    [[1, 0], [1, 1], [0, 1]]
    """
    labels = frames_in_no_row(num_frames, label_space)
    for segment in segments:
        _check_inside(segment, num_frames)
        labels[segment.start : segment.stop, segment.class_index] = PRESENT
    label_space.check(labels)
    return labels


def frames_of_video(label: int | np.ndarray, num_frames: int) -> np.ndarray:
    """Return the labels of a video whose frames all have the same label.

    Args:
        label: The index of a class; or int8 [K], where classes overlap.
        num_frames: T.

    Returns:
        Labels int64 [T], or int8 [T, K].

    >>> frames_of_video(2, 3).tolist()
    [2, 2, 2]
    """
    return np.repeat(np.asarray(label)[None], num_frames, axis=0)


def frames_in_no_row(num_frames: int, label_space: LabelSpace) -> np.ndarray:
    """Return the labels of `num_frames` frames that are in no row of a table of segments.

    They are unlabelled; where classes overlap, they have none of the classes.
    """
    if label_space.is_exclusive:
        return label_space.unlabelled(num_frames)
    return np.full((num_frames, label_space.num_classes), ABSENT, dtype=np.int8)


def frames_from_segments(segments: Iterable[Segment], num_frames: int) -> np.ndarray:
    """Convert segments of exclusive classes to labels.

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
        _check_inside(segment, num_frames)
        if (labels[segment.start : segment.stop] != IGNORE_INDEX).any():
            raise ValueError(f"{segment} overlaps another segment: a frame has one class")
        labels[segment.start : segment.stop] = segment.class_index
    return labels


def _check_inside(segment: Segment, num_frames: int) -> None:
    if not 0 <= segment.start < segment.stop <= num_frames:
        raise ValueError(f"got {segment}, expected 0 <= start < stop <= {num_frames} frames")
