"""The labels as files for other programs, as `framescribe export` writes them, to be downloaded."""

import re
import secrets
import shutil
import tempfile
import unicodedata
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

from pipeline.annotations.problems import AnnotationError, Problem, condense
from pipeline.errors import InputError
from pipeline.studio.clocks import Clocks
from pipeline.studio.labels.class_list import class_file_of
from pipeline.studio.labels.looked_at import Range
from pipeline.studio.labels.saving import content_of, with_ranges
from pipeline.studio.places import LABELS, Places, Video
from pipeline.studio.requests import RefusedError
from pipeline.studio.results.sources import Sources
from pipeline.text.wording import listed

OWN = "framescribe"
OWN_TITLE = "Framescribe label files (CSV)"
MAX_KEPT = 3  # exports that can still be downloaded
MAX_REASONS = 3  # in a message


@dataclass(frozen=True)
class Export:
    """An export that is ready.

    Attributes:
        path: The file.
        name: What the user's file is called.
        folder: The temporary folder that it is in.
    """

    path: Path
    name: str
    folder: Path


class Exports:
    """The exports. All methods may be called from any thread.

    Args:
        sources: The labels.
        clocks: When the frames of the videos are shown.
        videos: The videos by their ids.
        places: The folders.
    """

    def __init__(self, sources: Sources, clocks: Clocks, videos: Mapping[str, Video], places: Places) -> None:
        self._sources, self._clocks, self._videos, self._places = sources, clocks, videos, places
        self._kept: OrderedDict[str, Export] = OrderedDict()
        self._lock = Lock()
        self._exporting = Lock()

    def formats(self) -> list[dict[str, Any]]:
        """Return what `GET /api/export/formats` answers: the formats that can be written."""
        from pipeline.annotations.foreign.registry import FOREIGN_FORMATS

        own = {"name": OWN, "title": OWN_TITLE, "suffix": ".csv", "one_file": False}
        return [own] + [
            {
                "name": each.name,
                "title": each.title,
                "suffix": each.suffixes[0],
                "one_file": not each.is_per_video,
            }
            for each in FOREIGN_FORMATS
            if each.write is not None
        ]

    def make(self, format_name: str, source: str, videos: Sequence[Video] | None) -> dict[str, Any]:
        """Write labels for another program, and return what `POST /api/export` answers.

        Args:
            format_name: The name of a format.
            source: GIVEN, or the key of a model.
            videos: The videos; None for all that have labels.

        Raises:
            InputError: Nothing can be exported.
            RefusedError: There is no such format or model, or no label.
        """
        if format_name not in {each["name"] for each in self.formats()}:
            raise RefusedError(404, "there is no such format")
        name = self._sources.name_of(source)
        folder = Path(tempfile.mkdtemp(prefix="framescribe_export_"))
        try:
            with self._exporting:
                return self._make(folder, format_name, source, name, videos)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _make(
        self, folder: Path, format_name: str, source: str, source_name: str, videos: Sequence[Video] | None
    ) -> dict[str, Any]:
        dataset = folder / "dataset"
        written, failures = self._write_dataset(dataset, source, videos)
        losses: list[str] = []
        if format_name == OWN:
            path, num_videos = dataset, len(written)
        else:
            path, num_videos, losses, more = _convert(format_name, dataset, written, folder)
            failures += more
        stem = f"{self._places.root.resolve().name} {source_name}"
        files = [file for file in path.rglob("*") if file.is_file()]
        path = files[0] if len(files) == 1 else _zipped(path, folder / "export.zip")
        if path.suffix != f".{format_name}":
            stem += f" {format_name}"
        export = Export(path, f"{file_name(stem)}{path.suffix}", folder)
        key = secrets.token_hex(8)
        self._keep(key, export)
        return {
            "id": key,
            "name": export.name,
            "bytes": path.stat().st_size,
            "num_videos": num_videos,
            "losses": losses,
            "failures": failures,
        }

    def _write_dataset(
        self, dataset: Path, source: str, videos: Sequence[Video] | None
    ) -> tuple[list[Video], list[str]]:
        """Write the labels as a data set of ours, without the videos; return the videos, and why some are left out."""
        (dataset / LABELS).mkdir(parents=True)
        space = self._sources.labels.label_space
        written: list[Video] = []
        failures: list[str] = []
        ranges: dict[str, list[Range]] = {}
        for video in self._videos.values() if videos is None else videos:
            try:
                _, tracks = self._sources.read(video, source)
                times = self._clocks.clock(video).times
            except (InputError, RefusedError) as error:
                failures.append(f"{video.stem}: {error.message if isinstance(error, RefusedError) else error}")
                continue
            content = None if tracks is None else content_of(tracks, (), times)
            if content is None or content.labels is None:
                if videos is not None:
                    failures.append(f"{video.stem}: has no label")
                continue
            (dataset / LABELS / f"{video.stem}.csv").write_bytes(content.labels)
            if content.ranges:
                ranges[video.stem] = list(content.ranges)
            written.append(video)
        if not written:
            reasons = f": {listed(failures, MAX_REASONS)}" if failures else ""
            raise RefusedError(422, f"there are no labels to export{reasons}")
        name, classes = class_file_of(space)
        (dataset / name).write_bytes(classes)
        if ranges:
            (dataset / "scored.csv").write_bytes(with_ranges(b"", ranges, space))
        return written, failures

    def _keep(self, key: str, export: Export) -> None:
        with self._lock:
            self._kept[key] = export
            while len(self._kept) > MAX_KEPT:
                _, oldest = self._kept.popitem(last=False)
                shutil.rmtree(oldest.folder, ignore_errors=True)

    def find(self, key: str) -> Export:
        """Return an export that was made.

        Raises:
            RefusedError: It is gone.
        """
        with self._lock:
            export = self._kept.get(key)
        if export is None:
            raise RefusedError(404, "this export is gone: export again")
        return export

    def close(self) -> None:
        """Remove the files of all exports."""
        with self._lock:
            for export in self._kept.values():
                shutil.rmtree(export.folder, ignore_errors=True)
            self._kept.clear()


def _convert(
    format_name: str, dataset: Path, videos: Sequence[Video], folder: Path
) -> tuple[Path, int, list[str], list[str]]:
    """Export a data set: the file or the folder, the number of videos, what is lost, and why videos are left out."""
    from pipeline.annotations.foreign.registry import foreign_format
    from pipeline.interchange.exporting import export_labels
    from pipeline.interchange.videos import VideoFolder

    layout = foreign_format(format_name)
    assert layout is not None
    out = folder / "out"
    out.mkdir()
    place = out if layout.is_per_video else out / f"labels{layout.suffixes[0]}"
    try:
        exported = export_labels(layout, dataset, VideoFolder(*(video.path for video in videos)), place)
    except AnnotationError as error:
        raise RefusedError(422, "\n".join(_described(error.problems))) from error
    except InputError as error:
        raise RefusedError(422, str(error).replace(f"{folder}/", "")) from error  # the user does not know that folder
    return out, exported.num_videos, exported.losses.describe(), _described(exported.failures)


def _described(problems: Iterable[Problem]) -> list[str]:
    return [str(problem._replace(path=Path(problem.path.name))) for problem in condense(problems)]


def _zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


def file_name(text: str) -> str:
    """Return a text as the name of a file, without what file systems refuse, and without spaces."""
    plain = re.sub(r'[\x00-\x1f<>:"/\\|?*\x7f\s]+', "_", text.strip()).strip("_.")
    return plain[:120] or "labels"


def disposition(name: str) -> str:
    """Return the header by which a browser saves a file: its name in ASCII, and as it is (RFC 6266, RFC 5987)."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    ascii_name = re.sub(r'["\\;]', "_", ascii_name)
    return f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"
