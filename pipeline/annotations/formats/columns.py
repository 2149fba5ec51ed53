"""Which column of a table has which meaning, by the names that people and programs give them.

Upper and lower case are alike, and so are spaces, underscores and hyphens.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.annotations.problems import Problem, shorten
from pipeline.files import canonical
from pipeline.text.wording import listed

MAX_NAMES = 8  # in one message
_FRAMES, _SECONDS = r"[(\[]?frames?[)\]]?", r"[(\[]?(?:s|secs?|seconds?)[)\]]?"
_EVENT = r"(?P<what>start|begin|stop|end)"
# In the order in which they count where a table has several: numbers that are said to be frames, those of which nothing
# is said, which are frames too, and times in seconds.
_BOUNDARIES = (
    (re.compile(rf"{_EVENT} ?{_FRAMES}|frames? (?P<what_after>start|begin|stop|end)"), False),
    (re.compile(_EVENT), False),
    (
        re.compile(
            rf"{_EVENT} ?times?(?: ?{_SECONDS})?|times? (?P<what_after>start|begin|stop|end)(?: ?{_SECONDS})?"
            rf"|{_EVENT.replace('what', 'what_in')}(?: {_SECONDS}|seconds?|[(\[]{_SECONDS})"
            rf"|(?P<what_of>onset|offset)(?: ?{_SECONDS})?"
        ),
        True,
    ),
)
_STARTS = frozenset({"start", "begin", "onset"})
# In the order in which they count where a table has several.
_CLASSES = (
    *("class", "class name", "label", "label name", "behaviour", "behavior", "behaviour name", "behavior name"),
    *("action", "activity", "phase"),
)
_FRAME_NUMBERS = ("frame", "frames", "frame number", "frame index", "frame no", "frame id")
_INDEX = ("", "index", "unnamed: 0", *_FRAME_NUMBERS)
_TIME = re.compile(rf"times?(?:stamps?)?(?: ?{_SECONDS})?|seconds")


@dataclass(frozen=True)
class SegmentColumns:
    """The columns of a table of segments.

    Attributes:
        start: The index of the column with the start of each segment.
        stop: The index of that with its stop.
        name: The index of that with its class.
        in_seconds: Whether starts and stops are times, and not numbers of frames.
        ignored: The names of the other columns.
    """

    start: int
    stop: int
    name: int
    in_seconds: bool
    ignored: tuple[str, ...]

    @property
    def last(self) -> int:
        """The index of the last column that is used."""
        return max(self.start, self.stop, self.name)


@dataclass(frozen=True)
class FrameColumns:
    """The columns of a table with a row for each frame.

    Attributes:
        frame: The index of the column with the number of each frame.
        name: The index of that with its class.
        ignored: The names of the other columns.
    """

    frame: int
    name: int
    ignored: tuple[str, ...]


def plain(name: str) -> str:
    """Return the form of the name of a column by which it is recognised.

    >>> plain(" Behavior_Name")
    'behavior name'
    """
    return re.sub(r"[\s_-]+", " ", canonical(name)).strip().casefold()


def find_segment_columns(header: Sequence[str]) -> SegmentColumns | None:
    """Find the columns of a table of segments; None where it lacks one, or has two that mean the same.

    >>> find_segment_columns(["Behavior", "start (s)", "End_Time", "comment"])
    SegmentColumns(start=1, stop=2, name=0, in_seconds=True, ignored=('comment',))
    """
    names = [plain(name) for name in header]
    found = _find_boundaries(names)
    name = _find_class(names)
    if found is None or name is None:
        return None
    start, stop, in_seconds = found
    return SegmentColumns(start, stop, name, in_seconds, _others(header, start, stop, name))


def find_frame_columns(header: Sequence[str]) -> FrameColumns | None:
    """Find the columns of a table with the class of each frame; None where it lacks one.

    >>> find_frame_columns(["Frame", "Phase"])
    FrameColumns(frame=0, name=1, ignored=())
    """
    names = [plain(name) for name in header]
    name = _find_class(names)
    frames = [index for index, found in enumerate(names) if numbers_frames(found)]
    if name is None or not frames:
        return None
    return FrameColumns(frames[0], name, _others(header, frames[0], name))


def counts_frames(name: str) -> bool:
    """Return whether the first column of a table, with this name, numbers the rows."""
    return plain(name) in _INDEX


def numbers_frames(name: str) -> bool:
    """Return whether a column with this name has the numbers of frames."""
    return plain(name) in _FRAME_NUMBERS


def is_time(name: str) -> bool:
    """Return whether a column with this name has the time of each frame."""
    return bool(_TIME.fullmatch(plain(name)))


def ignored_note(path: Path, line: int, ignored: Sequence[str]) -> list[Problem]:
    """Say which columns of a table are passed over, if any are."""
    names = [repr(shorten(name)) for name in ignored if name]
    if not names:
        return []
    noun = "the column" if len(names) == 1 else "the columns"
    return [Problem(path, line, f"{noun} {listed(names, MAX_NAMES)} {'is' if len(names) == 1 else 'are'} passed over")]


def _others(header: Sequence[str], *used: int) -> tuple[str, ...]:
    return tuple(name for index, name in enumerate(header) if index not in used)


def _find_class(names: Sequence[str]) -> int | None:
    found = next((name for name in _CLASSES if name in names), None)
    return None if found is None or names.count(found) > 1 else names.index(found)


def _find_boundaries(names: Sequence[str]) -> tuple[int, int, bool] | None:
    """Find start and stop, and whether they are in seconds; None where one is missing, or is there twice."""
    starts: list[tuple[int, bool]] = []
    stops: list[tuple[int, bool]] = []
    for form, in_seconds in _BOUNDARIES:
        of_form = [*_of_form(names, form)]
        for is_start, found in ((True, starts), (False, stops)):
            indices = [index for index, starts_here in of_form if starts_here == is_start]
            if len(indices) == 1:
                found.append((indices[0], in_seconds))
            elif indices and not found:
                return None
        both = [(start, stop) for start in starts for stop in stops if start[1] == stop[1]]
        if both:
            (start, _), (stop, _) = both[0]
            return start, stop, in_seconds
    return None


def _of_form(names: Sequence[str], form: re.Pattern[str]) -> Iterator[tuple[int, bool]]:
    """Yield the index of each name of a form, and whether it is that of a start."""
    for index, name in enumerate(names):
        if found := form.fullmatch(name):
            what = next(value for value in found.groupdict().values() if value)
            yield index, what in _STARTS
