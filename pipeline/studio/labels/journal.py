r"""The journal of the labels of a video: a file to which each change is added before it is confirmed.

Each line is `{"sum":"0123abcd","do":{...}}`. The sum is the CRC-32 of the text of `do`, begun with the sum of the line
before, so that a line that is missing or damaged is noticed. The first line has the labels to begin with.
"""

import json
import os
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.files import replacing

START, MIDDLE, END = b'{"sum":"', b'","do":', b"}\n"
SUM_DIGITS = 8
Entry = dict[str, Any]


class DamagedError(Exception):
    """A journal is not as it was written."""


class Journal:
    """A journal that may not be there yet. It is used by one thread at a time.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sum, self._size = 0, 0

    @property
    def is_there(self) -> bool:
        """Whether anything is in it."""
        return self._size > 0

    def read(self) -> list[Entry]:
        """Read all entries; none where there is no file. Half a line at the end, after a kill, is cut off.

        Raises:
            DamagedError: A line is not as it was written.
            OSError: The file cannot be read.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        whole = content.rfind(b"\n") + 1
        entries, found_sum = [], 0
        for number, line in enumerate(content[:whole].splitlines(keepends=True), start=1):
            found_sum, entry = _parse(line, found_sum, number)
            entries.append(entry)
        if whole < len(content):
            os.truncate(self._path, whole)
        self._sum, self._size = found_sum, whole
        return entries

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add an entry, which is on disk when this returns; otherwise the journal is as it was.

        Raises:
            OSError: It cannot be written.
        """
        payload = json.dumps(entry, separators=(",", ":"), ensure_ascii=True).encode()
        new_sum, line = _line(payload, self._sum)
        if not self.is_there:
            self._begin(line)
        else:
            self._add(line)
        self._sum, self._size = new_sum, self._size + len(line)

    def _begin(self, line: bytes) -> None:
        with replacing(self._path) as temporary:
            temporary.write_bytes(line)
            sync(temporary)
        sync(self._path.parent)

    def _add(self, line: bytes) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            try:
                os.lseek(file, self._size, os.SEEK_SET)
                rest = line
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            except OSError:
                os.ftruncate(file, self._size)
                raise
        finally:
            os.close(file)

    def set_aside(self) -> str:
        """Rename the file, so that a new journal can begin; return its new name."""
        stamp = time.strftime("%Y%m%dT%H%M%S")
        name = next(
            name
            for number in range(1, 10_000)
            if not (self._path.parent / (name := f"{self._path.stem}.{stamp}.{number}.aside")).exists()
        )
        self._path.rename(self._path.parent / name)
        self._sum, self._size = 0, 0
        return name


def _line(payload: bytes, before: int) -> tuple[int, bytes]:
    """Return the sum and the text of a line, after one with the sum `before`."""
    new_sum = zlib.crc32(payload, before)
    return new_sum, b"".join((START, f"{new_sum:0{SUM_DIGITS}x}".encode(), MIDDLE, payload, END))


def _parse(line: bytes, before: int, number: int) -> tuple[int, Entry]:
    payload = line[len(START) + SUM_DIGITS + len(MIDDLE) : -len(END)]
    found_sum, right = _line(payload, before)
    if line != right:
        raise DamagedError(f"line {number} is not as it was written")
    entry: Entry = json.loads(payload)
    return found_sum, entry


def sync(path: Path) -> None:
    """Make sure that a file, or the names in a folder, are on disk.

    Raises:
        OSError: They cannot be written.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
