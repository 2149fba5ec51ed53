"""Writing predicted labels as CSV files.

Shapes: T frames, K classes.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.frame_layout import FrameLayout, check_predicted, frame_layout
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import (
    NOVELTY_DECIMALS,
    NOVELTY_HEADER,
    PREDICTED_SEGMENTS_HEADER,
    PROBABILITY_DECIMALS,
    mean_probability,
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
    layout, columns = frame_layout(label_space), zip(labels, probabilities, pts_seconds, strict=True)
    rows = (
        frame_row(frame, seconds, label, probability, layout)
        for frame, (label, probability, seconds) in enumerate(columns)
    )
    _write_rows(path, layout.header, rows)


def frame_row(
    frame: int, seconds: float, label: int | np.ndarray, probability: float | np.ndarray, layout: FrameLayout
) -> tuple[object, ...]:
    """Make a row of the header of a layout.

    Args:
        frame: The number of the frame, from 0.
        seconds: The presentation time; NaN leaves the cell empty.
        label: The index of the class; or the labels int8 [K] of all classes, where they overlap.
        probability: The probability of the class; or those [K] of all classes. An unlabelled frame's row has none.
        layout: The layout.
    """
    return frame, seconds_cell(seconds), *layout.cells(label, probability)


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


def write_novelty(path: Path, novelty: np.ndarray, *, pts_seconds: np.ndarray) -> None:
    """Write `<stem>.novelty.csv`: one row per frame. A frame that was not decoded has an empty cell.

    Args:
        path: The file.
        novelty: float [T], how unlike the training frames each frame is; NaN for a frame that was not decoded.
        pts_seconds: float64 [T], the presentation time of each frame; NaN leaves the cell empty.
    """
    rows = (
        (frame, seconds_cell(seconds), "" if np.isnan(value) else f"{value:.{NOVELTY_DECIMALS}f}")
        for frame, (value, seconds) in enumerate(zip(novelty, pts_seconds, strict=True))
    )
    _write_rows(path, NOVELTY_HEADER, rows)


def _write_rows(path: Path, header: Sequence[str], rows: Iterator[tuple[object, ...]]) -> None:
    with replacing(Path(path)) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
