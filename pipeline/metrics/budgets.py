"""`framescribe summarize`: time budgets, bouts and transitions of a folder of label files, by video and by group.

`bouts` has the definitions.

Shapes: T frames, K classes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.formats.parsing import raise_problems
from pipeline.annotations.formats.rows import parse_rows
from pipeline.annotations.formats.scored import Scored
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError, Problem, condense
from pipeline.annotations.read import read_edges
from pipeline.annotations.times import FrameTimes
from pipeline.errors import InputError
from pipeline.files import canonical
from pipeline.metrics.bouts import (
    ClassBouts,
    bouts_of_classes,
    count_transitions,
    pool_bouts,
)
from pipeline.metrics.label_files import LabelReader, StampsOf, find_label_files, find_label_space, other_length
from pipeline.text.wording import listed

GROUPS_HEADER = ("stem", "group")
ALL = "all videos"  # the name of the only group
MAX_NAMES = 5  # in one message
Edges = Callable[[str], np.ndarray | None]  # by the stem; float64 [T + 1], see `annotations.read.read_edges`


class Summary(NamedTuple):
    """The bouts and transitions of a video, or of several.

    Attributes:
        bouts: Those of each of the K classes.
        transitions: int64 [K, K], see `bouts.count_transitions`.
    """

    bouts: tuple[ClassBouts, ...]
    transitions: np.ndarray

    @classmethod
    def pool(cls, summaries: Sequence["Summary"]) -> "Summary":
        """Take several together, at least one."""
        by_class = zip(*(summary.bouts for summary in summaries), strict=True)
        bouts = tuple(pool_bouts(of_videos) for of_videos in by_class)
        return cls(bouts, np.sum([summary.transitions for summary in summaries], axis=0))

    @property
    def has_times(self) -> bool:
        """Whether the times of all frames are known."""
        return all(bouts.seconds is not None for bouts in self.bouts)


@dataclass(frozen=True)
class Summaries:
    """The summaries of a folder.

    Attributes:
        label_space: The K classes.
        videos: Those of the videos by the stem.
        groups: The stems of each group, in the order of their names.
        without_length: The stems of the videos of which nothing says how long they are.
        failures: Why videos are left out.
    """

    label_space: LabelSpace
    videos: dict[str, Summary]
    groups: dict[str, list[str]]
    without_length: list[str]
    failures: list[str]

    def of_groups(self) -> dict[str, Summary]:
        """Return the summary of each group."""
        return {name: Summary.pool([self.videos[stem] for stem in stems]) for name, stems in self.groups.items()}

    def of_all(self) -> Summary:
        """Return the summary of all videos together."""
        return Summary.pool([*self.videos.values()])

    def all_rows(self) -> Iterator[tuple[str, str, Summary]]:
        """Yield a group, a stem and its summary: of the groups, whose stem is "", then of the videos by group."""
        yield from ((group, "", summary) for group, summary in self.of_groups().items())
        yield from ((group, stem, self.videos[stem]) for group, stems in self.groups.items() for stem in stems)

    def bars(self, most: int) -> dict[str, Summary]:
        """Return what a picture shows: the groups where there are several, otherwise the videos.

        Args:
            most: Of more videos than that, it shows all of them together.
        """
        if len(self.groups) > 1:
            return self.of_groups()
        return self.videos if len(self.videos) <= most else {ALL: self.of_all()}

    @property
    def without_times(self) -> list[str]:
        """The stems of the videos whose labels have no times."""
        return [stem for stem, summary in self.videos.items() if not summary.has_times]


def summarize_folder(
    folder: Path,
    *,
    groups: Path | None = None,
    edges: Edges | None = None,
    independent: bool = False,
    follow_links: bool = False,
) -> Summaries:
    """Summarize the label files of a folder; a video whose files cannot be used is left out, and costs no other one.

    The class list, the layouts and `scored.csv` are those of `folders.evaluate_folders`.

    Args:
        folder: The folder.
        groups: A groups.csv; None for one group of all videos.
        edges: Returns the times of a video that are to be used instead of those in the label file, and None where it
            has none; it may raise an InputError.
        independent: Whether any of the classes may overlap, also where the class list does not say so.
        follow_links: Whether files are read that are links out of their folder.

    Raises:
        InputError: The folder has no label files, or the groups cannot be read or lack a video; or no video is left:
            then an AnnotationError with every problem of every file.
    """
    folder = Path(folder)
    files = find_label_files(folder)
    group_of = dict.fromkeys(files, ALL) if groups is None else read_groups(Path(groups), files)
    label_space = find_label_space([folder], files.values(), independent=independent, follow_links=follow_links)
    reader = LabelReader(label_space, follow_links, _stamps_of(edges))
    scored = Scored.of(folder, label_space, follow_links=follow_links)
    videos = {
        stem: summary
        for stem, path in sorted(files.items())
        if (summary := _summarize(stem, path, reader, scored, edges)) is not None
    }
    problems = [*scored.find_unknown(files.keys()), *(found for of in reader.problems.values() for found in of)]
    if not videos:
        raise AnnotationError(problems)
    names = sorted({group_of[stem] for stem in videos})
    return Summaries(
        label_space,
        videos,
        {name: [stem for stem in videos if group_of[stem] == name] for name in names},
        [stem for stem in videos if stem in reader.without_length],
        [str(problem) for problem in condense(problems)],
    )


def _stamps_of(edges: Edges | None) -> StampsOf:
    """Return the function that gives the times of a video to the reader of its labels; None where there are none."""

    def stamps_of(stem: str) -> FrameTimes | None:
        try:
            of_video = edges(stem) if edges is not None else None
        except InputError:  # it is reported where the labels are summarized
            return None
        return None if of_video is None else FrameTimes(of_video[:-1], float(of_video[-1] - of_video[-2]))

    return stamps_of


def _summarize(stem: str, path: Path, reader: LabelReader, scored: Scored, edges: Edges | None) -> Summary | None:
    """Summarize a video; None where there are problems, which the reader then has."""
    labels = reader.read(stem, path)
    if labels is None:
        return None
    try:
        of_video = edges(stem) if edges else None
        if of_video is not None and not reader.has_length(path):
            labels = reader.lengthen(labels, len(of_video) - 1)
        else:
            labels = reader.lengthen_to_scored(stem, labels, [path], [(scored, stem)])
        if of_video is not None and len(of_video) != len(labels) + 1:
            raise AnnotationError(
                [other_length(path, f"got {len(labels)} labels for {len(of_video) - 1} frames of its video")]
            )
        of_video = read_edges(path, len(labels)) if of_video is None else of_video
    except AnnotationError as error:
        reader.add(stem, error.problems)
        return None
    except InputError as error:
        reader.add(stem, [Problem(path, None, f"its video cannot be used: {error}")])
        return None
    kept = reader.keep_scored(stem, labels, scored)
    if kept is None:
        return None
    space = reader.label_space
    return Summary(bouts_of_classes(kept, space, of_video), count_transitions(kept, space))


def read_groups(path: Path, stems: Iterable[str]) -> dict[str, str]:
    """Read the group of each video.

    Args:
        path: A groups.csv, as a data set has it. Rows of other videos are passed over.
        stems: The videos, in `canonical` form.

    Raises:
        AnnotationError: Every problem of the file: it cannot be read, the header is wrong, a stem or a group is
            missing, a stem is there twice, or a video has no row.
    """
    problems: list[Problem] = []
    groups: dict[str, str] = {}
    for line, (stem, group) in parse_rows(path, GROUPS_HEADER, problems):
        if not stem or not group:
            problems.append(Problem(path, line, f"got {stem},{group}: expected a stem and its group"))
        elif groups.setdefault(canonical(stem), canonical(group)) != canonical(group):
            problems.append(Problem(path, line, f"{stem!r} is here a second time, in another group"))
    missing = sorted(set(stems) - groups.keys())
    if missing and not problems:
        shown = listed([*map(repr, missing)], MAX_NAMES)
        problems.append(Problem(path, None, f"has no row for {shown}: expected the group of each label file"))
    raise_problems(problems)
    return groups
