"""The labels of a data set on disk: its classes, the label file of each source, and everything that is wrong with them.

Shapes: T frames, K classes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.annotations.classes import CLASSES, find_class_list, read_class_list
from pipeline.annotations.formats import registry
from pipeline.annotations.formats.base import VideoClasses
from pipeline.annotations.formats.parsing import length_problem
from pipeline.annotations.formats.scored import ScoredRange, keep_scored, parse_scored
from pipeline.annotations.formats.video_labels import read_video_labels
from pipeline.annotations.found_classes import label_space_of_files
from pipeline.annotations.label_space import IGNORE_INDEX
from pipeline.annotations.layouts import SCORED, VIDEO_LABELS
from pipeline.annotations.problems import AnnotationError, Problem
from pipeline.annotations.read import (
    class_names_in,
    find_annotation,
    has_length,
    needs_times,
    read_annotation,
)
from pipeline.annotations.segments import frames_of_video, segments_from_frames
from pipeline.annotations.times import FrameTimes
from pipeline.datasets.features import describe_transposed
from pipeline.datasets.findings import Stems
from pipeline.datasets.manifest import Source
from pipeline.datasets.scanned import Scan
from pipeline.files import canonical, is_dangling, is_hidden, leads_out
from pipeline.text.wording import listed

# How to get a table of segments from the files of other programs.
EXPORTS = {
    ".ods": "save it as 'CSV UTF-8',",
    ".xls": "save it as 'CSV UTF-8',",
}
MAX_NAMES = 8  # in one note


def read_label_space(scan: Scan, *, independent: bool) -> None:
    """Read the class list of a data set; without one, the classes are those that its labels name."""
    try:
        path = find_class_list(scan.root)
        if not path.exists() and not is_dangling(path):
            _find_classes(scan, independent=independent)
        elif scan.may_read(path):
            scan.class_list = read_class_list(path)
            scan.label_space = scan.class_list.label_space(independent=independent)
    except AnnotationError as error:
        scan.extend(None, error.problems)


def _find_classes(scan: Scan, *, independent: bool) -> None:
    """Take the classes from the labels, in alphabetical order, and say so."""
    folder, place = scan.root / "labels", scan.root / CLASSES
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [path for path in files if path.is_file() and not is_hidden(path) and registry.format_of(path)]
    if (scan.root / VIDEO_LABELS).is_file():
        files.append(scan.root / VIDEO_LABELS)
    files = [path for path in files if scan.follow_links or not leads_out(path, scan.root)]
    scan.label_space = label_space_of_files(files, independent=independent)
    if scan.label_space.classes:
        names = listed([*map(repr, scan.label_space.classes)], MAX_NAMES)
        how = "" if scan.label_space.is_exclusive else ", and any of them may overlap"
        message = f"is missing: the classes are those that the labels name, in alphabetical order{how}: {names}"
        scan.notes.append(Problem(place, None, message))
        return
    scan.add(None, place, "is missing, and no label names a class: expected one class name a line")
    for path in files:
        try:
            class_names_in(path)
        except AnnotationError as error:
            scan.extend(None, error.problems)


def read_labels_of_videos(scan: Scan, stems: Stems) -> VideoClasses | None:
    """Read <root>/labels.csv as stem -> (label, line): empty where it is missing, None where it cannot be parsed."""
    path = scan.root / VIDEO_LABELS
    if not path.exists():
        if not (scan.root / "labels").is_dir():
            message = f"is missing: the labels of {scan.kind}/ belong there, or one class a video into {VIDEO_LABELS}"
            scan.add(None, scan.root / "labels", message)
        return {}
    if not scan.label_space.classes or not scan.may_read(path):
        return None
    try:
        video_labels = read_video_labels(path, scan.label_space)
    except AnnotationError as error:
        scan.extend(None, error.problems)
        return None
    for name, (_, line) in video_labels.items():
        if stems.find(name) is None:
            scan.add(None, path, stems.unknown(name), line)
    return {stems.find(name) or name: of_video for name, of_video in video_labels.items()}


def read_scored_ranges(scan: Scan, stems: Stems) -> dict[str, list[ScoredRange]]:
    """Read <root>/scored.csv as the ranges of each stem that it names: empty where it is missing."""
    path = scan.root / SCORED
    if not (path.exists() or is_dangling(path)) or not scan.label_space.classes or not scan.may_read(path):
        return {}
    problems: list[Problem] = []
    try:
        scored = parse_scored(path, scan.label_space, problems)
    except AnnotationError as error:
        scan.extend(None, error.problems)
        return {}
    if problems:
        scan.extend(None, sorted(problems, key=lambda problem: problem.line or 0))
    for name, ranges in scored.items():
        if stems.find(name) is None:
            scan.add(None, path, stems.unknown(name), ranges[0].line)
    return {stems.find(name) or name: ranges for name, ranges in scored.items()}


def scan_labels(
    scan: Scan,
    media: Path,
    video_labels: VideoClasses | None,
    scored: Mapping[str, list[ScoredRange]],
    times: FrameTimes | None,
) -> None:
    """Read the labels of a source, also of one that cannot be read, whose length is then unknown.

    Args:
        scan: The labels and their problems are added to it.
        media: The video, or the file of features.
        video_labels: The result of `read_labels_of_videos`.
        scored: The result of `read_scored_ranges`.
        times: When the frames of the video are shown; None of features, and of a video that cannot be read.
    """
    source, annotation = scan.sources.get(media.stem), None
    label, line = (video_labels or {}).get(media.stem, (None, None))
    try:
        annotation = find_annotation(scan.root / "labels", media.stem, file_name=media.name)
        if annotation and label is not None:
            scan.add(media.stem, annotation, f"and line {line} of {VIDEO_LABELS} both label it: keep one of them")
        elif label is not None:
            scan.num_video_labels += 1
            labels = frames_of_video(label, source.num_frames if source else 1)
            _keep_labels(scan, media.stem, labels, scored.get(media.stem, []))
        elif annotation is None:
            _report_missing_labels(scan, media, video_labels)
        elif scan.label_space.classes and scan.may_read(annotation, media.stem):
            _read_labels(scan, media, annotation, scored.get(media.stem, []), times)
    except AnnotationError as error:
        other = source and annotation and _explain_length(scan, source, annotation)
        scan.extend(media.stem, [other] if other else error.problems)


def _read_labels(
    scan: Scan, media: Path, annotation: Path, ranges: list[ScoredRange], times: FrameTimes | None
) -> None:
    """Read the label file of a source.

    Raises:
        AnnotationError: Every problem of the file.
    """
    source = scan.sources.get(media.stem)
    in_seconds = needs_times(annotation)
    if source is None and in_seconds:
        return  # without the video, nothing can be said of the file
    num_frames = source.num_frames if source else None
    notes: list[Problem] = []
    labels = read_annotation(annotation, scan.label_space, num_frames=num_frames, times=times, notes=notes)
    if not leads_out(annotation, scan.root):  # what such a file holds is not shown
        scan.notes += notes
    kept = _keep_labels(scan, media.stem, labels, ranges)
    _report_left_out(scan, annotation, labels, kept)
    if not in_seconds and not has_length(annotation, scan.label_space):
        scan.tables[media.stem] = annotation
    if not scan.label_space.is_labelled(kept).any():
        scan.add(media.stem, annotation, "labels no frame: there is nothing to learn or to score")


def _explain_length(scan: Scan, source: Source, annotation: Path) -> Problem | None:
    """Describe why labels do not fit a source, where they fit another length that it might have; otherwise None."""
    try:
        num_labels = len(read_annotation(annotation, scan.label_space, num_frames=None))
    except AnnotationError:
        return None  # it is not the length
    if num_labels == source.num_frames:
        return None
    if scan.kind == "features" and num_labels == source.width:
        shape = (source.num_frames, source.width)
        return Problem(Path(source.path), None, describe_transposed(shape, f"{num_labels} labels"))
    declared, num_frames = source.declared_frames or 0, source.num_frames
    if num_frames < num_labels == declared:
        cause = (
            f"the header of the video says {declared}, {declared - num_frames} were dropped when it was recorded, and"
            " the labels count them: leave those out"
        )
        return length_problem(annotation, num_labels, num_frames, cause)
    return None


def _report_missing_labels(scan: Scan, media: Path, video_labels: VideoClasses | None) -> None:
    folder, table = scan.root / "labels", scan.root / VIDEO_LABELS
    if video_labels is None:
        return  # they may be in labels.csv, whose problems are reported
    if folder.is_dir():
        other = f", and {VIDEO_LABELS} no row for it" if video_labels else ""
        suffix, *others = [layout.suffix for layout in registry.formats_of_people()]
        message = f"is missing (or {', '.join(others)}): {media.name} has no labels{other}"
        scan.add(media.stem, folder / f"{media.stem}{suffix}", message + _describe_similar(folder, media))
    elif table.exists():
        scan.add(media.stem, table, f"has no row for {media.stem!r}: {media.name} has no label")


def _describe_similar(folder: Path, media: Path) -> str:
    """Name a file of labels/ with the stem of a video whose layout is not read; "" where there is none."""
    same_stem = (path for path in sorted(folder.iterdir()) if canonical(path.stem) == canonical(media.stem))
    path = next((path for path in same_stem if path.is_file() and not is_hidden(path)), None)
    if path is None:
        return ""
    suffix = path.suffix.lower()
    if suffix in {layout.suffix for layout in registry.formats_of_people()}:
        return f"; {path.name} lies there: rename it to {path.stem}{suffix}"
    return f"; {path.name} lies there: {EXPORTS.get(suffix, 'export it as')} {path.stem}.csv: start,stop,class"


def _keep_labels(scan: Scan, stem: str, labels: np.ndarray, ranges: list[ScoredRange]) -> np.ndarray:
    """Keep the labels of a source, as far as people looked at it; return them."""
    source, path = scan.sources.get(stem), scan.root / SCORED
    if source:
        try:
            labels = keep_scored(path, labels, ranges, scan.label_space)
        except AnnotationError as error:
            scan.extend(stem, error.problems)
        scan.labels[stem] = labels
        scan.sources[stem] = replace(source, labels_sha256=hashlib.sha256(labels.tobytes()).hexdigest())
    scan.has_labels |= len(labels) > 0
    scan.used_classes.update(segment.class_index for segment in segments_from_frames(labels))
    return labels


def _report_left_out(scan: Scan, annotation: Path, given: np.ndarray, kept: np.ndarray) -> None:
    """Report what has a class in a label file, and was not looked at, as scored.csv says."""
    lost = segments_from_frames(np.where(kept == given, IGNORE_INDEX, given))
    if lost:
        count = sum(segment.stop - segment.start for segment in lost)
        name = scan.label_space.classes[lost[0].class_index]
        what = "labels of frames" if scan.label_space.is_exclusive else "labels, each of a frame and a class,"
        message = (
            f"has {count:,} {what} that nobody looked at, as {SCORED} says, and they are left out: the first"
            f" is {name!r} at frame {lost[0].start}"
        )
        scan.left_out.append(Problem(annotation, None, message, fault="labels of what nobody looked at"))


def check_strays(scan: Scan, stems: Stems) -> None:
    """Report the label files of no source."""
    folder = scan.root / "labels"
    if not folder.is_dir():
        return
    for path in sorted(path for path in folder.iterdir() if not is_hidden(path)):
        names = registry.stems_in(path)
        if names and all(stems.find(name) is None for name in names):
            scan.add(None, path, f"labels no file of {scan.kind}/: is it misspelt, or is the file missing?")
