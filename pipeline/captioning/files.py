"""The files that `framescribe caption` writes.

    FILE.jsonl, FILE.csv   path,start_seconds,stop_seconds,label,caption,probability   one line or row per caption
    <stem>.captions.vtt    the captions of a video as subtitles (see `subtitles`)
    <stem>.captions.srt
    <stem>.summary.txt     the video in a few sentences

An image has no start, stop and label: they are null in JSON and empty in CSV. All files are in UTF-8.
"""

import csv
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple, TextIO

from pipeline.captioning.summary import VideoCaption, summarise
from pipeline.files import replacing
from pipeline.text.subtitles import Cue, write_srt, write_webvtt

WEBVTT, SRT, SUMMARY = ".captions.vtt", ".captions.srt", ".summary.txt"  # after a video's stem


class CaptionRow(NamedTuple):
    """A caption of an image, or of a span of a video.

    Attributes:
        path: The file that is described.
        start_seconds: The start of the span; None for an image, as are `stop_seconds` and `label`.
        stop_seconds: The end of the span.
        label: The label of the span; None where it has none.
        caption: The sentence.
        probability: Of the caption, given the image.
    """

    path: str
    start_seconds: float | None
    stop_seconds: float | None
    label: str | None
    caption: str
    probability: float


def write_captions(path: Path, rows: Iterable[CaptionRow]) -> None:
    """Write the rows as they come into a file, which appears when the last row is written.

    Args:
        path: The file; its suffix, one of CAPTION_SUFFIXES, selects the layout.
        rows: The rows. Without a row no file is written, and one from an earlier call stays.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    # A path may hold bytes that are not text: they become \udcXX, as JSON requires.
    with (
        replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        _WRITERS[path.suffix.lower()](file, chain([first], rows))


def write_video_captions(folder: Path, stem: str, captions: Sequence[VideoCaption]) -> None:
    """Write the captions of a video as subtitles, and its summary, into a folder.

    Args:
        folder: The folder.
        stem: The stem of the video's name.
        captions: At least one, in the order of their starts. Where they overlap, the subtitles show one at a time.
    """
    # In some files the first frame has a time before 0, where no player begins.
    cues = [Cue(max(0, start), max(0, stop), text) for start, stop, text in _one_at_a_time(captions)]
    write_webvtt(folder / f"{stem}{WEBVTT}", cues)
    write_srt(folder / f"{stem}{SRT}", cues)
    with replacing(folder / f"{stem}{SUMMARY}") as temporary:
        temporary.write_text(summarise(captions) + "\n", encoding="utf-8")


def _one_at_a_time(captions: Sequence[VideoCaption]) -> Iterator[tuple[float, float, str]]:
    """Yield start, stop and text of what is shown: where captions overlap, the one that started last."""
    edges = sorted({edge for caption in captions for edge in caption[:2]})
    started: list[int] = []  # a heap of captions that may still last, the latest first, as numbers below 0
    waiting = deque(range(len(captions)))
    shown: list[tuple[float, float, int]] = []
    for start, stop in pairwise(edges):
        while waiting and captions[waiting[0]].start_seconds <= start:
            heappush(started, -waiting.popleft())
        while started and captions[-started[0]].stop_seconds <= start:
            heappop(started)
        if started and shown and shown[-1][1:] == (start, -started[0]):
            shown[-1] = (shown[-1][0], stop, -started[0])
        elif started:
            shown.append((start, stop, -started[0]))
    return ((start, stop, captions[position].text) for start, stop, position in shown)


def _write_jsonl(file: TextIO, rows: Iterable[CaptionRow]) -> None:
    for row in rows:
        file.write(json.dumps(row._asdict(), ensure_ascii=False) + "\n")


def _write_csv(file: TextIO, rows: Iterable[CaptionRow]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CaptionRow._fields)
    for row in rows:
        times = ["" if seconds is None else f"{seconds:.6f}" for seconds in (row.start_seconds, row.stop_seconds)]
        writer.writerow([row.path, *times, row.label or "", row.caption, f"{row.probability:.4g}"])


_WRITERS: dict[str, Callable[[TextIO, Iterable[CaptionRow]], None]] = {".csv": _write_csv, ".jsonl": _write_jsonl}
CAPTION_SUFFIXES = frozenset(_WRITERS)
