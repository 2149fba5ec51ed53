"""Writing predicted labels as CSV files.

Shapes: T frames, K classes.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.label_space import SEPARATOR, LabelSpace
from pipeline.annotations.layouts import (
    OVERLAPPING_PROBABILITY_DECIMALS,
    PREDICTED_SEGMENTS_HEADER,
    PROBABILITY_DECIMALS,
    check_predicted,
    mean_probability,
    names_of_frame,
    predicted_frames_header,
    seconds_cell,
    timed_segments,
)
from pipeline.files import replacing


def write_frames(
    path: Path, labels: np.ndarray, *, probabilities: np.ndarray, pts_seconds: np.ndarray, label_space: LabelSpace
) -> None:
    """Write `<stem>.frames.csv`: one row per frame. The row of an unlabelled frame has neither label nor probability.

    Args:
        path: The file.
        labels: int64 [T], or int8 [T, K] where classes overlap.
        probabilities: float [T], the probability of each label; or [T, K], of all classes, where they overlap.
        pts_seconds: float64 [T], the presentation time of each frame; NaN leaves the cell empty.
        label_space: The classes.

    Raises:
        ValueError: See `check_predicted`.
    """
    check_predicted(labels, probabilities, pts_seconds, label_space)
    columns = zip(labels, probabilities, pts_seconds, strict=True)
    rows = (
        frame_row(frame, seconds, label, probability, label_space)
        for frame, (label, probability, seconds) in enumerate(columns)
    )
    _write_rows(path, predicted_frames_header(label_space), rows)


def frame_row(
    frame: int, seconds: float, label: int | np.ndarray, probability: float | np.ndarray, label_space: LabelSpace
) -> tuple[object, ...]:
    """Make a row of `predicted_frames_header`.

    Args:
        frame: The number of the frame, from 0.
        seconds: The presentation time; NaN leaves the cell empty.
        label: The index of the class; or the labels int8 [K] of all classes, where they overlap.
        probability: The probability of the class; or those [K] of all classes. An unlabelled frame's row has none.
        label_space: The classes.
    """
    place = frame, seconds_cell(seconds)
    if not label_space.is_exclusive:
        label = np.asarray(label)
        names = names_of_frame(label, label_space)
        if names is None:
            return *place, "", *[""] * len(label)
        return (
            *place,
            SEPARATOR.join(names),
            *(f"{p:.{OVERLAPPING_PROBABILITY_DECIMALS}f}" for p in np.asarray(probability)),
        )
    name = label_space.name(int(label))
    return *place, name or "", f"{probability:.{PROBABILITY_DECIMALS}f}" if name else ""


def write_segments(
    path: Path,
    labels: np.ndarray,
    *,
    probabilities: np.ndarray,
    pts_seconds: np.ndarray,
    label_space: LabelSpace,
    frame_duration_seconds: float,
) -> None:
    """Write `<stem>.segments.csv`: one row per segment, with the mean of the probabilities of its frames.

    Unlabelled frames are in no row. The times are those of `timed_segments`.

    Args:
        path: The file.
        labels: int64 [T], or int8 [T, K] where classes overlap: then the rows do, in the order of their starts.
        probabilities: float [T], the probability of each label; or [T, K], of all classes, where they overlap.
        pts_seconds: float64 [T], the presentation time of each frame; NaN leaves cells empty.
        label_space: The classes.
        frame_duration_seconds: The duration of the last frame.

    Raises:
        ValueError: See `check_predicted`.
    """
    check_predicted(labels, probabilities, pts_seconds, label_space)
    rows = (
        (
            segment.start,
            segment.stop,
            *map(seconds_cell, times),
            label_space.classes[segment.class_index],
            f"{mean_probability(segment, probabilities):.{PROBABILITY_DECIMALS}f}",
        )
        for segment, times in timed_segments(labels, pts_seconds, frame_duration_seconds)
    )
    _write_rows(path, PREDICTED_SEGMENTS_HEADER, rows)


def _write_rows(path: Path, header: Sequence[str], rows: Iterator[tuple[object, ...]]) -> None:
    with replacing(Path(path)) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
