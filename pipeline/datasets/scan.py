"""The scan of a data set on disk, which reports its content and all of its problems together.

Layout (docs/users/data_format.md): `videos/` or `features/`, `labels/` or `labels.csv`, `classes.txt`, optionally
`splits/` and `groups.csv`.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.annotations.classes import read_classes
from pipeline.annotations.formats import registry
from pipeline.annotations.formats.video_labels import read_video_labels
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import VIDEO_LABELS
from pipeline.annotations.problems import AnnotationError, Problem, did_you_mean, read_lines
from pipeline.annotations.read import find_annotation, read_annotation
from pipeline.datasets.features import read_feature_file
from pipeline.datasets.manifest import SPLITS, Kind, Source
from pipeline.errors import InputError
from pipeline.files import check_name
from pipeline.video.open import open_video
from pipeline.video.types import VIDEO_SUFFIXES, Backend, ReaderName, scaling_reader


@dataclass
class Findings:
    """Everything that is wrong with a data set.

    Attributes:
        root: The folder of the data set.
        problems: By the stem of the file that they make unusable, or None for the whole data set.
    """

    root: Path
    problems: dict[str | None, list[Problem]] = field(default_factory=dict)

    def add(self, stem: str | None, path: Path, message: str, line: int | None = None) -> None:
        """Add a problem of the file `stem`, or None for the whole data set; see `Problem` for the other arguments."""
        self.problems.setdefault(stem, []).append(Problem(path, line, message))

    def extend(self, stem: str | None, problems: Iterable[Problem]) -> None:
        """Add problems of the file `stem`, or None for the whole data set."""
        self.problems.setdefault(stem, []).extend(problems)

    def all_problems(self) -> list[Problem]:
        """Return the problems of the whole data set, then those of each file, in the order in which they were added."""
        return [problem for stem in sorted(self.problems, key=lambda s: s or "") for problem in self.problems[stem]]

    def raise_or_skip(self, *, skip_broken: bool, section: str, files: str) -> list[Problem]:
        """Return the problems of the files to leave out.

        Args:
            skip_broken: Whether files with a problem are left out.
            section: The section of the settings with `skip_broken`, for the message.
            files: The noun for the files, for the message.

        Raises:
            InputError: The data set as a whole has a problem, or a file has one and `skip_broken` is false.
        """
        problems = self.all_problems()
        if problems and (None in self.problems or not skip_broken):
            hint = "" if None in self.problems else f"\n({section}.skip_broken=true leaves these {files} out)"
            raise InputError("\n".join(map(str, problems)) + hint)
        return problems


@dataclass
class Scan(Findings):
    """The content of a data set and everything that is wrong with it.

    Attributes:
        kind: "videos" or "features".
        label_space: The classes.
        sources: The sources that can be read, by stem.
        labels: int64 [T] of each source, by stem.
        num_video_labels: The number of videos to which labels.csv gives one class.
        used_classes: The indices of the classes in the labels, including those of files that cannot be read.
    """

    kind: Kind = "videos"
    label_space: LabelSpace = field(default_factory=lambda: LabelSpace(()))
    sources: dict[str, Source] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    num_video_labels: int = 0
    used_classes: set[int] = field(default_factory=set)

    def usable_sources(self) -> list[Source]:
        """Return the labelled sources without a problem, sorted by stem; if splits name some of them, only those."""
        stems = sorted(self.sources.keys() & self.labels.keys() - self.problems.keys())
        sources = [self.sources[stem] for stem in stems]
        return [source for source in sources if source.split] or sources

    def unused_classes(self) -> list[str]:
        """Return the classes that no frame is labelled with, as far as the labels could be read."""
        return [name for index, name in enumerate(self.label_space.classes) if index not in self.used_classes]

    def unused_class_problems(self) -> list[Problem]:
        """Return a problem for each of `unused_classes`; none without any labels, which is reported otherwise."""
        names = self.unused_classes() if self.used_classes else []
        path, classes = self.root / "classes.txt", self.label_space.classes
        cause = "is it spelt otherwise in the labels, or should it go?"
        return [Problem(path, classes.index(name) + 1, f"no frame is labelled {name!r}: {cause}") for name in names]


@dataclass(frozen=True)
class Stems:
    """The stems that groups.csv and splits/ may name.

    Attributes:
        folder: The name of the folder of the files.
        own: The stems of the files in <root>/`folder`.
        video_of: For each image that is a frame of a video, the stem of the video; the group and the split of the video
            also hold for the image.
        others: Stems that may be named and are irrelevant here.
    """

    folder: str
    own: set[str]
    video_of: dict[str, str] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)

    @cached_property
    def known(self) -> set[str]:
        """All stems that may be named."""
        return self.own | set(self.video_of.values()) | self.others

    def inherit(self, of_stem: Mapping[str, str]) -> dict[str, str]:
        """Return `of_stem` with an added entry for each image that it does not name, but whose video it names."""
        inherited = {stem: of_stem[video] for stem, video in self.video_of.items() if video in of_stem}
        return inherited | dict(of_stem)

    def unknown(self, name: str) -> str:
        """Describe an unknown name, with a guess at what was meant."""
        stem = Path(name).stem
        guess = f": did you mean {stem!r}?" if stem in self.known else did_you_mean(name, sorted(self.known))
        return f"{name!r} is not a stem of {self.folder}/{guess}"


def scan_dataset(
    root: Path,
    *,
    reader: Backend = "auto",
    progress: Callable[[list[Path]], Iterable[Path]] = lambda paths: paths,
) -> Scan:
    """Check every file of a data set.

    Args:
        root: The folder of the data set.
        reader: The reader that will decode the videos: a video that it refuses is a problem.
        progress: Wraps the list of media files, for a progress bar.

    Returns:
        The content and all problems: the function raises nothing because of the content.
    """
    scan = Scan(Path(root))
    if not scan.root.is_dir():
        scan.add(None, scan.root, "is not a folder: a data set is a folder with videos/ or features/, and labels/")
        return scan
    try:
        scan.label_space = LabelSpace(read_classes(scan.root / "classes.txt"))
    except AnnotationError as error:
        scan.extend(None, error.problems)
    media = _find_media(scan)
    if not media:
        return scan  # otherwise each remaining file would be reported as belonging to no source
    stems = Stems(scan.kind, {path.stem for path in media})
    groups = read_groups(scan, stems)
    video_labels = _read_video_labels(scan, stems)
    for path in progress(media):
        _scan_source(scan, path, groups.get(path.stem, path.stem), scaling_reader(reader))
        _scan_labels(scan, path, video_labels)
    _check_widths(scan)
    _check_strays(scan, stems.own)
    for stem, split in read_splits(scan, stems, groups).items():
        if stem in scan.sources:
            scan.sources[stem] = replace(scan.sources[stem], split=split)
    return scan


def _find_media(scan: Scan) -> list[Path]:
    folders = [scan.root / name for name in ("videos", "features") if (scan.root / name).is_dir()]
    if len(folders) != 1:
        found = "both videos/ and features/: keep one" if folders else "neither videos/ nor features/"
        scan.add(None, scan.root, f"has {found}")
        return []
    scan.kind = "videos" if folders[0].name == "videos" else "features"
    suffixes = VIDEO_SUFFIXES if scan.kind == "videos" else {".npy"}
    return find_files(scan, folders[0], suffixes)


def find_files(findings: Findings, folder: Path, suffixes: Set[str]) -> list[Path]:
    """Find the media files of a folder.

    Args:
        findings: Files with other suffixes or with the stem of another file, and an empty folder, are added to it.
        folder: The folder.
        suffixes: The suffixes, in lower case; those of the files may be in upper case.

    Returns:
        The files, sorted; of those with the same stem, the first.
    """
    paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    found: dict[str, Path] = {}
    for path in paths:
        try:
            check_name(path)
        except InputError as error:
            findings.add(None, path, str(error).removeprefix(f"{path}: "))
            continue
        if path.suffix.lower() not in suffixes:
            findings.add(None, path, f"is not one of {', '.join(sorted(suffixes))}: move it out of {folder.name}/")
        elif path.stem in found:
            findings.add(path.stem, path, f"has the same stem as {found[path.stem].name}: rename one of them")
        else:
            found[path.stem] = path
    if not paths:
        findings.add(None, folder, "is empty")
    return list(found.values())


def _scan_source(scan: Scan, path: Path, group: str, reader: ReaderName) -> None:
    try:
        is_video = scan.kind == "videos"
        scan.sources[path.stem] = _read_video(path, group, reader) if is_video else _read_features(path, group)
    except InputError as error:
        scan.add(path.stem, path, str(error).removeprefix(f"{path}: "))
    except OSError as error:
        scan.add(path.stem, path, f"cannot be read: {error.strerror}")


def _read_video_labels(scan: Scan, stems: Stems) -> dict[str, tuple[int, int]] | None:
    """Read <root>/labels.csv as stem -> (class, line): empty where it is missing, None where it cannot be parsed."""
    path = scan.root / VIDEO_LABELS
    if not path.exists():
        if not (scan.root / "labels").is_dir():
            message = f"is missing: the labels of {scan.kind}/ belong there, or one class a video into {VIDEO_LABELS}"
            scan.add(None, scan.root / "labels", message)
        return {}
    if not scan.label_space.classes:
        return None
    try:
        video_labels = read_video_labels(path, scan.label_space)
    except AnnotationError as error:
        scan.extend(None, error.problems)
        return None
    for stem, (_, line) in video_labels.items():
        if stem not in stems.own:
            scan.add(None, path, stems.unknown(stem), line)
    return video_labels


def _scan_labels(scan: Scan, media: Path, video_labels: Mapping[str, tuple[int, int]] | None) -> None:
    """Read the labels of a source, also of one that cannot be read, whose length is then unknown.

    `video_labels` is the result of `_read_video_labels`.
    """
    source = scan.sources.get(media.stem)
    class_index, line = (video_labels or {}).get(media.stem, (None, None))
    try:
        annotation = find_annotation(scan.root / "labels", media.stem)
        if annotation and class_index is not None:
            scan.add(media.stem, annotation, f"and line {line} of {VIDEO_LABELS} both label it: keep one of them")
        elif class_index is not None:
            scan.num_video_labels += 1
            _keep_labels(scan, media.stem, np.full(source.num_frames if source else 1, class_index, dtype=np.int64))
        elif annotation is None:
            _report_missing_labels(scan, media, video_labels)
        elif scan.label_space.classes:
            labels = read_annotation(annotation, scan.label_space, num_frames=source.num_frames if source else None)
            _keep_labels(scan, media.stem, labels)
            if not scan.label_space.is_labelled(labels).any():
                scan.add(media.stem, annotation, "labels no frame: there is nothing to learn or to score")
    except AnnotationError as error:
        scan.extend(media.stem, error.problems)


def _report_missing_labels(scan: Scan, media: Path, video_labels: Mapping[str, tuple[int, int]] | None) -> None:
    folder, table = scan.root / "labels", scan.root / VIDEO_LABELS
    if video_labels is None:
        return  # they may be in labels.csv, whose problems are reported
    if folder.is_dir():
        other = f", and {VIDEO_LABELS} no row for it" if video_labels else ""
        suffix, *others = [layout.suffix for layout in registry.data_set_formats()]
        message = f"is missing (or {', '.join(others)}): {media.name} has no labels{other}"
        scan.add(media.stem, folder / f"{media.stem}{suffix}", message)
    elif table.exists():
        scan.add(media.stem, table, f"has no row for {media.stem!r}: {media.name} has no label")


def _keep_labels(scan: Scan, stem: str, labels: np.ndarray) -> None:
    scan.used_classes.update(np.unique(labels).tolist())
    if source := scan.sources.get(stem):
        scan.labels[stem] = labels
        scan.sources[stem] = replace(source, labels_sha256=hashlib.sha256(labels.tobytes()).hexdigest())


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
    """Report the feature files whose width differs from that of most files: it must be the same in all of them."""
    if scan.kind == "videos" or not scan.sources:
        return
    usual = Counter(source.width for source in scan.sources.values()).most_common(1)[0][0]
    for stem, source in scan.sources.items():
        if source.width != usual:
            scan.add(stem, Path(source.path), f"has {source.width} features a frame where most files have {usual}")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_strays(scan: Scan, stems: set[str]) -> None:
    folder = scan.root / "labels"
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        layout = registry.data_set_format_of(path)
        if layout is not None and layout.stem(path) not in stems:
            scan.add(None, path, f"labels no file of {scan.kind}/: is it misspelt, or is the file missing?")


def read_groups(findings: Findings, stems: Stems) -> dict[str, str]:
    """Read <root>/groups.csv.

    A stem without a row is its own group only where the file is missing or names only other files (videos); otherwise
    it is a problem.

    Args:
        findings: Problems of the file are added to it.
        stems: The stems that the file may name.

    Returns:
        The group of each stem that has one; empty where the file is missing.
    """
    path = findings.root / "groups.csv"
    if not path.exists():
        return {}
    groups: dict[str, str] = {}
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(read_lines(path))]
    except AnnotationError as error:
        findings.extend(None, error.problems)
        return {}
    if not rows or rows[0] != ["stem", "group"]:
        got = ",".join(rows[0]) if rows else ""
        findings.add(None, path, f"got the header {got!r}, expected 'stem,group'", 1)
        return {}
    for line, row in enumerate(rows[1:], 2):
        if not any(row):
            continue
        if len(row) != 2 or not all(row):
            findings.add(None, path, f"got {','.join(row)!r}, expected a stem and its group", line)
        elif row[0] in groups:
            findings.add(None, path, f"{row[0]!r} is here a second time", line)
        elif row[0] not in stems.known:
            findings.add(None, path, stems.unknown(row[0]), line)
        else:
            groups[row[0]] = row[1]
    groups = stems.inherit(groups)
    is_of_others = bool(groups.keys() & stems.others) and not groups.keys() & stems.own
    if is_of_others:
        return groups
    if missing := sorted(stems.own - groups.keys()):
        shown = ", ".join(map(repr, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        findings.add(None, path, f"has no row for {shown}: without its group a file could leak between splits")
    return groups


def read_splits(findings: Findings, stems: Stems, groups: Mapping[str, str]) -> dict[str, str]:
    """Read the files of <root>/splits.

    Args:
        findings: Problems of the files are added to it, also where the stems of a group are in several splits.
        stems: The stems that the files may name.
        groups: The group of each stem; a stem that is not in it is its own group.

    Returns:
        The split of each stem; a stem that is in none of the files has no entry.
    """
    folder = findings.root / "splits"
    if not folder.is_dir():
        return {}
    names = [f"{split}.txt" for split in SPLITS]
    for path in sorted(p for p in folder.iterdir() if p.name not in names and not p.name.startswith(".")):
        findings.add(None, path, f"is not one of {', '.join(names)}")
    places: dict[str, tuple[str, int]] = {}  # split and line of each stem
    for split in SPLITS:
        _read_split(findings, split, stems, places)
    _check_groups_stay_together(findings, places, groups)
    return stems.inherit({stem: split for stem, (split, _) in places.items()})


def _check_groups_stay_together(
    findings: Findings, places: Mapping[str, tuple[str, int]], groups: Mapping[str, str]
) -> None:
    homes: dict[str, str] = {}  # the first stem of each group
    split_groups: set[tuple[str, str]] = set()  # (group, split); each is reported once
    for stem, (split, line) in places.items():
        group = groups.get(stem, stem)
        first = homes.setdefault(group, stem)
        home, home_line = places[first]
        if home != split and (group, split) not in split_groups:
            split_groups.add((group, split))
            where = f"{first!r} in {home}.txt, line {home_line}"
            message = f"{stem!r} is of group {group!r}, as is {where}: a group belongs in one split"
            findings.add(None, findings.root / "splits" / f"{split}.txt", message, line)


def _read_split(findings: Findings, split: str, stems: Stems, places: dict[str, tuple[str, int]]) -> None:
    path = findings.root / "splits" / f"{split}.txt"
    if not path.exists():
        return
    try:
        lines = [line.strip() for line in read_lines(path)]
    except AnnotationError as error:
        findings.extend(None, error.problems)
        return
    for line, stem in enumerate(lines, 1):
        if not stem:
            continue
        if stem in places:
            other, other_line = places[stem]
            where = f"on line {other_line}" if other == split else f"in {other}.txt, line {other_line}"
            findings.add(None, path, f"{stem!r} is already {where}: it belongs in one split, once", line)
        elif stem not in stems.known:
            findings.add(None, path, stems.unknown(stem), line)
        else:
            places[stem] = split, line
