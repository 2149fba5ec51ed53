"""Problems of text files of labels, collected so that a user sees all of them together."""

import codecs
import difflib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import InputError, describe_reason
from pipeline.files import describe_absence, is_dangling, leads_out

MAX_NAME = 100  # characters of a name that a message shows
MAX_OF_KIND = 10  # problems that are printed of one kind
MAX_TEXT_BYTES = 1 << 30  # the rows of a week of frames; more is a mistake, or made to fill the memory
NO_MEMORY = "it does not fit the memory"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LONG_NUMBER = re.compile(r"(\d{40})\d{60,}")  # a cell may have thousands of digits
# What differs between messages of one kind: text in quotes, in parentheses, names of files, numbers.
_VARIABLE = re.compile(r"""(?<!\w)'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\([^()]*\)|\S+\.\w+|\d+""")


class Problem(NamedTuple):
    """One fault in one file.

    Attributes:
        path: The file.
        line: The number of the line, from 1; None where the fault concerns the file as a whole.
        message: What is wrong, without the place: the fault, and after a colon its likely cause.
        fault: What messages of this kind have in common; "" where it follows from the message, see `kind`.
    """

    path: Path
    line: int | None
    message: str
    fault: str = ""

    @property
    def kind(self) -> str:
        """What problems of one kind have in common: the fault without the names and numbers in it."""
        return self.fault or " ".join(_VARIABLE.sub("", self.message.partition(": ")[0]).split())

    def __str__(self) -> str:
        place = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        message = _LONG_NUMBER.sub(r"\1...", self.message)
        return f"{place}: {message}"


class AnnotationError(InputError):
    """Label files cannot be used.

    Args:
        problems: The problems, kept as the attribute `problems`. The message has a line for each of `condense`.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, condense(self.problems))))


def condense(problems: Iterable[Problem]) -> list[Problem]:
    """Shorten a list of problems for printing: every list of problems passes through here.

    Args:
        problems: The problems, in order.

    Returns:
        The first MAX_OF_KIND problems of each kind, in order. Where there are more, the last of them is followed by one
        that says how many.
    """
    problems = tuple(problems)
    of_kind: dict[str, list[Problem]] = {}
    for problem in problems:
        of_kind.setdefault(problem.kind, []).append(problem)
    kept: list[Problem] = []
    num_seen = dict.fromkeys(of_kind, 0)
    for problem in problems:
        kind = problem.kind
        num_seen[kind] += 1
        if num_seen[kind] <= MAX_OF_KIND:
            kept.append(problem)
        elif num_seen[kind] == MAX_OF_KIND + 1:
            kept.append(_more(of_kind[kind][MAX_OF_KIND:]))
    return kept


def without_content(problems: Sequence[Problem], root: Path) -> list[Problem]:
    """Take out of messages what they quote of files that are links out of a folder.

    Such a link may name any file of the user, and messages end up in logs and in public reports.

    Args:
        problems: The problems of text files.
        root: The folder.

    Returns:
        The problems in order; one of a file behind such a link says where the fault is, and not what is there.
    """
    paths = {problem.path for problem in problems}
    outside = {path for path in paths if leads_out(path, root) and not is_dangling(path)}
    hidden = "is not as expected: what it holds is not shown, as it is a link out of the folder"
    return [problem._replace(message=hidden, fault="") if problem.path in outside else problem for problem in problems]


def _more(problems: Sequence[Problem]) -> Problem:
    """Describe the problems of a kind that are not printed, in one."""
    paths = {problem.path for problem in problems}
    count = f"{len(problems):,} more problem{'s' if len(problems) > 1 else ''} of the same kind"
    if len(paths) == 1:
        return Problem(problems[0].path, None, count)
    return Problem(Path(os.path.commonpath([path.parent for path in paths])), None, f"{count}, in {len(paths):,} files")


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, without their line ends; CRLF and a missing last line end are tolerated.

    Raises:
        AnnotationError: See `read_text`.
    """
    return split_lines(read_text(path))


def read_text(path: Path, *, encoding: str = "utf-8", max_bytes: int | None = None) -> str:
    """Read a text file: UTF-8, with or without a byte order mark, or UTF-16 where such a mark says so.

    What spreadsheets call "Unicode text" is UTF-16.

    Args:
        path: The file.
        encoding: Another encoding, which the file states itself; a byte order mark counts more.
        max_bytes: The bound of its size; None for MAX_TEXT_BYTES.

    Raises:
        AnnotationError: There is no such file, it cannot be opened, is a device or a pipe, is larger than any such
            file, or is in another encoding.
    """
    content = read_content(Path(path), max_bytes)
    is_utf16 = content.startswith(UTF16_MARKS)
    is_utf8 = content.startswith(codecs.BOM_UTF8) or codecs.lookup(encoding).name == "utf-8"
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig" if is_utf8 else encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = "is not UTF-8 text: it was probably saved in another encoding (in a spreadsheet, choose 'CSV UTF-8')"
        if is_utf16:
            message = "begins as UTF-16 text, and is damaged: save it again (in a spreadsheet, choose 'CSV UTF-8')"
        elif not is_utf8:
            message = f"is not {encoding.upper()} text, as it says itself: it was probably saved in another encoding"
        raise AnnotationError([Problem(path, line, message)]) from None
    except MemoryError:
        raise AnnotationError([Problem(path, None, f"cannot be read: {NO_MEMORY}")]) from None
    if "\0" in text:
        raise AnnotationError([Problem(path, None, "holds zero bytes, which no text has: is it another file?")])
    return text


def split_lines(text: str) -> list[str]:
    """Return the lines of a text; a line end closes a line and does not open another."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def read_head(path: Path, num_bytes: int) -> bytes:
    """Read the beginning of a file.

    Args:
        path: The file.
        num_bytes: The length of the beginning.

    Raises:
        AnnotationError: See `read_content`.
    """
    return _read(path, num_bytes)


def read_content(path: Path, max_bytes: int | None = None) -> bytes:
    """Read the content of a file of text, within a bound.

    Args:
        path: The file.
        max_bytes: The bound of its size; None for MAX_TEXT_BYTES.

    Raises:
        AnnotationError: There is no such file, it cannot be opened, is a device or a pipe, or is larger than any such
            file.
    """
    max_bytes = max_bytes or MAX_TEXT_BYTES
    max_bytes = MAX_TEXT_BYTES if max_bytes is None else max_bytes
    content = _read(path, max_bytes + 1)
    if len(content) > max_bytes:
        message = f"has more than {max_bytes >> 20} MB, more than any such file: is it another file?"
        raise AnnotationError([Problem(path, None, message)])
    return content


def _read(path: Path, num_bytes: int) -> bytes:
    if absence := describe_absence(path):
        raise AnnotationError([Problem(path, None, absence)])
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, and /dev/zero has no end
            raise AnnotationError([Problem(path, None, "is a folder, expected text")])
        with path.open("rb") as file:
            return file.read(num_bytes)
    except FileNotFoundError:
        raise AnnotationError([Problem(path, None, "is missing: expected a text file")]) from None
    except (OSError, MemoryError) as error:
        reason = describe_reason(error) if isinstance(error, OSError) else NO_MEMORY
        raise AnnotationError([Problem(path, None, f"cannot be read: {reason}")]) from None


def shorten(name: str) -> str:
    """Return a name, or its beginning where it is too long for a message."""
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}..."


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
    is_short = len(name) <= MAX_NAME  # comparing long names takes hours
    nearest = difflib.get_close_matches(name.casefold(), folded, n=1) if is_short else []
    if nearest:
        return f": did you mean {shorten(folded[nearest[0]])!r}?"
    shown = ", ".join(repr(shorten(candidate)) for candidate in known[:8])
    return f": there are {shown}{', ...' if len(known) > 8 else ''}"
