"""`<stem>.segments.csv`, which `framescribe label` writes.

start,stop,start_seconds,stop_seconds,label,probability. Every labelled frame is in a row, and rows also have times.
"""

import math
from pathlib import Path

from pipeline.annotations.formats.parsing import raise_problems
from pipeline.annotations.formats.rows import parse_rows
from pipeline.annotations.formats.segment_rows import segment_format
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import PREDICTED_SEGMENTS_HEADER, SEGMENTS, Span
from pipeline.annotations.problems import Problem


def read_spans(path: Path, *, may_overlap: bool = False) -> list[Span]:
    """Read the segments of a `<stem>.segments.csv` by their times.

    Args:
        path: The file.
        may_overlap: Whether its classes overlap: then so do segments, and there may be none.

    Returns:
        The segments in the order of their starts; at least one.

    Raises:
        AnnotationError: Every problem of the file: it cannot be read, the header is wrong, there is no segment, a time
            is not a number, a segment stops before it starts, or starts before the previous one stops, or starts where
            they may overlap.
    """
    path = Path(path)
    problems: list[Problem] = []
    spans: list[Span] = []
    for line, row in parse_rows(path, PREDICTED_SEGMENTS_HEADER, problems):
        start, stop = (_time(path, line, name, row[i], problems) for i, name in ((2, "start"), (3, "stop")))
        if start is None or stop is None:
            continue
        if start > stop:
            problems.append(Problem(path, line, f"the segment ends at {stop} s, before it starts at {start} s"))
        elif spans and start < (earliest := spans[-1].start_seconds if may_overlap else spans[-1].stop_seconds):
            event = "starts" if may_overlap else "ends"
            problems.append(
                Problem(path, line, f"the segment starts at {start} s, before the last one {event} at {earliest} s")
            )
        spans.append(Span(start, stop, row[4]))
    if not spans and not problems and not may_overlap:
        problems.append(Problem(path, None, "has no segment: expected a row below the header"))
    raise_problems(problems)
    return spans


def _time(path: Path, line: int, name: str, text: str, problems: list[Problem]) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds):
        return seconds
    cause = ": it was written for ready features, which have no times; label the video itself" if not text else ""
    problems.append(Problem(path, line, f"{name}_seconds {text!r} is not a time in seconds{cause}"))
    return None


def _has_length(path: Path, label_space: LabelSpace) -> bool:
    return label_space.is_exclusive  # where classes overlap, the last frames may have none


FORMAT = segment_format(SEGMENTS, PREDICTED_SEGMENTS_HEADER, has_length=_has_length, is_of_people=False)
