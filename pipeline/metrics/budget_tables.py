"""Tables of time budgets, bouts and transitions: budget.csv, transitions.csv, and one for the terminal.

Shapes: K classes.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.foreign.cells import protect
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import BUDGET, TRANSITIONS
from pipeline.files import replacing
from pipeline.metrics.bouts import Lengths, transition_probabilities
from pipeline.metrics.budgets import Summaries, Summary
from pipeline.text.wording import format_table

HEADERS = {
    BUDGET: (
        "group", "stem", "class", "videos", "videos_with_bouts", "share", "bouts", "bouts_per_minute",
        "labelled_seconds", "total_seconds", "mean_bout_seconds", "median_bout_seconds", "latency_seconds",
        "labelled_frames", "total_frames", "mean_bout_frames", "median_bout_frames", "latency_frames",
    ),
    TRANSITIONS: ("group", "stem", "from", "to", "count", "probability"),
}  # fmt: skip
DECIMALS = 6


def write_tables(folder: Path, summaries: Summaries) -> None:
    """Write budget.csv and transitions.csv into a folder.

    A name that a spreadsheet would compute as a formula begins with an apostrophe.
    """
    _write(folder / BUDGET, budget_rows(summaries))
    _write(folder / TRANSITIONS, transition_rows(summaries))


def _write(path: Path, rows: Iterable[Sequence[str]]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADERS[path.name])
        writer.writerows(rows)


def budget_rows(summaries: Summaries) -> Iterator[list[str]]:
    """Yield the rows of budget.csv: a row for each class of each group, whose stem is empty, then of each video."""
    for group, stem, summary in summaries.all_rows():
        for name, bouts in zip(summaries.label_space.classes, summary.bouts, strict=True):
            counts = [str(bouts.num_videos), str(bouts.num_videos_with)]
            rates = [_cell(bouts.share), str(bouts.num_bouts), _cell(bouts.per_minute)]
            in_seconds = [_cell(bouts.labelled_seconds), *_lengths(bouts.seconds), _cell(bouts.latency_seconds)]
            in_frames = [_cell(bouts.labelled_frames), *_lengths(bouts.frames), _cell(bouts.latency_frames)]
            yield [*map(protect, (group, stem, name)), *counts, *rates, *in_seconds, *in_frames]


def transition_rows(summaries: Summaries) -> Iterator[list[str]]:
    """Yield the rows of transitions.csv, of the transitions that occur: of each group, then of each video."""
    classes = summaries.label_space.classes
    for group, stem, summary in summaries.all_rows():
        probabilities = transition_probabilities(summary.transitions)
        for one, two in np.argwhere(summary.transitions).tolist():
            count = str(summary.transitions[one, two])
            names = map(protect, (group, stem, classes[one], classes[two]))
            yield [*names, count, _cell(probabilities[one, two])]


def _lengths(lengths: np.ndarray | None) -> list[str]:
    return [""] * 3 if lengths is None else [_cell(value) for value in Lengths.of(lengths)]


def _cell(value: float | None) -> str:
    """Return a number with at most DECIMALS decimals; "" for None."""
    if value is None:
        return ""
    text = f"{value:.{DECIMALS}f}"
    return text.rstrip("0").removesuffix(".")


def format_summaries(summaries: Summaries) -> str:
    """Format the budgets of each group as a table for people, in seconds, or in frames where times are not known.

    "-" is what is not known, or is not there.
    """
    return "\n\n".join(
        format_table([_terminal_header(group, summary), *_terminal_rows(summary, summaries.label_space)], gap="  ")
        for group, summary in summaries.of_groups().items()
    )


def _terminal_header(group: str, summary: Summary) -> list[str]:
    unit = "s" if summary.has_times else "frames"
    of_lengths = [f"{name} ({unit})" for name in ("total", "mean bout", "median bout", "latency")]
    return [group, "share %", "bouts", "per min", *of_lengths]


def _terminal_rows(summary: Summary, label_space: LabelSpace) -> Iterator[list[str]]:
    for name, bouts in zip(label_space.classes, summary.bouts, strict=True):
        lengths = Lengths.of(bouts.frames if bouts.seconds is None else bouts.seconds)
        latency = bouts.latency_frames if bouts.seconds is None else bouts.latency_seconds
        share = None if bouts.share is None else 100 * bouts.share
        rates = [_short(share), str(bouts.num_bouts), _short(bouts.per_minute)]
        yield [name, *rates, *map(_short, lengths), _short(latency)]


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
