"""The label files of folders, and the labels of one video from two sides, brought to the same length.

T frames, K classes.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.annotations.classes import CLASSES, CLASSES_WITH_GROUPS, find_class_list, read_class_list
from pipeline.annotations.formats import registry
from pipeline.annotations.formats.scored import Scored
from pipeline.annotations.found_classes import label_space_of_files
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import (
    BUDGET,
    DECODE_REPORT,
    FRAMES,
    IMPORT_REPORT,
    LIVE,
    NOVELTY,
    SCORED,
    TRANSITIONS,
)
from pipeline.annotations.problems import AnnotationError, Problem, without_content
from pipeline.annotations.read import needs_times, read_edges, read_predicted, read_probabilities
from pipeline.annotations.segments import frames_in_no_row
from pipeline.annotations.times import FrameTimes
from pipeline.errors import InputError
from pipeline.files import canonical, folders_of, is_dangling, is_elsewhere, is_hidden

NO_LABELS = frozenset(  # lie beside them
    {CLASSES, CLASSES_WITH_GROUPS, SCORED, DECODE_REPORT, IMPORT_REPORT, BUDGET, TRANSITIONS, "groups.csv"}
)


def find_label_files(folder: Path) -> dict[str, Path]:
    """Find the label file of each video in `folder`, without live ones.

    Returns:
        The files by the `canonical` form of the stem.

    Raises:
        InputError: There are none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: expected one that holds label files")
    named: dict[Path, str] = {}
    found = [path for path in sorted(folder.iterdir()) if path.is_file() or is_dangling(path)]
    for layout in registry.FORMATS:
        for path in [path for path in found if registry.format_of(path) == layout]:
            # live labels may have gaps, and be of what nobody has labelled
            if path.name not in NO_LABELS and not path.name.endswith((LIVE, NOVELTY)) and not is_hidden(path):
                named.setdefault(path, canonical(layout.stem(path)))
    files: dict[str, Path] = {}
    for path, stem in named.items():
        shorter = stem_of(path)  # of clip.mp4.csv it is clip, unless that has a file of its own
        files.setdefault(stem if shorter in named.values() else shorter, path)
    if not files:
        cause = f", did you mean {folder / 'labels'}?" if (folder / "labels").is_dir() else ""
        expected = ", ".join(f"<stem>{layout.suffix}" for layout in registry.FORMATS)
        raise InputError(f"{folder} holds no label files: expected {expected}{cause}")
    return files


def stem_of(path: Path) -> str:
    """Return the stem of the video in the name of a label file."""
    return canonical(next(iter(registry.stems_in(path)), path.stem))


def find_label_space(
    places: Sequence[Path],
    files: Iterable[Path],
    *,
    background: str | None = None,
    independent: bool = False,
    follow_links: bool = False,
) -> LabelSpace:
    """Find the classes of label files, and which of them exclude each other.

    Where there is no class list, the classes are those that the files use, see `label_space_of_files`.

    Args:
        places: The folders of the label files, or a labels.csv. The first class list in one of them or beside counts.
        files: All label files.
        background: See `LabelSpace`.
        independent: Whether any of the classes may overlap, whatever the class list says.
        follow_links: Whether files are read that are links out of their folder.

    Raises:
        AnnotationError: Every problem of the class list; or there is none, classes are exclusive, and a line of a .txt
            has several; or some files say that classes overlap, and others that they exclude each other.
        InputError: The background is not a class.
    """
    path = find_list(places, follow_links=follow_links)
    if path is not None:
        return read_class_list(path).label_space(independent=independent, background=background)
    readable = [path for path in files if follow_links or not is_elsewhere(path)]
    return label_space_of_files(readable, independent=independent, background=background)


def find_list(places: Sequence[Path], *, follow_links: bool) -> Path | None:
    """Return the first class list in one of the places or beside it, see `find_label_space`; None where there is none.

    Raises:
        AnnotationError: A folder has both a classes.txt and a classes.csv.
    """
    for folder in (folder for place in places for folder in folders_of(place)):
        path = find_class_list(folder)
        if path.is_file() and (follow_links or not is_elsewhere(path)):
            return path
    return None


def elsewhere(path: Path) -> Problem:
    """Describe a file for which `is_elsewhere` holds, and which is therefore not read."""
    return Problem(path, None, "is a link out of the folder, and is not read: --follow-links reads it, if you trust it")


def other_length(path: Path, fault: str, cause: str = "") -> Problem:
    """Describe that two sides have labels of different numbers of frames.

    Args:
        path: The file of one side.
        fault: The numbers.
        cause: The cause; "" for the likely one.
    """
    message = f"{fault}: {cause or 'they are of different videos or frame rates'}"
    return Problem(path, None, message, fault="another number of labels")


StampsOf = Callable[[str], FrameTimes | None]


def no_stamps(stem: str) -> FrameTimes | None:
    """Return None: the `stamps_of` of labels whose videos are not known."""
    return None


@dataclass
class LabelReader:
    """Reads label files, and collects their problems by the stem of the video.

    Attributes:
        label_space: The classes.
        follow_links: Whether files are read that are links out of their folder.
        stamps_of: Returns when the frames of a video are shown, by its stem; None where that is not known.
        problems: Why the labels of videos cannot be used.
        without_length: The videos of classes that overlap of which nothing says how long they are.
    """

    label_space: LabelSpace
    follow_links: bool
    stamps_of: StampsOf = no_stamps
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    without_length: set[str] = field(default_factory=set)

    def read(self, stem: str, path: Path, *, other: Path | None = None) -> np.ndarray | None:
        """Read the labels of a video: int64 [T], or int8 [T, K] where classes overlap; None where there are problems.

        Args:
            stem: The stem of the video.
            path: The file. If it does not say how many frames the video has, and the video is known, it says so.
            other: The file of the other side. A .frames.csv has the times of the frames, by which labels in seconds are
                read; its own problems show where it is read.
        """
        if not self.follow_links and is_elsewhere(path):
            self.add(stem, [elsewhere(path)])
            return None
        stamps = self.stamps_of(stem)
        times = stamps or self._times(path, other)
        labels = self._try(stem, path, lambda path, space: read_predicted(path, space, times=times))
        if labels is not None and stamps is not None and not self.has_length(path):
            return self.lengthen(labels, stamps.num_frames)
        return labels

    def _times(self, path: Path, other: Path | None) -> FrameTimes | None:
        if other is None or not needs_times(path) or not other.name.endswith(FRAMES):
            return None  # a .segments.csv has the times of some frames only
        if not self.follow_links and is_elsewhere(other):
            return None
        with suppress(AnnotationError):
            edges = read_edges(other, len(read_predicted(other, self.label_space)))
            return None if edges is None else FrameTimes(edges[:-1], float(edges[-1] - edges[-2]))
        return None

    def read_probabilities(self, stem: str, path: Path) -> np.ndarray | None:
        """Read the probabilities of a video, see `annotations.read.read_probabilities`; None where there are none.

        Args:
            stem: The stem of the video.
            path: A file whose labels were read.
        """
        return self._try(stem, path, read_probabilities)

    def _try(self, stem: str, path: Path, read: Callable[[Path, LabelSpace], np.ndarray | None]) -> np.ndarray | None:
        try:
            return read(path, self.label_space)
        except AnnotationError as error:
            self.add(stem, without_content(error.problems, path.parent))
            return None

    def keep_scored(
        self, stem: str, labels: np.ndarray, scored: Scored, *, stem_of_file: str | None = None
    ) -> np.ndarray | None:
        """Take away the labels of what nobody looked at; None where there are problems.

        Args:
            stem: The stem of the video.
            labels: The labels.
            scored: What people looked at.
            stem_of_file: The stem under which it is listed there; None for that of the video.
        """
        try:
            return scored.keep(stem_of_file or stem, labels, self.label_space)
        except AnnotationError as error:
            self.add(stem, error.problems)
            return None

    def add(self, stem: str, problems: Iterable[Problem]) -> None:
        """Add problems of a video."""
        self.problems.setdefault(stem, []).extend(problems)

    def all_problems(self) -> list[Problem]:
        """Return the problems of all videos."""
        return [problem for of_video in self.problems.values() for problem in of_video]

    def has_length(self, path: Path | int | np.ndarray) -> bool:
        """Return whether a file says how many frames its video has; the label of a whole video does not."""
        if not isinstance(path, Path):
            return False
        layout = registry.format_of(path)
        return layout is not None and layout.has_length(path, self.label_space)

    def same_length(
        self, one: np.ndarray, one_file: Path, two: np.ndarray, two_file: Path
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lengthen the labels whose file does not say how many frames the video has to the length of the others."""
        sides = ((one, one_file, len(two)), (two, two_file, len(one)))
        first, second = (
            labels if self.has_length(path) else self.lengthen(labels, num_frames) for labels, path, num_frames in sides
        )
        return first, second

    def lengthen_to_scored(
        self,
        stem: str,
        labels: np.ndarray,
        sides: Sequence[Path | int | np.ndarray],
        scored: Sequence[tuple[Scored, str]],
    ) -> np.ndarray:
        """Lengthen labels up to the last frame that people looked at, where neither side says how long the video is.

        Where people do not say at which frames they looked either, nothing says it, see `without_length`. Each of
        `scored` comes with the stem under which it has the video.
        """
        if any(self.has_length(side) for side in sides) or self.stamps_of(stem) is not None:
            return labels
        num_frames = max(of_side.last_frame(listed_as) for of_side, listed_as in scored)
        if not num_frames and not self.label_space.is_exclusive:
            self.without_length.add(stem)
        return self.lengthen(labels, num_frames)

    def lengthen(self, labels: np.ndarray, num_frames: int) -> np.ndarray:
        """Add frames that are in no row to the labels of a table of segments, up to `num_frames`."""
        return np.concatenate([labels, frames_in_no_row(max(0, num_frames - len(labels)), self.label_space)])
