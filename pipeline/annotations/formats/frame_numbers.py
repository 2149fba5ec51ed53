"""The numbers of the frames in a table with a row for each frame."""

from pathlib import Path

from pipeline.annotations.formats.parsing import frame_number
from pipeline.annotations.problems import Problem


class FrameNumbers:
    """Follows the numbers of frames from row to row, and reports the first one that is not as expected.

    Args:
        path: The file.
        problems: The problem is appended to it.
        may_skip: Whether frames may have no row.
        may_be_from_1: Whether the first frame may be 1.

    Attributes:
        found: The numbers so far, from 0.
        first: The number of the first frame, 0 or 1.
        is_broken: Whether a number was not as expected, so that those after it say nothing.
    """

    def __init__(
        self, path: Path, problems: list[Problem], *, may_skip: bool = False, may_be_from_1: bool = False
    ) -> None:
        self._path, self._problems = path, problems
        self._may_skip, self._may_be_from_1 = may_skip, may_be_from_1
        self.found: list[int] = []
        self.first = 0
        self.is_broken = False

    def follow(self, line: int, text: str) -> bool:
        """Take the number of the next row, and return whether it, and all before it, are as expected."""
        if self.is_broken:
            return False
        number = frame_number(self._path, line, "frame", text, self._problems)
        if not self.found and number == 1 and self._may_be_from_1:
            self.first = 1
        expected = self.found[-1] + 1 + self.first if self.found else self.first
        if number is None or not (number == expected or (self._may_skip and number > expected)):
            self.is_broken = True
            if number is not None:
                cause = "rows are missing or not in order" if expected else "the first frame is 0"
                self._problems.append(Problem(self._path, line, f"got frame {number}, expected {expected}: {cause}"))
            return False
        self.found.append(number - self.first)
        return True

    def notes(self) -> list[Problem]:
        """Say that the frames are counted from 1, where they are."""
        if not self.first or self.is_broken:
            return []
        message = "frames are counted from 1: 1 is read as the first frame, which is 0 elsewhere"
        return [Problem(self._path, None, message)]
