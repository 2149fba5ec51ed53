"""What the formats with a label for every frame share: rows of tables, and labels as events.

Shapes: T frames (or rows, where a row stands for several frames), K classes.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.foreign.document import Event, Loss, Media, Recording, Span, Unit
from pipeline.annotations.foreign.sources import refuse
from pipeline.annotations.foreign.tables import Row, decode, find_delimiter, peek, text_rows
from pipeline.annotations.foreign.values import shown
from pipeline.annotations.label_space import IGNORE_INDEX
from pipeline.annotations.segments import segments_from_frames
from pipeline.files import canonical
from pipeline.text.wording import counted, listed

BACKGROUND_NAMES = ("background", "other", "none")  # what people call the class of frames without any behaviour
CELLS_DIFFER = "rows have another number of cells than the header, and their frames count as unlabelled"
HEAD_ROWS = 50  # by which a file is recognised
MAX_NAMES = 5  # in one message


class FrameTable(NamedTuple):
    """A table with a row for each frame, or for every nth one.

    Attributes:
        header: The names of the columns.
        header_line: The line of the header.
        rows: Each row that has a cell, read while they are iterated; a row may have another number of cells.
        notes: See `Table`.
    """

    header: list[str]
    header_line: int
    rows: Iterator[Row]
    notes: tuple[str, ...]


def open_table(path: Path) -> FrameTable:
    """Open a table of text, whose columns are separated by commas, semicolons or tabs.

    Raises:
        AnnotationError: The file cannot be read, or is empty; while the rows are read, it is not CSV.
    """
    text, notes = decode(path)
    # Strictly: a quotation mark that is left open would swallow the frames that follow.
    rows = (row for row in text_rows(path, text, find_delimiter(text), strict=True) if any(row.cells))
    header = next(rows, None)
    if header is None:
        refuse(path, "is empty, expected a header with the names of the columns")
    return FrameTable(header.cells, header.number, rows, notes)


def head_rows(path: Path, text: str) -> list[list[str]]:
    """Return the first rows with a cell of a file that may be a table, see `peek`."""
    return [row for row in peek(path, text) if any(row)][:HEAD_ROWS]


def frame_recording(
    name: str,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    place: Callable[[int], str],
    first: int = 0,
    step: int = 1,
    split: str | None = None,
) -> Recording:
    """Make the recording of a video from a label for each frame.

    Args:
        name: The name of the video, or its stem.
        labels: int64 [T]; or int8 [T, K], where classes overlap. Unknown labels are IGNORE_INDEX.
        classes: The K classes.
        place: Says for the index of a label where in the file it is.
        first: The frame of the first label.
        step: For how many frames a label stands.
        split: See `Recording`.

    Returns:
        The recording, in frames. Its length is not known where a label stands for several frames, and at frames before
        the first label nobody looked.
    """
    events = [
        Event(first + run.start * step, first + run.stop * step, classes[run.class_index], place=place(run.start))
        for run in segments_from_frames(labels)
    ]
    spans = _known_spans(labels, classes)
    if spans is None and (first or step > 1):
        spans = [Span(0, len(labels))]
    scored = spans and [Span(first + start * step, first + stop * step, label) for start, stop, label in spans]
    num_frames = len(labels) + first if step == 1 else None
    return Recording(name, (Media(name),), Unit.FRAMES, 1.0, events, num_frames, scored, split)


def _known_spans(labels: np.ndarray, classes: Sequence[str]) -> list[Span] | None:
    """Return where labels are known, as indices of labels; None where they are known everywhere."""
    is_known = labels != IGNORE_INDEX
    if is_known.all():
        return None
    if is_known.ndim == 2 and (is_known == is_known[:, :1]).all():
        is_known = is_known[:, 0]
    columns = [(None, is_known)] if is_known.ndim == 1 else list(zip(classes, is_known.T, strict=True))
    return [
        Span(run.start, run.stop, label)
        for label, column in columns
        for run in segments_from_frames(column.astype(np.int64))
        if run.class_index
    ]


def losses_of_runs(
    kind: str, is_lost: np.ndarray, place: Callable[[int], str], what: Callable[[int], str]
) -> list[Loss]:
    """Describe frames whose label cannot be used, with one Loss for each run of them.

    Args:
        kind: See `Loss`.
        is_lost: bool [T].
        place: Says for a frame where it is in the file.
        what: Says what is there.
    """
    runs = [run for run in segments_from_frames(is_lost.astype(np.int64)) if run.class_index]
    return [
        Loss(kind, place(run.start), f"{what(run.start)} ({counted(run.stop - run.start, 'frame')})") for run in runs
    ]


def whole_rows(path: Path, table: FrameTable, losses: list[Loss]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each row of a table; [] where it has not a cell for each column.

    Empty cells at its end do not count.

    Args:
        path: The file.
        table: The table.
        losses: A Loss for each such row is appended to it.

    Raises:
        AnnotationError: More than half of the rows are so.
    """
    num_columns = len(table.header)
    num_rows, wrong = 0, []
    for line, row in table.rows:
        num_rows += 1
        if len(row) != num_columns:
            row = [*row[:num_columns]] if not any(row[num_columns:]) else []
        if len(row) != num_columns:
            wrong.append(line)
            losses.append(Loss(CELLS_DIFFER, f"line {line}"))
            row = []
        yield line, row
    if 2 * len(wrong) > num_rows:
        got = f"has another number of cells than the {num_columns} of the header on {counted(len(wrong), 'line')}"
        refuse(path, f"{got} of {num_rows}: it is no such table, or is damaged", wrong[0])


def check_twice(path: Path, line: int | None, names: Sequence[str]) -> None:
    """Refuse a file that names a class twice.

    Args:
        path: The file.
        line: The line of the names; None for the file as a whole.
        names: The names of the classes.
    """
    counts = Counter(map(canonical, names))
    if twice := [shown(name) for name, count in counts.items() if count > 1]:
        refuse(path, f"names a class twice: {listed(twice, MAX_NAMES)}", line)
