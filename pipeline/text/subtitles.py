"""Subtitles: texts with their times, written as the files that players and video editors read.

Both kinds are UTF-8 with one cue after another, times in milliseconds, and an empty line between cues:

    <stem>.vtt   WebVTT, https://www.w3.org/TR/webvtt1: for browsers; &, < and > are escaped
    <stem>.srt   SubRip, which has no specification: for all others; it has no escapes, players show <i> as italics

The files are written here and not by pysubs2, which reads them in the tests: it escapes nothing in WebVTT, drops text
in braces, writes 99:59:59,999 for all later times, and does not write comments (version 1.8).
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.files import replacing
from pipeline.text.wording import clock


class Cue(NamedTuple):
    """A text that is shown from `start_seconds` until just before `stop_seconds` of a video."""

    start_seconds: float
    stop_seconds: float
    text: str


def write_webvtt(path: Path, cues: Iterable[Cue], *, note: str = "", may_overlap: bool = False) -> None:
    """Write a WebVTT file, completely or not at all.

    Line breaks in a text become spaces. A cue is left out if it has no text, or is shorter than a millisecond.

    Args:
        path: The file.
        cues: The cues in the order of their starts.
        note: A comment of one line, which no player shows; "" for none.
        may_overlap: Whether a cue may start before the previous one stops: players show both, one above the other.

    Raises:
        ValueError: A time is negative or not finite, a cue stops before it starts, or starts before the previous one
            stops, or where cues may overlap, before the previous one starts.
    """
    visible = _rounded(cues, may_overlap=may_overlap)
    blocks = [f"{_time(start, '.')} --> {_time(stop, '.')}\n{_escape(text)}\n" for start, stop, text in visible]
    notes = [f"NOTE {_escape(note)}\n"] if note else []
    _write(path, ["WEBVTT\n", *notes, *blocks])


def write_srt(path: Path, cues: Iterable[Cue], *, may_overlap: bool = False) -> None:
    """Write a SubRip file, as `write_webvtt` does.

    In a text, "-->", which would be read as a time, becomes "->".

    Args:
        path: The file.
        cues: The cues in the order of their starts.
        may_overlap: See `write_webvtt`.

    Raises:
        ValueError: See `write_webvtt`.
    """
    blocks = [
        f"{number}\n{_time(start, ',')} --> {_time(stop, ',')}\n{text.replace('-->', '->')}\n"
        for number, (start, stop, text) in enumerate(_rounded(cues, may_overlap=may_overlap), start=1)
    ]
    _write(path, blocks)


def _rounded(cues: Iterable[Cue], *, may_overlap: bool) -> Iterator[tuple[int, int, str]]:
    """Yield (start, stop, text) of each cue that is visible, with times in milliseconds and the text on one line."""
    earliest = 0.0
    for cue_index, (start, stop, text) in enumerate(cues):
        if not (0 <= start <= stop and math.isfinite(stop)):
            raise ValueError(f"cue {cue_index}: got {start} to {stop} seconds, expected 0 <= start <= stop, finite")
        if start < earliest:
            event = "starts" if may_overlap else "stops"
            raise ValueError(f"cue {cue_index}: starts at {start} seconds, before the last one {event} at {earliest}")
        earliest = start if may_overlap else stop
        start_milliseconds, stop_milliseconds = round(1000 * start), round(1000 * stop)
        line = " ".join(text.split())
        if line and start_milliseconds < stop_milliseconds:
            yield start_milliseconds, stop_milliseconds, line


def _time(milliseconds: int, mark: str) -> str:
    """Format a time as 01:02:03.004; the hours have more digits where necessary."""
    return clock(milliseconds, decimals=3, mark=mark, full=True)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _write(path: Path, blocks: Iterable[str]) -> None:
    with replacing(Path(path)) as temporary:
        temporary.write_text("\n".join(blocks), encoding="utf-8", newline="\n")
