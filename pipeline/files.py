"""Writing files completely or not at all, finding them in folders, and checking that their names are valid text."""

import os
import secrets
import stat
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO, Literal, Protocol, TypeVar

from pipeline.errors import InputError

MAX_STEM = 40  # characters of a name that its temporary name keeps, so that it is not too long for a file system
Result = TypeVar("Result")
AnyPath = TypeVar("AnyPath", bound=PurePath)


class FileStatus(Protocol):
    """What is known of a file without reading it; `os.stat_result` is one."""

    @property
    def st_size(self) -> int:
        """The size in bytes."""
        ...

    @property
    def st_mtime_ns(self) -> int:
        """The time of the last change, in nanoseconds since 1970."""
        ...


class InputFile(Protocol):
    """A file that is only read: a `Path`, or an object of a store, `stores.objects.StoredFile`.

    Its text names it in messages. The methods are those of `Path`.
    """

    @property
    def name(self) -> str:
        """The name without the folder."""
        ...

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        ...

    @property
    def suffix(self) -> str:
        """The suffix with its dot."""
        ...

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open the file for reading."""
        ...

    def stat(self) -> FileStatus:
        """Look at the file."""
        ...

    def exists(self) -> bool:
        """Whether it is there."""
        ...

    def is_file(self) -> bool:
        """Whether it is there and is a file."""
        ...

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        ...


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file so that no reader ever sees half of it, even if the process is killed.

    The temporary file is created exclusively under a random name, so that no link that lies in the folder is followed.
    A link at `path` is replaced, and what it points to stays.

    Args:
        path: The file. Its folder is created if it is missing.

    Yields:
        A temporary path in the same folder, with the same suffix. It is renamed to `path` on success, and removed on
        any error.

    Raises:
        InputError: A folder is in the place of the file.
    """
    path = Path(path)
    check_is_no_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:MAX_STEM]}.{secrets.token_hex(8)}.partial{path.suffix}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_is_no_folder(path: Path) -> None:
    """Check that a file can take the place of whatever is at a path.

    Raises:
        InputError: It is a folder.
    """
    if path.is_dir() and not path.is_symlink():
        raise InputError(f"{path}: got a folder, expected a file or nothing there: move it away, or write elsewhere")


def read_bounded(path: Path, *, max_bytes: int) -> bytes:
    """Read a small file that somebody else may have put there.

    Args:
        path: The file.
        max_bytes: The size that no valid file exceeds.

    Raises:
        OSError: The file is missing, or cannot be read.
        InputError: It is not a regular file but a pipe or a device, for instance, or it is larger.
    """
    with _open_regular(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise InputError(f"{path}: has more than {max_bytes} bytes, expected at most so many: is it another file?")
    return content


def check_is_regular(path: Path, *, max_bytes: int) -> None:
    """Check that a file can be read to its end.

    Args:
        path: The file.
        max_bytes: The size that no valid file exceeds.

    Raises:
        OSError: The file is missing, or cannot be read.
        InputError: It is not a regular file but a pipe or a device, for instance, or it is larger.
    """
    with _open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
    if size > max_bytes:
        raise InputError(f"{path}: has {size} bytes, expected at most {max_bytes}: is it another file?")


@contextmanager
def _open_regular(path: Path) -> Iterator[BinaryIO]:
    # Without O_NONBLOCK, opening a pipe waits until somebody writes into it.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InputError(f"{path}: is not a regular file but a pipe or a device")
        yield file


def read_unchanged(path: InputFile, read: Callable[[], Result]) -> Result:
    """Read a file, and once more where it changed meanwhile.

    Args:
        path: The file.
        read: It reads the file, and is called once or twice.

    Returns:
        What `read` returned.

    Raises:
        InputError: The file changed both times.
    """
    for _ in range(2):
        before = version_of(path)
        try:
            result = read()
        except Exception:
            if version_of(path) == before:
                raise
        else:
            if version_of(path) == before:
                return result
    raise InputError(f"{path}: changed twice while it was read: is it still being written? Try again when it is whole")


def version_of(path: InputFile) -> tuple[int, int] | None:
    """Return the size of a file, and when it last changed in nanoseconds since 1970; None where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def check_name(path: InputFile) -> None:
    """Check that the name of a file is valid text, so that tables can contain it.

    Raises:
        InputError: The name is not in UTF-8.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{path}: its name is not in UTF-8: rename it") from None


VIDEO_SUFFIXES = frozenset(
    {".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265", ".hevc", ".insv"}
    | {".m2t", ".m2ts", ".m2v", ".m4v", ".mkv", ".mod", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".tod"}
    | {".ts", ".vob", ".webm", ".wmv"}
)
OVERLAY = ".overlay.mp4"  # after a video's stem
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})  # that Windows puts beside files
# Suffixes of text, which is not an input: labels that lie beside their videos, and the output of the commands.
TEXT_SUFFIXES = frozenset({".csv", ".html", ".json", ".jsonl", ".md", ".parquet", ".srt", ".txt", ".vtt"})
POINTERS = (b"version https://git-lfs.github.com/spec/", b"/annex/objects/")  # stand for a file that is elsewhere
MAX_SUFFIXES = 12  # in one message


def find_files(
    paths: Sequence[Path],
    suffixes: Collection[str],
    *,
    kind: str,
    on_note: Callable[[str], None] = lambda note: None,
) -> list[Path]:
    """Find files, each once; two names of one file, as links give them, are two files.

    Args:
        paths: Files, and folders. Of a folder, the files with one of the suffixes are found, sorted, except hidden
            files and overlays that an earlier call wrote. A link to a file that is not there is found too, so that the
            user hears of it where the file is read.
        suffixes: Suffixes in lower case, with their dot.
        kind: The kind of files in words, for the message.
        on_note: It is called with one sentence for each folder with files of other suffixes.

    Raises:
        InputError: A folder has no such file.
    """
    found: dict[tuple[str, str], Path] = {}  # by content and stem: a file may be given along two ways
    for path in paths:
        inside = [path]
        if path.is_dir():
            there = (inner for inner in path.iterdir() if inner.is_file() or is_dangling(inner))
            inside = choose_by_suffix(path, there, suffixes, kind=kind, on_note=on_note)
        for file in inside:
            found.setdefault((os.path.realpath(file), file.stem), file)
    return list(found.values())


def choose_by_suffix(
    folder: object,
    paths: Iterable[AnyPath],
    suffixes: Collection[str],
    *,
    kind: str,
    on_note: Callable[[str], None],
) -> list[AnyPath]:
    """Choose the files of a folder that have one of the suffixes, as `find_files` does, which documents the arguments.

    Args:
        folder: The folder, whose text names it.
        paths: Its files.
        suffixes: Suffixes in lower case, with their dot.
        kind: The kind of files in words.
        on_note: It is called with one sentence where there are files of other suffixes.

    Returns:
        The files, sorted.

    Raises:
        InputError: The folder has no such file.
    """
    shown = [path for path in sorted(paths) if not is_hidden(path) and not path.name.endswith(OVERLAY)]
    inside = [path for path in shown if path.suffix.lower() in suffixes]
    note = _describe_others([path for path in shown if path.suffix.lower() not in TEXT_SUFFIXES.union(suffixes)])
    if not inside:
        raise InputError(f"{folder}: holds no {kind}" + (f"; {note}" if note else ""))
    if note:
        on_note(f"{folder}: {note}")
    return inside


def _describe_others(paths: Sequence[PurePath]) -> str:
    """Describe, in a sentence, files that are passed over; "" for none."""
    if not paths:
        return ""
    names = sorted({path.suffix.lower() or "no suffix" for path in paths})
    shown = ", ".join(names[:MAX_SUFFIXES]) + (", ..." if len(names) > MAX_SUFFIXES else "")
    count = "1 file of another kind was" if len(paths) == 1 else f"{len(paths)} files of other kinds were"
    return f"{count} passed over: {shown}: name them to include them"


def is_hidden(path: PurePath) -> bool:
    """Return whether a file is hidden, such as ._clip.csv of macOS, or is of the system, such as Thumbs.db."""
    return path.name.startswith(".") or path.name.lower() in SYSTEM_FILES


def is_dangling(path: Path) -> bool:
    """Return whether a path is a link to something that is not there."""
    return os.path.islink(path) and not os.path.exists(path)


def leads_out(path: Path, root: Path) -> bool:
    """Return whether a path that is below `root` by its name leads out of it by a link."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def is_elsewhere(path: Path) -> bool:
    """Return whether a file is a link out of its folder, to something that is there."""
    return leads_out(path, path.parent) and not is_dangling(path)


def folders_of(place: Path) -> tuple[Path, Path]:
    """Return the folders in which a file about all files of a folder may be: in the folder, or beside it."""
    return place, place.resolve().parent


def describe_absence(path: Path) -> str | None:
    """Describe why a file cannot be read although its name is there.

    git-annex and DVC store files elsewhere, and leave a link or a short text in their place.

    Returns:
        What is wrong, in words that follow the name of the file; None where the content is there, or where there is no
        such name at all.
    """
    if is_dangling(path):
        return "is a link to a file that is not there: its content is not here, fetch it (git annex get, dvc pull)"
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        return "is a pipe or a device, expected a file"  # reading it might wait forever
    try:
        if not os.path.isfile(path):
            return None
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:
        return None  # it is reported where the file is read
    if start.startswith(POINTERS):
        return "stands for a file that is elsewhere: its content is not here, fetch it (git lfs pull, git annex get)"
    return None


def canonical(name: str) -> str:
    """Return the form of a name by which names are compared: NFC, so that é is the same, in one character or in two."""
    return unicodedata.normalize("NFC", name)


def find_named(folder: Path, name: str) -> Path | None:
    """Find what has a name in a folder, in whichever Unicode form.

    Args:
        folder: The folder.
        name: The name of a file.

    Returns:
        The path, also of a link that is dangling; None where there is no such name.
    """
    for form in dict.fromkeys((name, canonical(name), unicodedata.normalize("NFD", name))):
        if os.path.lexists(folder / form):
            return folder / form
    if name.isascii() or not folder.is_dir():
        return None
    return next((path for path in folder.iterdir() if canonical(path.name) == canonical(name)), None)
