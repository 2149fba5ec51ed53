"""`framescribe review`: its arguments, and one call; as all of `cli`, it imports nothing heavy before it runs."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.console import (
    EXIT_SOME_FAILED,
    Commands,
    add_command,
    add_model_arguments,
    add_reader_argument,
    make_writable,
    print_losses,
    report_failure,
    report_note,
)
from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

MIN_PER_VIDEO = 2
TEXT = """
Rank the stretches of videos by how much it is worth to look at them: where nobody gave a label, by how likely the
model is to be wrong; where there is a given label, by how surprised the model is by it. Write, into --out:
  review.html            the list for a browser: frames, what the model thinks, the given label
  review.csv             rank,stem,start,stop,start_seconds,stop_seconds,predicted,given,why,score,picture
                         frames from start up to, but not including, stop; why: uncertain or disagrees;
                         where classes overlap, a column class before predicted names the one that is doubted
  strips/                pictures of the frames of each stretch
Scores are from 0 to 1. Uncertain: the share of frames that the model expects to get wrong. Disagrees: how surprised it
is by the given label, 1 where it gives it a probability of 0.001 or less. A given label that it agrees with scores
0. A video that cannot be labelled is named with the cause, and the others are looked at.
"""
END = """
exit code: 0, all videos were looked at; 1, some could not be; 2, the call was refused

examples: framescribe review recordings/ --model models/labeller --out review/
          framescribe review mice/videos --model models/labeller --labels mice/labels --out review/
"""


def add(commands: Commands) -> None:
    """Add the command to the parser of `framescribe`."""
    review = add_command(commands, "review", "list what is most worth annotating", TEXT, END)
    add_model_arguments(review, several=True)
    _add_arguments(review)
    review.set_defaults(run=run)


def _add_arguments(review: argparse.ArgumentParser) -> None:
    """Add all arguments except those of the model to the command `review`."""
    review.add_argument(
        "inputs", nargs="+", type=Path, metavar="VIDEO|DIR", help="videos, or folders of them; or .npy features"
    )
    review.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the list goes")
    review.add_argument(
        "--labels",
        type=Path,
        metavar="DIR|FILE",
        help="labels that people gave, as in DATASET/labels, or a file of `framescribe import --list`; some videos or"
        " frames may have none, and what a scored.csv there says that nobody looked at has none",
    )
    review.add_argument("--top", type=int, default=20, metavar="N", help="how many stretches (default: 20)")
    review.add_argument(
        "--per-video",
        type=int,
        metavar="N",
        help=f"how many of one video at most (default: twice its share of the frames, at least {MIN_PER_VIDEO})",
    )
    for name, default in (("shortest", 1.0), ("longest", 5.0)):
        review.add_argument(
            f"--{name}",
            type=float,
            default=default,
            metavar="SECONDS",
            help=f"the {name} stretch (default: {default:g}; features are counted as 25 frames per second)",
        )
    add_reader_argument(review, "pyav, which reads most files and scales frames on their way out")


def run(options: argparse.Namespace) -> int:
    """Review the videos, and return the exit code: 1 where some could not be labelled.

    Raises:
        InputError: The call is refused.
    """
    _check(options)
    from tqdm import tqdm

    from pipeline.labelling.inputs import find_inputs
    from pipeline.labelling.model import load_model
    from pipeline.labelling.review import Listing, find_given, review_files
    from pipeline.labelling.review_page import PAGE

    model = load_model(options.model, device=options.device, reader=options.reader)
    paths = find_inputs(options.inputs, model, on_note=report_note)
    make_writable(options.out)
    share = max(MIN_PER_VIDEO, math.ceil(2 * options.top / len(paths)))
    listing = Listing(options.top, options.per_video or share, options.shortest, options.longest)
    with _given_labels(options) as labels, tqdm(total=len(paths), unit="video", desc="labelling", disable=None) as bar:
        given = find_given(paths, labels[0], model.spec.label_space) if labels else {}

        def show(path: Path, num_frames: int) -> None:
            bar.update(paths.index(path) - bar.n)
            bar.set_postfix_str(f"{path.name}: {num_frames} frames")

        outcome = review_files(
            paths, model, options.out, listing=listing, given=given, on_failure=report_failure, on_progress=show
        )
        bar.update(len(paths) - bar.n)
    if outcome.num_labelled:
        print(f"{outcome.describe()}: {options.out / PAGE}")
    else:
        print(f"labelled 0 of {len(paths)}: no list is written")
    return EXIT_SOME_FAILED if outcome.num_failed else 0


def _given_labels(options: argparse.Namespace) -> "AbstractContextManager[Sequence[Path]]":
    """Return the folder of the given labels, while it is there; no folder without --labels."""
    from contextlib import nullcontext

    from pipeline.interchange.direct import label_files_of

    if options.labels is None:
        return nullcontext(())
    return label_files_of([options.labels], options.inputs, on_import=print_losses)


def _check(options: argparse.Namespace) -> None:
    """Raise an InputError with every problem that can be found without the model."""
    problems = []
    for name, number in (("top", options.top), ("per-video", options.per_video)):
        if number is not None and number < 1:
            problems.append(f"--{name}: got {number}, expected at least 1")
    if not 0 < options.shortest <= options.longest < math.inf:
        problems.append(
            f"--shortest, --longest: got {options.shortest:g} and {options.longest:g} seconds, expected more than 0,"
            " the longest not shorter than the shortest"
        )
    if options.labels is not None and not options.labels.is_dir() and not _is_foreign(options.labels):
        from pipeline.annotations.formats.registry import formats_of_people

        files = " or ".join(f"<stem>{layout.suffix}" for layout in formats_of_people())
        problems.append(f"--labels: {options.labels} is not a folder: expected one that holds {files}")
    if problems:
        raise InputError("\n".join(problems))


def _is_foreign(path: Path) -> bool:
    from pipeline.interchange.direct import find_foreign_format

    return find_foreign_format(path) is not None
