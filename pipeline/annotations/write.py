"""Writing predicted labels as CSV files."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import (
    PREDICTED_FRAMES_HEADER,
    PREDICTED_SEGMENTS_HEADER,
    check_predicted,
    seconds_cell,
    timed_segments,
)
from pipeline.files import replacing


def write_frames(
    path: Path, labels: np.ndarray, *, probabilities: np.ndarray, pts_seconds: np.ndarray, label_space: LabelSpace
) -> None:
    """Write `<stem>.frames.csv`: labels int64 [T], the probability [T] of each one, pts_seconds [T] (NaN: empty).

    An unlabelled frame has neither label nor probability.
    """
    check_predicted(labels, probabilities, pts_seconds, label_space)
    columns = zip(labels, probabilities, pts_seconds, strict=True)
    rows = (
        frame_row(frame, seconds, label_space.name(label) or "", probability)
        for frame, (label, probability, seconds) in enumerate(columns)
    )
    _write_rows(path, PREDICTED_FRAMES_HEADER, rows)


def frame_row(frame: int, seconds: float, name: str, probability: float) -> tuple[object, ...]:
    """A row of PREDICTED_FRAMES_HEADER."""
    return frame, seconds_cell(seconds), name, f"{probability:.4f}" if name else ""


def write_segments(
    path: Path,
    labels: np.ndarray,
    *,
    probabilities: np.ndarray,
    pts_seconds: np.ndarray,
    label_space: LabelSpace,
    frame_duration_seconds: float,
) -> None:
    """Write `<stem>.segments.csv`: the runs of labels int64 [T] with the mean of their frames' probabilities [T].

    Unlabelled frames are in no row. The times are those of `timed_segments`.
    """
    check_predicted(labels, probabilities, pts_seconds, label_space)
    rows = (
        (
            segment.start,
            segment.stop,
            *map(seconds_cell, times),
            label_space.classes[segment.class_index],
            f"{probabilities[segment.start : segment.stop].mean(dtype=np.float64):.4f}",
        )
        for segment, times in timed_segments(labels, pts_seconds, frame_duration_seconds)
    )
    _write_rows(path, PREDICTED_SEGMENTS_HEADER, rows)


def _write_rows(path: Path, header: Sequence[str], rows: Iterator[tuple[object, ...]]) -> None:
    with replacing(Path(path)) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
