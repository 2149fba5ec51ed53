"""What `framescribe review` writes: the list as a table, and as a page with pictures for a browser.

K classes, n frames of a stretch.
"""

import csv
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import seconds_cell
from pipeline.drawing.colors import class_colors
from pipeline.files import replacing
from pipeline.labelling.stretches import Stretch

TABLE, PAGE = "review.csv", "review.html"
HEADER = (
    "rank",
    "stem",
    "start",
    "stop",
    "start_seconds",
    "stop_seconds",
    "predicted",
    "given",
    "why",
    "score",
    "picture",
)
MAX_CLASSES = 3  # of each stretch, by probability; a given label comes on top
MIN_SHOWN = 0.01  # a class of a lower probability is not worth a line
NOT_LABELLED = "#9aa0a6"
HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Framescribe review</title>
<style>
:root {{ color-scheme: light dark; --page: #f4f5f7; --card: #fff; --text: #1d2127; --faint: #6a717b; --line: #dfe2e7;
  --uncertain: #8a5a00; --disagrees: #b3261e; }}
@media (prefers-color-scheme: dark) {{ :root {{ --page: #15171a; --card: #1e2125; --text: #e6e8eb; --faint: #9aa1ab;
  --line: #343941; --uncertain: #f0b95a; --disagrees: #ff8a80; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--page); color: var(--text); font: 15px/1.45 system-ui, sans-serif; }}
main {{ max-width: 1180px; margin: 0 auto; padding: 24px 16px 64px; }}
h1 {{ font-size: 24px; margin: 0 0 4px; }}
main > p {{ margin: 0 0 20px; color: var(--faint); max-width: 80ch; }}
article {{ background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px;
  margin-bottom: 16px; }}
header {{ display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; }}
h2 {{ font-size: 17px; margin: 0; overflow-wrap: anywhere; }}
a {{ color: inherit; }}
.rank {{ font-size: 17px; color: var(--faint); }}
.frames, .score {{ color: var(--faint); font-size: 13px; }}
.score {{ margin-left: auto; }}
.why {{ font-weight: 600; font-size: 13px; }}
.uncertain {{ color: var(--uncertain); }}
.disagrees {{ color: var(--disagrees); }}
article p {{ margin: 4px 0 10px; }}
img {{ display: block; width: calc(100% - 56px); max-height: 200px; object-fit: contain; object-position: left;
  margin: 0 0 6px 56px; border-radius: 4px; }}
.timeline {{ display: flex; align-items: center; font-size: 12px; margin-bottom: 4px; }}
.timeline > span {{ flex: 0 0 56px; color: var(--faint); }}
.timeline > div {{ flex: 1; display: flex; height: 20px; border-radius: 4px; overflow: hidden; min-width: 0; }}
.timeline i {{ background: var(--c); min-width: 0; overflow: hidden; white-space: nowrap; padding: 1px 6px;
  text-overflow: ellipsis; font-style: normal; color: #14161a; line-height: 18px; }}
.timeline i + i {{ border-left: 1px solid var(--card); }}
.classes {{ list-style: none; margin: 10px 0 0 56px; padding: 0; max-width: 520px; font-size: 13px; }}
.classes li {{ display: flex; align-items: center; gap: 8px; }}
.classes span {{ flex: 0 0 170px; overflow-wrap: anywhere; }}
.classes li > i {{ flex: 1; height: 8px; border-radius: 4px; background: var(--line); overflow: hidden; }}
.classes i i {{ display: block; height: 100%; background: var(--c); box-shadow: inset 0 0 0 1px #0004; }}
.classes b {{ flex: 0 0 40px; text-align: right; font-weight: 500; }}
</style>
<main>
<h1>Worth a look</h1>
<p>{summary}.<br>
<b class="uncertain">Uncertain</b>: nobody labelled these frames, and the model may be wrong; the score is the share of
frames that it expects to get wrong.
<b class="disagrees">Disagrees</b>: the model contradicts the given label; at a score of 1 nothing speaks for the label.
{hint}</p>
"""


@dataclass(frozen=True)
class ReviewItem:
    """A stretch of a video as it is listed. Where it lies in the list is its rank.

    start_seconds, stop_seconds   NaN for ready features
    label, given                  what it is listed for, see `name_stretch`; given None: nobody labelled it
    probabilities                 float [K], their means over the stretch
    labels, given_labels          int64 [n] of its frames
    picture                       of its frames, beside the page; "" where there is none
    video                         the file, as a path from the page; "" for ready features
    """

    stem: str
    stretch: Stretch
    start_seconds: float
    stop_seconds: float
    label: int
    given: int | None
    probabilities: np.ndarray
    labels: np.ndarray
    given_labels: np.ndarray
    video: str = ""
    picture: str = ""

    @property
    def why(self) -> str:
        return "uncertain" if self.given is None else "disagrees"


def write_table(path: Path, listed: Iterable[ReviewItem], label_space: LabelSpace) -> None:
    """Write review.csv: a row of HEADER for each stretch, in order; the given label of an uncertain one is empty."""
    with replacing(path) as temporary, _open(temporary) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for rank, item in enumerate(listed, start=1):
            writer.writerow(
                (
                    rank,
                    item.stem,
                    item.stretch.start,
                    item.stretch.stop,
                    seconds_cell(item.start_seconds),
                    seconds_cell(item.stop_seconds),
                    label_space.classes[item.label],
                    "" if item.given is None else label_space.classes[item.given],
                    item.why,
                    f"{item.stretch.score:.4f}",
                    item.picture,
                )
            )


def write_page(path: Path, listed: Sequence[ReviewItem], label_space: LabelSpace, *, summary: str) -> None:
    """Write review.html, a page that needs nothing but the pictures beside it."""
    hexes = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in class_colors(label_space).tolist()]
    with replacing(path) as temporary, _open(temporary) as file:
        hint = "A click on the name of a video plays the stretch." * any(item.video for item in listed)
        file.write(HEAD.format(summary=escape(summary), hint=hint))
        for rank, item in enumerate(listed, start=1):
            file.writelines(_card(rank, item, label_space, hexes))
        file.write("</main>\n</html>\n")


def _open(path: Path) -> TextIO:
    # a name of a file may hold bytes that are no text
    return open(path, "w", encoding="utf-8", errors="backslashreplace", newline="\n")


def _link(path: str) -> str:
    return escape(quote(os.fsencode(path)))


def _card(rank: int, item: ReviewItem, label_space: LabelSpace, hexes: Sequence[str]) -> Iterator[str]:
    first, stop, score = item.stretch
    frames = f"frames {first} to {stop - 1}" if stop - first > 1 else f"frame {first}"
    name, when = escape(item.stem), ""
    if not math.isnan(item.start_seconds):
        # a file may set its first frame before 0, where no player begins
        seconds = max(0.0, item.start_seconds), max(0.0, item.stop_seconds)
        when = " &ndash; ".join(map(clock, seconds))
        if item.video:  # times in an address: Media Fragments URI 1.0, W3C 2012
            name = f'<a href="{_link(item.video)}#t={seconds[0]:.2f},{seconds[1]:.2f}">{name}</a>'
    yield f'<article>\n<header><b class="rank">{rank}</b><h2>{name}</h2>'
    yield f'<span class="when">{when}</span><span class="frames">{frames}</span>'
    yield f'<span class="why {item.why}">{item.why}</span><span class="score">score {score:.2f}</span></header>\n'
    yield f"<p>{_reason(item, label_space)}</p>\n"
    if item.picture:
        yield f'<img src="{_link(item.picture)}" alt="some of these frames, from first to last" loading="lazy">\n'
    yield _timeline("model", item.labels, label_space, hexes)
    if label_space.is_labelled(item.given_labels).any():
        yield _timeline("given", item.given_labels, label_space, hexes)
    yield from _probabilities(item, label_space, hexes)
    yield "</article>\n"


def _reason(item: ReviewItem, label_space: LabelSpace) -> str:
    label, share = f"<b>{escape(label_space.classes[item.label])}</b>", f"{item.stretch.score:.0%}"
    if item.given is None:
        return f"The model says {label}, and expects to be wrong in {share} of these frames."
    given = f"<b>{escape(label_space.classes[item.given])}</b>"
    return f"Labelled as {given}, but the model says {label}."


def _timeline(side: str, labels: np.ndarray, label_space: LabelSpace, hexes: Sequence[str]) -> str:
    """A bar over the width of the strip: each run of one class in its colour."""
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    parts = []
    for start, stop in pairwise(edges):
        class_index = int(labels[start])
        label = label_space.name(class_index)
        name = "not labelled" if label is None else escape(label)
        color = NOT_LABELLED if label is None else hexes[class_index]
        parts.append(f'<i style="flex:{stop - start};--c:{color}" title="{name}">{name}</i>')
    return f'<div class="timeline"><span>{side}</span><div>{"".join(parts)}</div></div>\n'


def _probabilities(item: ReviewItem, label_space: LabelSpace, hexes: Sequence[str]) -> Iterator[str]:
    likeliest = np.argsort(-item.probabilities, kind="stable")[:MAX_CLASSES].tolist()
    shown = [index for index in likeliest if item.probabilities[index] >= MIN_SHOWN]
    shown += [item.given] if item.given is not None and item.given not in shown else []
    yield '<ul class="classes">\n'
    for index in shown:
        percent = 100 * float(item.probabilities[index])
        shown_percent = f"{percent:.0f}%" if percent >= 1 else "&lt;1%"
        mark = " (given)" * (index == item.given)
        yield f"<li><span>{escape(label_space.classes[index])}{mark}</span>"
        yield f'<i><i style="width:{percent:.1f}%;--c:{hexes[index]}"></i></i><b>{shown_percent}</b></li>\n'
    yield "</ul>\n"


def clock(seconds: float) -> str:
    """Hours only where there are some.

    >>> clock(75.04), clock(3600)
    ('1:15.0', '1:00:00.0')
    """
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{rest // 10:02d}.{rest % 10}"
