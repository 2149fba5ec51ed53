"""The labels and the marks of a video with all of their history: each step can be undone, and done again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.annotations.label_space import LabelSpace
from pipeline.files import canonical
from pipeline.studio.labels.edits import Edit, Mark
from pipeline.studio.labels.tracks import Change, Patch, Track, Tracks


class MarkChange(NamedTuple):
    """A mark before a step and after it; None where it is not there."""

    id: str
    before: Mark | None
    after: Mark | None


@dataclass(frozen=True)
class Step:
    """What an edit has changed.

    Attributes:
        name: What was done.
        changes: The changes of tracks, in order.
        marks: The changes of marks.
    """

    name: str
    changes: tuple[Change, ...]
    marks: tuple[MarkChange, ...]

    def focus(self) -> tuple[int, int] | None:
        """Return the frames [start, stop) that it concerns; None where it changed nothing."""
        frames = [frame for change in self.changes for frame in (change.after.start, change.after.stop)]
        places = [mark for change in self.marks for mark in (change.before, change.after) if mark is not None]
        frames += [frame for mark in places for frame in (mark.frame, mark.frame + 1)]
        return (min(frames), max(frames)) if frames else None


class History:
    """Labels and marks, and the steps that led to them.

    Args:
        tracks: The labels to begin with.
        marks: The marks to begin with.
    """

    def __init__(self, tracks: Tracks, marks: Iterable[Mark]) -> None:
        self.tracks = tracks
        self.marks = {mark.id: mark for mark in marks}
        self.done: list[Step] = []
        self.undone: list[Step] = []
        self._last_number = max((int(mark_id[1:]) for mark_id in self.marks), default=0)

    def new_id(self) -> str:
        """Return an id that no mark has, or had in a step that can be undone."""
        self._last_number += 1
        return f"m{self._last_number}"

    def sorted_marks(self) -> list[Mark]:
        """Return the marks in the order of their frames."""
        return sorted(self.marks.values(), key=lambda mark: mark[1:])

    def edit(self, edit: Edit) -> Step:
        """Carry out an edit; what had been undone is forgotten."""
        changes: list[Change] = []
        for paint in edit.paints:
            changes += self.tracks.paint(*paint)
        changes += [self.tracks.cut(*cut, remove=True) for cut in edit.remove_cuts]
        changes += [self.tracks.cut(*cut) for cut in edit.add_cuts]
        return self._record(edit.name, changes, {mark.id: mark for mark in edit.set_marks}, edit.remove_marks)

    def adopt(self, tracks: Tracks, marks: Iterable[Mark], name: str) -> Step:
        """Take over other labels and marks, as an edit."""
        new = {mark.id: mark for mark in marks}
        gone = [mark_id for mark_id in self.marks if mark_id not in new]
        return self._record(name, self.tracks.replace(tracks), new, gone)

    def _record(self, name: str, changes: list[Change], marks: Mapping[str, Mark], gone: Iterable[str]) -> Step:
        of_marks = [MarkChange(mark.id, self.marks.get(mark.id), mark) for mark in marks.values()]
        of_marks += [MarkChange(mark_id, self.marks.get(mark_id), None) for mark_id in gone]
        step = Step(name, tuple(changes), tuple(of_marks))
        for change in step.marks:
            self._set_mark(change.id, change.after)
        self.done.append(step)
        self.undone.clear()
        return step

    def _set_mark(self, mark_id: str, mark: Mark | None) -> None:
        if mark is None:
            self.marks.pop(mark_id, None)
        else:
            self.marks[mark_id] = mark
            self._last_number = max(self._last_number, int(mark_id[1:]))

    def undo(self) -> Step:
        """Take back the last step.

        Raises:
            IndexError: There is none.
        """
        step = self.done.pop()
        self.tracks.undo(step.changes)
        for change in reversed(step.marks):
            self._set_mark(change.id, change.before)
        self.undone.append(step)
        return step

    def redo(self) -> Step:
        """Take again the step that was taken back last.

        Raises:
            IndexError: There is none.
        """
        step = self.undone.pop()
        self.tracks.redo(step.changes)
        for change in step.marks:
            self._set_mark(change.id, change.after)
        self.done.append(step)
        return step

    def move_to(self, label_space: LabelSpace) -> None:
        """Go over to a list of classes that has all classes of the present one; of new ones, nothing is known."""
        old = self.tracks.label_space
        index_of = {index: label_space.index(name) or 0 for index, name in enumerate(old.classes)}
        exclusive = label_space.is_exclusive

        def moved(change: Change) -> Change:
            if exclusive:
                return change._replace(
                    before=_revalued(change.before, index_of), after=_revalued(change.after, index_of)
                )
            return change._replace(track=index_of[change.track])

        for steps in (self.done, self.undone):
            steps[:] = [Step(step.name, tuple(map(moved, step.changes)), step.marks) for step in steps]
        tracks = Tracks.empty(self.tracks.num_frames, label_space)
        for index, track in enumerate(self.tracks.tracks):
            if exclusive:
                tracks.tracks[0] = Track((start, stop, index_of[value]) for start, stop, value in track)
            else:
                tracks.tracks[index_of[index]] = track
        self.tracks = tracks


def _revalued(patch: Patch, index_of: Mapping[int, int]) -> Patch:
    return patch._replace(runs=tuple((start, stop, index_of[value]) for start, stop, value in patch.runs))


def can_move(old: LabelSpace, new: LabelSpace) -> bool:
    """Return whether labels of one list of classes are labels of another one, by the names."""
    if old.is_exclusive != new.is_exclusive or any(new.index(name) is None for name in old.classes):
        return False
    if old.groups is None or new.groups is None:
        return True
    group_of = {canonical(name): group for name, group in zip(new.classes, new.groups, strict=True)}
    pairs = {(group, group_of[canonical(name)]) for name, group in zip(old.classes, old.groups, strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
