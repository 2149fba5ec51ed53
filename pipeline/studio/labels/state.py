"""The labels of a video as the entries of its journal give them: what follows from an entry is decided here alone.

base      the labels to begin with, and the digests of the files that they are from
edit      a change, see `Edit`; undo and redo take the last one back and make it again
adopted   what somebody else wrote, taken over as a change
kept      the digests of files that the studio knows and whose labels it does not take over
saving    the digests that the files have when they are written; so they are recognised after a kill
saved     the digests of the files that have a version
classes   another list of classes
"""

from collections.abc import Mapping
from typing import Any

from pipeline.annotations.label_space import LabelSpace
from pipeline.studio.labels.edits import Edit, Mark
from pipeline.studio.labels.files import OnDisk, Parts
from pipeline.studio.labels.history import History, Step
from pipeline.studio.labels.journal import Entry
from pipeline.studio.labels.tracks import Tracks

ADOPTED = "change of the file outside the studio"


class LabelState:
    """Labels and marks with their history, and how they stand to the files.

    Args:
        history: The labels and the marks.
        version: The number of the version; each change adds one.
        known: The digests of the files when they were last read or written.

    Attributes:
        pending: The digests of the files that are being written, or were when the studio was killed; otherwise None.
        is_unsaved: Whether there are edits that the files do not have.
        own: The digests of what the studio wrote last.
    """

    def __init__(self, history: History, version: int, known: Parts) -> None:
        self.history, self.version, self.known = history, version, known
        self.pending: Parts | None = None
        self.is_unsaved = False
        self.own: set[str] = set()

    @classmethod
    def from_base(cls, base: Mapping[str, Any]) -> "LabelState":
        """Return the state with which a journal begins."""
        tracks = Tracks.from_json(base["tracks"], base["num_frames"], space_from_json(base))
        return cls(History(tracks, (Mark(*mark) for mark in base["marks"])), base["version"], base["parts"])

    def base(self, stem: str) -> Entry:
        """Return the first entry of a journal of the video with a stem."""
        tracks = self.history.tracks
        return {
            "stem": stem,
            "num_frames": tracks.num_frames,
            **space_to_json(tracks.label_space),
            "parts": self.known,
            "version": self.version,
            "tracks": tracks.to_json(),
            "marks": [list(mark) for mark in self.history.sorted_marks()],
        }

    def take(self, kind: str, content: Any) -> Step | None:
        """Take an entry of the journal.

        Args:
            kind: Its kind.
            content: Its content.

        Returns:
            What it has changed; None where it changes neither labels nor marks.
        """
        if kind in ("edit", "undo", "redo", "adopted", "classes"):
            self.version += 1
        if kind == "saving":
            self.pending = content
        elif kind == "saved":
            self._take_saved(content["parts"], content["version"])
        elif kind == "kept":
            self.known = content
        elif kind == "classes":
            self.history.move_to(space_from_json(content))
        elif kind == "adopted":
            return self._adopt(content)
        else:
            self.is_unsaved = True
            return self._change(kind, content)
        return None

    def _take_saved(self, parts: Parts, version: int) -> None:
        if parts == self.pending:  # otherwise somebody else has written the same labels
            self.own = {digest for _, digest in parts["labels"]} | {parts["notes"]}
        self.known, self.pending = parts, None
        self.is_unsaved = self.version != version

    def _change(self, kind: str, content: Any) -> Step:
        if kind == "edit":
            return self.history.edit(Edit.from_json(content))
        return self.history.undo() if kind == "undo" else self.history.redo()

    def _adopt(self, content: Mapping[str, Any]) -> Step:
        old = self.history.tracks
        tracks = Tracks.from_json(content["tracks"], old.num_frames, old.label_space)
        self.known, self.pending, self.is_unsaved = content["parts"], None, False
        return self.history.adopt(tracks, (Mark(*mark) for mark in content["marks"]), ADOPTED)

    def is_own(self, parts: Parts) -> bool:
        """Return whether files are as they were, as they were being written, or something between the two."""
        pending = self.pending or self.known
        if any(parts[name] not in (self.known[name], pending[name]) for name in parts if name != "labels"):
            return False
        found, old, new = (label_files(one) for one in (parts, self.known, pending))
        return found in (old, new) or (not new and found <= old)

    def replaced(self, parts: Parts) -> set[str]:
        """Return the names of label files that a new one has replaced, and that were not removed before a kill."""
        if self.pending is None:
            return set()
        found, old, new = (label_files(one) for one in (parts, self.known, self.pending))
        return {name for name, _ in found - new} if new and new <= found <= old | new else set()


def label_files(parts: Parts) -> set[tuple[str, str]]:
    """Return the names of the label files of a video with their digests."""
    return {(name, digest) for name, digest in parts["labels"]}


def adoption(disk: OnDisk) -> Entry:
    """Return the entry by which the labels of the files are taken over."""
    marks = [list(mark) for mark in disk.marks]
    return {"parts": disk.parts, "tracks": disk.tracks.to_json(), "marks": marks}


def space_to_json(space: LabelSpace) -> Entry:
    """Return classes as the journal has them."""
    return {"classes": list(space.classes), "groups": None if space.groups is None else list(space.groups)}


def space_from_json(content: Mapping[str, Any]) -> LabelSpace:
    """Return classes from what `space_to_json` returned."""
    groups = content["groups"]
    return LabelSpace(tuple(content["classes"]), groups=None if groups is None else tuple(groups))
