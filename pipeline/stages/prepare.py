"""Stage prepare: check every file of the data set, split it by group, write the manifest, report files and classes."""

import csv
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from pipeline.annotations.classes import CLASSES
from pipeline.annotations.layouts import DECODE_REPORT, VIDEO_LABELS
from pipeline.annotations.problems import condense
from pipeline.annotations.times import FrameTimes
from pipeline.config.params import Params, load_params
from pipeline.datasets.encoded_frames import write_choices
from pipeline.datasets.manifest import (
    SPLITS,
    Manifest,
    Source,
    assign_fold,
    assign_splits,
    video_class,
    write_manifest,
)
from pipeline.datasets.scan import scan_dataset
from pipeline.datasets.scanned import Scan
from pipeline.datasets.support import (
    CLASS_SUPPORT,
    SupportTable,
    count_support,
    unlabelled_percent,
    write_support,
)
from pipeline.datasets.warnings import find_notes, find_warnings
from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.stages import run_stage
from pipeline.stages.paths import PREPARED
from pipeline.video.frame_choice import FrameChoice, choose_frames
from pipeline.video.types import ReaderName, scaling_reader


def main() -> None:
    """Write data/prepared."""
    prepare(load_params(), PREPARED)


def prepare(params: Params, out: Path) -> Manifest:
    """Check a data set, split it, and write its manifest and reports.

    Args:
        params: The settings.
        out: The folder of the output, which replaces an earlier one.

    Returns:
        The manifest.

    Raises:
        InputError: The data set has problems that dataset.skip_broken does not leave out, does not fit the settings, or
            has no video to train on.
    """
    dataset = params.dataset
    scan = scan_dataset(
        dataset.root,
        reader=dataset.reader,
        independent=dataset.independent_classes,
        follow_links=dataset.follow_links,
        progress=_progress,
    )
    _check_encoder(params, scan)
    _check_reader(params, scan)
    _check_frame_rate(params, scan)
    _check_head(params, scan)
    _raise_or_skip(scan, skip_broken=params.dataset.skip_broken)
    background = params.dataset.background
    if background is not None and scan.label_space.index(background) is None:
        path = scan.class_list.path if scan.class_list else scan.root / CLASSES
        raise InputError(f"dataset.background {background!r} is not a class of {path}")
    sources = _split(params, scan)
    kept = tuple(source for source in sources if source.split)
    if not any(source.split == "train" for source in kept):
        raise InputError(f"{scan.root}: has no video to train on: is splits/train.txt empty?")
    label_space = replace(scan.label_space, background=background)
    reader, frame_rate = scaling_reader(params.dataset.reader), params.dataset.frame_rate
    manifest = Manifest(params.dataset.name, scan.kind, label_space, kept, reader, frame_rate)
    shutil.rmtree(out, ignore_errors=True)
    write_manifest(manifest, scan.labels, out)
    if frame_rate is not None:
        write_choices({source.stem: _choose_frames(scan.times[source.stem], frame_rate) for source in kept}, out)
    _write_decode_report(scan, manifest.reader, out / DECODE_REPORT)
    support = count_support(kept, scan.labels, label_space)
    write_support(support, out / CLASS_SUPPORT)
    _summarise(manifest, support, out)
    for note in find_notes(scan):
        print(f"note: {note}", file=sys.stderr)
    for warning in find_warnings(scan, kept, support):
        print(f"warning: {warning}", file=sys.stderr)
    return manifest


def _split(params: Params, scan: Scan) -> list[Source]:
    settings, published = params.dataset, scan.root / "splits"
    sources = [source for stem, source in sorted(scan.sources.items()) if stem not in scan.problems]
    if settings.folds is None:
        return assign_splits(
            sources,
            seed=params.seed,
            val_fraction=settings.val_fraction,
            test_fraction=settings.test_fraction,
            has_splits=published.is_dir(),
        )
    if published.is_dir():
        raise InputError(
            f"{published}: got splits and dataset.folds {settings.folds}, expected one of them: set dataset.folds to"
            " null to keep to these splits, or cross-validate a copy of the data set without this folder"
        )
    return assign_fold(
        sources, seed=params.seed, folds=settings.folds, fold=settings.fold, val_fraction=settings.val_fraction
    )


def _progress(paths: list[Path]) -> Iterable[Path]:
    return tqdm(paths, desc="checking", unit="file")


def _check_encoder(params: Params, scan: Scan) -> None:
    given = params.encoder.name == "given"
    if given and scan.kind == "videos":
        raise InputError(f"{scan.root} holds videos, and encoder `given` encodes none: use -S encoder=lite0")
    if not given and scan.kind == "features" and scan.sources:
        raise InputError(
            f"{scan.root} holds ready features, and encoder {params.encoder.name!r} reads videos: use -S encoder=given"
        )


def _check_reader(params: Params, scan: Scan) -> None:
    if scan.kind == "features" and scaling_reader(params.dataset.reader) != "pyav":
        raise InputError(
            f"{scan.root} holds ready features, which no reader decodes: got dataset.reader {params.dataset.reader},"
            " expected auto"
        )


def _check_frame_rate(params: Params, scan: Scan) -> None:
    if scan.kind == "features" and params.dataset.frame_rate is not None:
        raise InputError(
            f"{scan.root} holds ready features, which have no times: got dataset.frame_rate"
            f" {params.dataset.frame_rate:g}, expected null: write features of fewer frames, with their labels, instead"
        )


def _choose_frames(times: FrameTimes, frame_rate: float) -> FrameChoice:
    return choose_frames(times.pts_seconds, frame_rate, frame_seconds=times.frame_seconds)


def _check_head(params: Params, scan: Scan) -> None:
    if params.labeller.head == "many_to_one":
        needed = "has not exactly one class, which the head many_to_one needs"
        if not scan.label_space.is_exclusive:
            needed = "has several classes of one group, or no label, and the head many_to_one needs at most one"
        for stem, labels in scan.labels.items():
            if video_class(labels, scan.label_space) is None:
                scan.add(stem, Path(scan.sources[stem].path), f"{needed}: {VIDEO_LABELS} can give it")
    elif scan.num_video_labels:
        print(
            f"warning: {VIDEO_LABELS} gives {scan.num_video_labels} videos one class for all of their frames, and each"
            " frame is to learn it. Where only a part of a video shows its class, set -S labeller.head=many_to_one",
            file=sys.stderr,
        )


def _raise_or_skip(scan: Scan, *, skip_broken: bool) -> None:
    for problem in scan.raise_or_skip(skip_broken=skip_broken, section="dataset", files="videos"):
        print(f"left out: {problem}", file=sys.stderr)


def _write_decode_report(scan: Scan, reader: ReaderName, path: Path) -> None:
    """Write one row per file: its declared frames, its frames, its problems, and the reader that decodes it."""
    decoded_by = reader if scan.kind == "videos" else None
    names = ["stem", "num_frames", "declared_frames", "frame_rate", "variable_frame_rate", "width", "height"]
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "problems", "reader"])
        for stem in sorted({*scan.sources, *(stem for stem in scan.problems if stem)}):
            source = scan.sources.get(stem)
            values = [getattr(source, name) for name in names[1:]] if source else [None] * (len(names) - 1)
            problems = "; ".join(p.message for p in condense(scan.problems.get(stem, [])))
            writer.writerow([stem, *values, problems, decoded_by])


def _summarise(manifest: Manifest, support: SupportTable, out: Path) -> None:
    for split in SPLITS:
        sources = manifest.of_split(split)
        num_groups, num_frames = len({s.group for s in sources}), sum(s.num_frames for s in sources)
        unlabelled = f"  {unlabelled_percent(support[split]):.1f}% unlabelled" if sources else ""
        print(f"{split:5}  {len(sources):4} videos  {num_groups:3} groups  {num_frames:7} frames{unlabelled}")
    print(f"frames, segments, videos and groups of each class: {out / CLASS_SUPPORT}")


if __name__ == "__main__":
    run_stage(main)
