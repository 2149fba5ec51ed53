"""What a scan of a data set finds."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.annotations.classes import ClassList
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import Problem
from pipeline.annotations.times import FrameTimes
from pipeline.datasets.findings import Findings
from pipeline.datasets.frame_numbers import find_doubtful_numbers
from pipeline.datasets.manifest import Kind, Source


@dataclass
class Scan(Findings):
    """The content of a data set and everything that is wrong with it.

    Attributes:
        kind: "videos" or "features".
        class_list: The class list; None where it cannot be read.
        label_space: The classes.
        sources: The sources that can be read, by stem.
        times: When the frames of each video are shown, by stem.
        labels: int64 [T], or int8 [T, K] where classes overlap, of each source, by stem.
        num_video_labels: The number of videos to which labels.csv gives one class, or one set of classes.
        has_labels: Whether any labels could be read, be they of files that cannot be read.
        used_classes: The indices of the classes in these labels.
        left_out: The label files of frames that nobody looked at, as scored.csv says, with how many they are.
        tables: The label files with start and stop of each segment in frames, by stem.
        notes: What is read in a way that a user may not expect, such as a column that is passed over.
    """

    kind: Kind = "videos"
    class_list: ClassList | None = None
    label_space: LabelSpace = field(default_factory=lambda: LabelSpace(()))
    sources: dict[str, Source] = field(default_factory=dict)
    times: dict[str, FrameTimes] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    num_video_labels: int = 0
    has_labels: bool = False
    left_out: list[Problem] = field(default_factory=list)
    used_classes: set[int] = field(default_factory=set)
    tables: dict[str, Path] = field(default_factory=dict)
    notes: list[Problem] = field(default_factory=list)

    def usable_sources(self) -> list[Source]:
        """Return the labelled sources without a problem, sorted by stem; if splits name some of them, only those."""
        stems = sorted(self.sources.keys() & self.labels.keys() - self.problems.keys())
        sources = [self.sources[stem] for stem in stems]
        return [source for source in sources if source.split] or sources

    def warnings(self) -> list[Problem]:
        """Return what is doubtful about label files that can be used."""
        sources = {source.stem: source for source in self.usable_sources()}
        return find_doubtful_numbers(sources, self.labels, self.tables, self.label_space) + self.left_out

    def unused_classes(self) -> list[str]:
        """Return the classes that no frame is labelled with, as far as the labels could be read."""
        return [name for index, name in enumerate(self.label_space.classes) if index not in self.used_classes]

    def unused_class_problems(self) -> list[Problem]:
        """Return a problem for each of `unused_classes`; none without any labels, which is reported otherwise."""
        if self.class_list is None or not self.has_labels:
            return []
        cause = "is it spelt otherwise in the labels, or should it go?"
        lines = dict(zip(self.class_list.names, self.class_list.lines, strict=True))
        return [
            Problem(self.class_list.path, lines[name], f"no frame is labelled {name!r}: {cause}")
            for name in self.unused_classes()
        ]
