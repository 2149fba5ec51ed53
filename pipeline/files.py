"""Writing files so that a reader, or a killed process, never sees half of one; names that can be written down."""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix); rename it over `path` on success, remove it on any error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_name(path: Path) -> None:
    """Raise InputError where the name of a file is no text, so that no table could name it."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{path}: its name is not in UTF-8: rename it") from None


OVERLAY = ".overlay.mp4"  # after a video's stem


def find_files(paths: Sequence[Path], suffixes: Collection[str], *, kind: str) -> list[Path]:
    """Each once: the files named, and those in the folders named that have one of the suffixes, sorted.

    Hidden files and overlays that an earlier call wrote are not found in a folder. `kind`: what is looked for, in
    words. Raises InputError where a folder holds none.
    """
    found: dict[Path, Path] = {}  # by its resolved path
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
