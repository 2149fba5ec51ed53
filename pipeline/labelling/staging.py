"""Folders for files that are being written, which appear in the folder of the output only when they are whole."""

import glob
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAGING = f".labelling.{socket.gethostname()}."  # and the process id, which shows whether a call still uses the folder


@contextmanager
def staging_folder(out: Path) -> Iterator[Path]:
    """Make a folder in `out` for files that are being written; it is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"{STAGING}{os.getpid()}.", dir=out))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def remove_abandoned(out: Path) -> None:
    """Remove what calls left in `out` that were killed on this machine."""
    for folder in out.glob(f"{glob.escape(STAGING)}*"):
        process = re.fullmatch(r"([0-9]{1,9})\..+", folder.name.removeprefix(STAGING))
        if process and not _is_alive(int(process[1])):
            shutil.rmtree(folder, ignore_errors=True)  # which follows no link


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
