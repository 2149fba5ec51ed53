"""Praat: https://www.fon.hum.uva.nl/praat, its TextGrid files, long and short.

A text file of Praat is read as Praat itself reads it, from the numbers, the texts in quotes and the flags that stand
free, https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html; all else is for people. `praatio` reads
lines at fixed places instead, drops the sign of times and fails where a number has an exponent, as Praat writes small
ones; the tests read what is written here with it.

What becomes an event: each interval with a label, and each point as a point event. The video has the name of the file.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.annotations.foreign.base import ForeignFormat, LabelledVideo
from pipeline.annotations.foreign.document import Document, Event, Loss, Media, Recording
from pipeline.annotations.foreign.sources import MAX_BYTES, refuse
from pipeline.annotations.foreign.unkept import changed_names
from pipeline.annotations.foreign.values import (
    classes_of_tiers,
    number,
    one_line,
    resolution_of,
    shown,
    timed_event,
    whole_number,
)
from pipeline.annotations.problems import read_content, read_text, shorten
from pipeline.files import replacing

BINARY = b"ooBinaryFile"
INTERVALS, POINTS = "IntervalTier", "TextTier"
TOKEN = re.compile(r'![^\n]*|"(?P<text>(?:[^"]|"")*+)"|<(?P<flag>[^<>\s]*)>|(?<!\S)(?P<number>[+-]?\.?\d\S*)')
HEAD = re.compile(r'\s*(?:File type\s*=\s*)?"ooTextFile(?: short)?"\s*(?:Object class\s*=\s*)?"TextGrid(?: \d+)?"')
DECIMALS = 9  # of times that are written: a thousandth of what any video measures


class _Token(NamedTuple):
    """A value in a text file of Praat."""

    kind: str  # "text", "flag" or "number"
    value: str
    at: int  # where it begins in the text of the file


class _Tokens:
    """The values of a file, one after the other."""

    def __init__(self, path: Path, text: str, start: int) -> None:
        self.path, self.text = path, text
        self.found = self._find(start)
        self.tier = ""  # that is read, for messages

    def _find(self, start: int) -> Iterator[_Token]:
        for found in TOKEN.finditer(self.text, start):
            if found.lastgroup:  # otherwise a comment
                yield _Token(found.lastgroup, found[found.lastgroup], found.start())

    def next(self, kind: str, what: str) -> _Token:
        """Return the next value, which must be of a kind.

        Raises:
            AnnotationError: It is of another, or there is none.
        """
        token = next(self.found, None)
        place = f" of tier {shown(self.tier)}" if self.tier else ""
        if token is None:
            refuse(self.path, f"ends before {what}{place}: the file is cut off", self.line(len(self.text)))
        if token.kind != kind:
            refuse(self.path, f"got {shown(token.value)}, expected {what}{place}", self.line(token.at))
        return token

    def line(self, at: int) -> int:
        """Return the line of a place in the text, from 1."""
        return self.text.count("\n", 0, at) + 1

    def count(self, what: str) -> int:
        """Return a number of things.

        Raises:
            AnnotationError: The next value is none.
        """
        token = self.next("number", what)
        found = whole_number(token.value)
        if found is None or found < 0:
            refuse(self.path, f"got {shown(token.value)}, expected {what}", self.line(token.at))
        return found


def read(path: Path) -> Document:
    """Read a TextGrid file.

    Raises:
        AnnotationError: The file cannot be read, is not the text of a TextGrid, or is cut off.
    """
    if read_content(path, MAX_BYTES).startswith(BINARY):
        refuse(path, "is a binary file of Praat, expected text: save it by 'Save as text file...'")
    text = read_text(path, max_bytes=MAX_BYTES)
    head = HEAD.match(text)
    if head is None:
        refuse(
            path, 'does not begin with File type = "ooTextFile" and Object class = "TextGrid": is it another file?', 1
        )
    losses: list[Loss] = []
    events: list[Event] = []
    tiers: dict[str, set[str]] = {}
    for name, event in _events(_Tokens(path, text, head.end()), losses):
        tiers.setdefault(name, set())
        if event is not None:
            events.append(event)
            tiers[name].add(event.label)
    times = (time for event in events for time in (event.start, event.stop) if time is not None)
    media = (Media(path.stem),)
    recording = Recording(path.stem, media, resolution=resolution_of(times), events=events)
    return Document(path, [recording], classes_of_tiers(tiers), losses=losses)


def _events(tokens: _Tokens, losses: list[Loss]) -> Iterator[tuple[str, Event | None]]:
    """Yield the name of each tier with each of its events, and with None once."""
    for _ in range(2):
        tokens.next("number", "the times of the file")
    if tokens.next("flag", "<exists>").value != "exists":
        return
    for _ in range(tokens.count("the number of tiers")):
        tokens.tier = ""
        kind = tokens.next("text", "the class of a tier")
        if kind.value not in (INTERVALS, POINTS):
            message = f"got a tier of the class {shown(kind.value)}, expected {INTERVALS} or {POINTS}"
            refuse(tokens.path, message, tokens.line(kind.at))
        tokens.tier = name = _text(tokens, "the name of a tier")
        yield name, None
        for _ in range(2):
            tokens.next("number", "the times")
        for index in range(1, tokens.count("the number of intervals or points") + 1):
            yield name, _event(tokens, kind.value, f"tier {shorten(name)!r}, {index}", losses)


def _text(tokens: _Tokens, what: str) -> str:
    return one_line(tokens.next("text", what).value.replace('""', '"'))


def _event(tokens: _Tokens, kind: str, place: str, losses: list[Loss]) -> Event | None:
    """Return an interval or a point; None where it has no label, as most of a tier has, or no time."""
    start = tokens.next("number", "a time").value
    stop = tokens.next("number", "a time").value if kind == INTERVALS else None
    label = _text(tokens, "a label")
    if not label:
        return None
    if stop is not None:
        return timed_event(start, stop, label, place, losses, noun="intervals")
    seconds = number(start)
    if seconds is None:
        losses.append(Loss("points have a time that is not a number and are left out", place, label))
        return None
    return Event(seconds, None, label, place=place)


def write(path: Path, videos: Sequence[LabelledVideo]) -> list[Loss]:
    """Write the labels of one video as a TextGrid, with an interval tier for each class.

    Args:
        path: The file; Praat opens it beside a sound of the same name.
        videos: The labels of one video.

    Returns:
        What is lost: probabilities.
    """
    (video,) = videos
    segments: dict[int, list[tuple[float, float]]] = {}
    for segment, seconds in video.timed_segments():
        segments.setdefault(segment.class_index, []).append(seconds)
    start = min(0.0, float(video.times.pts_seconds[0]) if video.times.num_frames else 0.0)
    ends = start, video.times.end_seconds
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write('File type = "ooTextFile"\nObject class = "TextGrid"\n\n')
        file.write(f"xmin = {_seconds(ends[0])} \nxmax = {_seconds(ends[1])} \ntiers? <exists> \n")
        file.write(f"size = {video.label_space.num_classes} \nitem []: \n")
        for index, name in enumerate(video.label_space.classes):
            file.writelines(_tier_lines(index + 1, name, segments.get(index, []), ends))
    kind = "videos lose their probabilities, as Praat has no place for them"
    losses = [] if video.probabilities is None else [Loss(kind, video.video.name)]
    return losses + changed_names(videos)


def _tier_lines(
    index: int, name: str, segments: Sequence[tuple[float, float]], ends: tuple[float, float]
) -> Iterator[str]:
    """Yield the lines of a tier. Its intervals leave no gap: those without a label lie between those with one."""
    quoted = name.replace('"', '""')
    yield f'    item [{index}]:\n        class = "{INTERVALS}" \n        name = "{quoted}" \n'
    yield f"        xmin = {_seconds(ends[0])} \n        xmax = {_seconds(ends[1])} \n"
    intervals: list[tuple[float, float, str]] = []
    last = ends[0]
    for start, stop in segments:
        intervals += [(last, start, "")] if start > last else []
        intervals.append((start, stop, quoted))
        last = stop
    intervals += [(last, ends[1], "")] if ends[1] > last else []
    yield f"        intervals: size = {len(intervals)} \n"
    for place, (start, stop, text) in enumerate(intervals, start=1):
        yield f"        intervals [{place}]:\n            xmin = {_seconds(start)} \n"
        yield f'            xmax = {_seconds(stop)} \n            text = "{text}" \n'


def _seconds(value: float) -> str:
    text = f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _looks_like(path: Path, text: str) -> bool:
    is_binary = text.startswith(BINARY.decode()) and "TextGrid" in text[:40]
    return is_binary or HEAD.match(text) is not None


FORMAT = ForeignFormat(
    name="praat",
    title="Praat TextGrid",
    suffixes=(".TextGrid",),
    keeps="intervals and points with a label, of all tiers",
    loses="the names of tiers, intervals without a label; written files have no probabilities",
    looks_like=_looks_like,
    read=read,
    write=write,
    names_video=False,
)
