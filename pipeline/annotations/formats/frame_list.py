"""`<stem>.txt`: one class name per line, one line for each frame; an EMPTY line is a frame without a label.

Where classes overlap, a line has the names of all classes of its frame, joined by the SEPARATOR; an EMPTY line is a
frame that has none of them.

A table of the number and the class of each frame, with or without a header, is read too.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.formats.base import AnnotationFormat, VideoFrames
from pipeline.annotations.formats.delimited import Row, iterate_rows
from pipeline.annotations.formats.frame_table import number_frames
from pipeline.annotations.formats.parsing import NamedFrames, label_frames, raise_problems
from pipeline.annotations.label_space import SEPARATOR, LabelSpace
from pipeline.annotations.problems import AnnotationError, Problem, read_lines, shorten

SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas", " ": "spaces"}
NUMBER = re.compile(r"[+-]?[0-9]+([.:][0-9]*)*")
MIN_SHARE = 0.9  # of the lines, from which on a file is a table: the other lines may be damaged


def _read(path: Path, label_space: LabelSpace, *, video: VideoFrames, notes: list[Problem]) -> np.ndarray:
    problems: list[Problem] = []
    frames = _lines(path)
    if _are_mostly_unknown(frames, label_space):
        if (rows := _numbered_rows(path)) is not None:
            frames = number_frames(path, rows, problems, notes)
        elif fault := _find_columns(frames, label_space):
            raise AnnotationError([Problem(path, None, fault)])
    labels = label_frames(path, frames, label_space, num_frames=video.num_frames, problems=problems)
    raise_problems(problems)
    return labels


def _lines(path: Path) -> NamedFrames:
    return [(line, name.strip()) for line, name in enumerate(read_lines(path), start=1)]


def _are_mostly_unknown(frames: NamedFrames, label_space: LabelSpace) -> bool:
    """Return whether most lines with a text name other than classes, as those of a table do."""
    named = [name for _, name in frames if name]
    return bool(named) and 2 * sum(not _is_known(name, label_space) for name in named) >= len(named)


def _numbered_rows(path: Path) -> list[Row] | None:
    """Return the rows of a table of frame numbers and classes, without a header; None where it is no such table."""
    rows = [(line, row) for line, row in iterate_rows(path, []) if any(row)]
    if rows and not _are_numbers(rows[0][1][:1]):
        rows = rows[1:]
    if not rows or not all(len(row) == 2 and _are_numbers(row[:1]) for _, row in rows):
        return None
    return None if all(_are_numbers(row[1:]) for _, row in rows) else rows


def _find_columns(frames: NamedFrames, label_space: LabelSpace) -> str | None:
    """Describe the columns of a table instead of a list of classes; None where it is a list.

    A table would give a problem for each of its lines.
    """
    unknown = [name for _, name in frames if name and not _is_known(name, label_space)]
    for separator, in_words in SEPARATORS.items():
        rows = [[cell.strip() for cell in name.split(separator)] for name in unknown]
        num_columns = len(rows[-1]) if rows else 1
        rows = [row for row in rows if len(row) == num_columns]
        if num_columns < 2 or len(rows) < MIN_SHARE * len(unknown):
            continue
        rows = rows[1:] or rows  # the first row may be a header
        are_numbers = [_are_numbers(column) for column in zip(*rows, strict=True)]
        if are_numbers[0] or (any(are_numbers) and separator != " "):  # a class may be called "step 1"
            got = f"has {num_columns} columns separated by {in_words}, expected the class alone on each line"
            if num_columns == 3 and sum(are_numbers) == 2:
                return f"{got}: segments belong into a .csv with the header 'start,stop,class'"
            return f"{got}: leave out the frame numbers"
    return None


def _is_known(text: str, label_space: LabelSpace) -> bool:
    names = [text] if label_space.is_exclusive else [name.strip() for name in text.split(SEPARATOR)]
    return all(label_space.index(name) is not None for name in names)


def _are_numbers(cells: Sequence[str]) -> bool:
    return sum(NUMBER.fullmatch(cell) is not None for cell in cells) >= MIN_SHARE * len(cells)


def split_sets(texts: Iterable[str]) -> set[str]:
    """Return the class names in lines of files, where classes overlap."""
    return {name.strip() for text in texts for name in text.split(SEPARATOR)} - {""}


def find_set(path: Path) -> Problem | None:
    """Describe the first line that seems to have several classes, for labels without a class list.

    Args:
        path: A file that can be read.
    """
    rows = _numbered_rows(path)
    frames = _lines(path) if rows is None else [(line, row[1]) for line, row in rows]
    sets = [(line, text) for line, text in frames if SEPARATOR in text]
    if not sets:
        return None
    line, text = sets[0]
    more = f" (as {len(sets) - 1:,} more lines do)" if len(sets) > 1 else ""
    cause = "if they are several, --independent lets them overlap; otherwise write a classes.txt with this name"
    return Problem(path, line, f"got {shorten(text)!r}{more}, expected one class: {cause}")


def _class_names(path: Path) -> set[str]:
    rows = _numbered_rows(path)
    return {name for _, name in _lines(path)} if rows is None else {row[1] for _, row in rows}


FORMAT = AnnotationFormat(".txt", _read, _class_names)
