"""What is wrong with a text file of labels, gathered so that a user sees every problem at once."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import InputError


class Problem(NamedTuple):
    """One fault in one file; `line` counts from 1, and is None where the fault is of the file as a whole."""

    path: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        place = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.message}"


class AnnotationError(InputError):
    """Label files that cannot be used; the message has one line for each of `.problems`."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file without their ends: BOM, CRLF and a missing last line end are tolerated.

    Raises AnnotationError if there is no such file, it cannot be opened, or it is not UTF-8.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise AnnotationError([Problem(path, None, f"cannot be read: {error.strerror}")]) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        encoding = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "another encoding"
        message = f"is not UTF-8 text: it was probably saved in {encoding} (in a spreadsheet, choose 'CSV UTF-8')"
        raise AnnotationError([Problem(path, line, message)]) from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines  # a line end closes a line, it does not open another


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """': did you mean 'walk'?' where a known name is near `name` (case aside), otherwise the names that there are."""
    folded = {candidate.casefold(): candidate for candidate in reversed(known)}
    nearest = difflib.get_close_matches(name.casefold(), folded, n=1)
    if nearest:
        return f": did you mean {folded[nearest[0]]!r}?"
    shown = ", ".join(repr(candidate) for candidate in known[:8])
    return f": there are {shown}{', ...' if len(known) > 8 else ''}"
