"""The labels of a video while they are edited: their history, their journal, and how they stand to the files.

A document is used by one thread at a time: `LabelStore` holds the lock of the video.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.times import FrameTimes
from pipeline.errors import describe_reason
from pipeline.studio.edits import Edit, Mark
from pipeline.studio.history import History, Step, can_move
from pipeline.studio.journal import DamagedError, Entry, Journal
from pipeline.studio.label_files import LabelFiles, OnDisk, Parts, Stamp
from pipeline.studio.places import Video
from pipeline.studio.requests import RefusedError
from pipeline.studio.saving import Content, content_of
from pipeline.studio.tracks import Tracks

JOURNALS = "journals"  # the folder in that of the studio
ADOPTED = "change of the file outside the studio"


@dataclass(frozen=True)
class Snapshot:
    """What is to be written.

    Attributes:
        version: The version that it is of.
        disk: What the files had when they were last looked at.
        known: The digests that they should still have.
        tracks: The labels; they are not changed.
        marks: The marks.
    """

    version: int
    disk: OnDisk
    known: Parts
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
        version: The number of the version; each change adds one.
        history: The labels, the marks, and the steps.
        conflict: What the files have, where somebody else changed them while there were unsaved edits; otherwise None.
        is_unsaved: Whether there are edits that the files do not have.
        is_being_saved: Whether they are being written.
        save_problem: Why they could not be written; None where they could.
        own: The digests of what the studio wrote last, as the journal has them.
    """

    def __init__(
        self, video: Video, times: FrameTimes, label_space: LabelSpace, files: LabelFiles, version: int
    ) -> None:
        self.video, self.times, self.version = video, times, version
        self._files, self._space = files, label_space
        self.conflict: OnDisk | None = None
        self.is_unsaved = self.is_being_saved = False
        self.own: set[str] = set()
        self.save_problem: str | None = None
        self._notices: list[str] = []
        self._pending: Parts | None = None  # the digests of what was being written last
        self._journal = Journal(files.places.state / JOURNALS / f"{video.id}.jsonl")
        self._stamp: Stamp = files.stamp(video)
        self.disk = files.read(video, times, label_space)
        self._known: Parts = self.disk.parts  # the digests when the files were last read or written
        self.history = self._history_of(self.disk)
        if files.places.read_only is None:
            self._restore()

    def _history_of(self, disk: OnDisk) -> History:
        return History(disk.tracks.copy(), disk.marks)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the labels on disk cannot be read, which must not be written over: they cannot be edited then."""
        return self.disk.problems

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know, and what does not keep anybody from editing."""
        return (*self._notices, *([self.save_problem] if self.save_problem else []))

    @property
    def label_space(self) -> LabelSpace:
        """The classes."""
        return self._space

    # The journal ------------------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Read the journal, and compare the files with what it knows of them."""
        try:
            entries = self._journal.read()
            if not entries:
                return
            if fault := self._fault_of(entries[0]["base"]):
                self._set_journal_aside(fault)
                return
            self._replay(entries)
        except (DamagedError, KeyError, TypeError, ValueError, IndexError) as error:
            self.history, self.is_unsaved, self._known = self._history_of(self.disk), False, self.disk.parts
            self._set_journal_aside(f"is damaged ({error})")
            return
        except OSError as error:
            raise RefusedError(
                503, f"the journal of {self.video.stem} cannot be read: {describe_reason(error)}"
            ) from error
        self._reconcile()

    def _fault_of(self, base: Entry) -> str | None:
        if base["num_frames"] != self.times.num_frames:
            return f"is of {base['num_frames']} frames, and the video has {self.times.num_frames}: was it replaced?"
        return None

    def _set_journal_aside(self, fault: str) -> None:
        name = self._journal.set_aside()
        self._notices.append(f"the journal of the edits {fault}; it was renamed {name}, and the label file counts")

    def _replay(self, entries: Sequence[Entry]) -> None:
        base = entries[0]["base"]
        space = _space_of(base)
        tracks = Tracks.from_json(base["tracks"], self.times.num_frames, space)
        self.history = History(tracks, (Mark(*mark) for mark in base["marks"]))
        self.version, self._known = base["version"], base["parts"]
        for entry in entries[1:]:
            ((kind, content),) = entry.items()
            self._replay_one(kind, content)
        space = self.history.tracks.label_space
        if space != self._space:
            if not can_move(space, self._space):
                raise ValueError("the classes have changed")
            self._append("classes", _space_to_json(self._space))
            self.history.move_to(self._space)

    def _replay_one(self, kind: str, content: Any) -> None:
        if kind == "saving":
            self._pending = content
        elif kind == "saved":
            self._take_saved(content["parts"], content["version"])
        elif kind == "kept":
            self._known = content
        elif kind == "classes":
            self.history.move_to(_space_of(content))
        else:
            self.version += 1
            self._carry_out(kind, content)

    def _carry_out(self, kind: str, content: Any) -> Step:
        self.is_unsaved = True
        if kind == "edit":
            return self.history.edit(Edit.from_json(content))
        if kind == "undo":
            return self.history.undo()
        if kind == "redo":
            return self.history.redo()
        tracks = Tracks.from_json(content["tracks"], self.times.num_frames, self.history.tracks.label_space)
        step = self.history.adopt(tracks, (Mark(*mark) for mark in content["marks"]), content["name"])
        self._known, self._pending, self.is_unsaved = content["parts"], None, False
        return step

    def _append(self, kind: str, content: Any) -> None:
        """Add an entry to the journal, which begins with the first one.

        Raises:
            RefusedError: It cannot be written; nothing has changed then.
        """
        try:
            if not self._journal.is_there:
                self._journal.append({"base": self._base()})
            self._journal.append({kind: content})
        except OSError as error:
            message = f"the change was not made, as it cannot be written to the disk: {describe_reason(error)}"
            raise RefusedError(507, message) from error

    def _base(self) -> Entry:
        return {
            "stem": self.video.stem,
            "num_frames": self.times.num_frames,
            **_space_to_json(self._space),
            "parts": self._known,
            "version": self.version,
            "tracks": self.history.tracks.to_json(),
            "marks": [list(mark) for mark in self.history.sorted_marks()],
        }

    # Changes ----------------------------------------------------------------------------------------------------------

    def check_can_change(self) -> None:
        """Check that the labels can be edited.

        Raises:
            RefusedError: What lies on disk cannot be read: it must not be overwritten.
        """
        if self.disk.problems:
            raise RefusedError(
                422, "; ".join(("the labels cannot be edited until this is solved", *self.disk.problems))
            )

    def change(self, kind: str, content: Any) -> Step:
        """Carry out an "edit", an "undo" or a "redo", which is in the journal when this returns.

        Raises:
            RefusedError: It cannot be written to the journal, or there is nothing to undo or to redo.
        """
        self.check_can_change()
        if (kind == "undo" and not self.history.done) or (kind == "redo" and not self.history.undone):
            raise RefusedError(422, f"there is nothing to {kind}")
        self._append(kind, content)
        self.version += 1
        return self._carry_out(kind, content)

    def move_to(self, label_space: LabelSpace) -> None:
        """Go over to a longer list of classes, and to the ranges that were written for it into scored.csv."""
        self.disk = self._files.read(self.video, self.times, label_space)
        self._space = label_space
        self.version += 1
        if not self._journal.is_there:
            self._known, self.history = self.disk.parts, self._history_of(self.disk)
            return
        self._append("classes", _space_to_json(label_space))
        self.history.move_to(label_space)
        if self.conflict is not None:
            self.conflict = self.disk
        elif self.disk.parts != self._known:
            self._append("kept", self.disk.parts)
            self._known = self.disk.parts

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
        if self._files.parts(self.video, self._space) == self.disk.parts:
            return
        self.disk = self._files.read(self.video, self.times, self._space)
        if self._journal.is_there:
            self._reconcile()
        elif self.disk.parts != self._known:
            self._known, self.version = self.disk.parts, self.version + 1
            self.history = self._history_of(self.disk)

    def _reconcile(self) -> None:
        """Decide what the files are: as they were, as this studio was writing them, or changed by somebody else."""
        self.conflict = None
        self._remove_replaced()
        parts = self.disk.parts
        if self._is_own(parts):
            if parts != self._known:
                self._known, self.is_unsaved = parts, True
            if self.is_unsaved and not self.disk.problems and self.content() == self.content_on_disk():
                self._note_saved(parts, self.version)
        elif self.disk.problems and not self.is_unsaved:
            return
        elif not self.disk.problems and self.content() == self.content_on_disk():
            self._note_saved(parts, self.version)
        elif self.is_unsaved:
            self.conflict = self.disk
        else:
            self._adopt(self.disk)

    def _is_own(self, parts: Parts) -> bool:
        """Return whether the files are as they were, as they were being written, or something between the two."""
        pending = self._pending or self._known
        if any(parts[name] not in (self._known[name], pending[name]) for name in parts if name != "labels"):
            return False
        found, old, new = (set(map(tuple, one["labels"])) for one in (parts, self._known, pending))
        return found in (old, new) or (self._pending is not None and found <= old | new)

    def _remove_replaced(self) -> None:
        """Remove the label file that a new one replaces, where the studio was killed just before that."""
        if self._pending is None:
            return
        found, old, new = (set(map(tuple, one["labels"])) for one in (self.disk.parts, self._known, self._pending))
        if not new or not new <= found <= old | new or found == new:
            return
        for name, _ in found - new:
            (self._files.places.labels / name).unlink(missing_ok=True)  # a copy of it is in the backups
        self.disk = self._files.read(self.video, self.times, self._space)

    def _note_saved(self, parts: Parts, version: int) -> None:
        self._append("saved", {"parts": parts, "version": version})
        self._take_saved(parts, version)

    def _take_saved(self, parts: Parts, version: int) -> None:
        if parts == self._pending:  # otherwise somebody else has written the same labels
            self.own = {digest for _, digest in parts["labels"]} | {parts["notes"]}
        self._known, self._pending = parts, None
        self.is_unsaved = self.version != version

    def _adopt(self, disk: OnDisk) -> Step:
        content = {
            "name": ADOPTED,
            "parts": disk.parts,
            "tracks": disk.tracks.to_json(),
            "marks": [list(mark) for mark in disk.marks],
        }
        self._append("adopted", content)
        self.version += 1
        return self._carry_out("adopted", content)

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
        if keep_mine:
            self._append("kept", disk.parts)
            self._known, self.conflict = disk.parts, None
            return None
        step = self._adopt(disk)
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
        return Snapshot(self.version, self.disk, self._known, self.history.tracks.copy(), marks)

    def begin_saving(self, parts: Parts) -> None:
        """Record which digests the files will have, so that they are recognised even if this process is killed."""
        self._append("saving", parts)
        self._pending = parts

    def end_saving(self, version: int, disk: OnDisk, stamp: Stamp) -> None:
        """Record that a version is in the files.

        Args:
            version: The version.
            disk: What the files have now.
            stamp: See `LabelFiles.stamp`.
        """
        self.disk, self._stamp, self.save_problem = disk, stamp, None
        self._note_saved(disk.parts, version)


def _space_to_json(space: LabelSpace) -> Entry:
    return {"classes": list(space.classes), "groups": None if space.groups is None else list(space.groups)}


def _space_of(content: Entry) -> LabelSpace:
    groups = content["groups"]
    return LabelSpace(tuple(content["classes"]), groups=None if groups is None else tuple(groups))
