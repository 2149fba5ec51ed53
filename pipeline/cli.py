"""framescribe label | check | evaluate: parse the command line, then one call.

Nothing heavy is imported before a command runs, so that --help answers at once.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

EXIT_SOME_FAILED, EXIT_REFUSED, EXIT_SIGNAL = 1, 2, 128  # a signal's number is added to the last, as shells do

LABEL = """
Write, for each video, into the folder --out:
  <stem>.frames.csv      frame,time_seconds,label,probability        one row a frame
  <stem>.segments.csv    start,stop,start_seconds,stop_seconds,label,probability
                         frames from start up to, not including, stop
  <stem>.overlay.mp4     with --overlay: the video with its labels drawn on it
A video that cannot be labelled is named with the cause, and the others go on.
"""
LABEL_END = """
exit code: 0, all were labelled; 1, some were not; 2, the call was refused

example: framescribe label recordings/ --model models/labeller --out labels/
"""
CHECK = """
Look at every file of a data set and list all problems at once: file, line, likely cause.
"""
CHECK_END = """
exit code: 0, no problem; 2, at least one

A data set is a folder with
  videos/<stem>.mp4 (or .avi, .mkv, ...)   or   features/<stem>.npy, float [frames, features]
  labels/<stem>.csv: start,stop,class      or   labels/<stem>.txt: one class a line, one line a frame
  classes.txt: one class a line
  splits/train.txt, val.txt, test.txt: one stem a line     (optional)
  groups.csv: stem,group                                   (optional)
"""
EVALUATE = """
Score predicted labels against true ones: frame accuracy, edit score and F1 of the segments, and each class.
"""
EVALUATE_END = """
example: framescribe evaluate --truth mice/labels --predicted labels/ --background resting
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0; 1 where a video could not be labelled; 2 where the call itself was refused."""
    from pipeline.errors import InputError, describe_os_error

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
        prog="framescribe", description="Label every frame of a video with a trained model, and score the labels."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    label = _add_command(commands, "label", "label videos with a trained model", LABEL, LABEL_END)
    label.add_argument(
        "inputs", nargs="+", type=Path, metavar="VIDEO|DIR", help="videos, or folders of them; or .npy features"
    )
    label.add_argument(
        "--model",
        required=True,
        metavar="DIR|URI",
        help="checkpoint folder, or MLflow URI (models:/NAME/VERSION, runs:/ID/NAME)",
    )
    label.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the labels go")
    label.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto, the default: CUDA where there is one"
    )
    label.add_argument("--overlay", action="store_true", help="also draw the labels on the video")
    label.set_defaults(run=_label)

    check = _add_command(commands, "check", "list every problem of a data set", CHECK, CHECK_END)
    check.add_argument("dataset", type=Path, metavar="DATASET", help="the folder of the data set")
    check.set_defaults(run=_check)

    evaluate = _add_command(commands, "evaluate", "score predicted labels against true ones", EVALUATE, EVALUATE_END)
    evaluate.add_argument(
        "--truth", required=True, type=Path, metavar="DIR", help="true labels, such as DATASET/labels"
    )
    evaluate.add_argument("--predicted", required=True, type=Path, metavar="DIR", help="what `framescribe label` wrote")
    evaluate.add_argument(
        "--background", metavar="NAME", help="score a second time with this class left out of edit and F1"
    )
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="also write the whole report there")
    evaluate.set_defaults(run=_evaluate)
    return parser


def _add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, text: str, end: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=summary, description=text, epilog=end, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _label(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from pipeline.errors import InputError
    from pipeline.predict import find_inputs, label_files, load_model

    model = load_model(options.model, device=options.device)
    if options.overlay and model.frames is None:
        raise InputError(f"{options.model}: was trained on ready features: --overlay needs a model that sees videos")
    paths = find_inputs(options.inputs, model)
    _make_writable(options.out)
    with tqdm(paths, unit="video", desc="labelling", disable=None) as bar:
        num_failed = label_files(
            bar, model, options.out, overlay=options.overlay, refuse=_refuse, tell=bar.set_postfix_str
        )
    print(f"labelled {len(paths) - num_failed} of {len(paths)} into {options.out}")
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
    from tqdm import tqdm

    from pipeline.datasets.scan import scan_dataset

    scan = scan_dataset(options.dataset, progress=lambda paths: tqdm(paths, unit="file", desc="checking", disable=None))
    problems = scan.all_problems() + scan.unused_class_problems()
    for problem in problems:
        print(problem)
    num_frames = sum(source.num_frames for source in scan.sources.values())
    found = f"{len(scan.sources)} {scan.kind}, {num_frames} frames, {len(scan.classes)} classes"
    print(f"{options.dataset}: {found}, {len(problems)} problem{'s' * (len(problems) != 1)}")
    return EXIT_REFUSED if problems else 0


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


if __name__ == "__main__":
    sys.exit(main())
