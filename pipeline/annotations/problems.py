"""Problems of text files of labels, collected so that a user sees all of them together."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import InputError


class Problem(NamedTuple):
    """One fault in one file.

    Attributes:
        path: The file.
        line: The number of the line, from 1; None where the fault concerns the file as a whole.
        message: What is wrong, without the place.
    """

    path: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        place = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.message}"


class AnnotationError(InputError):
    """Label files cannot be used.

    Args:
        problems: The problems, kept as the attribute `problems`. The message has one line for each of them.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def read_lines(path: Path) -> list[str]:
    """Read the lines of a UTF-8 text file, without their line ends.

    A byte order mark, CRLF and a missing last line end are tolerated.

    Raises:
        AnnotationError: There is no such file, it cannot be opened, or it is not UTF-8.
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
    return lines[:-1] if lines[-1] == "" else lines  # a line end closes a line and does not open another


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Suggest a known name for an unknown one.

    Args:
        name: The unknown name.
        known: The known names.

    Returns:
        ": did you mean 'walk'?" where a known name is similar, upper and lower case aside; otherwise a list of the
        known names, the first 8 of them.
    """
    folded = {candidate.casefold(): candidate for candidate in reversed(known)}
    nearest = difflib.get_close_matches(name.casefold(), folded, n=1)
    if nearest:
        return f": did you mean {folded[nearest[0]]!r}?"
    shown = ", ".join(repr(candidate) for candidate in known[:8])
    return f": there are {shown}{', ...' if len(known) > 8 else ''}"
