"""Writing the labels and marks of a video into the files of a data set.

Labels are written to `<stem>.csv`: start,stop,class, and where classes overlap, what nobody looked at into scored.csv.
A video without any label has no label file: a table without rows says that no frame has a class where classes overlap,
and is refused where they exclude each other, as a missing file is.
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.annotations.formats import table
from pipeline.annotations.formats.columns import find_segment_columns
from pipeline.annotations.formats.delimited import iterate_rows
from pipeline.annotations.label_space import LabelSpace, find_control_character
from pipeline.annotations.layouts import SCORED_HEADER, SEGMENTS_HEADER, VIDEO_LABELS_HEADER
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.times import FrameTimes
from pipeline.errors import InputError
from pipeline.files import leads_out, replacing
from pipeline.studio.labels.backups import Backups
from pipeline.studio.labels.edits import Mark
from pipeline.studio.labels.files import LabelFiles, OnDisk, Parts, digest, digest_of_ranges
from pipeline.studio.labels.journal import sync
from pipeline.studio.labels.looked_at import Range, are_kept, ranges_of
from pipeline.studio.labels.notes import NOTES, format_notes
from pipeline.studio.labels.table_rows import with_rows
from pipeline.studio.labels.tracks import Tracks
from pipeline.studio.places import Video


@dataclass(frozen=True)
class Content:
    """What the files of a video are to say.

    Attributes:
        labels: The content of its label file; None where it has no label.
        ranges: What was looked at, see `ranges_of`; none of exclusive classes.
        notes: The content of the file of its marks; None without any.
    """

    labels: bytes | None
    ranges: tuple[Range, ...]
    notes: bytes | None


def content_of(tracks: Tracks, marks: Sequence[Mark], times: FrameTimes) -> Content:
    """Return what files say that have these labels and marks."""
    labels: bytes | None = None
    ranges: tuple[Range, ...] = ()
    if tracks.num_labelled:
        labels = _format_segments(tracks)
        ranges = () if tracks.label_space.is_exclusive else tuple(ranges_of(tracks))
    return Content(labels, ranges, format_notes(marks, times) if marks else None)


def _format_segments(tracks: Tracks) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SEGMENTS_HEADER)
    classes = tracks.label_space.classes
    writer.writerows((start, stop, classes[index]) for start, stop, index in tracks.segments())
    return text.getvalue().encode()


EMPTY = digest(b"")  # of a file without content, which says as much as none


class ChangedError(Exception):
    """Somebody else has changed a file since it was read."""


class Write(NamedTuple):
    """A file that is to be written.

    Attributes:
        path: The file.
        content: What it is to have.
        before: The digest of what it has now; "" where there is no file.
    """

    path: Path
    content: bytes
    before: str


@dataclass(frozen=True)
class Plan:
    """The files to be written and removed, in this order, and the digests of the parts when that is done.

    Attributes:
        writes: Each file with its content.
        removes: The files that go; copies of them are kept.
        parts: See `files.Parts`.
    """

    writes: tuple[Write, ...]
    removes: tuple[Path, ...]
    parts: Parts


def make_plan(files: LabelFiles, video: Video, disk: OnDisk, tracks: Tracks, new: Content, old: Content) -> Plan:
    """Plan how the files become what they are to say; what says it already stays as it is.

    Args:
        files: The files.
        video: The video.
        disk: What the files have now.
        tracks: The labels that they are to have.
        new: The content of these labels, and of the marks.
        old: The content of what the files have now.

    Raises:
        AnnotationError: A file of all videos cannot be read.
        InputError: The name of the video cannot be written into a table.
    """
    space = tracks.label_space
    writes: list[Write] = []
    removes: list[Path] = []
    parts = dict(disk.parts)
    _check_is_inside(files)
    if (new.labels, new.ranges) != (old.labels, old.ranges):
        scored = _plan_scored(files, video, disk, tracks, new, space)
        if scored is not None:
            write, ranges = scored
            writes.append(write)
            parts["scored"] = digest_of_ranges(ranges, space)
        if disk.parts["row"]:
            path = files.shared.video_labels_path
            before = path.read_bytes()
            writes.append(Write(path, with_rows(before, VIDEO_LABELS_HEADER, {video.stem: ()}), digest(before)))
            parts["row"] = ""
        _plan_labels(files, video, disk, new.labels, writes, removes, parts)
    if new.notes != old.notes:
        path = files.notes_path(video)
        if new.notes is None:
            removes.append(path)
        else:
            writes.append(Write(path, new.notes, disk.parts["notes"]))
        parts["notes"] = "" if new.notes is None else digest(new.notes)
    return Plan(tuple(writes), tuple(removes), parts)


def _check_is_inside(files: LabelFiles) -> None:
    """Check that no folder that is written is a link out of the data set.

    Raises:
        InputError: One is, and links are not followed.
    """
    root = files.places.root
    for folder in (files.places.labels, root / NOTES):
        if not files.places.follow_links and leads_out(folder, root):
            raise InputError(f"{folder.name}/ is a link out of the data set: --follow-links writes there")


def _plan_labels(
    files: LabelFiles,
    video: Video,
    disk: OnDisk,
    content: bytes | None,
    writes: list[Write],
    removes: list[Path],
    parts: Parts,
) -> None:
    """Plan the label file: one of another layout goes, and one of another program stays beside a table."""
    target = next((path for path in disk.files if _is_own_layout(path)), None)
    target = target or files.places.labels / f"{video.stem}.csv"
    if content is None:  # the file of another program would count again
        removes += sorted(files.all_label_files(video), key=files.is_foreign, reverse=True)  # those that count last
        parts["labels"] = []
        return
    before = dict(map(tuple, disk.parts["labels"])).get(target.name, "")
    writes.append(Write(target, content, before))
    removes += [path for path in disk.files if path != target and not files.is_foreign(path)]
    parts["labels"] = [[target.name, digest(content)]]


def _is_own_layout(path: Path) -> bool:
    """Return whether a label file is a table of segments in frames, with commas, whose name can stay."""
    if path.suffix != ".csv" or path.is_symlink():
        return False
    try:
        header = next((row for _, row in iterate_rows(path, []) if any(row)), [])
        predicted = table.predicted_format(path)
    except AnnotationError:
        return False
    columns = find_segment_columns(header)
    return predicted is None and columns is not None and not path.name.endswith((".frames.csv", ".segments.csv"))


def _plan_scored(
    files: LabelFiles, video: Video, disk: OnDisk, tracks: Tracks, new: Content, space: LabelSpace
) -> tuple[Write, list[Range]] | None:
    """Return how the scored.csv changes and the ranges of the video in it; None where it may stay as it is."""
    ranges: list[Range] = list(new.ranges)
    if new.labels is None:
        if not disk.ranges:
            return None
    elif are_kept(tracks, disk.ranges):
        return None
    path = files.shared.scored_path
    if not files.places.follow_links and path.is_symlink():
        raise InputError(f"{path.name} is a link, and is not changed: copy the file to its place")
    old = read_or_nothing(path)
    return Write(path, with_ranges(old, {video.stem: ranges}, space), digest(old) if old else ""), ranges


def read_or_nothing(path: Path) -> bytes:
    """Return the content of a file; b"" where there is none."""
    return path.read_bytes() if path.exists() else b""


def with_ranges(content: bytes, ranges_of_videos: Mapping[str, Sequence[Range]], space: LabelSpace) -> bytes:
    """Return a scored.csv with other ranges of some videos.

    Args:
        content: The file; b"" for a new one.
        ranges_of_videos: The ranges of each video, by its stem.
        space: The classes.

    Raises:
        InputError: The name of a video cannot be written into a table.
    """
    rows_of: dict[str, list[tuple[object, ...]]] = {}
    for stem, ranges in ranges_of_videos.items():
        if ranges and (stem != stem.strip() or find_control_character(stem)):
            cause = "a name with spaces at its ends, or of several lines, cannot be in a table: rename the video"
            raise InputError(f"{stem!r}: {cause}")
        names = ("" if index is None else space.classes[index] for _, _, index in ranges)
        rows_of[stem] = [(stem, *one[:2], name) for one, name in zip(ranges, names, strict=True)]
    named = any(row[-1] for rows in rows_of.values() for row in rows)
    header = SCORED_HEADER if named else SCORED_HEADER[:3]
    return with_rows(content, header, {stem: [row[: len(header)] for row in rows] for stem, rows in rows_of.items()})


def carry_out(plan: Plan, backups: Backups) -> None:
    """Write and remove the files of a plan, with a copy of what was there before.

    Raises:
        OSError: A file cannot be written; then some may have been.
        InputError: A folder is in the place of a file.
        ChangedError: Somebody else has changed a file since it was read; it stays as it is.
    """
    for path in (*(write.path for write in plan.writes), *plan.removes):
        backups.keep(path)
    for write in plan.writes:
        write_synced(write.path, write.content, backups, before=write.before)
    for path in plan.removes:
        backups.keep(path)
        path.unlink(missing_ok=True)


def write_synced(path: Path, content: bytes, backups: Backups, *, before: str | None = None) -> None:
    """Write a file as a whole, so that it is on disk when this returns.

    Args:
        path: The file.
        content: What it is to have.
        backups: They get a copy of what is there now.
        before: The digest of what it should have now, "" where there should be no file; None where that is not known.

    Raises:
        OSError: It cannot be written.
        InputError: A folder is in its place.
        ChangedError: It has something else.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o7777)
        sync(temporary)
        found = backups.keep(path)
        if before is not None and (found or EMPTY) != (before or EMPTY):
            raise ChangedError(path)
    sync(path.parent)
    backups.note_own(digest(content))
