"""Output of `label` in a store. One listing tells which videos are finished, by the names of their marks.

A mark is an empty object that is written last, after the files of a video and its report:

    <stem>.<digest>.finished      the video was labelled
    <stem>.<digest>.partly        the frames that can be decoded were labelled

The digest is of the video (name, bytes, time of change), the model and the files. A call that would write the same mark
need not label the video. So no report is read to find that out, however many videos there are.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.annotations.layouts import DECODE_REPORT
from pipeline.files import OVERLAY, InputFile
from pipeline.labelling.outputs import Finished, LocalFolder, OutputFolder, OutputOptions, Replaced
from pipeline.labelling.report import (
    REPORT,
    DecodeRow,
    LabelReport,
    describe_video,
    files_of,
    read_labelled,
    write_decode_report,
)
from pipeline.stores.address import Address
from pipeline.stores.objects import StoredFile, list_names, read_object
from pipeline.stores.writing import put, remove_object, write_object

FINISHED, PARTLY = ".finished", ".partly"
DIGEST_CHARACTERS = 16
MAX_REQUESTS = 32  # for reports, at the same time
LOG_FOLDER = Path()  # where the command runs: a store cannot append to a log


class StoredFolder:
    """A folder of a store, see `OutputFolder`.

    Args:
        out: Its address.
        names: The names of the objects in it.
    """

    def __init__(self, out: Address, names: Iterable[str]) -> None:
        self.log_folder = LOG_FOLDER
        self._out = out
        self._names = set(names)
        self._reported: set[str] = set()
        self._marks: dict[str, list[str]] = {}
        for name in self._names:
            if name.endswith((FINISHED, PARTLY)):
                stem = name.rpartition(".")[0].rpartition(".")[0]
                self._marks.setdefault(stem, []).append(name)

    @classmethod
    def listed(cls, out: Address) -> "StoredFolder":
        """List a folder, once, and test the permission to write, before there is work to lose.

        The decode report is written as it is.

        Raises:
            OSError: There is no such bucket, no permission, or no connection.
        """
        folder = cls(out.folder, list_names(out) | {DECODE_REPORT})
        with with_decode_report(folder._out) as report:
            folder._reported = read_labelled(report)
            put(folder._out / DECODE_REPORT, report.read_bytes() if report.exists() else b"")
        return folder

    def __str__(self) -> str:
        return str(self._out)

    def find_finished(
        self, paths: Sequence[InputFile], model: dict[str, Any], outputs: OutputOptions
    ) -> dict[InputFile, Finished]:
        """See `OutputFolder`.

        Where the listing of the videos has described them, nothing is requested of those whose row in the decode report
        is that of their mark. A call that was killed may have left the row of an earlier one.
        """
        marked = [path for path in paths if self._is_marked(path, model, outputs)]
        unreported = [path.stem for path in marked if not self._is_reported(path.stem)]
        with ThreadPoolExecutor(MAX_REQUESTS) as threads:
            reports = dict(zip(unreported, threads.map(self._read_report, unreported), strict=True))
        found = {}
        for path in marked:
            if path.stem not in reports:
                found[path] = Finished(None)
            elif report := reports[path.stem]:
                found[path] = Finished(report.row(path.stem))
        return found

    def _is_reported(self, stem: str) -> bool:
        return stem in self._reported and not any(mark.endswith(PARTLY) for mark in self._marks[stem])

    def _is_marked(self, path: InputFile, model: dict[str, Any], outputs: OutputOptions) -> bool:
        """Return whether a video has the mark that this call would write, and its files.

        Two marks are of two calls that wrote at the same time: which of them wrote the files is not known.
        """
        if outputs.overwrite or len(self._marks.get(path.stem, ())) != 1:
            return False
        files = outputs.files(path)
        try:
            video = describe_video(path, path.listed if isinstance(path, StoredFile) else None)
        except OSError:  # reported when the video is read
            return False
        endings = (FINISHED, PARTLY) if outputs.on_error == "partial" else (FINISHED,)
        marks = {mark_of(path.stem, video, model, files, ending) for ending in endings}
        return bool(marks & self._names) and self._names.issuperset(files)

    def check_free(self, names: Sequence[str]) -> None:
        """See `OutputFolder`: a store has no folders that could be in the way."""

    def staging(self) -> AbstractContextManager[Path]:
        """See `OutputFolder`."""
        return _temporary_folder()

    def publish(self, staging: Path, stem: str, report: LabelReport, *, overlay: bool) -> Replaced:
        """See `OutputFolder`."""
        before, new = self._read_report(stem), report.files
        report = report.replacing(before, overlay=overlay, is_there=self._names.__contains__)
        for mark in self._marks.pop(stem, []):
            self._remove(mark)
        for name in new:
            write_object(self._out / name, staging / name)
        for name in set(before.files if before else ()) - set(report.files):
            self._remove(name)
        put(self._out / f"{stem}{REPORT}", report.to_json())
        mark = mark_of(stem, report.video, report.model, report.files, PARTLY if report.is_partial else FINISHED)
        put(self._out / mark, b"")
        self._names |= {mark, f"{stem}{REPORT}", *new}
        self._marks[stem] = [mark]
        return Replaced(report, before)

    def write_decode_report(self, rows: Sequence[DecodeRow]) -> None:
        """See `OutputFolder`."""
        with with_decode_report(self._out) as report:
            write_decode_report(report.parent, rows)
            write_object(self._out / DECODE_REPORT, report)

    def for_one(self, stem: str) -> "StoredFolder":
        """See `OutputFolder`."""
        names = {f"{stem}{REPORT}", *files_of(stem)} & self._names
        return StoredFolder(self._out, names.union(self._marks.get(stem, ())))

    def _read_report(self, stem: str) -> LabelReport | None:
        name = f"{stem}{REPORT}"
        try:
            return LabelReport.parse(read_object(self._out / name), stem) if name in self._names else None
        except FileNotFoundError:  # it was removed since the folder was listed
            return None

    def _remove(self, name: str) -> None:
        """Remove an object of the listing; a worker that was lost meanwhile may have removed it before."""
        if name in self._names:
            with suppress(FileNotFoundError):
                remove_object(self._out / name)
            self._names.remove(name)


def output_folder(out: Path | Address) -> OutputFolder:
    """Return the folder for the output at a place."""
    return LocalFolder(out) if isinstance(out, Path) else StoredFolder.listed(out)


@contextmanager
def with_decode_report(out: Path | Address) -> Iterator[Path]:
    """Yield the path of the decode report of a folder, a copy where it is in a store; there may be none."""
    if isinstance(out, Path):
        yield out / DECODE_REPORT
        return
    with _temporary_folder() as folder:
        with suppress(FileNotFoundError):
            (folder / DECODE_REPORT).write_bytes(read_object(out / DECODE_REPORT))
        yield folder / DECODE_REPORT


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="framescribe.") as folder:
        yield Path(folder)


def mark_of(stem: str, video: dict[str, Any], model: dict[str, Any], files: Sequence[str], ending: str) -> str:
    """Return the name of the mark of a video.

    Args:
        stem: The stem of the video.
        video: The description of the video.
        model: The description of the model.
        files: The files that are written. Overlays do not count: they come and go beside the same labels.
        ending: FINISHED or PARTLY.
    """
    names = [name for name in files if not name.endswith(OVERLAY)]
    text = json.dumps([video, model, names], sort_keys=True)
    return f"{stem}.{hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]}{ending}"
