"""The edits of labels and marks: what a page may ask for, checked in full before anything is changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from pipeline.studio.requests import Body, RefusedError

MAX_OPERATIONS = 20_000  # of each kind in one edit
MAX_NAME, MAX_TEXT = 200, 10_000  # characters
MAX_SHOWN = 10  # problems that one answer names
Paint = tuple[int, int, int, int | None]  # track, start, stop, value
Cut = tuple[int, int]  # track, frame
Part = TypeVar("Part")


class Mark(NamedTuple):
    """A point mark or a note.

    Attributes:
        id: What requests call it.
        frame: The frame.
        name: What is marked, in a word.
        text: The note, of any number of lines.
    """

    id: str
    frame: int
    name: str
    text: str


@dataclass(frozen=True)
class Edit:
    """A change that is undone as a whole. The parts are carried out in the order of the attributes.

    Attributes:
        name: What was done, in a word or two, for the menu.
        paints: Frames that get another value.
        remove_cuts: Cuts that go.
        add_cuts: Cuts that come.
        set_marks: Marks that are new or have changed.
        remove_marks: The ids of marks that go.
    """

    name: str
    paints: tuple[Paint, ...] = ()
    remove_cuts: tuple[Cut, ...] = ()
    add_cuts: tuple[Cut, ...] = ()
    set_marks: tuple[Mark, ...] = ()
    remove_marks: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        return not (self.paints or self.remove_cuts or self.add_cuts or self.set_marks or self.remove_marks)

    def to_json(self) -> dict[str, Any]:
        """Return what the journal has of it, without the parts that are empty."""
        parts = {key: value for key, value in vars(self).items() if value}
        return {"name": self.name} | parts

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Edit":
        """Return an edit from what `to_json` returned."""
        parts = {key: tuple(map(tuple, content.get(key, ()))) for key in ("paints", "remove_cuts", "add_cuts")}
        marks = tuple(Mark(*mark) for mark in content.get("set_marks", ()))
        return cls(content["name"], **parts, set_marks=marks, remove_marks=tuple(content.get("remove_marks", ())))


@dataclass(frozen=True)
class Bounds:
    """What an edit of a video may name.

    Attributes:
        num_tracks: The number of tracks.
        num_frames: T.
        num_values: The values of a track are 0, 1, ..., `num_values` - 1.
        marks: The marks by their ids.
        new_id: Returns the id of a new mark.
    """

    num_tracks: int
    num_frames: int
    num_values: int
    marks: Mapping[str, Mark]
    new_id: Callable[[], str]


def parse_edit(body: Body, bounds: Bounds) -> Edit:
    """Read an edit from a request.

    Args:
        body: The request; see `routes`.
        bounds: What it may name.

    Raises:
        RefusedError: Every problem of the request.
    """
    parser = _Parser(body, bounds)
    edit = Edit(
        name=parser.text(body.get("name", "edit"), "name", MAX_NAME),
        paints=tuple(parser.each("paints", parser.paint)),
        remove_cuts=tuple(parser.each("remove_cuts", parser.cut)),
        add_cuts=tuple(parser.each("add_cuts", parser.cut)),
        set_marks=(*parser.each("change_marks", parser.changed_mark), *parser.each("add_marks", parser.new_mark)),
        remove_marks=tuple(parser.each("remove_marks", parser.mark_id)),
    )
    if not parser.problems and edit.is_empty:
        parser.problems.append("the edit changes nothing: expected paints, cuts or marks")
    raise_all(parser.problems)
    return edit


def raise_all(problems: Sequence[str]) -> None:
    """Refuse a request with all of its problems, if there are any."""
    if problems:
        more = f"; and {len(problems) - MAX_SHOWN} more" if len(problems) > MAX_SHOWN else ""
        raise RefusedError(422, "; ".join(problems[:MAX_SHOWN]) + more)


def is_integer(value: object) -> bool:
    """Return whether a value of JSON is an integer: true and 1.0 are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def text_fault(value: object, max_length: int) -> str | None:
    """Describe why a value cannot be written as text; None where it can."""
    if not isinstance(value, str):
        return "is not text"
    if len(value) > max_length:
        return f"has {len(value)} characters, expected at most {max_length}"
    if "\0" in value:
        return "has a zero byte, which no text has"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "has half of a character (a lone surrogate), which cannot be written"
    return None


@dataclass
class _Parser:
    body: Body
    bounds: Bounds

    def __post_init__(self) -> None:
        self.problems: list[str] = []

    def each(self, name: str, parse: Callable[[str, Any], Part | None]) -> list[Part]:
        items = self.body.get(name, [])
        if not isinstance(items, list):
            self.problems.append(f"{name}: expected a list")
            return []
        if len(items) > MAX_OPERATIONS:
            self.problems.append(f"{name}: got {len(items)}, expected at most {MAX_OPERATIONS} in one edit")
            return []
        parsed = (parse(f"{name}[{index}]", item) for index, item in enumerate(items))
        return [part for part in parsed if part is not None]

    def text(self, value: Any, place: str, max_length: int) -> str:
        if fault := text_fault(value, max_length):
            self.problems.append(f"{place} {fault}")
            return ""
        return str(value)

    def paint(self, place: str, item: Any) -> Paint | None:
        if not isinstance(item, list) or len(item) != 4:
            self.problems.append(f"{place}: expected [track, start, stop, value]")
            return None
        track, start, stop, value = item
        faults = []
        if not (is_integer(track) and 0 <= track < self.bounds.num_tracks):
            faults.append(f"the track is not a number from 0 to {self.bounds.num_tracks - 1}")
        if not (is_integer(start) and is_integer(stop) and 0 <= start < stop <= self.bounds.num_frames):
            faults.append(f"expected 0 <= start < stop <= {self.bounds.num_frames} frames")
        if value is not None and not (is_integer(value) and 0 <= value < self.bounds.num_values):
            faults.append(f"the value is neither null nor a number from 0 to {self.bounds.num_values - 1}")
        self.problems += [f"{place}: {fault}" for fault in faults]
        return None if faults else (track, start, stop, value)

    def cut(self, place: str, item: Any) -> Cut | None:
        if isinstance(item, list) and len(item) == 2 and all(map(is_integer, item)):
            track, frame = item
            if 0 <= track < self.bounds.num_tracks and 0 < frame < self.bounds.num_frames:
                return track, frame
        tracks, last = self.bounds.num_tracks - 1, self.bounds.num_frames - 1
        self.problems.append(f"{place}: expected [track from 0 to {tracks}, frame from 1 to {last}]")
        return None

    def mark_id(self, place: str, item: Any) -> str | None:
        if isinstance(item, str) and item in self.bounds.marks:
            return item
        self.problems.append(f"{place}: there is no such mark")
        return None

    def new_mark(self, place: str, item: Any) -> Mark | None:
        return self._mark(place, item, self.bounds.new_id)

    def changed_mark(self, place: str, item: Any) -> Mark | None:
        known = self.mark_id(place, item.get("id") if isinstance(item, dict) else None)
        return None if known is None else self._mark(place, item, lambda: known)

    def _mark(self, place: str, item: Any, mark_id: Callable[[], str]) -> Mark | None:
        if not isinstance(item, dict):
            self.problems.append(f"{place}: expected {{frame, name, text}}")
            return None
        num_before = len(self.problems)
        frame: Any = item.get("frame")
        if not (is_integer(frame) and 0 <= frame < self.bounds.num_frames):
            self.problems.append(f"{place}: the frame is not a number from 0 to {self.bounds.num_frames - 1}")
        name = self.text(item.get("name", ""), f"{place}: the name", MAX_NAME)
        text = self.text(item.get("text", ""), f"{place}: the text", MAX_TEXT)
        return None if len(self.problems) > num_before else Mark(mark_id(), frame, name, text)
