"""A data set on disk: every problem of it found at once, its split by group, and the manifest that later stages read.

Layout (docs/design.md): `videos/` or `features/`, `labels/`, `classes.txt`, optionally `splits/` and `groups.csv`.
"""

import csv
import hashlib
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.numpy import load_file, save_file

from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.labels.annotations import AnnotationError, Problem, find_annotation, read_annotation
from pipeline.labels.classes import read_classes
from pipeline.labels.segments import IGNORE_INDEX
from pipeline.video.reader import VIDEO_SUFFIXES, VideoError, open_video

SPLITS = ("train", "val", "test")
Kind = Literal["videos", "features"]


@dataclass(frozen=True)
class Source:
    """One video, or one file of ready features, as it was found on disk."""

    stem: str
    path: str
    group: str
    num_frames: int
    frame_rate: str | None = None  # a fraction such as "30000/1001"; None: ready features
    width: int | None = None
    height: int | None = None
    declared_frames: int | None = None
    variable_frame_rate: bool | None = None
    sha256: str = ""
    split: str | None = None  # None: named by no split, left out


@dataclass
class Scan:
    """What a data set holds and everything that is wrong with it.

    `problems` maps the stem that a problem condemns, or None for the whole data set, to its problems.
    """

    root: Path
    kind: Kind = "videos"
    classes: tuple[str, ...] = ()
    sources: dict[str, Source] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)  # int64 [T] each
    problems: dict[str | None, list[Problem]] = field(default_factory=dict)

    def add(self, stem: str | None, path: Path, message: str, line: int | None = None) -> None:
        self.problems.setdefault(stem, []).append(Problem(path, line, message))

    def all_problems(self) -> list[Problem]:
        return [problem for stem in sorted(self.problems, key=lambda s: s or "") for problem in self.problems[stem]]

    def unused_classes(self) -> list[str]:
        used = {int(index) for labels in self.labels.values() for index in np.unique(labels)}
        return [name for index, name in enumerate(self.classes) if index not in used]


@dataclass(frozen=True)
class Manifest:
    """The data set as training sees it: the sources that are whole, each with its split."""

    name: str
    kind: Kind
    classes: tuple[str, ...]
    background: str | None
    sources: tuple[Source, ...]

    def of_split(self, split: str) -> list[Source]:
        return [source for source in self.sources if source.split == split]

    def fingerprint(self) -> str:
        """Hex digest over contents, classes and splits; where the files lie does not matter."""
        rows = [(source.stem, source.sha256, source.split) for source in self.sources]
        return hashlib.sha256(json.dumps([self.kind, self.classes, rows]).encode()).hexdigest()[:16]


def scan_dataset(root: Path, *, progress: Callable[[list[Path]], Iterable[Path]] = lambda paths: paths) -> Scan:
    """Look at every file of a data set. Never raises for what is in it: the problems are in the result.

    `progress` wraps the list of media files as it is walked (a progress bar).
    """
    scan = Scan(Path(root))
    if not scan.root.is_dir():
        scan.add(None, scan.root, "is not a folder: a data set is a folder with videos/ or features/, and labels/")
        return scan
    try:
        scan.classes = read_classes(scan.root / "classes.txt")
    except InputError as error:
        scan.add(None, scan.root / "classes.txt", str(error).removeprefix(f"{scan.root / 'classes.txt'}: "))
    media = _find_media(scan)
    groups = _read_groups(scan, {path.stem for path in media})
    for path in progress(media):
        _scan_source(scan, path, groups.get(path.stem, path.stem))
    _check_strays(scan, {path.stem for path in media})
    _read_splits(scan, {path.stem for path in media})
    return scan


def _find_media(scan: Scan) -> list[Path]:
    folders = [scan.root / name for name in ("videos", "features") if (scan.root / name).is_dir()]
    if len(folders) != 1:
        found = "both videos/ and features/: keep one" if folders else "neither videos/ nor features/"
        scan.add(None, scan.root, f"has {found}")
        return []
    scan.kind = "videos" if folders[0].name == "videos" else "features"
    suffixes = VIDEO_SUFFIXES if scan.kind == "videos" else {".npy"}
    paths = sorted(p for p in folders[0].iterdir() if p.is_file() and not p.name.startswith("."))
    media: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() not in suffixes:
            scan.add(None, path, f"is not one of {', '.join(sorted(suffixes))}: move it out of {folders[0].name}/")
        elif path.stem in media:
            scan.add(path.stem, path, f"has the same stem as {media[path.stem].name}: rename one of them")
        else:
            media[path.stem] = path
    if not paths:
        scan.add(None, folders[0], "is empty")
    return list(media.values())


def _scan_source(scan: Scan, path: Path, group: str) -> None:
    try:
        source = _read_video(path, group) if scan.kind == "videos" else _read_features(scan, path, group)
    except (VideoError, InputError) as error:
        scan.add(path.stem, path, str(error).removeprefix(f"{path}: "))
        return
    scan.sources[path.stem] = source
    try:
        annotation = find_annotation(scan.root / "labels", path.stem)
        if annotation is None:
            labels = scan.root / "labels" / f"{path.stem}.csv"
            scan.add(path.stem, labels, f"is missing (or .txt): {path.name} has no labels")
        elif scan.classes:
            scan.labels[path.stem] = read_annotation(annotation, scan.classes, num_frames=source.num_frames)
    except AnnotationError as error:
        scan.problems.setdefault(path.stem, []).extend(error.problems)


def _read_video(path: Path, group: str) -> Source:
    with open_video(path) as reader:
        p = reader.properties
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
            sha256=_digest(path),
        )


def read_feature_file(path: Path) -> np.ndarray:
    """Ready features of one video, float [T,F]. Raises InputError naming the file and what it holds instead."""
    try:
        features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: is not a readable .npy array ({error}): is it truncated?") from None
    if features.ndim != 2 or 0 in features.shape or not np.issubdtype(features.dtype, np.floating):
        got = f"{features.dtype} of shape {list(features.shape)}"
        raise InputError(f"{path}: got {got}, expected floats of shape [frames, features]: is it transposed or empty?")
    if not np.isfinite(features).all():
        raise InputError(f"{path}: holds NaN or infinite values")
    return features


def _read_features(scan: Scan, path: Path, group: str) -> Source:
    features = read_feature_file(path)
    for other in scan.sources.values():
        if other.width != features.shape[1]:
            raise InputError(
                f"{path}: has {features.shape[1]} features a frame where {Path(other.path).name} has {other.width}"
            )
        break
    return Source(path.stem, str(path), group, len(features), width=features.shape[1], sha256=_digest(path))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_strays(scan: Scan, stems: set[str]) -> None:
    folder = scan.root / "labels"
    if not folder.is_dir():
        return
    for path in sorted(p for p in folder.iterdir() if p.suffix in {".csv", ".txt"}):
        if path.stem not in stems:
            scan.add(None, path, f"labels no file of {scan.kind}/: is it misspelt, or is the file missing?")


def _read_groups(scan: Scan, stems: set[str]) -> dict[str, str]:
    """groups.csv as stem -> group; a stem without a row is a group of its own only where the file is missing."""
    path = scan.root / "groups.csv"
    if not path.exists():
        return {}
    groups: dict[str, str] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if [cell.strip() for cell in header] != ["stem", "group"]:
            scan.add(None, path, f"got the header {','.join(header)!r}, expected 'stem,group'", 1)
            return {}
        for line, row in enumerate(rows, 2):
            if len(row) != 2 or not all(cell.strip() for cell in row):
                scan.add(None, path, f"got {','.join(row)!r}, expected a stem and its group", line)
            elif row[0] in groups:
                scan.add(None, path, f"{row[0]!r} is here a second time", line)
            elif row[0] not in stems:
                scan.add(None, path, f"{row[0]!r} is no stem of {scan.kind}/", line)
            else:
                groups[row[0]] = row[1].strip()
    for stem in sorted(stems - groups.keys()):
        scan.add(None, path, f"has no row for {stem!r}: without a group it could leak between splits")
    return groups


def _read_splits(scan: Scan, stems: set[str]) -> None:
    """Write the splits of <root>/splits into the sources, where there are any."""
    split_of: dict[str, str] = {}
    for split in SPLITS:
        path = scan.root / "splits" / f"{split}.txt"
        if not path.exists():
            continue
        for line, stem in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            stem = stem.strip()
            if not stem:
                continue
            if stem in split_of:
                where = "twice in this split" if split_of[stem] == split else f"also in splits/{split_of[stem]}.txt"
                scan.add(None, path, f"{stem!r} is {where}", line)
            elif stem not in stems:
                scan.add(None, path, f"{stem!r} is no stem of {scan.kind}/", line)
            split_of.setdefault(stem, split)
    groups: dict[str, str] = {}
    for stem, split in sorted(split_of.items()):
        if (source := scan.sources.get(stem)) is None:
            continue
        scan.sources[stem] = Source(**{**asdict(source), "split": split})
        if groups.setdefault(source.group, split) != split:
            path = scan.root / "splits" / f"{split}.txt"
            scan.add(None, path, f"{stem!r} is of group {source.group!r}, which is also in {groups[source.group]}.txt")


def assign_splits(
    sources: Sequence[Source], *, seed: int, val_fraction: float, test_fraction: float, has_splits: bool
) -> list[Source]:
    """Split by group, never by frame or video. A split that <root>/splits names is kept as it is.

    Where no split is named, groups are dealt at random; where train is named and val is not, val comes from train's
    groups. Raises InputError where there are too few groups for the fractions asked for.
    """
    named = {source.split for source in sources}
    pool = "train" if has_splits else None
    groups = sorted({source.group for source in sources if source.split == pool})
    random.Random(seed).shuffle(groups)
    wanted = {"test": 0.0 if has_splits else test_fraction, "val": 0.0 if "val" in named else val_fraction}
    chosen: dict[str, str] = {}
    for split, fraction in wanted.items():
        count = max(1, round(fraction * len(groups))) if fraction > 0 else 0
        for _ in range(min(count, len(groups) - len(chosen))):
            chosen[groups[len(chosen)]] = split
    if groups and len(chosen) >= len(groups):
        raise InputError(
            f"{len(groups)} group(s) cannot be split into train, val and test: add groups (or videos without"
            " groups.csv), set dataset.val_fraction or dataset.test_fraction to 0, or write splits/*.txt"
        )
    default = "train" if not has_splits else None
    return [
        Source(**{**asdict(s), "split": chosen.get(s.group, default or s.split) if s.split == pool else s.split})
        for s in sources
    ]


def write_manifest(manifest: Manifest, labels: dict[str, np.ndarray], folder: Path) -> None:
    """Write manifest.json and labels.safetensors (int64 [T] for each stem; IGNORE_INDEX: unlabelled) into `folder`."""
    with replacing(folder / "labels.safetensors") as path:
        save_file({source.stem: labels[source.stem] for source in manifest.sources}, path)
    with replacing(folder / "manifest.json") as path:
        path.write_text(json.dumps(asdict(manifest), indent=1) + "\n")


def read_manifest(folder: Path) -> tuple[Manifest, dict[str, np.ndarray]]:
    """Read what `write_manifest` wrote."""
    fields = json.loads((folder / "manifest.json").read_text())
    fields["classes"] = tuple(fields["classes"])
    fields["sources"] = tuple(Source(**source) for source in fields["sources"])
    return Manifest(**fields), load_file(folder / "labels.safetensors")


def video_class(labels: np.ndarray) -> int | None:
    """The one class of a video's labelled frames, for many-to-one; None where there is none or more than one."""
    found = np.unique(labels[labels != IGNORE_INDEX])
    return int(found[0]) if len(found) == 1 else None
