"""`framescribe evaluate`: score predicted labels against true ones."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.console import EXIT_SOME_FAILED, Commands, add_command, print_losses

if TYPE_CHECKING:
    from pipeline.interchange.imported import Imported
    from pipeline.metrics.label_files import StampsOf

MAX_NAMES = 10  # in the line about videos without labels

TEXT = """
Score predicted labels against true ones: frame accuracy, edit score and F1 of the segments, and each class.
Frames that could not be decoded have no label and are left out. A video whose labels cannot be read or do not fit its
truth is named with the cause, and the others are scored.

With --agreement, compare the labels of two annotators, neither of which is the truth: Cohen's kappa and F1 of each
class, and the share of frames on which both agree.
"""
END = """
exit code: 0, all videos with labels on both sides were scored, and those with labels on one side only are named;
1, some with labels on both sides could not be scored, or scored.csv names a video that has none; 2, the call was
refused

examples:
  framescribe evaluate --truth mice/labels --predicted labels/ --background resting
  framescribe evaluate --agreement annotator_1/ annotator_2/
"""


def add(commands: Commands) -> None:
    """Add the command to the parser of `framescribe`."""
    evaluate = add_command(commands, "evaluate", "score predicted labels against true ones", TEXT, END)
    evaluate.add_argument(
        "--truth",
        type=Path,
        metavar="DIR|FILE",
        help="true labels, such as DATASET/labels, DATASET/labels.csv, or a file of `framescribe import --list`",
    )
    evaluate.add_argument("--predicted", type=Path, metavar="DIR", help="what `framescribe label` wrote")
    evaluate.add_argument(
        "--agreement",
        nargs=2,
        type=Path,
        metavar=("A", "B"),
        help="label files of two annotators instead: two folders of files with the same stems, or two files",
    )
    evaluate.add_argument(
        "--videos",
        type=Path,
        metavar="DIR",
        help="where the videos are: labels in seconds and files of other programs need them, and they say how long they"
        " are",
    )
    evaluate.add_argument("--background", metavar="NAME", help="score a second time with this class left out")
    evaluate.add_argument(
        "--independent",
        action="store_true",
        help="any classes may overlap, also where the list of classes does not say so",
    )
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="also write the whole report there")
    evaluate.add_argument(
        "--follow-links", action="store_true", help="also read label files that are links out of their folder"
    )
    evaluate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score the labels, print the tables, and return the exit code."""
    from pipeline.errors import InputError
    from pipeline.files import replacing

    if options.agreement and (options.truth or options.predicted or options.background):
        raise InputError("--agreement has no truth: expected it without --truth, --predicted and --background")
    if not options.agreement and not (options.truth and options.predicted):
        raise InputError("expected --truth and --predicted, or --agreement with the labels of two annotators")
    report, table = _compare(options) if options.agreement else _score(options)
    for failure in report["failures"]:
        print(f"not scored: {failure}", file=sys.stderr)
    _note_lengths(report["length_not_known"])
    print(table)
    if options.json:
        with replacing(options.json) as path:
            path.write_text(json.dumps(report, indent=1) + "\n")
    return EXIT_SOME_FAILED if report["failures"] else 0


def _score(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Score predicted labels: the report and the table."""
    from pipeline.interchange.direct import label_files_of
    from pipeline.metrics.folders import evaluate_folders
    from pipeline.metrics.report import format_table

    places, beside = [options.truth], [options.predicted]
    with label_files_of(places, _videos(options), beside=beside, on_import=_note_truth) as (truth,):
        report = evaluate_folders(
            truth,
            options.predicted,
            background=options.background,
            independent=options.independent,
            follow_links=options.follow_links,
            stamps_of=_stamps_of(options),
        )
    _name_skipped(report["without_prediction"], options.predicted)
    _name_skipped(report["without_truth"], options.truth)
    return report, format_table(report)


def _compare(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Compare two annotators: the report and the tables."""
    from pipeline.interchange.direct import label_files_of
    from pipeline.metrics.agreement import format_agreement
    from pipeline.metrics.agreement_folders import agreement_of

    first, second = options.agreement
    videos = _videos(options)
    with label_files_of([first, second], videos, compares_annotators=True, on_import=print_losses) as (one, two):
        report = agreement_of(
            one,
            two,
            independent=options.independent,
            follow_links=options.follow_links,
            stamps_of=_stamps_of(options),
        )
    _name_skipped(report["only_first"], second)
    _name_skipped(report["only_second"], first)
    return report, format_agreement(report)


def _note_truth(imported: "Imported") -> None:
    """Say what a file of another program does not tell of the truth."""
    print_losses(imported)
    if imported.unlabelled_share:
        print(
            f"note: {imported.unlabelled_share:.1%} of its frames are in no event and are not scored", file=sys.stderr
        )


def _videos(options: argparse.Namespace) -> list[Path]:
    return [options.videos] if options.videos else []


def _stamps_of(options: argparse.Namespace) -> "StampsOf":
    """Return the function that gives the time stamps of the frames of a video, see `LabelReader`."""
    from pipeline.interchange.videos import VideoFolder
    from pipeline.metrics.label_files import no_stamps

    return VideoFolder(options.videos).stamps_of if options.videos else no_stamps


def _name_skipped(stems: list[str], folder: Path) -> None:
    """Name the videos that have labels on the other side only."""
    from pipeline.text.wording import listed

    if stems:
        shown = listed(stems, MAX_NAMES)
        print(f"not scored, as {folder} has no labels for them: {shown}\n", file=sys.stderr)


def _note_lengths(stems: list[str]) -> None:
    """Name the videos of which nothing says how long they are, which changes the scores of classes that overlap."""
    from pipeline.text.wording import counted, listed

    if stems:
        frames = f"frames after {'its' if len(stems) == 1 else 'their'} last segment"
        videos = f"{counted(len(stems), 'video')} is not known ({listed(stems, MAX_NAMES)})"
        print(
            f"the length of {videos}: {frames} do not count; scored.csv or a label file with a row per frame gives"
            " it\n",
            file=sys.stderr,
        )
