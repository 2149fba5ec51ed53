"""The output of `framescribe review`: the list as a table, and as a page with pictures for a browser.

K classes, n frames of a stretch.
"""

import csv
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import quote

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import seconds_cell
from pipeline.drawing.colors import class_colors
from pipeline.drawing.page import make_page
from pipeline.files import replacing
from pipeline.labelling.doubts import Doubt
from pipeline.labelling.review_lanes import Lane, make_lanes
from pipeline.labelling.stretches import Stretch
from pipeline.text.wording import clock

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
CLASS_COLUMN = HEADER.index("predicted")  # where classes overlap, the doubted one is named before this column
MAX_CLASSES = 3  # of each stretch, by probability; a given label is added to them
MIN_SHOWN = 0.01  # a class of a lower probability is not worth a line
STATES = ("absent", "present")  # the labels of a class where they overlap: ABSENT is 0, PRESENT is 1


@dataclass(frozen=True)
class ReviewItem:
    """A stretch of a video as it is listed. Its place in the list is its rank.

    Attributes:
        stem: The stem of the video.
        stretch: The frames, and their score.
        start_seconds: The time of the first frame; NaN for ready features.
        stop_seconds: The time at which the last frame ends; NaN for ready features.
        doubt: The label for which it is listed.
        num_doubted: The number of its frames that have this label, and this given label.
        probabilities: float [K], the means over these frames.
        labels: int64 [n], or int8 [n, K] where classes overlap, the labels of the model in all of its frames.
        given_labels: As `labels`, the labels that people gave.
        video: The file, as a path from the page; "" for ready features.
        picture: The picture of its frames, as a path from the page; "" where there is none.
    """

    stem: str
    stretch: Stretch
    start_seconds: float
    stop_seconds: float
    doubt: Doubt
    num_doubted: int
    probabilities: np.ndarray
    labels: np.ndarray
    given_labels: np.ndarray
    video: str = ""
    picture: str = ""

    @property
    def why(self) -> str:
        """Why it is listed: uncertain (it has no given label) or disagrees."""
        return "uncertain" if self.doubt.given is None else "disagrees"


def write_table(path: Path, listed: Iterable[ReviewItem], label_space: LabelSpace) -> None:
    """Write review.csv: a row of HEADER for each stretch, in order.

    Where classes overlap, a column more names the class that is doubted, and its labels are "present" and "absent".

    Args:
        path: The file.
        listed: The stretches. The given label of an uncertain one is an empty cell.
        label_space: The classes.
    """
    named = () if label_space.is_exclusive else ("class",)
    with replacing(path) as temporary, _open(temporary) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*HEADER[:CLASS_COLUMN], *named, *HEADER[CLASS_COLUMN:]))
        for rank, item in enumerate(listed, start=1):
            writer.writerow(
                (
                    rank,
                    item.stem,
                    item.stretch.start,
                    item.stretch.stop,
                    seconds_cell(item.start_seconds),
                    seconds_cell(item.stop_seconds),
                    *_doubt_cells(item.doubt, label_space),
                    item.why,
                    f"{item.stretch.score:.4f}",
                    item.picture,
                )
            )


def _doubt_cells(doubt: Doubt, label_space: LabelSpace) -> tuple[str, ...]:
    """Return the name of the class, where classes overlap, the label of the model and the given one, "" for none."""
    names = label_space.classes if doubt.class_index is None else STATES
    labels = names[doubt.label], "" if doubt.given is None else names[doubt.given]
    return labels if doubt.class_index is None else (label_space.classes[doubt.class_index], *labels)


class Likely(NamedTuple):
    """One of the likeliest classes of a stretch, or the given one.

    Attributes:
        name: The name of the class.
        percent: Its mean probability over the stretch, in percent.
        color: The colour of the class, as #rrggbb.
        is_given: Whether it is the given label.
    """

    name: str
    percent: float
    color: str
    is_given: bool


class Card(NamedTuple):
    """A stretch as the template shows it.

    Attributes:
        rank: Its place in the list, from 1.
        name: The stem of the video.
        address: The address of the video, from the stretch's start to its stop; "" without a video.
        times: The times of start and stop; None for ready features.
        frames: The numbers of its frames, in words.
        why: See `ReviewItem`.
        score: See `Stretch`.
        class_name: The class that is doubted, where classes overlap; "" where they are exclusive.
        label: The name of the label, or yes or no where classes overlap.
        given: The name of the given label; "" for an uncertain stretch.
        probability: The mean probability of the label, or of the class that is doubted.
        share: The share of the doubted frames that the model expects to get wrong.
        num_doubted: The number of frames with these labels; 0 where it is all of them.
        picture: The address of the picture; "" where there is none.
        lanes: The labels over time: one lane, or one for each class where they overlap.
        likely: The likeliest classes in the doubted frames, the label and the given one; empty where classes overlap.
    """

    rank: int
    name: str
    address: str
    times: tuple[str, str] | None
    frames: str
    why: str
    score: float
    class_name: str
    label: str
    given: str
    probability: float
    share: str
    num_doubted: int
    picture: str
    lanes: list[Lane]
    likely: list[Likely]


def write_page(path: Path, listed: Sequence[ReviewItem], label_space: LabelSpace, *, summary: str) -> None:
    """Write review.html, a page that needs only the pictures beside it.

    Args:
        path: The file.
        listed: The stretches, in order.
        label_space: The classes.
        summary: The list in one sentence.
    """
    hexes = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in class_colors(label_space).tolist()]
    cards = (_card(rank, item, label_space, hexes) for rank, item in enumerate(listed, start=1))
    has_videos = any(item.video for item in listed)
    with replacing(path) as temporary, _open(temporary) as file:
        values = {"summary": summary, "has_videos": has_videos, "by_class": not label_space.is_exclusive}
        file.writelines(make_page("review.html", cards=cards, **values))


def _open(path: Path) -> TextIO:
    # the name of a file may hold bytes that are not text
    return open(path, "w", encoding="utf-8", errors="backslashreplace", newline="\n")


def _card(rank: int, item: ReviewItem, label_space: LabelSpace, hexes: Sequence[str]) -> Card:
    first, stop, score = item.stretch
    times, address = None, ""
    if not math.isnan(item.start_seconds):
        # the first frame of a file may have a time before 0, where no player begins
        seconds = max(0.0, item.start_seconds), max(0.0, item.stop_seconds)
        times = _clock(seconds[0]), _clock(seconds[1])
        if item.video:  # times in an address: Media Fragments URI 1.0, W3C 2012
            address = f"{_address(item.video)}#t={seconds[0]:.2f},{seconds[1]:.2f}"
    names = label_space.classes if item.doubt.class_index is None else ("no", "yes")
    doubted = item.doubt.label if item.doubt.class_index is None else item.doubt.class_index
    probability = float(item.probabilities[doubted])
    return Card(
        rank=rank,
        name=item.stem,
        address=address,
        times=times,
        frames=f"frames {first} to {stop - 1}" if stop - first > 1 else f"frame {first}",
        why=item.why,
        score=score,
        class_name="" if item.doubt.class_index is None else label_space.classes[item.doubt.class_index],
        label=names[item.doubt.label],
        given="" if item.doubt.given is None else names[item.doubt.given],
        probability=probability,
        share=f"{1 - probability:.0%}",
        num_doubted=item.num_doubted if item.num_doubted < stop - first else 0,
        picture=_address(item.picture),
        lanes=make_lanes(item.doubt, item.labels, item.given_labels, item.probabilities, label_space),
        likely=_likely(item, label_space, hexes) if label_space.is_exclusive else [],
    )


def _address(path: str) -> str:
    return quote(os.fsencode(path))


def _clock(seconds: float) -> str:
    return clock(round(10 * seconds), decimals=1)


def _likely(item: ReviewItem, label_space: LabelSpace, hexes: Sequence[str]) -> list[Likely]:
    likeliest = np.argsort(-item.probabilities, kind="stable")[:MAX_CLASSES].tolist()
    shown = [index for index in likeliest if item.probabilities[index] >= MIN_SHOWN]
    shown += [index for index in (item.doubt.label, item.doubt.given) if index is not None and index not in shown]
    return [
        Likely(
            label_space.classes[index],
            100 * float(item.probabilities[index]),
            hexes[index],
            is_given=index == item.doubt.given,
        )
        for index in shown
    ]
