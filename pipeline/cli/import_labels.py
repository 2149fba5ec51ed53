"""`framescribe import`: make a data set from annotation files of other programs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.console import Commands, add_command, print_losses

if TYPE_CHECKING:
    from pipeline.interchange.imported import Imported, ImportOptions


TEXT = """
Make a data set from annotation files of other programs: BORIS, ELAN, Label Studio and others. Times belong to
the frames that are shown then, by the time stamps of the videos. What does not become a label is counted, and
listed in import_report.csv.
"""
END = """
exit code: 0, the data set was written; 2, the call was refused, and nothing was written

examples:
  framescribe import --list
  framescribe import boris project.boris --videos recordings/ --out mice/
  framescribe import elan *.eaf --videos recordings/ --out mice/ --subject each
  framescribe import auto annotations/ --videos recordings/ --out mice/ --classes map.csv
"""


def add(commands: Commands) -> None:
    """Add the command to the parser of `framescribe`."""
    command = add_command(commands, "import", "make a data set from files of other programs", TEXT, END)
    command.add_argument(
        "format", nargs="?", metavar="FORMAT", help="a name of --list; auto: by the content of each file"
    )
    command.add_argument("files", nargs="*", type=Path, metavar="FILE", help="annotation files, or folders of them")
    command.add_argument("--list", action="store_true", help="show all formats, what each keeps, and what is lost")
    command.add_argument("--videos", type=Path, metavar="DIR", help="where the videos are, in folders of any depth")
    command.add_argument("--out", type=Path, metavar="DATASET", help="the data set, a new folder")
    add_choices(command)
    command.set_defaults(run=run)


def add_choices(command: argparse.ArgumentParser) -> None:
    """Add the options that say what becomes of subjects, modifiers, point events and classes."""
    command.add_argument(
        "--classes",
        type=Path,
        metavar="FILE.csv",
        help="renames, joins or leaves out classes: from,to; an empty cell in `to` leaves one out",
    )
    command.add_argument(
        "--subject",
        metavar="NAME|each",
        help="takes the events of one subject; each: every subject gets classes of its own (default: all together)",
    )
    command.add_argument(
        "--modifiers",
        choices=("drop", "keep"),
        default="drop",
        help="keep: a behaviour with modifiers is a class of its own, such as 'grooming|face' (default: drop)",
    )
    command.add_argument(
        "--points",
        type=float,
        metavar="SECONDS",
        help="the duration of point events (default: they are left out)",
    )
    command.add_argument(
        "--recording",
        action="append",
        default=[],
        metavar="NAME",
        help="takes this recording or observation only; may be given several times",
    )
    command.add_argument(
        "--independent", action="store_true", help="any classes may overlap, even where none of the events do"
    )
    command.add_argument(
        "--from-first-frame",
        action="store_true",
        help="times count from the first frame of a video, as in BORIS, also where its time stamps start later",
    )
    command.add_argument(
        "--background", metavar="NAME", help="the class of frames in no event, where classes exclude each other"
    )


def run(options: argparse.Namespace) -> int:
    """Import the files, print what was lost, and return the exit code."""
    if options.list:
        print(describe_formats())
        return 0
    from pipeline.annotations.layouts import IMPORT_REPORT
    from pipeline.errors import InputError
    from pipeline.interchange.dataset import check_is_new, write_dataset

    missing = [
        name
        for name, value in (
            ("FORMAT", options.format),
            ("FILE", options.files),
            ("--videos DIR", options.videos),
            ("--out DATASET", options.out),
        )
        if not value
    ]
    if missing:
        raise InputError(f"expected {', '.join(missing)} as well; see framescribe import --help")
    check_is_new(options.out)
    imported = read_files(options.format, options.files, options.videos, options)
    num_copied = write_dataset(options.out, imported)
    print_losses(imported)
    note_gaps(imported)
    print(f"{options.out}: {imported.describe()}")
    if num_copied:
        print(f"the videos are on another disk: {num_copied / 1e9:.1f} GB were copied")
    if imported.losses:
        print(f"{options.out / IMPORT_REPORT} lists what did not become a label")
    print(f"next: framescribe check {options.out}")
    return 0


def read_files(name: str, files: Sequence[Path], videos: Path, options: argparse.Namespace) -> "Imported":
    """Read annotation files.

    Args:
        name: The name of the format, or auto.
        files: The files, or folders of them.
        videos: The folder of the videos.
        options: The options of `add_choices`.

    Raises:
        InputError: A file is not of the format, or nothing is left.
    """
    from tqdm import tqdm

    from pipeline.interchange.importing import import_files
    from pipeline.interchange.recognition import find_foreign_files
    from pipeline.interchange.videos import VideoFolder

    sources = find_foreign_files(name, files)
    return import_files(
        sources,
        VideoFolder(videos),
        import_options(options),
        progress=lambda files: tqdm(files, unit="file", desc="importing", disable=None if len(files) > 1 else True),
    )


def import_options(options: argparse.Namespace) -> "ImportOptions":
    """Return what the options of `add_choices` say.

    Raises:
        InputError: A duration is not above 0, or the class map is wrong.
    """
    from pipeline.annotations.foreign.placing import Choices
    from pipeline.annotations.label_space import LabelSpace
    from pipeline.errors import InputError
    from pipeline.interchange.class_map import read_class_map
    from pipeline.interchange.imported import ImportOptions

    if options.points is not None and not 0 < options.points < float("inf"):
        raise InputError(f"--points: got {options.points:g}, expected a duration in seconds above 0")
    if options.background is not None:
        LabelSpace.independent((options.background,))  # raises where this is no name of a class
    choices = Choices(
        subject=options.subject,
        keep_modifiers=options.modifiers == "keep",
        point_seconds=options.points,
        class_map=read_class_map(options.classes) if options.classes else None,
    )
    return ImportOptions(
        choices, tuple(options.recording), options.independent, options.background, options.from_first_frame
    )


def note_gaps(imported: "Imported") -> None:
    """Say to stderr what becomes of frames in no event, and how to change that."""
    if imported.unlabelled_share:
        print(
            f"note: {imported.unlabelled_share:.1%} of the frames are in no event and stay unlabelled; with"
            " --background NAME they become a class, with --independent they have none of the classes",
            file=sys.stderr,
        )


def describe_formats() -> str:
    """Describe all formats of other programs: what is read and written, what is kept and lost."""
    from pipeline.annotations.foreign.registry import FOREIGN_FORMATS

    parts = []
    for layout in FOREIGN_FORMATS:
        does = " and ".join(word for word, function in (("import", layout.read), ("export", layout.write)) if function)
        parts.append(
            f"{layout.name}: {layout.title} ({', '.join(layout.suffixes)}), {does}\n"
            f"    keeps  {layout.keeps}\n    loses  {layout.loses}"
        )
    return "\n".join(parts)
