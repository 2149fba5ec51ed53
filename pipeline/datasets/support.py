"""How much of each class there is in each split for training and for scoring, and where that is too little.

Segments are those that are scored (`metrics.segments`): frames without a label are cut out before a video is split into
segments. A video counts for each class of its frames, and a group for each class of its videos. Where classes overlap,
all of this is counted for each class on its own, over the frames for which it is known.

Shapes: T frames, K classes.
"""

import csv
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.label_space import PRESENT, LabelSpace
from pipeline.annotations.segments import segments_from_frames
from pipeline.datasets.manifest import SPLITS, Source
from pipeline.files import replacing
from pipeline.text.wording import format_table, listed

CLASS_SUPPORT = "class_support.csv"  # is beside the manifest of a data set
ALL = "all"  # the split of sources that are not split yet
UNLABELLED = ""  # replaces the class name, as in label files
# Neighbouring frames are alike, so the examples of a class are its segments and not its frames. Measured on GTEA
# (docs/results/experiments/2026-11.md), half of the classes with up to 3 segments were lost, and none with 4 or more.
# Videos that are less alike need more: ten events for what is to be learnt is a rule of thumb (Peduzzi et al., "A
# simulation study of the number of events per variable in logistic regression analysis", 1996).
FEW_SEGMENTS = 10
MAX_NAMES = 8  # in one warning
TITLES = {"scored_frames": "scored"}  # of columns, where they are not the name of the field


class Support(NamedTuple):
    """The amount of a class in one split.

    Attributes:
        frames: The number of frames; for UNLABELLED, of frames without a label for any class.
        segments: The number of segments; for UNLABELLED, of runs of frames without a label.
        videos: The number of videos with such a frame.
        groups: The number of groups with such a video.
        scored_frames: Where classes overlap, the number of frames of which it is known whether they have the class; for
            UNLABELLED, of frames with a label for some class. None where classes are exclusive: one label says it of
            all classes.
    """

    frames: int
    segments: int
    videos: int
    groups: int
    scored_frames: int | None = None


# What a shortage of a class means, and what to do about it
IN_NO_LABEL = "Are they spelt otherwise in the labels, in videos that are left out, or should they go from classes.txt?"
NOT_LEARNT = (
    "They cannot be learnt, and are scored: put a video that has them into training, or take them out of the labels."
)
ONE_PLACE = (
    "A network may learn the place, light or person that is seen there instead of the class: label them elsewhere too,"
    " or merge them with a class that they are like."
)
EVERYWHERE = (
    "They cannot be learnt, as nothing shows what they are not: label frames without them, or say in scored.csv which"
    " frames people looked at."
)
FEW = "So few are learnt badly, and may never be predicted: label more, or merge them with a class that they are like."
NOT_SCORED = "They get no score there: choose splits, or another seed, that give it some."

SupportTable = dict[str, dict[str, Support]]  # by split, in the order of SPLITS, and by class; UNLABELLED comes last


def count_support(sources: Iterable[Source], labels: Mapping[str, np.ndarray], label_space: LabelSpace) -> SupportTable:
    """Count the frames, segments, videos and groups of each class.

    Args:
        sources: The sources; those without a split count as the split ALL.
        labels: int64 [T], or int8 [T, K] where classes overlap, by the stem of each source.
        label_space: The classes.

    Returns:
        The counts in each split that has a source.
    """
    of_split: dict[str, list[Source]] = {split: [] for split in (*SPLITS, ALL)}
    for source in sources:
        of_split[source.split or ALL].append(source)
    count = _count_exclusive if label_space.is_exclusive else _count_overlapping
    return {split: count(found, labels, label_space) for split, found in of_split.items() if found}


def _count_exclusive(
    sources: list[Source], labels: Mapping[str, np.ndarray], label_space: LabelSpace
) -> dict[str, Support]:
    unlabelled = label_space.num_classes  # the column after those of the classes
    num_frames, num_segments, num_videos = np.zeros((3, unlabelled + 1), dtype=np.int64)
    groups: list[set[str]] = [set() for _ in num_frames]
    for source in sources:
        of_video = labels[source.stem]
        is_labelled = label_space.is_labelled(of_video)
        segments = segments_from_frames(of_video[is_labelled])
        runs = segments_from_frames(is_labelled)
        gaps = [run._replace(class_index=unlabelled) for run in runs if not run.class_index]
        for start, stop, class_index in (*segments, *gaps):
            num_frames[class_index] += stop - start
            num_segments[class_index] += 1
        for class_index in {segment.class_index for segment in (*segments, *gaps)}:
            num_videos[class_index] += 1
            groups[class_index].add(source.group)
    columns = zip(num_frames.tolist(), num_segments.tolist(), num_videos.tolist(), map(len, groups), strict=True)
    return {name: Support(*row) for name, row in zip((*label_space.classes, UNLABELLED), columns, strict=True)}


def _count_overlapping(
    sources: list[Source], labels: Mapping[str, np.ndarray], label_space: LabelSpace
) -> dict[str, Support]:
    table: dict[str, Support] = {}
    for index, name in enumerate((*label_space.classes, UNLABELLED)):
        runs: list[list[int]] = []  # for each video, the lengths of the runs of frames with the class
        num_scored = 0
        for source in sources:
            of_video = labels[source.stem]
            if name == UNLABELLED:
                is_known = label_space.labelled_frames(of_video)
                is_present = ~is_known
            else:
                is_known = label_space.is_labelled(of_video[:, index])
                is_present = of_video[is_known, index] == PRESENT
            runs.append([stop - start for start, stop, has_class in segments_from_frames(is_present) if has_class])
            num_scored += int(is_known.sum())
        groups = {source.group for source, of_video in zip(sources, runs, strict=True) if of_video}
        num_frames, num_videos = sum(map(sum, runs)), sum(map(bool, runs))
        table[name] = Support(num_frames, sum(map(len, runs)), num_videos, len(groups), num_scored)
    return table


def _total_frames(support: Mapping[str, Support]) -> int:
    unlabelled = support[UNLABELLED]
    if unlabelled.scored_frames is None:
        return sum(of_class.frames for of_class in support.values())
    return unlabelled.frames + unlabelled.scored_frames


def unlabelled_percent(*splits: Mapping[str, Support]) -> float:
    """Return the percentage of the splits' frames that have no label; 0 where there are no frames."""
    num_frames = sum(map(_total_frames, splits))
    return 100.0 * sum(support[UNLABELLED].frames for support in splits) / max(1, num_frames)


@dataclass(frozen=True)
class Shortage:
    """Classes of which there is too little.

    Attributes:
        classes: The classes, those with the least first.
        what: What is too little, as the end of a sentence about the classes.
        advice: What the shortage means, and what to do about it.
    """

    classes: tuple[str, ...]
    what: str
    advice: str

    def __str__(self) -> str:
        """Return one sentence, which names some of the classes where there are many, and the advice."""
        names = listed([*map(repr, self.classes)], MAX_NAMES)
        subject = "1 class is" if len(self.classes) == 1 else f"{len(self.classes)} classes are"
        return f"{subject} {self.what}: {names}. {self.advice}"


def find_shortages(table: SupportTable, *, reported: Collection[str] = ()) -> list[Shortage]:
    """Find the classes of which there is too little.

    Args:
        table: The counts. Where nothing is split yet, all of the data set is compared with what training needs.
        reported: Classes that are known to be in no label and are not reported again.

    Returns:
        The shortages, the gravest first. A class is in at most one of those that concern training.
    """
    learnt_from, kind = ("train", "training ") if "train" in table else (ALL, "")
    if learnt_from not in table:
        return []
    support = {name: of_class for name, of_class in table[learnt_from].items() if name not in (UNLABELLED, *reported)}
    labelled = {name for of_split in table.values() for name, of_class in of_split.items() if of_class.frames}
    conditions: list[tuple[Callable[[str], bool], str, str]] = [
        (lambda name: name not in labelled, "in no label", _in_no_label(table)),
        (lambda name: support[name].videos == 0, f"in no {kind}video", NOT_LEARNT),
        (
            lambda name: support[name].frames == support[name].scored_frames,
            f"in all {kind}frames of which they are known",
            EVERYWHERE,
        ),
        (lambda name: support[name].videos == 1, f"in one {kind}video only", ONE_PLACE),
        (lambda name: support[name].groups == 1, f"in one {kind}group only", ONE_PLACE),
        (lambda name: support[name].segments < FEW_SEGMENTS, f"in fewer than {FEW_SEGMENTS} {kind}segments", FEW),
    ]
    names = sorted(support, key=lambda name: (support[name].segments, support[name].frames, name))
    seen = [name for name in names if support[name].frames]
    shortages = []
    for is_short, what, advice in conditions:
        shortages.append(Shortage(tuple(filter(is_short, names)), what, advice))
        names = [name for name in names if not is_short(name)]
    for split in [split for split in table if split != learnt_from]:
        unscored = tuple(name for name in seen if not table[split][name].frames)
        shortages.append(Shortage(unscored, f"in training, but in no {split} video", NOT_SCORED))
    return [shortage for shortage in shortages if shortage.classes]


def _in_no_label(table: SupportTable) -> str:
    overlap = "scored_frames" in _fields(table)
    return IN_NO_LABEL.replace("classes.txt", "the class list") if overlap else IN_NO_LABEL


def _fields(table: SupportTable) -> list[str]:
    """Return the names of the counts that a class has."""
    of_class = next(iter(table.values()))[UNLABELLED]
    return [field for field, count in zip(of_class._fields, of_class, strict=True) if count is not None]


def write_support(table: SupportTable, path: Path) -> None:
    """Write the counts and the shortages as a CSV file.

    It has one row per class, and one without a name for unlabelled frames. The columns are frames, segments, videos and
    groups of each split, where classes overlap also the frames that are scored for the class, and what is too little
    of the class.

    Args:
        table: The counts.
        path: The file.
    """
    warnings: dict[str, list[str]] = {}
    for shortage in find_shortages(table):
        for name in shortage.classes:
            warnings.setdefault(name, []).append(shortage.what)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        fields = _fields(table) if table else []
        columns = (f"{split}_{field}" for split in table for field in fields)
        writer.writerow(["class", *columns, "too_little"])
        for name in next(iter(table.values()), ()):
            cells = (getattr(support[name], field) for support in table.values() for field in fields)
            writer.writerow([name, *cells, "; ".join(warnings.get(name, []))])


def format_support(table: SupportTable) -> str:
    """Return the counts as lines of text for a terminal; groups only where their number differs from that of videos."""
    has_groups = any(of_class.groups != of_class.videos for support in table.values() for of_class in support.values())
    first = next(iter(table.values()))
    fields = [field for field in _fields(table) if has_groups or field != "groups"]
    width = max(12, *map(len, first))
    titles = [TITLES.get(field, field) for field in fields]
    over_fields = [None] * (len(fields) - 1)
    rows: list[list[str | None]] = [
        ["", *(cell for split in table for cell in (*over_fields, split))],
        ["class", *titles * len(table)],
    ]
    for name in first:
        cells = (_cell(support, name, field) for support in table.values() for field in fields)
        rows.append([name or "(unlabelled)", *cells])
    return format_table(rows, widths=[width, *[10] * (len(fields) * len(table))], num_headers=2)


def _cell(support: Mapping[str, Support], name: str, field: str) -> str:
    count: int = getattr(support[name], field)
    if field != "scored_frames":
        return f"{count:,}"
    return f"{100 * count / max(1, _total_frames(support)):.1f}%" if name else ""
