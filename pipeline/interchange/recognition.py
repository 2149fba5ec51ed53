"""Which format the files of other programs have: as the caller says, or as they look."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.document import Document
from pipeline.annotations.foreign.registry import FOREIGN_FORMATS, foreign_format, recognise
from pipeline.annotations.problems import AnnotationError, Problem, did_you_mean
from pipeline.errors import InputError
from pipeline.files import is_hidden

AUTO = "auto"


class ForeignFile(NamedTuple):
    """A file of another program, and its format."""

    path: Path
    layout: ForeignFormat

    def read(self) -> Document:
        """Read the file.

        Raises:
            AnnotationError: Every problem of the file; where it looks like another format, that is said too.
        """
        assert self.layout.read is not None, self.layout.name
        try:
            return self.layout.read(self.path)
        except AnnotationError as error:
            other = None
            with suppress(AnnotationError):
                other = recognise(self.path)
            if other is None or other is self.layout:
                raise
            problem = error.problems[0]
            hint = f"{problem.message}; it looks like {other.title}: use the format {other.name!r}"
            raise AnnotationError([problem._replace(message=hint)]) from None


def readable_format(name: str) -> ForeignFormat:
    """Return the format with a name.

    Raises:
        InputError: There is none, or files of it are not read.
    """
    names = [layout.name for layout in FOREIGN_FORMATS if layout.read is not None]
    layout = foreign_format(name)
    if layout is None:
        raise InputError(f"got the format {name!r}{did_you_mean(name, [AUTO, *names])}; import --list shows all")
    if layout.read is None:
        raise InputError(f"{layout.title} is not read, only written: --list shows what each format does")
    return layout


def find_foreign_files(name: str, paths: Sequence[Path]) -> list[ForeignFile]:
    """Find the files that are to be read.

    Args:
        name: The name of their format; AUTO recognises each by its content.
        paths: The files; of a folder, all files below it with a suffix of the format. With AUTO, those of them that
            look like none are passed over.

    Raises:
        InputError: There is no such format, or no file in a folder.
        AnnotationError: The format of files is not recognised, or there is no such file.
    """
    layout = None if name == AUTO else readable_format(name)
    layouts = [layout] if layout is not None else [each for each in FOREIGN_FORMATS if each.read is not None]
    files = [file for path in paths for file in _files_of(path, layouts)]
    if layout is not None:
        return [ForeignFile(path, layout) for path in files]
    found: list[ForeignFile] = []
    problems: list[Problem] = []
    for path in files:
        try:
            recognised = recognise(path)
        except AnnotationError as error:
            problems += error.problems
            continue
        if recognised is None or recognised.read is None:
            if path not in paths:  # in a folder, other files may lie beside
                continue
            message = "looks like none of the formats that are read: name its format, one of --list"
            problems.append(Problem(path, None, message))
        else:
            found.append(ForeignFile(path, recognised))
    if problems:
        raise AnnotationError(problems)
    if not found:
        raise InputError("no file of the folder looks like one of the formats that are read: name the format of --list")
    return found


def _files_of(path: Path, layouts: Sequence[ForeignFormat]) -> list[Path]:
    """Return a file, or the files in a folder that may be of one of the formats."""
    if not path.is_dir():
        return [path]
    suffixes = tuple(dict.fromkeys(suffix for layout in layouts for suffix in layout.suffixes))
    folded = tuple(suffix.casefold() for suffix in suffixes)
    side_files = {name for layout in layouts for name in layout.side_files}
    found = [file for file in sorted(path.rglob("*")) if file.is_file() and not is_hidden(file)]
    files = [file for file in found if file.name.casefold().endswith(folded) and file.name not in side_files]
    if not files:
        raise InputError(f"{path}: has no file with one of the suffixes {', '.join(suffixes)}")
    return files
