"""framescribe label | review | caption | check | evaluate | compare: parse the command line, then one call.

Nothing heavy is imported before a command runs, so that --help answers at once.
"""

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from pipeline import caption_command, label_command, live_command, review_command

if TYPE_CHECKING:
    from pipeline.labels.problems import Problem

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_SOME_FAILED, EXIT_REFUSED, EXIT_SIGNAL = 1, 2, 128  # a signal's number is added to the last, as shells do

CHECK = """
Look at every file of a data set and list all problems at once: file, line, likely cause. Of videos, show also
how much there is of each class, and warn where that is too little.
"""
CHECK_END = """
exit code: 0, no problem; 2, at least one

A data set is a folder with
  videos/<stem>.mp4 (or .avi, .mkv, ...)   or   features/<stem>.npy, float [frames, features]
  labels/<stem>.csv: start,stop,class      or   labels/<stem>.txt: one class a line, one line a frame
                                           or   labels.csv: stem,class, one class a video
  classes.txt: one class a line
  splits/train.txt, val.txt, test.txt: one stem a line     (optional)
  groups.csv: stem,group                                   (optional)
and, or, for captions
  images/*.jpg (or .png, ...)                    captions.csv: image,caption, several rows an image
"""
EVALUATE = """
Score predicted labels against true ones: frame accuracy, edit score and F1 of the segments, and each class.
"""
EVALUATE_END = """
example: framescribe evaluate --truth mice/labels --predicted labels/ --background resting
"""
COMPARE = """
Compare the runs that have the name of one search, `dvc exp run --queue -S search=NAME ...`: a row for each with the
settings in which they differ and its scores in percent, the best on the validation split first, then their mean and
standard deviation, which are also logged into the search's own run in MLflow.
"""
COMPARE_END = """
example: framescribe compare cross-validation
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0; 1 where a video could not be labelled; 2 where the call itself was refused."""
    from pipeline.errors import InputError, describe_os_error

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text
    options = _parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return options.run(options)
    except InputError as error:
        print(f"framescribe: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except BrokenPipeError:  # `framescribe check DATASET | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_SIGNAL + 13
    except OSError as error:
        print(f"framescribe: {describe_os_error(error)}", file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt as interrupt:
        print("framescribe: interrupted; what was finished stays", file=sys.stderr)
        return EXIT_SIGNAL + (interrupt.args or (signal.SIGINT,))[0]
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """End like Ctrl-C does, so that files that are half written are removed on the way out."""
    raise KeyboardInterrupt(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="framescribe",
        description="Label every frame of a video, list what is worth annotating, describe images and videos in words,"
        " and score the labels.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    text = label_command.TEXT + live_command.TEXT
    label = _add_command(commands, "label", "label videos with a trained model", text, label_command.END)
    _add_model(label)
    live_command.add_arguments(label)
    label_command.add_arguments(label)
    label.set_defaults(run=_label)

    review = _add_command(
        commands, "review", "list what is most worth annotating", review_command.TEXT, review_command.END
    )
    _add_model(review)
    review_command.add_arguments(review)
    review.set_defaults(run=_review)

    caption = _add_command(
        commands, "caption", "describe images and videos in words", caption_command.TEXT, caption_command.END
    )
    _add_model(caption)
    caption_command.add_arguments(caption)
    caption.set_defaults(run=_caption)

    check = _add_command(commands, "check", "list every problem of a data set", CHECK, CHECK_END)
    check.add_argument("dataset", type=Path, metavar="DATASET", help="the folder of the data set")
    check.set_defaults(run=_check)

    evaluate = _add_command(commands, "evaluate", "score predicted labels against true ones", EVALUATE, EVALUATE_END)
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
    evaluate.set_defaults(run=_evaluate)

    compare = _add_command(commands, "compare", "compare the runs of a hyper-parameter search", COMPARE, COMPARE_END)
    compare.add_argument("search", metavar="NAME", help="what the setting `search` was set to")
    compare.set_defaults(run=_compare)
    return parser


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model",
        required=True,
        metavar="DIR|URI",
        help="checkpoint folder, or MLflow URI (models:/NAME/VERSION, runs:/ID/NAME)",
    )
    command.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto, the default: CUDA where there is one"
    )


def _add_command(commands: "Commands", name: str, summary: str, text: str, end: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=summary, description=text, epilog=end, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _label(options: argparse.Namespace) -> int:
    if live_command.is_live(options):
        return 0 if live_command.run(options, make_writable=_make_writable) else EXIT_SOME_FAILED
    num_failed = label_command.run(options, make_writable=_make_writable, refuse=_refuse)
    return EXIT_SOME_FAILED if num_failed else 0


def _review(options: argparse.Namespace) -> int:
    num_failed = review_command.run(options, make_writable=_make_writable, refuse=_refuse)
    return EXIT_SOME_FAILED if num_failed else 0


def _caption(options: argparse.Namespace) -> int:
    num_failed = caption_command.run(options, make_writable=_make_writable, refuse=_refuse)
    return EXIT_SOME_FAILED if num_failed else 0


def _make_writable(folder: Path) -> None:
    from pipeline.errors import InputError

    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise InputError(f"{folder}: cannot be written: {path} is a file, expected a folder")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be written: you have no permission")


def _refuse(message: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"framescribe: {message}", file=sys.stderr)


def _check(options: argparse.Namespace) -> int:
    root = options.dataset
    has_images = (root / "captions.csv").exists() or (root / "images").is_dir()
    has_videos = any((root / folder).is_dir() for folder in ("videos", "features"))
    parts = [_check_videos] * (has_videos or not has_images) + [_check_images] * has_images
    num_problems = 0
    for check in parts:
        problems, found = check(root)
        for problem in problems:
            print(problem)
        num_problems += len(problems)
        print(f"{root}: {found}, {len(problems)} problem{'s' * (len(problems) != 1)}")
    return EXIT_REFUSED if num_problems else 0


def _check_videos(root: Path) -> "tuple[list[Problem], str]":
    from pipeline.datasets.scan import scan_dataset
    from pipeline.datasets.support import count_support, find_shortages, format_support, unlabelled_percent

    scan = scan_dataset(root, progress=_checking)
    if support := count_support(scan.usable_sources(), scan.labels, scan.classes):
        print(format_support(support), end="\n\n")
    for shortage in find_shortages(support, told=scan.unused_classes()):
        print(f"warning: {shortage}", file=sys.stderr)
    num_frames = sum(source.num_frames for source in scan.sources.values())
    found = f"{len(scan.sources)} {scan.kind}, {num_frames} frames, {len(scan.classes)} classes"
    if percent := unlabelled_percent(*support.values()):
        found += f", {percent:.1f}% of the frames unlabelled"
    return scan.all_problems() + scan.unused_class_problems(), found


def _check_images(root: Path) -> "tuple[list[Problem], str]":
    from pipeline.datasets.captions import scan_captions

    scan = scan_captions(root, progress=_checking)
    num_captions = sum(len(image.captions) for image in scan.images.values())
    return scan.all_problems(), f"{len(scan.images)} images, {num_captions} captions"


def _checking(paths: list[Path]) -> Iterable[Path]:
    from tqdm import tqdm

    return tqdm(paths, unit="file", desc="checking", disable=None)


def _evaluate(options: argparse.Namespace) -> int:
    from pipeline.files import replacing
    from pipeline.metrics.folders import evaluate_folders
    from pipeline.metrics.report import format_table

    report = evaluate_folders(options.truth, options.predicted, background=options.background)
    if skipped := report["without_prediction"]:
        print(f"not scored, as {options.predicted} has no labels for them: {', '.join(skipped)}\n", file=sys.stderr)
    print(format_table(report))
    if options.json:
        with replacing(options.json) as path:
            path.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from pipeline.compare import compare

    print(compare(options.search))
    return 0


if __name__ == "__main__":
    sys.exit(main())
