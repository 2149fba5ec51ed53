"""The output of `framescribe review`: the list as a table, and as a page with pictures for a browser.

K classes, n frames of a stretch.
"""

import csv
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import quote

import numpy as np

from pipeline.annotations.label_space import SEPARATOR, LabelSpace
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
CLASS_COLUMN = HEADER.index("predicted")  # where classes overlap, the doubted ones are named before this column
MAX_CLASSES = 3  # of each stretch, by probability; a given label is added to them
MIN_SHOWN = 0.01  # a class of a lower probability is not worth a line
STATES = ("absent", "present")  # the labels of a class where they overlap: ABSENT is 0, PRESENT is 1


class Doubted(NamedTuple):
    """A label that is doubted, and the number of frames of the stretch that have it, and its given label."""

    doubt: Doubt
    num_frames: int


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
        probabilities: float [K], the means over these frames; of each class of `others` over its own.
        labels: int64 [n], or int8 [n, K] where classes overlap, the labels of the model in all of its frames.
        given_labels: As `labels`, the labels that people gave.
        video: The file, as a path from the page; "" for ready features.
        picture: The picture of its frames, as a path from the page; "" where there is none.
        others: Where classes overlap, the other classes that are doubted in it, the most doubted first.
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
    others: tuple[Doubted, ...] = ()

    @property
    def all_doubted(self) -> tuple[Doubted, ...]:
        """The label for which it is listed, and `others`."""
        return Doubted(self.doubt, self.num_doubted), *self.others

    @property
    def why(self) -> str:
        """Why it is listed: uncertain (it has no given label) or disagrees."""
        return "uncertain" if self.doubt.given is None else "disagrees"


def write_table(path: Path, listed: Iterable[ReviewItem], label_space: LabelSpace) -> None:
    """Write review.csv: a row of HEADER for each stretch, in order.

    Where classes overlap, a column more names the class that is doubted, and its labels are "present" and "absent".
    Several classes that are doubted, and their labels, are joined by the SEPARATOR.

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
                    *_doubt_cells(item, label_space),
                    item.why,
                    f"{item.stretch.score:.4f}",
                    item.picture,
                )
            )


def _doubt_cells(item: ReviewItem, label_space: LabelSpace) -> Iterator[str]:
    """Yield the names of the classes, where they overlap, the labels of the model and the given ones, "" for none."""
    cells = []
    for (label, given, class_index), _ in item.all_doubted:
        names = label_space.classes if class_index is None else STATES
        named = () if class_index is None else (label_space.classes[class_index],)
        cells.append((*named, names[label], "" if given is None else names[given]))
    return map(SEPARATOR.join, zip(*cells, strict=True))


class Claim(NamedTuple):
    """What the model and the label say, in the words of the page.

    Attributes:
        class_name: The class that is doubted, where classes overlap; "" where they are exclusive.
        label: The name of the label of the model, or yes or no where classes overlap.
        given: The name of the given label; "" where nobody gave one.
        probability: The mean probability of the label, or of the class that is doubted.
        threshold: The probability from which the class is on, where classes overlap; otherwise 0.
        share: The share of the doubted frames that the model expects to get wrong.
        num_frames: The number of frames with these labels; 0 where it is all of them.
    """

    class_name: str
    label: str
    given: str
    probability: float
    threshold: float
    share: str
    num_frames: int


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
        claims: What the model and the label say: for exclusive classes one.
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
    claims: list[Claim]
    picture: str
    lanes: list[Lane]
    likely: list[Likely]


def write_page(
    path: Path, listed: Sequence[ReviewItem], label_space: LabelSpace, *, summary: str, thresholds: Sequence[float] = ()
) -> None:
    """Write review.html, a page that needs only the pictures beside it.

    Args:
        path: The file.
        listed: The stretches, in order.
        label_space: The classes.
        summary: The list in one sentence.
        thresholds: [K], the probability from which each class is on, where classes overlap.
    """
    hexes = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in class_colors(label_space).tolist()]
    cards = (_card(rank, item, label_space, hexes, thresholds) for rank, item in enumerate(listed, start=1))
    has_videos = any(item.video for item in listed)
    with replacing(path) as temporary, _open(temporary) as file:
        values = {"summary": summary, "has_videos": has_videos, "by_class": not label_space.is_exclusive}
        file.writelines(make_page("review.html", cards=cards, **values))


def _open(path: Path) -> TextIO:
    # the name of a file may hold bytes that are not text
    return open(path, "w", encoding="utf-8", errors="backslashreplace", newline="\n")


def _card(
    rank: int, item: ReviewItem, label_space: LabelSpace, hexes: Sequence[str], thresholds: Sequence[float]
) -> Card:
    first, stop, score = item.stretch
    times, address = None, ""
    if not math.isnan(item.start_seconds):
        # the first frame of a file may have a time before 0, where no player begins
        seconds = max(0.0, item.start_seconds), max(0.0, item.stop_seconds)
        times = _clock(seconds[0]), _clock(seconds[1])
        if item.video:  # times in an address: Media Fragments URI 1.0, W3C 2012
            address = f"{_address(item.video)}#t={seconds[0]:.2f},{seconds[1]:.2f}"
    doubts = [doubted.doubt for doubted in item.all_doubted]
    return Card(
        rank=rank,
        name=item.stem,
        address=address,
        times=times,
        frames=f"frames {first} to {stop - 1}" if stop - first > 1 else f"frame {first}",
        why=item.why,
        score=score,
        claims=[_claim(doubted, item, label_space, thresholds) for doubted in item.all_doubted],
        picture=_address(item.picture),
        lanes=make_lanes(doubts, item.labels, item.given_labels, item.probabilities, label_space, thresholds),
        likely=_likely(item, label_space, hexes) if label_space.is_exclusive else [],
    )


def _claim(doubted: Doubted, item: ReviewItem, label_space: LabelSpace, thresholds: Sequence[float]) -> Claim:
    (label, given, class_index), num_frames = doubted
    names = label_space.classes if class_index is None else ("no", "yes")
    probability = float(item.probabilities[label if class_index is None else class_index])
    return Claim(
        class_name="" if class_index is None else label_space.classes[class_index],
        label=names[label],
        given="" if given is None else names[given],
        probability=probability,
        threshold=0.0 if class_index is None else thresholds[class_index],
        share=f"{1 - probability:.0%}",
        num_frames=num_frames if num_frames < len(item.labels) else 0,
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
