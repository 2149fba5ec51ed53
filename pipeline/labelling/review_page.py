"""The output of `framescribe review`: the list as a table, and as a page with pictures for a browser.

K classes, n frames of a stretch.
"""

import csv
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import quote

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import seconds_cell
from pipeline.drawing.colors import class_colors
from pipeline.drawing.page import make_page
from pipeline.files import replacing
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
MAX_CLASSES = 3  # of each stretch, by probability; a given label is added to them
MIN_SHOWN = 0.01  # a class of a lower probability is not worth a line
NOT_LABELLED = "#9aa0a6"


@dataclass(frozen=True)
class ReviewItem:
    """A stretch of a video as it is listed. Its place in the list is its rank.

    Attributes:
        stem: The stem of the video.
        stretch: The frames, and their score.
        start_seconds: The time of the first frame; NaN for ready features.
        stop_seconds: The time at which the last frame ends; NaN for ready features.
        label: The label of the model for which it is listed, see `name_stretch`.
        given: The given label for which it is listed; None where nobody labelled it.
        probabilities: float [K], the means over the stretch.
        labels: int64 [n], the labels of the model.
        given_labels: int64 [n], the labels that people gave.
        video: The file, as a path from the page; "" for ready features.
        picture: The picture of its frames, as a path from the page; "" where there is none.
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
        """Why it is listed: uncertain (it has no given label) or disagrees."""
        return "uncertain" if self.given is None else "disagrees"


def write_table(path: Path, listed: Iterable[ReviewItem], label_space: LabelSpace) -> None:
    """Write review.csv: a row of HEADER for each stretch, in order.

    Args:
        path: The file.
        listed: The stretches. The given label of an uncertain one is an empty cell.
        label_space: The classes.
    """
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


class Run(NamedTuple):
    """Consecutive frames of one class, in a bar over the width of the strip.

    Attributes:
        num_frames: The number of frames.
        color: The colour of the class, as #rrggbb.
        name: The name of the class, or "not labelled".
    """

    num_frames: int
    color: str
    name: str


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
        label: The name of the label.
        given: The name of the given label; "" for an uncertain stretch.
        share: The share of these frames that the model expects to get wrong.
        picture: The address of the picture; "" where there is none.
        runs: The labels of the model.
        given_runs: The labels that people gave; empty where there are none.
        likely: The likeliest classes, and the given one.
    """

    rank: int
    name: str
    address: str
    times: tuple[str, str] | None
    frames: str
    why: str
    score: float
    label: str
    given: str
    share: str
    picture: str
    runs: list[Run]
    given_runs: list[Run]
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
        file.writelines(make_page("review.html", summary=summary, has_videos=has_videos, cards=cards))


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
    return Card(
        rank=rank,
        name=item.stem,
        address=address,
        times=times,
        frames=f"frames {first} to {stop - 1}" if stop - first > 1 else f"frame {first}",
        why=item.why,
        score=score,
        label=label_space.classes[item.label],
        given="" if item.given is None else label_space.classes[item.given],
        share=f"{score:.0%}",
        picture=_address(item.picture),
        runs=_runs(item.labels, label_space, hexes),
        given_runs=_runs(item.given_labels, label_space, hexes)
        if label_space.is_labelled(item.given_labels).any()
        else [],
        likely=_likely(item, label_space, hexes),
    )


def _address(path: str) -> str:
    return quote(os.fsencode(path))


def _clock(seconds: float) -> str:
    return clock(round(10 * seconds), decimals=1)


def _runs(labels: np.ndarray, label_space: LabelSpace, hexes: Sequence[str]) -> list[Run]:
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    runs = []
    for start, stop in pairwise(edges):
        class_index = int(labels[start])
        name = label_space.name(class_index)
        color = NOT_LABELLED if name is None else hexes[class_index]
        runs.append(Run(stop - start, color, name or "not labelled"))
    return runs


def _likely(item: ReviewItem, label_space: LabelSpace, hexes: Sequence[str]) -> list[Likely]:
    likeliest = np.argsort(-item.probabilities, kind="stable")[:MAX_CLASSES].tolist()
    shown = [index for index in likeliest if item.probabilities[index] >= MIN_SHOWN]
    if item.given is not None and item.given not in shown:
        shown.append(item.given)
    return [
        Likely(
            label_space.classes[index],
            100 * float(item.probabilities[index]),
            hexes[index],
            is_given=index == item.given,
        )
        for index in shown
    ]
