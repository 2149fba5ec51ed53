"""framescribe label | check | evaluate: parse the command line, then one call.

Nothing heavy is imported before a command runs, so that --help answers at once.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

EXIT_SOME_FAILED, EXIT_REFUSED = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0; 1 where a video could not be labelled; 2 where the call itself was refused."""
    from pipeline.errors import InputError

    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except InputError as error:
        print(f"framescribe: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        print("framescribe: interrupted; what was finished stays", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="framescribe", description="Label every frame of a video.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    label = commands.add_parser("label", help="label videos with a trained model")
    label.add_argument(
        "inputs", nargs="+", type=Path, metavar="VIDEO|DIR", help="videos, folders of them, or .npy features"
    )
    label.add_argument(
        "--model", required=True, metavar="DIR|URI", help="checkpoint folder, or MLflow URI (models:/, runs:/)"
    )
    label.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="where <stem>.frames.csv and so on are written"
    )
    label.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    label.add_argument(
        "--overlay", action="store_true", help="also write <stem>.overlay.mp4, labels drawn on the video"
    )
    label.set_defaults(run=_label)

    check = commands.add_parser("check", help="list every problem of a data set; exit code 2 if there is one")
    check.add_argument(
        "dataset", type=Path, metavar="DATASET", help="folder with videos/ or features/, labels/, classes.txt"
    )
    check.set_defaults(run=_check)

    evaluate = commands.add_parser("evaluate", help="score predicted labels against true ones")
    evaluate.add_argument(
        "--truth", required=True, type=Path, metavar="DIR", help="label files, such as DATASET/labels"
    )
    evaluate.add_argument("--predicted", required=True, type=Path, metavar="DIR", help="what `framescribe label` wrote")
    evaluate.add_argument("--background", metavar="NAME", help="also score with this class left out of edit and F1")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="also write the whole report there")
    evaluate.set_defaults(run=_evaluate)
    return parser


def _label(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from pipeline.errors import InputError
    from pipeline.predict import find_inputs, label_files, load_model

    paths = find_inputs(options.inputs)
    model = load_model(options.model, device=options.device)
    if options.overlay and model.frames is None:
        raise InputError(f"{options.model}: was trained on ready features: --overlay needs a model that sees videos")
    options.out.mkdir(parents=True, exist_ok=True)
    with tqdm(paths, unit="video", desc="labelling", disable=None) as bar:
        num_failed = label_files(bar, model, options.out, overlay=options.overlay, refuse=_refuse)
    print(f"labelled {len(paths) - num_failed} of {len(paths)} into {options.out}")
    return EXIT_SOME_FAILED if num_failed else 0


def _refuse(message: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"framescribe: {message}", file=sys.stderr)


def _check(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from pipeline.datasets.manifest import scan_dataset

    scan = scan_dataset(options.dataset, progress=lambda paths: tqdm(paths, unit="file", desc="checking", disable=None))
    problems = [str(problem) for problem in scan.all_problems()]
    if scan.labels:
        problems += [
            f"{scan.root / 'classes.txt'}: no frame is labelled {name!r}: is it misspelt there?"
            for name in scan.unused_classes()
        ]
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
