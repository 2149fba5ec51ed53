"""Reading the labels and marks of a video from the files of a data set, with a digest of each part.

The digests tell whether somebody else has changed a part since it was read or written.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.annotations.formats import foreign_file, registry
from pipeline.annotations.formats.scored import ScoredRange, keep_scored
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import FRAMES, SEGMENTS, VIDEO_LABELS
from pipeline.annotations.problems import AnnotationError, Problem, without_content
from pipeline.annotations.read import find_annotation, is_of_people, read_with_segments
from pipeline.annotations.segments import frames_of_video
from pipeline.annotations.times import FrameTimes
from pipeline.errors import InputError, describe_reason
from pipeline.files import find_named, read_bounded
from pipeline.studio.labels.edits import Mark
from pipeline.studio.labels.notes import MAX_BYTES, NOTES, parse_notes
from pipeline.studio.labels.shared_tables import SharedTables, Stamp, stamp_of
from pipeline.studio.labels.tracks import Tracks
from pipeline.studio.places import Places, Video

MAX_LABEL_BYTES = 1 << 30  # see `problems.MAX_TEXT_BYTES`
MAX_TRIES = 3  # to read a file that changes meanwhile
# The digest of each part: "labels" is [[file name, digest], ...], and the others are a text, "" where there is nothing.
Parts = dict[str, Any]


def digest(content: bytes) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(content).hexdigest()


def digest_of_ranges(ranges: Sequence[tuple[int, int, int | None]], label_space: LabelSpace) -> str:
    """Return the digest of the ranges of a video in scored.csv, by the names of the classes; "" of none."""
    named = sorted((start, stop, "" if k is None else label_space.classes[k]) for start, stop, k in ranges)
    return digest(json.dumps(named).encode()) if named else ""


@dataclass(frozen=True)
class OnDisk:
    """What the files have of a video.

    Attributes:
        parts: The digests.
        tracks: The labels; without any where there are none, or where they cannot be read.
        marks: The marks.
        ranges: Its ranges in the scored.csv.
        files: Its label files; none where a labels.csv has its class, or nothing has.
        source: What the page calls the place of the labels; "" where there is none.
        changed: When that was changed, in seconds since 1970; None where there is none.
        problems: Why the labels or the marks cannot be read.
        is_of_model: Whether the labels are those of a model, and not of people.
    """

    parts: Parts
    tracks: Tracks
    marks: tuple[Mark, ...] = ()
    ranges: tuple[ScoredRange, ...] = ()
    files: tuple[Path, ...] = ()
    source: str = ""
    changed: float | None = None
    problems: tuple[str, ...] = ()
    is_of_model: bool = False


class LabelFiles:
    """Reads the files. All methods may be called from any thread.

    Args:
        places: The folders.

    Attributes:
        shared: The files about all videos.
    """

    def __init__(self, places: Places) -> None:
        self.places = places
        self.shared = SharedTables(places)

    def notes_path(self, video: Video) -> Path:
        """Return the file of the marks of a video, which may be missing."""
        folder, name = self.places.root / NOTES, f"{video.stem}.csv"
        return find_named(folder, name) or folder / name

    def label_files(self, video: Video) -> list[Path]:
        """Return the label files of a video: one, or two that `framescribe label` wrote together.

        Raises:
            AnnotationError: There are several.
        """
        found = find_annotation(self.places.labels, video.stem, file_name=video.path.name)
        if found is None:
            return []
        other = found.with_name(found.name.removesuffix(FRAMES) + SEGMENTS) if found.name.endswith(FRAMES) else None
        return [found, other] if other is not None and other.is_file() else [found]

    def all_label_files(self, video: Video) -> list[Path]:
        """Return everything that may be a label file of a video, also what is passed over beside another one."""
        names = [f"{name}{layout.suffix}" for name in (video.stem, video.path.name) for layout in registry.FORMATS]
        found = (find_named(self.places.labels, name) for name in dict.fromkeys(names))
        return [path for path in found if path is not None]

    def is_foreign(self, path: Path) -> bool:
        """Return whether a label file is of another program, and is passed over beside a table."""
        return registry.format_of(path) in foreign_file.FORMATS

    def stamp(self, video: Video) -> Stamp:
        """Return what changes when a file of a video does, without reading any."""
        paths = [self.places.labels, self.shared.scored_path, self.shared.video_labels_path, self.notes_path(video)]
        return tuple(stamp_of(path) for path in (*paths, *self.all_label_files(video)))

    def read(self, video: Video, times: FrameTimes, label_space: LabelSpace) -> OnDisk:
        """Read the labels and the marks of a video.

        Args:
            video: The video.
            times: When its frames are shown.
            label_space: The classes.
        """
        for _ in range(MAX_TRIES):
            parts = self.parts(video, label_space)
            found = self._read(video, times, label_space, parts)
            if self.parts(video, label_space) == parts:
                return found
        message = f"{video.stem}: its label file changes again and again: is it still being written?"
        return OnDisk(parts, Tracks.empty(times.num_frames, label_space), problems=(message,))

    def parts(self, video: Video, label_space: LabelSpace) -> Parts:
        """Return the digests of the parts of a video, without reading what they mean."""
        try:
            files = self.label_files(video)
        except AnnotationError:
            files = self.all_label_files(video)
        ranges = self._try_shared(lambda: digest_of_ranges(_plain(self.shared.ranges(video, label_space)), label_space))
        row = self._try_shared(lambda: self._row_digest(video, label_space))
        try:
            notes = digest(read_bounded(self.notes_path(video), max_bytes=MAX_BYTES))
        except FileNotFoundError:
            notes = ""
        except (OSError, InputError) as error:
            notes = f"cannot be read: {type(error).__name__}"
        return {
            "labels": [[path.name, _digest_of(path)] for path in files],
            "scored": ranges,
            "row": row,
            "notes": notes,
        }

    def _try_shared(self, find: Callable[[], str]) -> str:
        try:
            return find()
        except AnnotationError as error:
            return f"cannot be read: {digest(str(error).encode())}"

    def _row_digest(self, video: Video, label_space: LabelSpace) -> str:
        label, _ = self.shared.row(video, label_space)
        if label is None:
            return ""
        indices = [label] if isinstance(label, int) else [k for k, value in enumerate(label.tolist()) if value == 1]
        return json.dumps([label_space.classes[index] for index in indices])

    def _read(self, video: Video, times: FrameTimes, label_space: LabelSpace, parts: Parts) -> OnDisk:
        problems: list[str] = []
        tracks, files, source = Tracks.empty(times.num_frames, label_space), list[Path](), ""
        ranges: list[ScoredRange] = []
        try:
            self._check_are_files(video)
            files = self.label_files(video)
            label, line = self.shared.row(video, label_space)
            ranges = self.shared.ranges(video, label_space)
            source = files[0].name if files else VIDEO_LABELS if label is not None else ""
            if files and label is not None:
                message = f"and line {line} of {VIDEO_LABELS} both label it: keep one of them"
                raise AnnotationError([Problem(files[0], None, message)])
            if files:
                tracks = self._read_file(files[0], times, label_space, ranges)
            elif label is not None:
                labels = frames_of_video(label, times.num_frames)
                tracks = Tracks.from_labels(
                    keep_scored(self.shared.scored_path, labels, ranges, label_space), label_space
                )
        except AnnotationError as error:
            problems += self._described(error)
        marks = self._read_marks(video, times.num_frames, problems)
        changed = _modified(files[0] if files else self.shared.video_labels_path) if source else None
        # In a data set they are what people took over from a model.
        is_of_model = not self.places.is_dataset and bool(files) and not is_of_people(files[0])
        return OnDisk(parts, tracks, marks, tuple(ranges), tuple(files), source, changed, tuple(problems), is_of_model)

    def _check_are_files(self, video: Video) -> None:
        """Raise AnnotationError where something else is in the place of a label file."""
        others = [path for path in self.all_label_files(video) if path.exists() and not path.is_file()]
        if others:
            raise AnnotationError([Problem(path, None, "is not a file: move it away") for path in others])

    def _read_file(
        self, path: Path, times: FrameTimes, label_space: LabelSpace, ranges: Sequence[ScoredRange]
    ) -> Tracks:
        self.shared.check_is_inside(path)
        labels, rows = read_with_segments(path, label_space, times=times)
        kept = keep_scored(self.shared.scored_path, labels, ranges, label_space)
        return Tracks.from_labels(kept, label_space, rows)

    def _described(self, error: AnnotationError) -> list[str]:
        """Return problems as the page shows them: by file names, and without what is behind links out."""
        root = self.places.root
        problems = without_content(error.problems, root) if self.places.follow_links else error.problems
        return [str(problem._replace(path=Path(problem.path.name))) for problem in problems]

    def _read_marks(self, video: Video, num_frames: int, problems: list[str]) -> tuple[Mark, ...]:
        path = self.notes_path(video)
        name = f"{NOTES}/{path.name}"
        try:
            if path.exists():
                self.shared.check_is_inside(path)
            return tuple(parse_notes(name, read_bounded(path, max_bytes=MAX_BYTES), num_frames))
        except FileNotFoundError:
            return ()
        except OSError as error:
            problems.append(f"{name}: cannot be read: {describe_reason(error)}")
        except AnnotationError as error:
            problems += self._described(error)
        except InputError as error:
            problems += str(error).splitlines()
        return ()


def _plain(ranges: Sequence[ScoredRange]) -> list[tuple[int, int, int | None]]:
    return [(start, stop, index) for _, start, stop, index in ranges]


def _digest_of(path: Path) -> str:
    try:
        return digest(read_bounded(path, max_bytes=MAX_LABEL_BYTES))
    except (OSError, InputError) as error:
        return f"cannot be read: {type(error).__name__}"


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
