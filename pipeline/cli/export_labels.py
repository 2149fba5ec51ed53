"""`framescribe export`: write labels for other programs."""

import argparse
import sys
from pathlib import Path

from pipeline.cli.console import EXIT_SOME_FAILED, Commands, add_command

TEXT = """
Write labels for another program: those of `framescribe label`, or of a data set. Times are those at which the
frames are shown, by the time stamps of the videos. framescribe import --list shows the formats.
"""
END = """
exit code: 0, all labels were written; 1, those of some videos could not be; 2, the call was refused

A file that exists is not overwritten.

examples:
  framescribe export boris labels/ --videos recordings/ --out project.boris
  framescribe export elan mice/ --videos mice/videos --out elan/
"""


def add(commands: Commands) -> None:
    """Add the command to the parser of `framescribe`."""
    command = add_command(commands, "export", "write labels for other programs", TEXT, END)
    command.add_argument("format", metavar="FORMAT", help="a name of framescribe import --list")
    command.add_argument("labels", type=Path, metavar="LABELS", help="a folder of label files, or a data set")
    command.add_argument("--videos", type=Path, required=True, metavar="DIR", help="where the videos are")
    command.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE|DIR",
        help="a file where the format has all videos in one, otherwise a folder",
    )
    command.add_argument(
        "--independent", action="store_true", help="any classes may overlap, also where no class list says so"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export the labels, print what was lost, and return the exit code."""
    from tqdm import tqdm

    from pipeline.annotations.foreign.registry import FOREIGN_FORMATS, foreign_format
    from pipeline.annotations.problems import condense, did_you_mean
    from pipeline.errors import InputError
    from pipeline.interchange.exporting import export_labels
    from pipeline.interchange.videos import VideoFolder
    from pipeline.text.wording import counted

    layout = foreign_format(options.format)
    if layout is None or layout.write is None:
        names = [each.name for each in FOREIGN_FORMATS if each.write is not None]
        hint = f"{did_you_mean(options.format, names)}; framescribe import --list shows all"
        raise InputError(f"got the format {options.format!r} to write{hint}")
    exported = export_labels(
        layout,
        options.labels,
        VideoFolder(options.videos),
        options.out,
        independent=options.independent,
        progress=lambda stems: tqdm(stems, unit="video", desc="exporting", disable=None),
    )
    for problem in condense(exported.failures):
        print(f"not exported: {problem}", file=sys.stderr)
    for line in exported.losses.describe():
        print(line, file=sys.stderr)
    files = counted(len(exported.paths), "file")
    print(f"{options.out}: {counted(exported.num_videos, 'video')} in {files} for {layout.title}")
    return EXIT_SOME_FAILED if exported.failures else 0
