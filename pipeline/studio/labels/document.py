"""The labels of a video while they are edited: their state, their journal, and the files.

A document is used by one thread at a time: `LabelStore` holds the lock of the video.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.times import FrameTimes
from pipeline.errors import describe_reason
from pipeline.files import canonical
from pipeline.studio.labels.edits import Mark
from pipeline.studio.labels.files import LabelFiles, OnDisk, Parts
from pipeline.studio.labels.history import History, Step, can_move
from pipeline.studio.labels.journal import DamagedError, Entry, Journal
from pipeline.studio.labels.saving import Content, content_of
from pipeline.studio.labels.shared_tables import Stamp
from pipeline.studio.labels.state import LabelState, adoption, space_to_json
from pipeline.studio.labels.tracks import Tracks
from pipeline.studio.places import Video
from pipeline.studio.requests import RefusedError

JOURNALS = "journals"  # the folder in that of the studio


@dataclass(frozen=True)
class Snapshot:
    """What is to be written.

    Attributes:
        version: The version that it is of.
        disk: What the files had when they were last looked at.
        tracks: The labels; they are not changed.
        marks: The marks.
    """

    version: int
    disk: OnDisk
    tracks: Tracks
    marks: tuple[Mark, ...]


class Document:
    """The labels and the marks of a video.

    Args:
        video: The video.
        times: When its frames are shown.
        label_space: The classes.
        files: The files of the data set.
        version: The number of the first version, where no journal has one.

    Attributes:
        state: The labels, and how they stand to the files.
        disk: What the files have.
        conflict: What the files have, where somebody else changed them while there were unsaved edits; otherwise None.
        is_being_saved: Whether the files are being written.
        save_problem: Why they, or the journal, could not be written; None where they could.

    Raises:
        RefusedError: The journal cannot be read.
    """

    def __init__(
        self, video: Video, times: FrameTimes, label_space: LabelSpace, files: LabelFiles, version: int
    ) -> None:
        self.video, self.times, self.label_space = video, times, label_space
        self._files = files
        self.conflict: OnDisk | None = None
        self.is_being_saved = False
        self.save_problem: str | None = None
        self._notices: list[str] = []
        self._journal = Journal(files.places.state / JOURNALS / f"{video.id}.jsonl")
        self._stamp: Stamp = files.stamp(video)
        self.disk = files.read(video, times, label_space)
        self.state = self._state_of_files(version)
        if files.places.read_only is None:
            self._restore()

    def _state_of_files(self, version: int) -> LabelState:
        return LabelState(History(self.disk.tracks.copy(), self.disk.marks), version, self.disk.parts)

    @property
    def history(self) -> History:
        """The labels and the marks, and the steps that led to them."""
        return self.state.history

    @property
    def version(self) -> int:
        """The number of the version."""
        return self.state.version

    @property
    def is_unsaved(self) -> bool:
        """Whether there are edits that the files do not have."""
        return self.state.is_unsaved

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the labels on disk cannot be read, which must not be written over: they cannot be edited then."""
        return self.disk.problems

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know, and what does not keep anybody from editing."""
        return (*self._notices, *([self.save_problem] if self.save_problem else []))

    # The journal ------------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Read the journal, and compare the files with what it knows of them."""
        try:
            entries = self._journal.read()
            if not entries:
                return
            fault = self._replay(entries)
        except (DamagedError, KeyError, TypeError, ValueError, IndexError) as error:
            fault = f"is damaged ({error})"
        except OSError as error:
            message = f"the journal of {self.video.stem} cannot be read: {describe_reason(error)}"
            raise RefusedError(503, message) from error
        if fault is None:
            self._reconcile()
            return
        name = self._journal.set_aside()
        self.state = self._state_of_files(self.state.version + 1)
        self._notices.append(f"the journal of the edits {fault}; it was renamed {name}, and the label file counts")

    def _replay(self, entries: Sequence[Entry]) -> str | None:
        """Take all entries of the journal; return why it is not of these frames and classes, or None."""
        base = entries[0]["base"]
        if canonical(base["stem"]) != canonical(self.video.stem):
            return f"is of the video {base['stem']!r}"
        if base["num_frames"] != self.times.num_frames:
            return f"is of {base['num_frames']} frames, and the video has {self.times.num_frames}: was it replaced?"
        state = LabelState.from_base(base)
        for entry in entries[1:]:
            ((kind, content),) = entry.items()
            state.take(kind, content)
        space = state.history.tracks.label_space
        if not can_move(space, self.label_space):
            return "has classes that are gone from the list, or in other groups there"
        self.state = state
        if space != self.label_space:
            self._take("classes", space_to_json(self.label_space))
        return None

    def _take(self, kind: str, content: Any) -> Step | None:
        """Add an entry to the journal, which begins with the first one, and then to the state.

        Raises:
            RefusedError: It cannot be written; nothing has changed then.
        """
        try:
            if not self._journal.is_there:
                self._journal.append({"base": self.state.base(self.video.stem)})
            self._journal.append({kind: content})
        except OSError as error:
            message = f"the change was not made, as it cannot be written to the disk: {describe_reason(error)}"
            raise RefusedError(507, message) from error
        return self.state.take(kind, content)

    # Changes ----------------------------------------------------------------------------------------------------------

    def check_can_change(self) -> None:
        """Check that the labels can be edited.

        Raises:
            RefusedError: What lies on disk cannot be read: it must not be overwritten.
        """
        if self.disk.problems:
            message = "the labels cannot be edited until this is solved"
            raise RefusedError(422, "; ".join((message, *self.disk.problems)))

    def change(self, kind: str, content: Any) -> Step:
        """Carry out an "edit", an "undo" or a "redo", which is in the journal when this returns.

        Raises:
            RefusedError: It cannot be written to the journal, or there is nothing to undo or to redo.
        """
        self.check_can_change()
        if (kind == "undo" and not self.history.done) or (kind == "redo" and not self.history.undone):
            raise RefusedError(422, f"there is nothing to {kind}")
        step = self._take(kind, content)
        assert step is not None
        return step

    def move_to(self, label_space: LabelSpace) -> None:
        """Go over to a longer list of classes, and to the ranges that were written for it into scored.csv.

        Raises:
            RefusedError: It cannot be written to the journal.
        """
        self.disk = self._files.read(self.video, self.times, label_space)
        self.label_space = label_space
        if not self._journal.is_there:
            self.state = self._state_of_files(self.version + 1)
            return
        self._take("classes", space_to_json(label_space))
        if self.conflict is not None:
            self.conflict = self.disk
        elif self.disk.parts != self.state.known:
            self._take("kept", self.disk.parts)

    # The files --------------------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Look whether the files have changed; by their sizes and times alone, unless they have."""
        if self.is_being_saved:
            return
        stamp = self._files.stamp(self.video)
        if stamp != self._stamp:
            self._stamp = stamp
            self.reread()

    def reread(self) -> None:
        """Read the files if they have changed, and compare them with what was last read or written."""
        if self._files.parts(self.video, self.label_space) != self.disk.parts:
            self.disk = self._files.read(self.video, self.times, self.label_space)
        elif self.disk.parts == self.state.known or self.conflict is not None:
            return
        if self._journal.is_there:
            self._reconcile()
        elif self.disk.parts != self.state.known:
            self.state = self._state_of_files(self.version + 1)

    def _reconcile(self) -> None:
        """Decide what the files are, unless the journal cannot be written: then it is decided later."""
        try:
            self._decide()
        except RefusedError as error:
            self.save_problem = error.message

    def _decide(self) -> None:
        """Decide what the files are: as they were, as this studio was writing them, or changed by somebody else."""
        self.conflict = None
        self._remove_replaced()
        parts, state = self.disk.parts, self.state
        is_own = state.is_own(parts)
        if is_own and parts != state.known:
            self._take("kept", parts)
        if is_own and not state.is_unsaved:
            return
        if not self.disk.problems and self.content() == self.content_on_disk():
            self._take("saved", {"parts": parts, "version": self.version})
        elif state.is_unsaved and not is_own:
            self.conflict = self.disk
        elif not is_own and not self.disk.problems:
            self._take("adopted", adoption(self.disk))

    def _remove_replaced(self) -> None:
        """Remove the label files that a new one replaces, where the studio was killed just before that."""
        names = self.state.replaced(self.disk.parts)
        for name in names:
            (self._files.places.labels / name).unlink(missing_ok=True)  # a copy of it is in the backups
        if names:
            self.disk = self._files.read(self.video, self.times, self.label_space)

    def resolve(self, *, keep_mine: bool) -> Step | None:
        """End a conflict.

        Args:
            keep_mine: Whether the files are to be written over; otherwise what they have is taken over, as an edit.

        Returns:
            The edit; None where there is none.

        Raises:
            RefusedError: There is no conflict, or the files cannot be read.
        """
        disk = self.conflict
        if disk is None:
            raise RefusedError(422, "the label file was not changed by anybody else")
        if disk.problems:
            raise RefusedError(422, "; ".join(("the other version cannot be read: solve this first", *disk.problems)))
        step = self._take("kept", disk.parts) if keep_mine else self._take("adopted", adoption(disk))
        self.conflict = None
        return step

    # Saving -----------------------------------------------------------------------------------------------------------

    def content(self) -> Content:
        """Return what the files should say."""
        return content_of(self.history.tracks, self.history.sorted_marks(), self.times)

    def content_on_disk(self) -> Content:
        """Return what they say."""
        return content_of(self.disk.tracks, self.disk.marks, self.times)

    def snapshot(self) -> Snapshot:
        """Return what is to be written."""
        marks = tuple(self.history.sorted_marks())
        return Snapshot(self.version, self.disk, self.history.tracks.copy(), marks)

    def begin_saving(self, parts: Parts) -> None:
        """Record which digests the files will have, so that they are recognised even if this process is killed.

        Raises:
            RefusedError: It cannot be written to the journal.
        """
        self._take("saving", parts)

    def end_saving(self, version: int, disk: OnDisk, stamp: Stamp) -> None:
        """Record that a version is in the files.

        Args:
            version: The version.
            disk: What the files have now.
            stamp: See `LabelFiles.stamp`.

        Raises:
            RefusedError: It cannot be written to the journal.
        """
        self.disk, self._stamp, self.save_problem = disk, stamp, None
        self._take("saved", {"parts": disk.parts, "version": version})
