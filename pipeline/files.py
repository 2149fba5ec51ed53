"""Writing files completely or not at all, finding them in folders, and checking that their names are valid text."""

import os
import secrets
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from pipeline.errors import InputError

MAX_STEM = 40  # characters of a name that its temporary name keeps, so that it is not too long for a file system
Result = TypeVar("Result")


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


def read_unchanged(path: Path, read: Callable[[], Result]) -> Result:
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
        before = _version(path)
        try:
            result = read()
        except Exception:
            if _version(path) == before:
                raise
        else:
            if _version(path) == before:
                return result
    raise InputError(f"{path}: changed twice while it was read: is it still being written? Try again when it is whole")


def _version(path: Path) -> tuple[int, int] | None:
    """The size and the time of the last change of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def check_name(path: Path) -> None:
    """Check that the name of a file is valid text, so that tables can contain it.

    Raises:
        InputError: The name is not in UTF-8.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{path}: its name is not in UTF-8: rename it") from None


OVERLAY = ".overlay.mp4"  # after a video's stem


def find_files(paths: Sequence[Path], suffixes: Collection[str], *, kind: str) -> list[Path]:
    """Find files, each once.

    Args:
        paths: Files, and folders. Of a folder, the files with one of the suffixes are found, sorted, except hidden
            files and overlays that an earlier call wrote.
        suffixes: Suffixes in lower case, with their dot.
        kind: The kind of files in words, for the message.

    Raises:
        InputError: A folder has no such file.
    """
    found: dict[Path, Path] = {}  # by resolved paths
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes and p.is_file())
            inside = [p for p in inside if not p.name.startswith(".") and not p.name.endswith(OVERLAY)]
            if not inside:
                raise InputError(f"{path}: holds no {kind}")
        for file in inside:
            found.setdefault(file.resolve(), file)
    return list(found.values())
