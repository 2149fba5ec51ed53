"""Label files written for other programs.

Shapes: T frames, K classes.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.foreign.base import ForeignFormat, LabelledVideo
from pipeline.annotations.foreign.document import Loss, Media
from pipeline.annotations.formats.parsing import length_cause
from pipeline.annotations.formats.registry import format_of
from pipeline.annotations.formats.scored import Scored
from pipeline.annotations.layouts import FRAMES
from pipeline.annotations.problems import AnnotationError, Problem, read_lines
from pipeline.errors import InputError, describe_reason
from pipeline.interchange.losses import Losses
from pipeline.interchange.videos import VideoFolder, read_times
from pipeline.metrics.label_files import LabelReader, find_label_files, find_label_space

UNKNOWN = "frames that nobody looked at count as frames without the class"


class Exported(NamedTuple):
    """What an export wrote.

    Attributes:
        paths: The files.
        num_videos: The number of videos in them.
        losses: What the format has no room for.
        failures: Why videos could not be exported.
    """

    paths: list[Path]
    num_videos: int
    losses: Losses
    failures: list[Problem]


def export_labels(
    layout: ForeignFormat,
    labels: Path,
    videos: VideoFolder,
    out: Path,
    *,
    independent: bool = False,
    progress: Callable[[Sequence[str]], Iterable[str]] = lambda stems: stems,
) -> Exported:
    """Write labels for another program.

    A video whose labels cannot be read, or do not fit it, is left out, and costs no other video.

    Args:
        layout: The format.
        labels: A folder of label files, as of a data set or of `framescribe label`; or a data set.
        videos: Where the videos are.
        out: The file, where one file has all videos; otherwise a folder, which is made.
        independent: Whether any classes may overlap, also where no class list says so.
        progress: Wraps the stems of the videos, for a progress bar.

    Raises:
        InputError: There are no labels, no video is left, or a file exists.
    """
    assert layout.write is not None, layout.name
    source = _Source(labels, videos, independent=independent)
    name_file = _file_names(layout, out, stems=list(source.files))
    written: list[Path] = []
    found = source.read(progress)
    batches: Iterable[list[LabelledVideo]] = ([video] for video in found) if layout.is_per_video else [list(found)]
    num_videos = 0
    for batch in filter(None, batches):
        path = name_file(batch[0].video.stem)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            source.losses.add(path, "", layout.write(path, batch))
        except (InputError, OSError) as error:
            if not layout.is_per_video:
                raise
            reason = describe_reason(error) if isinstance(error, OSError) else str(error).removeprefix(f"{path}: ")
            stem = batch[0].video.stem
            source.fail(stem, f"cannot be written for {layout.title}: {reason}")
            continue
        written.append(path)
        num_videos += len(batch)
    if not num_videos:
        raise AnnotationError(source.problems())
    return Exported(written, num_videos, source.losses, source.problems())


def _file_names(layout: ForeignFormat, out: Path, *, stems: Sequence[str]) -> Callable[[str], Path]:
    """Return the function that names the file of a video, after a check that none of them exists."""
    suffix = layout.suffixes[0]
    is_one_file = not layout.is_per_video or (
        len(stems) == 1 and out.name.casefold().endswith(suffix.casefold()) and not out.is_dir()
    )
    if is_one_file and out.is_dir():
        raise InputError(f"{out}: is a folder, expected a file such as {out / ('labels' + suffix)}: it has all videos")
    if not is_one_file and out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, expected a folder: each video gets a {suffix} of its own there")
    paths = [out] if is_one_file else [out / f"{stem}{suffix}" for stem in stems]
    existing = [path for path in paths if path.exists() or path.is_symlink()]
    if existing:
        more = f", and {len(existing) - 1} more files exist" if len(existing) > 1 else ""
        raise InputError(
            f"{existing[0]}: exists{more}, and is not overwritten: it may have work of yours; name another place"
        )
    return lambda stem: out if is_one_file else out / f"{stem}{suffix}"


class _Source:
    """The labels that are exported, with their videos."""

    def __init__(self, labels: Path, videos: VideoFolder, *, independent: bool) -> None:
        folder = labels / "labels" if (labels / "labels").is_dir() else labels
        self.files = find_label_files(folder)
        self.label_space = find_label_space([folder], self.files.values(), independent=independent)
        self.losses = Losses()
        self._videos = videos
        self._scored = Scored.of(folder, self.label_space, follow_links=False)
        self._reader = LabelReader(self.label_space, follow_links=False, stamps_of=videos.stamps_of)

    def problems(self) -> list[Problem]:
        """Return the problems of the videos that were left out."""
        return [problem for problems in self._reader.problems.values() for problem in problems]

    def fail(self, stem: str, message: str) -> None:
        """Leave out a video."""
        self._reader.add(stem, [Problem(self.files[stem], None, message)])

    def read(self, progress: Callable[[Sequence[str]], Iterable[str]]) -> Iterator[LabelledVideo]:
        """Yield each video with its labels."""
        for stem in progress(sorted(self.files)):
            path = self.files[stem]
            try:
                video = read_times(self._videos.find(Media(stem)))
            except InputError as error:
                self._reader.add(stem, [Problem(path, None, f"cannot be exported: {error}")])
                continue
            labels = self._labels(stem, path, video.times.num_frames)
            if labels is not None:
                probabilities = self._probabilities(stem, path)
                yield LabelledVideo(video.path, labels, self.label_space, video.times, video.frame_rate, probabilities)

    def _labels(self, stem: str, path: Path, num_frames: int) -> np.ndarray | None:
        """Read the labels of a video, as many as it has frames; None where there are problems."""
        labels = self._reader.read(stem, path)
        if labels is None:
            return None
        if len(labels) != num_frames:
            cause = length_cause(len(labels), num_frames)
            message = f"got labels for {len(labels)} frames, the video has {num_frames}: {cause}"
            self._reader.add(stem, [Problem(path, None, message)])
            return None
        kept = self._reader.keep_scored(stem, labels, self._scored)
        if kept is not None and not self.label_space.is_exclusive:
            num_unknown = int((~self.label_space.is_labelled(kept)).any(axis=1).sum())
            if num_unknown:
                self.losses.add(path, "", [Loss(UNKNOWN, f"{num_unknown} frames")])
        return kept

    def _probabilities(self, stem: str, path: Path) -> np.ndarray | None:
        """Read the probabilities of the labels: [T], or [T, K] where classes overlap; None where there are none."""
        if not self.label_space.is_exclusive:
            return self._reader.read_probabilities(stem, path)
        return _read_label_probabilities(path) if path.name.endswith(FRAMES) and format_of(path) else None


def _read_label_probabilities(path: Path) -> np.ndarray:
    """Read the probability of each frame's label, float32 [T]; NaN where a frame has none."""
    cells = (row["probability"] for row in csv.DictReader(read_lines(path)))
    return np.array([float(cell) if cell else np.nan for cell in cells], dtype=np.float32)
