"""When frames are shown, from the times in `<stem>.frames.csv` and `<stem>.segments.csv`.

Shapes: T frames.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.formats.delimited import iterate_rows
from pipeline.annotations.formats.parsing import raise_problems
from pipeline.annotations.problems import Problem, shorten


class _Time(NamedTuple):
    """A time in a file: the frame that starts then, NaN where the cell is empty, and its line."""

    frame: int
    seconds: float
    line: int


def edges_of_frames(path: Path, num_frames: int) -> np.ndarray | None:
    """Read when the frames of a .frames.csv are shown, see `annotations.read.read_edges`.

    The last frame lasts as long as the median of the others; the end of a single one is not known.
    """
    problems: list[Problem] = []
    rows = [(line, row) for line, row in iterate_rows(path, problems) if any(row)][1:]
    times = [_Time(frame, _seconds(path, line, row[1], problems), line) for frame, (line, row) in enumerate(rows)]
    seconds = _checked(path, times, problems)
    if seconds is None or len(times) != num_frames or num_frames < 2:
        return None
    return np.append(seconds, seconds[-1] + np.median(np.diff(seconds)))


def edges_of_segments(path: Path, num_frames: int) -> np.ndarray | None:
    """Read when the frames of a .segments.csv are shown, see `annotations.read.read_edges`.

    The times of the frames at which segments start and stop are known. Between two of them, frames are as long as each
    other; outside of them, as long as all of them in the mean.
    """
    problems: list[Problem] = []
    by_frame: dict[int, _Time] = {}
    for line, row in [(line, row) for line, row in iterate_rows(path, problems) if any(row)][1:]:
        for frame, cell in zip(map(_frame, row[:2]), row[2:4], strict=True):
            by_frame.setdefault(frame, _Time(frame, _seconds(path, line, cell, problems), line))
    times = sorted(by_frame.values())
    seconds = _checked(path, times, problems)
    if seconds is None or len(times) < 2:
        return None
    known = np.array([time.frame for time in times])
    step = (seconds[-1] - seconds[0]) / (known[-1] - known[0])
    frames = np.arange(num_frames + 1)
    edges = np.interp(frames, known, seconds)
    edges += step * (np.minimum(frames - known[0], 0) + np.maximum(frames - known[-1], 0))
    return edges


def _frame(cell: str) -> int:
    return int(float(cell))


def _seconds(path: Path, line: int, cell: str, problems: list[Problem]) -> float:
    """Return the time in a cell, NaN where it is empty."""
    if not cell:
        return math.nan
    try:
        seconds = float(cell)
    except ValueError:
        seconds = math.inf
    if not math.isfinite(seconds):
        problems.append(Problem(path, line, f"got {shorten(cell)!r}, expected a time in seconds"))
        return math.nan
    return seconds


def _checked(path: Path, times: Sequence[_Time], problems: list[Problem]) -> np.ndarray | None:
    """Return the times, float64; None where one is empty.

    Raises:
        AnnotationError: There are problems, or a time is not after the one before.
    """
    raise_problems(problems)
    seconds = np.array([time.seconds for time in times], dtype=np.float64)
    if np.isnan(seconds).any():
        return None
    is_back = np.diff(seconds) <= 0
    if is_back.any():
        time = times[int(is_back.argmax()) + 1]
        message = f"got the time {time.seconds} s for frame {time.frame}, expected one after that of the frame before"
        raise_problems([Problem(path, time.line, message)])
    return seconds
