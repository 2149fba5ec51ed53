"""`scored.csv`: stem,start,stop and, if wanted, class: which frames of a video people looked at.

A video without a row was looked at from start to end, for all classes. Of a video with rows, people looked at the
frames [start, stop) of each, for the class that it names, or for all classes where it names none; all other labels of
the video are unknown.

Shapes: T frames, K classes.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.formats.delimited import iterate_rows
from pipeline.annotations.formats.parsing import NamedFrames, class_indices, raise_problems
from pipeline.annotations.formats.rows import parse_rows
from pipeline.annotations.formats.segment_rows import beyond_the_end, parse_span
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import SCORED, SCORED_HEADER
from pipeline.annotations.problems import Problem, did_you_mean
from pipeline.files import canonical, folders_of, is_elsewhere


class ScoredRange(NamedTuple):
    """The frames [start, stop) that people looked at.

    Attributes:
        line: The line of the file.
        start: The first frame.
        stop: The frame after the last one.
        class_index: The class for which they looked; None for all classes.
    """

    line: int
    start: int
    stop: int
    class_index: int | None


class Scored(NamedTuple):
    """What people looked at, of all videos of a folder of label files.

    Attributes:
        path: The scored.csv.
        ranges: The ranges of each video, see `read_scored`.
    """

    path: Path
    ranges: dict[str, list[ScoredRange]]

    @classmethod
    def of(cls, place: Path, label_space: LabelSpace, *, follow_links: bool) -> "Scored":
        """Read the scored.csv in a folder of label files or beside it; without one, people looked at everything.

        Raises:
            AnnotationError: Every problem of the file.
        """
        for path in (folder / SCORED for folder in folders_of(place)):
            if path.is_file() and (follow_links or not is_elsewhere(path)):
                return cls(path, read_scored(path, label_space))
        return cls(place / SCORED, {})

    def keep(self, stem: str, labels: np.ndarray, label_space: LabelSpace) -> np.ndarray:
        """Take away the labels of the video `stem` that nobody looked at, see `keep_scored`."""
        return keep_scored(self.path, labels, self.ranges.get(canonical(stem), []), label_space)

    def last_frame(self, stem: str) -> int:
        """Return the frame after the last one that people looked at in a video; 0 where the file does not name it."""
        return max((found.stop for found in self.ranges.get(canonical(stem), [])), default=0)

    def find_unknown(self, stems: Collection[str]) -> list[Problem]:
        """Describe the videos that the file names and that are not among `stems`, in `canonical` form."""
        problems = []
        for name, (first, *_) in self.ranges.items():
            if name not in stems:
                stem = canonical(Path(name).stem)
                guess = f": did you mean {stem!r}?" if stem in stems else did_you_mean(name, sorted(stems))
                problems.append(Problem(self.path, first.line, f"{name!r} is not the stem of a label file{guess}"))
        return problems


def read_scored(path: Path, label_space: LabelSpace) -> dict[str, list[ScoredRange]]:
    """Read a scored.csv.

    Args:
        path: The file.
        label_space: The classes that it may name.

    Returns:
        The ranges of each video that the file names, by the `canonical` form of its stem.

    Raises:
        AnnotationError: Every problem of the file: it cannot be read, the header is wrong, a row has no stem or no
            frames, a class is unknown, or is named although the classes exclude each other.
    """
    problems: list[Problem] = []
    ranges = parse_scored(Path(path), label_space, problems)
    raise_problems(problems)
    return ranges


def parse_scored(path: Path, label_space: LabelSpace, problems: list[Problem]) -> dict[str, list[ScoredRange]]:
    """Read the rows of a scored.csv that are not at fault, as `read_scored` does, which refuses a file with any fault.

    The problems are appended to `problems`.

    Raises:
        AnnotationError: The file cannot be read, or is not UTF-8.
    """
    ranges: dict[str, list[ScoredRange]] = {}
    named: NamedFrames = []
    for line, (stem, start, stop, *names) in parse_rows(path, _header_of(path), problems):
        name = names[0] if names else ""
        span = parse_span(path, line, start, stop, problems)
        if not stem:
            problems.append(Problem(path, line, "names no video: expected a stem and its frames"))
        if name:
            named.append((line, name))
        if stem and span is not None:
            index = label_space.index(name) if name else None
            ranges.setdefault(canonical(stem), []).append(ScoredRange(line, *span, index))
    if named and label_space.is_exclusive:
        lines = f" (on {len(named)} lines)" if len(named) > 1 else ""
        cause = "a frame has one class, so who looked for one looked for all; leave the column empty"
        problems.append(Problem(path, named[0][0], f"names the class {named[0][1]!r}{lines}: {cause}"))
        ranges = {stem: [of_video._replace(class_index=None) for of_video in found] for stem, found in ranges.items()}
    else:
        class_indices(path, named, label_space, problems)
    return ranges


def _header_of(path: Path) -> tuple[str, ...]:
    first = next((row for _, row in iterate_rows(path, []) if any(row)), [])
    return SCORED_HEADER[:3] if len(first) == 3 else SCORED_HEADER


def keep_scored(path: Path, labels: np.ndarray, ranges: Sequence[ScoredRange], label_space: LabelSpace) -> np.ndarray:
    """Take away the labels of what nobody looked at.

    Args:
        path: The scored.csv, for messages.
        labels: Labels of `label_space` of a video.
        ranges: What people looked at in the video; all of it where there is none.
        label_space: The classes.

    Returns:
        The labels, with IGNORE_INDEX outside of the ranges.

    Raises:
        AnnotationError: Ranges go beyond the end of the video.
    """
    if not ranges:
        return labels
    num_frames = len(labels)
    raise_problems(
        [
            beyond_the_end(path, line, f"range [{start}, {stop})", stop, num_frames)
            for line, start, stop, _ in ranges
            if stop > num_frames
        ]
    )
    is_scored = np.zeros(labels.shape, dtype=bool)
    for _, start, stop, index in ranges:
        is_scored[(slice(start, stop), ...) if index is None else (slice(start, stop), index)] = True
    kept = label_space.unlabelled(num_frames)
    kept[is_scored] = labels[is_scored]
    return kept
