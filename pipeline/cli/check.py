"""`framescribe check`: list every problem of a data set."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.console import EXIT_REFUSED, Commands, add_command, print_losses
from pipeline.cli.import_labels import note_gaps
from pipeline.text.wording import counted

if TYPE_CHECKING:
    from pipeline.annotations.problems import Problem

TEXT = """
Look at every file of a data set and list all of its problems: file, line, likely cause. For videos, also show
how much there is of each class, and warn where that is too little. Where classes overlap, show which exclude each
other.
"""
END = """
exit code: 0, there is no problem; 2, there is at least one

A data set is a folder with
  videos/<stem>.mp4 (or .avi, .mkv, ...)   or   features/<stem>.npy, float [frames, features]
  labels/<stem>.csv: start,stop,class      or   start_seconds,stop_seconds,class   or   frame,class
  (or .tsv, .xlsx; or a column of 0 and 1 for each class)
  labels/<stem>.txt: one class a line,     or   labels.csv: stem,class, one class per video
  one line per frame
  classes.txt: one class per line          or   classes.csv: class,group, where classes overlap
  scored.csv: stem,start,stop,class, which frames people looked at   (optional)
  splits/train.txt, val.txt, test.txt: one stem per line   (optional)
  groups.csv: stem,group                                   (optional)
and, or, for captions
  images/*.jpg (or .png, ...)                    captions.csv: image,caption, several rows per image
"""


def add(commands: Commands) -> None:
    """Add the command to the parser of `framescribe`."""
    check = add_command(commands, "check", "list every problem of a data set", TEXT, END)
    check.add_argument(
        "dataset",
        type=Path,
        metavar="DATASET|FILE",
        help="the folder of the data set; or a file of `framescribe import --list`, with --videos",
    )
    check.add_argument(
        "--videos", type=Path, metavar="DIR", help="where the videos are that a file of another program names"
    )
    check.add_argument(
        "--follow-links", action="store_true", help="also read labels and other text that are links out of the folder"
    )
    check.add_argument(
        "--independent",
        action="store_true",
        help="any classes may overlap, also where the list of classes does not say so, as with"
        " dataset.independent_classes",
    )
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print all problems of the data set, and return the exit code."""
    from pipeline.annotations.problems import condense

    root = options.dataset
    if root.is_file():
        return _check_foreign(root, options)
    has_images = (root / "captions.csv").exists() or (root / "images").is_dir()
    has_videos = any((root / folder).is_dir() for folder in ("videos", "features"))
    parts = [_check_videos] * (has_videos or not has_images) + [_check_images] * has_images
    num_problems = 0
    for check in parts:
        problems, found = check(root, options)
        for problem in condense(problems):
            print(problem)
        num_problems += len(problems)
        print(f"{root}: {found}, {counted(len(problems), 'problem')}")
    return EXIT_REFUSED if num_problems else 0


def _check_videos(root: Path, options: argparse.Namespace) -> "tuple[list[Problem], str]":
    from pipeline.datasets.class_groups import format_groups
    from pipeline.datasets.scan import scan_dataset
    from pipeline.datasets.support import count_support, format_support, unlabelled_percent
    from pipeline.datasets.warnings import find_notes, find_warnings

    scan = scan_dataset(
        root,
        independent=options.independent,
        follow_links=options.follow_links,
        progress=_checking,
    )
    usable = scan.usable_sources()
    if support := count_support(usable, scan.labels, scan.label_space):
        print(format_support(support), end="\n\n")
    if groups := format_groups(scan.label_space):
        print(groups, end="\n\n")
    for note in find_notes(scan):
        print(f"note: {note}", file=sys.stderr)
    for warning in find_warnings(scan, usable, support, reported=scan.unused_classes()):
        print(f"warning: {warning}", file=sys.stderr)
    num_frames = sum(source.num_frames for source in scan.sources.values())
    found = f"{len(scan.sources)} {scan.kind}, {num_frames} frames, {scan.label_space.num_classes} classes"
    if percent := unlabelled_percent(*support.values()):
        found += f", {percent:.1f}% of the frames unlabelled"
    return scan.all_problems() + scan.unused_class_problems(), found


def _check_foreign(file: Path, options: argparse.Namespace) -> int:
    """Show what an import of a file would give, with what it would lose, and write nothing."""
    from pipeline.errors import InputError
    from pipeline.interchange.direct import find_foreign_format, import_file

    layout = find_foreign_format(file)
    if layout is None:
        raise InputError(f"{file}: is a file that looks like none of framescribe import --list; a data set is a folder")
    videos = [options.videos] if options.videos else []
    imported = import_file(file, layout, videos, independent=options.independent)
    print_losses(imported)
    note_gaps(imported)
    print(f"{file}: {imported.describe()}, as framescribe import would write them")
    return 0


def _check_images(root: Path, options: argparse.Namespace) -> "tuple[list[Problem], str]":
    from pipeline.datasets.captions import scan_captions

    scan = scan_captions(root, follow_links=options.follow_links, progress=_checking)
    num_captions = sum(len(image.captions) for image in scan.images.values())
    return scan.all_problems(), f"{len(scan.images)} images, {num_captions} captions"


def _checking(paths: list[Path]) -> Iterable[Path]:
    from tqdm import tqdm

    return tqdm(paths, unit="file", desc="checking", disable=None)
