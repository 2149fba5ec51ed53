"""Tables with a column of 0 and 1 for each class and a row for each frame: DeepEthogram, SimBA, BANOS and others.

DeepEthogram has a column without a name that counts the frames, a column `background` that is 1 where a frame has none
of the classes, and -1 where nobody looked; its files are called `<stem>_labels.csv`. SimBA has the positions of body
parts beside the classes. Only a column all of whose cells are 0, 1, -1 or empty is a class.

Shapes: T frames, K classes.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.foreign.base import ForeignFormat, LabelledVideo
from pipeline.annotations.foreign.cells import protect
from pipeline.annotations.foreign.dense import (
    BACKGROUND_NAMES,
    check_twice,
    frame_recording,
    head_rows,
    open_table,
    whole_rows,
)
from pipeline.annotations.foreign.document import Document, Loss
from pipeline.annotations.foreign.sources import refuse
from pipeline.annotations.foreign.values import shown
from pipeline.annotations.foreign.zero_one import CELLS, ZeroOneColumns
from pipeline.annotations.formats.columns import counts_frames
from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.files import canonical, replacing

LABELS_END, CSV = "_labels.csv", ".csv"
BACKGROUND = BACKGROUND_NAMES[0]
TO_CELLS = {ABSENT: "0", PRESENT: "1", IGNORE_INDEX: "-1"}
MAX_BASE = 1  # of the numbers of frames


def _looks_like(path: Path, text: str) -> bool:
    header, *rows = head_rows(path, text) or [[]]
    if path.suffix.lower() != CSV or not rows or not all(len(row) == len(header) for row in rows):
        return False
    columns = list(zip(*rows, strict=True))
    if counts_frames(header[0]):
        numbers = [str(number) for number in range(len(rows) + MAX_BASE)]
        if [*columns.pop(0)] not in (numbers[:-1], numbers[1:]):
            return False
    has_class = any(CELLS.keys() >= {*cells} != {""} for cells in columns)
    return has_class and all(cell in CELLS or _is_number(cell) for cells in columns for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read(path: Path) -> Document:
    table = open_table(path)
    document = Document(path, [], notes=[*table.notes])
    if {"start", "stop"} <= {name.casefold() for name in table.header}:
        refuse(
            path, "is a table of segments, with a start and a stop, expected a row for each frame", table.header_line
        )
    has_numbers = counts_frames(table.header[0])
    columns, lines = ZeroOneColumns(table.header, int(has_numbers)), []
    base = 0
    for frame, (line, row) in enumerate(whole_rows(path, table, document.losses)):
        if has_numbers and row:
            base = int(row[0]) if frame == 0 and row[0] in map(str, range(MAX_BASE + 1)) else base
            if row[0] not in (str(frame + base), f"{frame + base}.0"):
                cause = "rows are missing or not in order"
                refuse(path, f"got {shown(row[0])} in the column of frames, expected {frame + base}: {cause}", line)
        columns.add(line, row)
        lines.append(line)
    classes = columns.classes()
    document.notes += classes.notes
    if not classes.names or not len(classes.labels):
        refuse(path, " ".join(["has no column with 0 and 1 for each frame.", *classes.notes]))
    check_twice(path, table.header_line, classes.names)
    stem = path.name[: -len(LABELS_END)] if path.name.lower().endswith(LABELS_END) else path.stem
    document.recordings.append(
        frame_recording(stem, classes.labels, classes.names, place=lambda frame: f"line {lines[frame]}")
    )
    document.classes, document.background = classes.names, classes.background()
    document.may_overlap = classes.may_overlap()
    return document


def _write(path: Path, videos: Sequence[LabelledVideo]) -> list[Loss]:
    (video,) = videos
    presence, names, losses = _with_background(video.labels, video.label_space)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["", *map(protect, names)])
        writer.writerows([frame, *(TO_CELLS[cell] for cell in row)] for frame, row in enumerate(presence.tolist()))
    return losses


def _with_background(labels: np.ndarray, label_space: LabelSpace) -> tuple[np.ndarray, list[str], list[Loss]]:
    """Return int8 [T, 1 + K] with the background in the first column, the names of the columns, and what is lost."""
    losses: list[Loss] = []
    names, given = [*label_space.classes], _find_background(label_space)
    if label_space.is_exclusive:
        is_labelled = label_space.is_labelled(labels)
        presence = (labels[:, None] == np.arange(len(names))).astype(np.int8)
        presence[~is_labelled] = IGNORE_INDEX
    else:
        presence = labels
    others = presence if given is None else np.delete(presence, given, axis=1)
    if given is not None and names.pop(given) != BACKGROUND:
        kind = f"backgrounds are called {BACKGROUND!r}, as DeepEthogram expects it"
        losses.append(Loss(kind, "header", repr(label_space.classes[given])))
    if "" in names:
        losses.append(Loss("classes without a name are left out", "header"))
        others, names = np.delete(others, names.index(""), axis=1), [name for name in names if name]
    has_others = (others == PRESENT).any(axis=1)
    background = np.where((presence == IGNORE_INDEX).any(axis=1), IGNORE_INDEX, PRESENT).astype(np.int8)
    background[has_others] = ABSENT
    return np.column_stack([background, others]), [BACKGROUND, *names], losses


def _find_background(label_space: LabelSpace) -> int | None:
    """Return the index of the class that becomes the column of the background."""
    named = (index for index, name in enumerate(label_space.classes) if canonical(name) == BACKGROUND)
    return label_space.background_index if label_space.background is not None else next(named, None)


FORMAT = ForeignFormat(
    name="one-hot",
    title="a column of 0 and 1 for each class (DeepEthogram, SimBA, BANOS)",
    suffixes=(LABELS_END, CSV),
    keeps="classes, the label of each frame, overlapping classes, unlabelled frames (-1), the background",
    loses="read: other columns, such as positions of body parts; written: probabilities",
    looks_like=_looks_like,
    read=_read,
    write=_write,
    names_video=False,
)
