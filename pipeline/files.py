"""Writing files completely or not at all, finding them in folders, and checking that their names are valid text."""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file so that no reader ever sees half of it, even if the process is killed.

    Args:
        path: The file. Its folder is created if it is missing.

    Yields:
        A temporary path in the same folder, with the same suffix. It is renamed to `path` on success, and removed on
        any error.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
