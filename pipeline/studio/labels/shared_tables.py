"""The files of a data set that are about all of its videos, scored.csv and labels.csv: read again when they change."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from pipeline.annotations.formats.base import VideoClasses
from pipeline.annotations.formats.scored import ScoredRange, read_scored
from pipeline.annotations.formats.video_labels import read_video_labels
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import SCORED, VIDEO_LABELS
from pipeline.annotations.problems import AnnotationError, Problem
from pipeline.files import canonical, folders_of, is_dangling, leads_out
from pipeline.studio.places import Places, Video

Stamp = tuple[object, ...]
Content = TypeVar("Content")


@dataclass
class _Cached(Generic[Content]):
    """The content of a file of all videos, and what it was when it was read."""

    stamp: Stamp = ()
    content: Content | None = None
    error: AnnotationError | None = None


class SharedTables:
    """The two files. All methods may be called from any thread.

    Args:
        places: The folders.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lock = Lock()
        self._scored = _Cached[dict[str, list[ScoredRange]]]()
        self._of_videos = _Cached[VideoClasses]()

    @property
    def scored_path(self) -> Path:
        """The scored.csv, which may be missing."""
        return self._shared(SCORED)

    @property
    def video_labels_path(self) -> Path:
        """The labels.csv, which may be missing."""
        return self._shared(VIDEO_LABELS)

    def _shared(self, name: str) -> Path:
        folders = (self._places.root,) if self._places.is_dataset else folders_of(self._places.root)
        return next((folder / name for folder in folders if (folder / name).exists()), folders[0] / name)

    def ranges(self, video: Video, label_space: LabelSpace) -> list[ScoredRange]:
        """Return the ranges of a video in the scored.csv.

        Raises:
            AnnotationError: The scored.csv cannot be read.
        """
        found = self._cached(self._scored, self.scored_path, lambda path: read_scored(path, label_space), label_space)
        return (found or {}).get(canonical(video.stem), [])

    def row(self, video: Video, label_space: LabelSpace) -> tuple[Any, int]:
        """Return the label that a labels.csv gives a video, and its line; None and 0 where it gives none.

        Raises:
            AnnotationError: The labels.csv cannot be read.
        """
        read = self._cached(
            self._of_videos, self.video_labels_path, lambda path: read_video_labels(path, label_space), label_space
        )
        return (read or {}).get(canonical(video.stem), (None, 0))

    def _cached(
        self, cached: _Cached[Content], path: Path, read: Callable[[Path], Content], label_space: LabelSpace
    ) -> Content | None:
        """Read a file of all videos, unless it is as it was."""
        with self._lock:
            stamp = (path, stamp_of(path), label_space.classes, label_space.groups)
            if cached.stamp != stamp:
                cached.content = cached.error = None
                try:
                    if path.exists() or is_dangling(path):
                        self.check_is_inside(path)
                        cached.content = read(path)
                except AnnotationError as error:
                    cached.error = error
                cached.stamp = stamp
            if cached.error is not None:
                raise AnnotationError(cached.error.problems)
            return cached.content

    def check_is_inside(self, path: Path) -> None:
        """Raise AnnotationError where a file is a link out of the data set, and links are not followed."""
        if not self._places.follow_links and not is_dangling(path) and leads_out(path, self._places.root):
            message = "is a link out of the data set, and is not read: --follow-links reads it, if you trust it"
            raise AnnotationError([Problem(path, None, message)])


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a file does, without reading it."""
    try:
        status = os.stat(path)
    except OSError:
        return (path.name,)
    return path.name, status.st_ino, status.st_size, status.st_mtime_ns
