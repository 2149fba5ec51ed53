"""Writing imported labels as a data set: see docs/users/data_format.md."""

import csv
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.annotations.classes import CLASSES, CLASSES_WITH_GROUPS, CLASSES_WITH_GROUPS_HEADER
from pipeline.annotations.foreign.cells import protect
from pipeline.annotations.layouts import IMPORT_REPORT, SCORED, SCORED_HEADER, SEGMENTS_HEADER
from pipeline.errors import InputError
from pipeline.interchange.imported import Imported, ImportedVideo
from pipeline.interchange.losses import Losses

REPORT_HEADER = ("file", "recording", "what", "count", "first_place", "first")


def check_is_new(out: Path) -> None:
    """Check that a data set can be written to a folder: an existing one is never changed.

    Raises:
        InputError: There is something.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out}: exists and is not a folder: name a new one")
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: exists and is not empty, and a data set is never overwritten: name a new folder")


def write_dataset(out: Path, imported: Imported) -> int:
    """Write a data set, as a whole or not at all.

    The videos are hard links where that is possible, which takes no space, and otherwise copies.

    Args:
        out: The folder, which must be new or empty.
        imported: The labels.

    Returns:
        The number of bytes that were copied.

    Raises:
        InputError: See `check_is_new`.
    """
    check_is_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        write_labels(staging, imported)
        (staging / "videos").mkdir()
        num_copied = sum(_link_video(staging, video) for video in imported.videos.values())
        _write_splits(staging, imported.videos.values())
        write_report(staging / IMPORT_REPORT, imported.losses)
        staging.chmod(0o777 & ~_umask())
        staging.rename(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return num_copied


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_labels(folder: Path, imported: Imported) -> None:
    """Write the label files of a data set into a folder that has none, without the videos."""
    (folder / "labels").mkdir()
    for video in imported.videos.values():
        rows = ((segment.start, segment.stop, segment.name) for segment in video.segments)
        _write_table(folder / "labels" / f"{video.stem}.csv", SEGMENTS_HEADER, rows)
    _write_classes(folder, imported)
    _write_scored(folder, imported.videos.values())


def _link_video(folder: Path, video: ImportedVideo) -> int:
    """Link a video into a data set, or copy it; return the number of bytes that were copied."""
    target = folder / "videos" / f"{video.stem}{video.path.suffix}"
    source = video.path.resolve()
    try:
        os.link(source, target)
    except OSError:  # on another disk, or on one without links
        shutil.copyfile(source, target)
        return target.stat().st_size
    return 0


def _write_classes(folder: Path, imported: Imported) -> None:
    space = imported.label_space
    if space.groups is None:
        (folder / CLASSES).write_text("".join(f"{name}\n" for name in space.classes), encoding="utf-8")
    else:
        rows = zip(space.classes, space.groups, strict=True)
        _write_table(folder / CLASSES_WITH_GROUPS, CLASSES_WITH_GROUPS_HEADER, rows)


def _write_scored(folder: Path, videos: Iterable[ImportedVideo]) -> None:
    rows = [(video.stem, *span[:2], span.name or "") for video in videos for span in video.scored or ()]
    if rows:
        _write_table(folder / SCORED, SCORED_HEADER, rows)


def _write_splits(folder: Path, videos: Iterable[ImportedVideo]) -> None:
    stems: dict[str, list[str]] = {}
    for video in videos:
        if video.split is not None:
            stems.setdefault(video.split, []).append(video.stem)
    if stems:
        (folder / "splits").mkdir()
        for split, of_split in stems.items():
            path = folder / "splits" / f"{split}.txt"
            path.write_text("".join(f"{stem}\n" for stem in of_split), encoding="utf-8")


def write_report(path: Path, losses: Losses) -> None:
    """Write `import_report.csv`: a row for each kind of loss of a recording, with its count and its first example."""
    rows = (
        (
            *map(protect, (str(found.path), found.recording, found.kind)),
            found.count,
            *map(protect, (found.first.place, found.first.what)),
        )
        for found in losses.by_recording()
    )
    _write_table(path, REPORT_HEADER, rows)


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
