"""`notes/<stem>.csv`: the point marks and notes of a video: frame,time_seconds,name,text.

A cell that a spreadsheet would compute as a formula begins with an apostrophe, see `protect`.
"""

import csv
import io
from collections.abc import Iterable

from pipeline.annotations.foreign.cells import protect, unprotect
from pipeline.annotations.layouts import seconds_cell
from pipeline.annotations.times import FrameTimes
from pipeline.errors import InputError
from pipeline.studio.labels.edits import MAX_NAME, MAX_TEXT, Mark, text_fault

NOTES = "notes"  # the folder in a data set
NOTES_HEADER = ("frame", "time_seconds", "name", "text")
MAX_BYTES = 64 << 20


def format_notes(marks: Iterable[Mark], times: FrameTimes) -> bytes:
    """Return the content of the file: a row for each mark, in the order of their frames."""
    text = io.StringIO(newline="")
    plain, quoted = (csv.writer(text, lineterminator="\n", quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    plain.writerow(NOTES_HEADER)
    for mark in marks:
        seconds = seconds_cell(float(times.pts_seconds[mark.frame]))
        writer = quoted if "\r" in mark.name + mark.text else plain  # which it takes for no end of a line
        writer.writerow((mark.frame, seconds, *map(protect, (mark.name, mark.text))))
    return text.getvalue().encode()


def parse_notes(name: str, content: bytes, num_frames: int) -> list[Mark]:
    """Read the content of a file.

    Args:
        name: What messages call the file.
        content: Its bytes.
        num_frames: T, the number of frames of the video.

    Returns:
        The marks, in the order of the rows.

    Raises:
        InputError: Every kind of problem: it is not UTF-8, the header is wrong, a frame is not one of the video, a name
            or a text cannot be.
    """
    try:
        text = content.decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except UnicodeDecodeError:
        raise InputError(f"{name}: is not UTF-8 text: it was probably saved in another encoding") from None
    except csv.Error as error:
        raise InputError(f"{name}: is not CSV: {error}, perhaps a double quote is left open") from None
    if not rows or tuple(rows[0]) != NOTES_HEADER:
        got = ",".join(rows[0]) if rows else ""
        raise InputError(f"{name}: got the header {got[:200]!r}, expected {','.join(NOTES_HEADER)!r}")
    problems: dict[str, str] = {}  # the first of each kind
    marks = []
    for number, row in enumerate(rows[1:], start=1):
        fault = _fault(row, num_frames)
        if fault is None:
            marks.append(Mark(f"m{number}", int(row[0]), unprotect(row[2]), unprotect(row[3])))
        else:
            problems.setdefault(fault, f"{name}: note {number}: {fault}")
    if problems:
        raise InputError("\n".join(problems.values()))
    return marks


def _fault(row: list[str], num_frames: int) -> str | None:
    if len(row) != len(NOTES_HEADER):
        return f"expected the {len(NOTES_HEADER)} columns of {','.join(NOTES_HEADER)!r}"
    if not (row[0].isascii() and row[0].isdigit() and len(row[0]) < 19 and int(row[0]) < num_frames):
        return f"the frame is not a number from 0 to {num_frames - 1}"
    for what, cell, length in (("name", row[2], MAX_NAME), ("text", row[3], MAX_TEXT)):
        if fault := text_fault(unprotect(cell), length):
            return f"the {what} {fault}"
    return None
