"""A data set as training sees it: its sources and labels, split by group, written for the stages that follow.

Shapes: T frames, K classes.
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np
from safetensors.numpy import load_file, save_file

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.video.types import ReaderName

SPLITS = ("train", "val", "test")
Kind = Literal["videos", "features"]


class _Grouped(Protocol):
    """A dataclass with a group, all of which belongs in one split, and with the split that it is in."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def group(self) -> str: ...

    @property
    def split(self) -> str | None: ...


Splittable = TypeVar("Splittable", bound=_Grouped)


@dataclass(frozen=True)
class Source:
    """One video, or one file of ready features, as it was found on disk.

    Attributes:
        stem: The stem of the file name.
        path: The path of the file.
        group: The group, all of which is in one split.
        num_frames: The number of frames.
        frame_rate: The average frame rate, a fraction such as "30000/1001"; None for ready features.
        width: The width of the video in pixels; the number of features per frame of ready features.
        height: The height of the video in pixels; None for ready features.
        declared_frames: See `VideoProperties`; None for ready features.
        variable_frame_rate: See `VideoProperties`; None for ready features.
        sha256: The hexadecimal digest of the file.
        labels_sha256: The hexadecimal digest of the labels, int64; int8 where classes overlap.
        split: The split; None where no split names it, so that it is left out.
    """

    stem: str
    path: str
    group: str
    num_frames: int
    frame_rate: str | None = None
    width: int | None = None
    height: int | None = None
    declared_frames: int | None = None
    variable_frame_rate: bool | None = None
    sha256: str = ""
    labels_sha256: str = ""
    split: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The data set as training sees it.

    Attributes:
        name: The name of the data set.
        kind: "videos" or "features".
        label_space: The classes.
        sources: The sources without a problem, each with its split.
        reader: The reader that decodes the videos in every stage, so that no model is evaluated on the frames of
            another reader.
        frame_rate: How many frames per second are encoded in every stage, see `choose_frames`; None: every frame.
    """

    name: str
    kind: Kind
    label_space: LabelSpace
    sources: tuple[Source, ...]
    reader: ReaderName = "pyav"
    frame_rate: float | None = None

    def of_split(self, split: str) -> list[Source]:
        """Return the sources of a split."""
        return [source for source in self.sources if source.split == split]

    def fingerprint(self) -> str:
        """Return a hexadecimal digest of contents, labels, classes and splits.

        The location of the files does not matter.
        """
        rows = [(source.stem, source.sha256, source.labels_sha256, source.split) for source in self.sources]
        groups = () if self.label_space.is_exclusive else (self.label_space.group_members,)
        content = (self.kind, self.label_space.classes, rows, *groups)
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def assign_splits(
    sources: Sequence[Splittable],
    *,
    seed: int,
    val_fraction: float,
    test_fraction: float,
    has_splits: bool,
    section: str = "dataset",
) -> list[Splittable]:
    """Split a data set by group, never by frame or video. A split that <root>/splits names stays as it is.

    Where no split is named, groups are assigned at random; where train is named and val is not, val is taken from the
    groups of train.

    Args:
        sources: The sources, in any order.
        seed: The seed of the random assignment.
        val_fraction: The share of the groups for val, from 0; above 0, it is one group at least.
        test_fraction: The share of the groups for test, as `val_fraction`; unused with `has_splits`.
        has_splits: Whether <root>/splits names the splits of the sources.
        section: The section of the settings that the message names.

    Returns:
        The sources in the same order, with their splits.

    Raises:
        InputError: There are too few groups for the fractions.
    """
    named = {source.split for source in sources}
    pool = "train" if has_splits else None
    groups = sorted({source.group for source in sources if source.split == pool})
    random.Random(seed).shuffle(groups)
    fractions = {"test": 0.0 if has_splits else test_fraction, "val": 0.0 if "val" in named else val_fraction}
    chosen: dict[str, str] = {}
    for split, fraction in fractions.items():
        count = max(1, round(fraction * len(groups))) if fraction > 0 else 0
        for _ in range(min(count, len(groups) - len(chosen))):
            chosen[groups[len(chosen)]] = split
    if groups and len(chosen) >= len(groups):
        raise InputError(
            f"{len(groups)} group(s) cannot be split into train, val and test: add groups (or files, without"
            f" groups.csv), set {section}.val_fraction or {section}.test_fraction to 0, or write splits/*.txt"
        )
    default = "train" if not has_splits else None
    return [replace(s, split=chosen.get(s.group, default or s.split)) if s.split == pool else s for s in sources]


def assign_fold(sources: Sequence[Source], *, seed: int, folds: int, fold: int, val_fraction: float) -> list[Source]:
    """Split for cross-validation: one fold is the test split, and the other groups are split into train and val.

    The folds do not depend on `fold`, and every group is in exactly one of them.

    Args:
        sources: The sources, in any order.
        seed: The seed of the folds and of the random assignment to val.
        folds: The number of folds.
        fold: The fold, from 0, whose groups are the test split.
        val_fraction: The share of the other groups for val.

    Returns:
        The sources in the same order, with their splits.

    Raises:
        InputError: There are too few groups.
    """
    fold_of = deal_groups(sources, seed=seed, folds=folds)
    num_others = sum(dealt != fold for dealt in fold_of.values())
    if val_fraction > 0 and num_others < 2:
        raise InputError(
            f"dataset.fold {fold} of dataset.folds {folds} leaves {num_others} group(s) to train and to validate on,"
            " expected at least 2: is groups.csv as you mean it? Add groups, or set dataset.val_fraction to 0"
        )
    others = [source for source in sources if fold_of[source.group] != fold]
    dealt = assign_splits(others, seed=seed, val_fraction=val_fraction, test_fraction=0.0, has_splits=False)
    splits = {source.group: source.split for source in dealt}
    return [replace(source, split=splits.get(source.group, "test")) for source in sources]


def deal_groups(sources: Sequence[Source], *, seed: int, folds: int) -> dict[str, int]:
    """Assign groups to folds that have nearly the same number of frames.

    The largest group comes first, and each group goes to the fold that has the fewest frames so far (Graham, 1969).

    Args:
        sources: The sources.
        seed: It decides the order of groups of the same size.
        folds: The number of folds.

    Returns:
        The fold, from 0, of each group.

    Raises:
        InputError: There are fewer groups than folds.
    """
    num_frames: Counter[str] = Counter()
    for source in sources:
        num_frames[source.group] += source.num_frames
    groups = sorted(num_frames)
    if len(groups) < folds:
        raise InputError(
            f"dataset.folds: got {folds} folds of {len(groups)} group(s), expected at most as many folds as groups: is"
            " groups.csv as you mean it? Without it, each file is a group"
        )
    random.Random(seed).shuffle(groups)
    groups.sort(key=lambda group: num_frames[group], reverse=True)
    held = [0] * folds
    fold_of = {}
    for group in groups:
        fold_of[group] = held.index(min(held))
        held[fold_of[group]] += num_frames[group]
    return fold_of


def write_manifest(manifest: Manifest, labels: dict[str, np.ndarray], folder: Path) -> None:
    """Write a data set as manifest.json and labels.safetensors.

    Args:
        manifest: The data set.
        labels: int64 [T], or int8 [T, K] where classes overlap, by the stem of each source.
        folder: The folder of both files.
    """
    label_space = manifest.label_space
    with replacing(folder / "labels.safetensors") as path:
        # safetensors writes the memory of an array as it is, whatever the order of its axes there.
        save_file({source.stem: np.ascontiguousarray(labels[source.stem]) for source in manifest.sources}, path)
    fields = {
        "name": manifest.name,
        "kind": manifest.kind,
        "classes": label_space.classes,
        "background": label_space.background,
        **({} if label_space.is_exclusive else {"groups": label_space.groups}),
        "reader": manifest.reader,
        "frame_rate": manifest.frame_rate,
        "sources": [asdict(source) for source in manifest.sources],
    }
    with replacing(folder / "manifest.json") as path:
        path.write_text(json.dumps(fields, indent=1) + "\n")


def read_manifest(folder: Path) -> tuple[Manifest, dict[str, np.ndarray]]:
    """Read what `write_manifest` wrote into `folder`: the data set, and its labels by stem."""
    return read_without_labels(folder), load_file(folder / "labels.safetensors")


def read_without_labels(folder: Path) -> Manifest:
    """Read the manifest.json that `write_manifest` wrote into `folder`."""
    fields = json.loads((folder / "manifest.json").read_text())
    groups = tuple(fields["groups"]) if "groups" in fields else None
    label_space = LabelSpace(tuple(fields["classes"]), fields["background"], groups)
    sources = tuple(Source(**source) for source in fields["sources"])
    reader, frame_rate = fields["reader"], fields.get("frame_rate")
    return Manifest(fields["name"], fields["kind"], label_space, sources, reader, frame_rate)


def video_class(labels: np.ndarray, label_space: LabelSpace) -> int | np.ndarray | None:
    """Return the class of a video for a many-to-one model; where classes overlap, the set of its classes.

    Args:
        labels: int64 [T], or int8 [T, K] where classes overlap.
        label_space: The classes.

    Returns:
        The index of the only class of the labelled frames; None where they have no class or more than one.
        Where classes overlap, int8 [K]: PRESENT for the classes of any frame, ABSENT for those that each labelled frame
        lacks, IGNORE_INDEX for those that no frame is labelled for. None where no frame is labelled, or where a video
        has several classes of one group.
    """
    if not label_space.is_exclusive:
        return _video_classes(labels, label_space)
    found = np.unique(labels[label_space.is_labelled(labels)])
    return int(found[0]) if len(found) == 1 else None


def _video_classes(labels: np.ndarray, label_space: LabelSpace) -> np.ndarray | None:
    is_known = label_space.is_labelled(labels).any(axis=0)
    is_present = (labels == PRESENT).any(axis=0)
    found = np.where(is_present, PRESENT, np.where(is_known, ABSENT, IGNORE_INDEX)).astype(np.int8)
    return found if is_known.any() and not label_space.find_clashes(found[None]) else None
