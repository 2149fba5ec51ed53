"""`framescribe evaluate`: score predicted labels against true ones."""

import argparse
import json
import sys
from pathlib import Path

from pipeline.cli.console import EXIT_SOME_FAILED, Commands, add_command

MAX_NAMES = 10  # in the line about videos without labels

TEXT = """
Score predicted labels against true ones: frame accuracy, edit score and F1 of the segments, and each class.
Frames that could not be decoded have no label and are left out. A video whose labels cannot be read or do not fit its
truth is named with the cause, and the others are scored.
"""
END = """
exit code: 0, all videos with labels on both sides were scored; 1, some could not be; 2, the call was refused

example: framescribe evaluate --truth mice/labels --predicted labels/ --background resting
"""


def add(commands: Commands) -> None:
    """Add the command to the parser of `framescribe`."""
    evaluate = add_command(commands, "evaluate", "score predicted labels against true ones", TEXT, END)
    evaluate.add_argument(
        "--truth",
        required=True,
        type=Path,
        metavar="DIR|FILE",
        help="true labels, such as DATASET/labels or DATASET/labels.csv",
    )
    evaluate.add_argument("--predicted", required=True, type=Path, metavar="DIR", help="what `framescribe label` wrote")
    evaluate.add_argument(
        "--background", metavar="NAME", help="score a second time with this class left out of edit and F1"
    )
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="also write the whole report there")
    evaluate.add_argument(
        "--follow-links", action="store_true", help="also read label files that are links out of their folder"
    )
    evaluate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score the labels, print the table, and return the exit code."""
    from pipeline.files import replacing
    from pipeline.metrics.folders import evaluate_folders
    from pipeline.metrics.report import format_table

    report = evaluate_folders(
        options.truth, options.predicted, background=options.background, follow_links=options.follow_links
    )
    if skipped := report["without_prediction"]:
        shown = ", ".join(skipped[:MAX_NAMES]) + (f" and {len(skipped) - MAX_NAMES} more" * (len(skipped) > MAX_NAMES))
        print(f"not scored, as {options.predicted} has no labels for them: {shown}\n", file=sys.stderr)
    for failure in report["failures"]:
        print(f"not scored: {failure}", file=sys.stderr)
    print(format_table(report))
    if options.json:
        with replacing(options.json) as path:
            path.write_text(json.dumps(report, indent=1) + "\n")
    return EXIT_SOME_FAILED if report["not_scored"] else 0
