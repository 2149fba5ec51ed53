"""Copies of the files of a data set as they were before the studio changed them; a copy is never overwritten."""

import os
import time
from pathlib import Path
from threading import Lock

from pipeline.files import read_bounded
from pipeline.studio.labels.files import MAX_LABEL_BYTES, digest
from pipeline.studio.labels.journal import sync

BACKUPS = "backups"  # the folder in that of the studio
MAX_NAME_BYTES = 200  # of the name of a copy, without its time


class Backups:
    """The copies. All methods may be called from any thread.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: set[str] = set()  # digests of what the studio wrote
        self._lock = Lock()

    def note_own(self, own: str) -> None:
        """Record the digest of a content that the studio wrote: it needs no copy."""
        with self._lock:
            self._own.add(own)

    def keep(self, path: Path) -> str:
        """Copy a file, unless the studio wrote its content.

        Returns:
            The digest of its content; "" where there is no such file.

        Raises:
            OSError: It cannot be copied.
            InputError: It is a folder, a pipe or a device.
        """
        try:
            content = read_bounded(path, max_bytes=MAX_LABEL_BYTES)
        except FileNotFoundError:
            return ""
        found = digest(content)
        with self._lock:
            if found not in self._own:
                self._write(path.name, content)
                self._own.add(found)
        return found

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        short = name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
        stamp = time.strftime("%Y%m%dT%H%M%S")
        for number in range(1, 10_000):
            path = self._folder / f"{short}.{stamp}.{number}"
            try:
                with path.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            except FileExistsError:
                continue
            sync(self._folder)
            return
        raise OSError(f"{self._folder} has too many copies of {short}")
