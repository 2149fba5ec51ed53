"""The labels of all videos of a studio: opened when they are asked for, and saved in the background."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Condition, Lock, RLock, Thread
from typing import Any

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.errors import InputError, describe_failure, describe_reason
from pipeline.studio.clocks import Clocks
from pipeline.studio.labels.backups import BACKUPS, Backups
from pipeline.studio.labels.class_list import RESERVED, ClassBook
from pipeline.studio.labels.document import Document, Snapshot
from pipeline.studio.labels.files import LabelFiles, OnDisk, digest
from pipeline.studio.labels.looked_at import Range, ranges_by_class
from pipeline.studio.labels.saving import (
    ChangedError,
    carry_out,
    content_of,
    make_plan,
    read_or_nothing,
    with_ranges,
    write_synced,
)
from pipeline.studio.labels.tracks import Tracks
from pipeline.studio.listing import LabelSummary
from pipeline.studio.places import Places, Video
from pipeline.studio.requests import RefusedError

SECONDS_TO_SAVE = 0.15  # after the first edit that is not in the files
SECONDS_TO_RETRY = 2.0
MAX_OPEN = 16  # documents in memory that nothing has to be saved of
SECONDS_SHOWN = 6.0  # after the last sign of a page, which gives one each second


class LabelStore:
    """The labels. All methods may be called from any thread.

    Args:
        places: The folders.
        clocks: When the frames of the videos are shown.
        videos: The videos by their ids.

    Attributes:
        classes: The classes.
        on_change: It is called, from a thread of the store, with the id of a video whose labels were saved, or
            turned out to be changed by somebody else.
    """

    def __init__(self, places: Places, clocks: Clocks, videos: Mapping[str, Video]) -> None:
        self.places = places
        self.on_change: Callable[[str], None] = lambda video_id: None
        self._clocks, self._videos = clocks, videos
        self._files = LabelFiles(places)
        self._backups = Backups(places.state / BACKUPS)
        self.classes = ClassBook(places, self._backups)
        self._open: OrderedDict[str, Document] = OrderedDict()
        self._versions: dict[str, int] = {}  # of documents that were closed
        self._shown: dict[str, float] = {}  # when a page last told that it shows a video
        self._locks: dict[str, RLock] = {}
        self._lock = Lock()
        self._loading = Lock()  # labels of ten hours and 20 classes take 250 MB while they are read: one at a time
        self._writing = RLock()  # one writer of the files of all videos
        self._due: dict[str, float] = {}
        self._wake = Condition()
        self._is_closed = False
        self._saver = Thread(target=self._save_all, name="saver", daemon=True)
        if places.read_only is None:
            self._saver.start()

    @property
    def label_space(self) -> LabelSpace:
        """The classes.

        Raises:
            InputError: They cannot be read.
        """
        return self.classes.label_space

    def close(self) -> None:
        """Save what is not saved, and end the background work."""
        with self._wake:
            self._is_closed = True
            self._due = {video_id: 0.0 for video_id in self._due}
            self._wake.notify()
        if self._saver.is_alive():
            self._saver.join()

    # Documents --------------------------------------------------------------------------------------------------------

    @contextmanager
    def opened(self, video: Video) -> Iterator[Document]:
        """Open the labels of a video, for one thread at a time.

        Raises:
            InputError: The video or the classes cannot be read.
        """
        with self._lock:
            lock = self._locks.setdefault(video.id, RLock())
        with lock:
            with self._lock:
                document = self._open.get(video.id)
                if document is not None:
                    self._open.move_to_end(video.id)
            if document is None or self._is_replaced(video, document):
                document = self._load(video)
            yield document
            if document.is_unsaved and document.conflict is None:
                self._schedule(video.id, SECONDS_TO_SAVE)
        self._close_some()

    def _is_replaced(self, video: Video, document: Document) -> bool:
        """Return whether another video has taken the place of the one whose labels are open."""
        try:
            times = self._clocks.clock(video).times
        except InputError:  # it is gone, and the labels stay
            return False
        if times is not document.times and not np.array_equal(times.pts_seconds, document.times.pts_seconds):
            self._versions[video.id] = document.version
            return True
        document.times = times
        return False

    def _load(self, video: Video) -> Document:
        times = self._clocks.clock(video).times
        version = self._versions.get(video.id, 0) + 1
        with self._loading:
            document = Document(video, times, self.label_space, self._files, version)
        for own in document.state.own:
            self._backups.note_own(own)
        with self._lock:
            self._open[video.id] = document
        return document

    def _close_some(self) -> None:
        """Forget the documents that were not used for longest, that no page shows, and that are saved."""
        with self._lock:
            recently = time.monotonic() - SECONDS_SHOWN
            self._shown = {key: seen for key, seen in self._shown.items() if seen > recently}
            unseen = [key for key in self._open if key not in self._shown]
            for video_id in unseen[: max(0, len(self._open) - MAX_OPEN)]:
                lock = self._locks[video_id]
                if not lock.acquire(blocking=False):
                    continue
                try:
                    document = self._open[video_id]
                    if not (document.is_unsaved or document.is_being_saved):
                        self._versions[video_id] = document.version
                        del self._open[video_id]
                finally:
                    lock.release()

    def summary(self, video: Video) -> LabelSummary:
        """Return what the list shows of a video.

        Raises:
            InputError: The video or the classes cannot be read.
        """
        try:
            with self.opened(video) as document:
                tracks = document.history.tracks
                count = tracks.num_frames * len(tracks.tracks)
                return LabelSummary(
                    labelled=tracks.num_labelled / count if count else 0.0,
                    num_segments=len(tracks.segments()),
                    num_marks=len(document.history.marks),
                    has_conflict=document.conflict is not None,
                    problems=(*document.problems, *document.notices),
                )
        except RefusedError as error:
            return LabelSummary(problems=(error.message,))

    def labels(self, video: Video) -> np.ndarray:
        """Return the labels of a video, with all edits: int64 [T], or int8 [T, K] where classes overlap.

        Raises:
            InputError: The video or the classes cannot be read.
        """
        return self.tracks(video).to_labels()

    def tracks(self, video: Video) -> Tracks:
        """Return a copy of the labels of a video, with all edits.

        Raises:
            InputError: The video, its labels or the classes cannot be read.
        """
        with self.opened(video) as document:
            tracks = document.history.tracks.copy()
            problems = document.problems
        if problems and not tracks.num_labelled:
            raise InputError("; ".join(problems))
        return tracks

    def look_again(self, video: Video) -> None:
        """Take over what others have written of a video whose labels are open, or were.

        Raises:
            InputError: The video or the classes cannot be read.
        """
        if video.id not in self._open and video.id not in self._versions:
            return
        with self.opened(video) as document:
            before = document.version, document.conflict, document.disk
            document.poll()
            has_changed = (document.version, document.conflict, document.disk) != before
        if has_changed:
            self.on_change(video.id)

    def fingerprint(self, video: Video) -> tuple[object, ...]:
        """Return what changes when the labels of a video do, without opening them."""
        with self._lock:
            document = self._open.get(video.id)
            version = self._versions.get(video.id, 0) if document is None else document.version
        return version, self._files.stamp(video), self.label_space

    def version(self, video_id: str) -> int:
        """Return the version of the labels of a video; 0 where they are not open."""
        document = self._open.get(video_id)
        return 0 if document is None else document.version

    # Saving -----------------------------------------------------------------------------------------------------------

    def _schedule(self, video_id: str, seconds: float) -> None:
        if self.places.read_only is not None:
            return
        with self._wake:
            self._due.setdefault(video_id, time.monotonic() + seconds)
            self._wake.notify()

    def _save_all(self) -> None:
        """Save each document when it is due, until the store is closed."""
        while True:
            with self._wake:
                while not self._is_closed and not any(due <= time.monotonic() for due in self._due.values()):
                    first = min(self._due.values(), default=None)
                    self._wake.wait(None if first is None else max(0.0, first - time.monotonic()))
                now = time.monotonic()
                ready = [video_id for video_id, due in self._due.items() if due <= now]
                for video_id in ready:
                    del self._due[video_id]
                if self._is_closed and not ready:
                    return
            for video_id in ready:
                self._save(self._videos[video_id])

    def _save(self, video: Video) -> None:
        """Save a document, and say why where that fails; it is tried again then."""
        try:
            self._save_or_raise(video)
        except ChangedError:
            with self._wake:
                self._due[video.id] = 0.0  # it is read again, and both versions are shown
            document = self._open.get(video.id)
            if document is not None:
                document.is_being_saved = False
        except Exception as error:  # the thread goes on, whatever it is
            document = self._open.get(video.id)
            if document is not None:
                remedy = "the edits are kept in the journal, and this is tried again"
                document.save_problem = f"the labels cannot be written ({self._describe(error)}): {remedy}"
                document.is_being_saved = False
            with self._wake:
                if not self._is_closed:
                    self._due[video.id] = time.monotonic() + SECONDS_TO_RETRY
        with suppress(Exception):  # the list shows it later; the labels of other videos are still to be saved
            self.on_change(video.id)

    def _describe(self, error: Exception) -> str:
        if isinstance(error, RefusedError):
            return error.message
        return describe_reason(error) if isinstance(error, OSError) else describe_failure(error, self.places.state)

    def _save_or_raise(self, video: Video) -> None:
        with self._writing:
            with self.opened(video) as document:
                if not document.is_unsaved or document.conflict is not None:
                    return
                document.reread()
                if document.conflict is not None or document.disk.problems or not document.is_unsaved:
                    return
                snapshot = document.snapshot()
                document.is_being_saved = True
            self.classes.write_found()
            self._write(video, document, snapshot)

    def _write(self, video: Video, document: Document, snapshot: Snapshot) -> None:
        disk, space = snapshot.disk, document.label_space
        new = content_of(snapshot.tracks, snapshot.marks, document.times)
        old = content_of(disk.tracks, disk.marks, document.times)
        plan = make_plan(self._files, video, disk, snapshot.tracks, new, old)
        with self.opened(video):
            document.begin_saving(plan.parts)
        carry_out(plan, self._backups)
        stamp = self._files.stamp(video)
        parts = self._files.parts(video, space)
        files = tuple(self._files.label_files(video))
        ranges = tuple(self._files.shared.ranges(video, space))
        source = files[0].name if files else ""
        written = OnDisk(parts, snapshot.tracks, snapshot.marks, ranges, files, source, time.time())
        with self.opened(video):
            document.is_being_saved = False
            if parts == plan.parts:
                document.end_saving(snapshot.version, written, stamp)
            else:
                document.reread()  # somebody else has changed the files meanwhile

    # Requests ---------------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return what `GET /api/studio` says of the classes."""
        try:
            return self.classes.describe() | {"reserved": list(RESERVED)}
        except InputError as error:
            return {
                "exclusive": True,
                "classes": [],
                "background": None,
                "problem": str(error),
                "reserved": list(RESERVED),
            }

    def status(self, video_id: str) -> dict[str, Any]:
        """Return the versions of the open labels, and which are not saved; a video's files are looked at before.

        Args:
            video_id: The video that the page shows; "" for none.
        """
        video = self._videos.get(video_id)
        if video is not None:
            with self._lock:
                self._shown[video_id] = time.monotonic()
            self.look_again(video)
        with self._lock:
            documents = dict(self._open)
        return {
            "labels": {key: document.version for key, document in documents.items()},
            "unsaved": [key for key, document in documents.items() if document.is_unsaved],
        }

    def add_class(self, name: object, group: object, overlapping: object) -> None:
        """Add a class to the list, and to the labels that are open.

        Where classes overlap, nobody has looked for the new one yet. Only scored.csv can say so: without a row there, a
        video was looked at for all classes. It says so before the list has the class, which is true in any case.

        Raises:
            RefusedError: There cannot be such a class, or nothing can be changed.
            InputError: A video or its labels cannot be read.
            OSError: The list cannot be written.
        """
        self.check_can_change()
        with self._writing:
            space = self.classes.with_class(name, group, overlapping)
            if not space.is_exclusive:
                self._write_what_was_looked_at()
            self.classes.put(space)
            with self._lock:
                opened = [*self._open]
            for video_id in opened:
                with self.opened(self._videos[video_id]) as document:
                    if document.label_space != space:
                        document.move_to(space)

    def _write_what_was_looked_at(self) -> None:
        """Write for each class by name what was looked at, for all videos with labels."""
        space = self.label_space
        found: dict[str, list[Range]] = {}
        for video in self._videos.values():
            if video.refusal:
                continue
            with self.opened(video) as document:
                document.reread()
                tracks = document.disk.tracks
                if document.disk.problems:
                    raise RefusedError(422, "; ".join(("solve this first", *document.disk.problems)))
                if tracks.num_labelled:
                    found[video.stem] = ranges_by_class(tracks)
        if found:
            path = self._files.shared.scored_path
            self._backups.keep(path)
            before = read_or_nothing(path)
            write_synced(path, with_ranges(before, found, space), self._backups, before=digest(before))

    def check_can_change(self) -> None:
        """Check that the data set can be changed.

        Raises:
            RefusedError: It cannot.
        """
        if self.places.read_only is not None:
            raise RefusedError(403, f"nothing can be changed: {self.places.read_only}")
