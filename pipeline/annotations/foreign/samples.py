"""Events from samples: programs that write the state of each behaviour at each of many times."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.foreign.cells import seconds, why_no_time
from pipeline.annotations.foreign.sources import refuse
from pipeline.annotations.foreign.tables import Row, Table


class Run(NamedTuple):
    """Samples that follow one another and have the same value.

    Attributes:
        value: The value.
        start: The time of the first of them.
        stop: The time of the sample after the last of them.
        sample: The index of the first of them.
    """

    value: str
    start: float
    stop: float
    sample: int


def sample_times(path: Path, table: Table, rows: Sequence[Row], column: int) -> np.ndarray:
    """Return the times of samples, and the time at which the last one ends: a typical step later.

    Args:
        path: The file.
        table: The table.
        rows: Its S rows of samples.
        column: The index of the column that has the times.

    Returns:
        float64 [S + 1], ascending.

    Raises:
        AnnotationError: A row has no time, or the times do not ascend.
    """
    times = np.empty(len(rows) + 1)
    for index, row in enumerate(rows):
        cell = row.cells[column] if column < len(row.cells) else ""
        moment = seconds(cell, decimal_comma=table.decimal_comma)
        if moment is None:
            refuse(path, f"got {why_no_time(cell)}, expected a time in seconds in each row", row.number)
        if index and moment <= times[index - 1]:
            refuse(path, f"got the time {moment:g} s after {times[index - 1]:g} s: times must ascend", row.number)
        times[index] = moment
    step = float(np.median(np.diff(times[:-1]))) if len(rows) > 1 else 0.0
    times[-1] = times[-2] + step if len(rows) else 0.0
    return times


def runs(values: Sequence[str], times: np.ndarray) -> Iterator[Run]:
    """Yield the runs of equal values.

    Args:
        values: The S values.
        times: float64 [S + 1], see `sample_times`.

    >>> [run.value for run in runs(["a", "a", ""], np.array([0.0, 0.2, 0.4, 0.6]))]
    ['a', '']
    """
    start = 0
    for index in range(1, len(values) + 1):
        if index == len(values) or values[index] != values[start]:
            yield Run(values[start], round(float(times[start]), 6), round(float(times[index]), 6), start)
            start = index
