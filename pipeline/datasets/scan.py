"""The scan of a data set on disk, which reports its content and all of its problems together.

Layout (docs/users/data_format.md): `videos/` or `features/`, `labels/` or `labels.csv`, `classes.txt` or
`classes.csv`, optionally `scored.csv`, `splits/` and `groups.csv`.

Shapes: T frames, K classes.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.annotations.classes import ClassList, find_class_list, read_class_list
from pipeline.annotations.formats import registry
from pipeline.annotations.formats.base import VideoClasses
from pipeline.annotations.formats.parsing import length_problem
from pipeline.annotations.formats.scored import ScoredRange, keep_scored, parse_scored
from pipeline.annotations.formats.video_labels import read_video_labels
from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.layouts import SCORED, VIDEO_LABELS
from pipeline.annotations.problems import AnnotationError, Problem
from pipeline.annotations.read import find_annotation, read_annotation
from pipeline.annotations.segments import frames_of_video, segments_from_frames
from pipeline.datasets.features import describe_transposed, read_feature_file
from pipeline.datasets.findings import Findings, Stems, digest, find_files, read_groups, read_splits
from pipeline.datasets.frame_numbers import find_doubtful_numbers
from pipeline.datasets.manifest import Kind, Source
from pipeline.errors import InputError, describe_reason
from pipeline.files import canonical, is_dangling, is_hidden
from pipeline.video.open import open_video
from pipeline.video.types import VIDEO_SUFFIXES, Backend, ReaderName, scaling_reader

# How to get a table of segments from the files of other programs.
EXPORTS = {
    ".eaf": "export it from ELAN as",
    ".ods": "save it as 'CSV UTF-8',",
    ".textgrid": "export it from Praat as",
    ".tsv": "separate its columns by commas, in",
    ".xls": "save it as 'CSV UTF-8',",
    ".xlsx": "save it as 'CSV UTF-8',",
}


@dataclass
class Scan(Findings):
    """The content of a data set and everything that is wrong with it.

    Attributes:
        kind: "videos" or "features".
        class_list: The class list; None where it cannot be read.
        label_space: The classes.
        sources: The sources that can be read, by stem.
        labels: int64 [T], or int8 [T, K] where classes overlap, of each source, by stem.
        num_video_labels: The number of videos to which labels.csv gives one class, or one set of classes.
        has_labels: Whether any labels could be read, be they of files that cannot be read.
        used_classes: The indices of the classes in these labels.
        left_out: The label files of frames that nobody looked at, as scored.csv says, with how many they are.
        tables: The label files with start and stop of each segment, by stem.
    """

    kind: Kind = "videos"
    class_list: ClassList | None = None
    label_space: LabelSpace = field(default_factory=lambda: LabelSpace(()))
    sources: dict[str, Source] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    num_video_labels: int = 0
    has_labels: bool = False
    left_out: list[Problem] = field(default_factory=list)
    used_classes: set[int] = field(default_factory=set)
    tables: dict[str, Path] = field(default_factory=dict)

    def usable_sources(self) -> list[Source]:
        """Return the labelled sources without a problem, sorted by stem; if splits name some of them, only those."""
        stems = sorted(self.sources.keys() & self.labels.keys() - self.problems.keys())
        sources = [self.sources[stem] for stem in stems]
        return [source for source in sources if source.split] or sources

    def warnings(self) -> list[Problem]:
        """Return what is doubtful about label files that can be used."""
        sources = {source.stem: source for source in self.usable_sources()}
        return find_doubtful_numbers(sources, self.labels, self.tables, self.label_space) + self.left_out

    def unused_classes(self) -> list[str]:
        """Return the classes that no frame is labelled with, as far as the labels could be read."""
        return [name for index, name in enumerate(self.label_space.classes) if index not in self.used_classes]

    def unused_class_problems(self) -> list[Problem]:
        """Return a problem for each of `unused_classes`; none without any labels, which is reported otherwise."""
        if self.class_list is None or not self.has_labels:
            return []
        cause = "is it spelt otherwise in the labels, or should it go?"
        lines = dict(zip(self.class_list.names, self.class_list.lines, strict=True))
        return [
            Problem(self.class_list.path, lines[name], f"no frame is labelled {name!r}: {cause}")
            for name in self.unused_classes()
        ]


def scan_dataset(
    root: Path,
    *,
    reader: Backend = "auto",
    independent: bool = False,
    follow_links: bool = False,
    progress: Callable[[list[Path]], Iterable[Path]] = lambda paths: paths,
) -> Scan:
    """Check every file of a data set.

    Args:
        root: The folder of the data set.
        reader: The reader that will decode the videos: a video that it refuses is a problem.
        independent: Whether each class is a group of its own, see `ClassList.label_space`.
        follow_links: See `Findings`.
        progress: Wraps the list of media files, for a progress bar.

    Returns:
        The content and all problems: the function raises nothing because of the content.
    """
    scan = Scan(Path(root), follow_links)
    if not scan.root.is_dir():
        scan.add(None, scan.root, "is not a folder: a data set is a folder with videos/ or features/, and labels/")
        return scan
    _read_label_space(scan, independent=independent)
    media = _find_media(scan)
    if not media:
        return scan  # otherwise each remaining file would be reported as belonging to no source
    stems = Stems(scan.kind, {path.stem for path in media})
    groups = read_groups(scan, stems)
    video_labels = _read_video_labels(scan, stems)
    scored = _read_scored(scan, stems)
    for path in progress(media):
        _scan_source(scan, path, groups.get(path.stem, path.stem), scaling_reader(reader))
        _scan_labels(scan, path, video_labels, scored)
    _check_widths(scan)
    _check_strays(scan, stems)
    for stem, split in read_splits(scan, stems, groups).items():
        if stem in scan.sources:
            scan.sources[stem] = replace(scan.sources[stem], split=split)
    return scan


def _read_label_space(scan: Scan, *, independent: bool) -> None:
    try:
        path = find_class_list(scan.root)
        if scan.may_read(path):
            scan.class_list = read_class_list(path)
            scan.label_space = scan.class_list.label_space(independent=independent)
    except AnnotationError as error:
        scan.extend(None, error.problems)


def _find_media(scan: Scan) -> list[Path]:
    folders = [scan.root / name for name in ("videos", "features") if (scan.root / name).is_dir()]
    if len(folders) != 1:
        found = "both videos/ and features/: keep one" if folders else "neither videos/ nor features/"
        scan.add(None, scan.root, f"has {found}")
        return []
    scan.kind = "videos" if folders[0].name == "videos" else "features"
    suffixes = VIDEO_SUFFIXES if scan.kind == "videos" else {".npy"}
    return find_files(scan, folders[0], suffixes)


def _scan_source(scan: Scan, path: Path, group: str, reader: ReaderName) -> None:
    try:
        is_video = scan.kind == "videos"
        scan.sources[path.stem] = _read_video(path, group, reader) if is_video else _read_features(path, group)
    except InputError as error:
        scan.add(path.stem, path, str(error).removeprefix(f"{path}: "))
    except OSError as error:
        scan.add(path.stem, path, f"cannot be read: {describe_reason(error)}")


def _read_video_labels(scan: Scan, stems: Stems) -> VideoClasses | None:
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


def _read_scored(scan: Scan, stems: Stems) -> dict[str, list[ScoredRange]]:
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


def _scan_labels(
    scan: Scan, media: Path, video_labels: VideoClasses | None, scored: Mapping[str, list[ScoredRange]]
) -> None:
    """Read the labels of a source, also of one that cannot be read, whose length is then unknown.

    `video_labels` and `scored` are the results of `_read_video_labels` and `_read_scored`.
    """
    source, annotation = scan.sources.get(media.stem), None
    label, line = (video_labels or {}).get(media.stem, (None, None))
    try:
        annotation = find_annotation(scan.root / "labels", media.stem)
        if annotation and label is not None:
            scan.add(media.stem, annotation, f"and line {line} of {VIDEO_LABELS} both label it: keep one of them")
        elif label is not None:
            scan.num_video_labels += 1
            labels = frames_of_video(label, source.num_frames if source else 1)
            _keep_labels(scan, media.stem, labels, scored.get(media.stem, []))
        elif annotation is None:
            _report_missing_labels(scan, media, video_labels)
        elif scan.label_space.classes and scan.may_read(annotation, media.stem):
            labels = read_annotation(annotation, scan.label_space, num_frames=source.num_frames if source else None)
            kept = _keep_labels(scan, media.stem, labels, scored.get(media.stem, []))
            _report_left_out(scan, annotation, labels, kept)
            layout = registry.data_set_format_of(annotation)
            if layout and not layout.has_length(annotation, scan.label_space):
                scan.tables[media.stem] = annotation
            if not scan.label_space.is_labelled(kept).any():
                scan.add(media.stem, annotation, "labels no frame: there is nothing to learn or to score")
    except AnnotationError as error:
        other = source and annotation and _explain_length(scan, source, annotation)
        scan.extend(media.stem, [other] if other else error.problems)


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
        suffix, *others = [layout.suffix for layout in registry.data_set_formats()]
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
    if suffix in {layout.suffix for layout in registry.data_set_formats()}:
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


def _read_video(path: Path, group: str, reader: ReaderName) -> Source:
    with open_video(path, backend=reader) as video:
        p = video.properties
        return Source(
            stem=path.stem,
            path=str(path),
            group=group,
            num_frames=p.num_frames,
            frame_rate=str(p.frame_rate),
            width=p.width,
            height=p.height,
            declared_frames=p.declared_frames,
            variable_frame_rate=p.variable_frame_rate,
            sha256=digest(path),
        )


def _read_features(path: Path, group: str) -> Source:
    num_frames, num_features = read_feature_file(path).shape
    return Source(path.stem, str(path), group, num_frames, width=num_features, sha256=digest(path))


def _check_widths(scan: Scan) -> None:
    """Report the feature files whose width differs from that of most files: it must be the same in all of them.

    Where all lengths are the same and the widths are as different as lengths are, the files are transposed.
    """
    if scan.kind == "videos":
        return
    named = {str(problem.path) for problems in scan.problems.values() for problem in problems}
    sources = {stem: source for stem, source in scan.sources.items() if source.path not in named}
    widths = Counter(source.width or 0 for source in sources.values())
    if len(widths) < 2:
        return
    usual = widths.most_common(1)[0][0]
    are_lengths = len(widths) >= max(3, len(sources) / 2) and len({s.num_frames for s in sources.values()}) == 1
    for stem, source in sources.items():
        path, width = Path(source.path), source.width or 0
        if are_lengths:
            message = describe_transposed((source.num_frames, width), "features of one frame")
            scan.problems[stem] = [Problem(path, None, message)]  # instead of those of its labels
        elif width != usual:
            scan.add(stem, path, f"has {width} features a frame where most files have {usual}")


def _check_strays(scan: Scan, stems: Stems) -> None:
    folder = scan.root / "labels"
    if not folder.is_dir():
        return
    for path in sorted(path for path in folder.iterdir() if not is_hidden(path)):
        layout = registry.data_set_format_of(path)
        if layout is not None and stems.find(layout.stem(path)) is None:
            scan.add(None, path, f"labels no file of {scan.kind}/: is it misspelt, or is the file missing?")
