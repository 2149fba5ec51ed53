"""framescribe label | review | caption | check | evaluate | compare: parse the command line, then one call.

Nothing heavy is imported before a command runs, so that --help answers at once.
"""

import argparse
import io
import json
import math
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from pipeline import live_command, review_command

if TYPE_CHECKING:
    from pipeline.label_files import Outcome
    from pipeline.labels.caption_files import CaptionRow
    from pipeline.labels.problems import Problem

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_SOME_FAILED, EXIT_REFUSED, EXIT_SIGNAL = 1, 2, 128  # a signal's number is added to the last, as shells do
SHORTEST_SPAN_SECONDS = 0.1
MOST_JOBS = {"cpu": 4, "cuda": 8}  # by device: each takes memory, and a GPU encodes what several cores decode

LABEL = """
Write, for each video, into the folder --out:
  <stem>.frames.csv      frame,time_seconds,label,probability        one row a frame
  <stem>.segments.csv    start,stop,start_seconds,stop_seconds,label,probability
                         frames from start up to, not including, stop
  <stem>.report.json     the run, data and commit that the model comes from, and what was decoded
  decode_report.csv      for all videos: frames declared, decoded, failed, substituted; what is wrong with a file
and, where --formats asks for it,
  <stem>.frames.jsonl    a JSON object a frame             <stem>.segments.vtt    WebVTT subtitles, for browsers
  <stem>.frames.parquet  the same as a Parquet table       <stem>.segments.srt    SubRip, for players and editors
  <stem>.overlay.mp4     with --overlay: the video with its labels drawn on it
A video that cannot be labelled is named with the cause, and the others go on. Videos that are finished are left alone:
a call that was interrupted goes on where it was.
"""
LABEL_END = """
exit code: 0, all were labelled; 1, some were not, or in part; 2, the call was refused

examples: framescribe label recordings/ --model models/labeller --out labels/
          framescribe label match.mp4 --model models/labeller --out labels/ --formats csv,vtt --overlay
          framescribe label --camera 0 --model models/labeller --out labels/
          framescribe label rtsp://10.0.0.5/live --model models/labeller --out labels/
          framescribe label --follow recording.mkv --model models/labeller --out labels/
"""
CAPTION = """
Describe images, and what videos show span by span, in words. Write into the file --out, a .csv or .jsonl:
  path,start_seconds,stop_seconds,label,caption,probability
                         one row (.jsonl: one JSON object a line) a caption, the best first; images, then videos;
                         an image has no start, stop and label
and, for each video, into --labels, or without it into the folder of --out:
  <stem>.captions.vtt    the captions as subtitles, for browsers
  <stem>.captions.srt    the same for other players and for editors
  <stem>.summary.txt     the whole video in a few sentences
A probability is of the whole sentence: compare it between captions of one image, not between images.
A file that cannot be described is named with the cause, and the others go on. A GIF is an image: its first frame.
"""
CAPTION_END = """
exit code: 0, all were described; 1, some were not; 2, the call was refused

examples: framescribe caption photos/ --model models/captioner --out captions.csv
          framescribe caption photos/ --model models/captioner --out captions.jsonl --captions 3 --prefix "two dogs"
          framescribe caption match.mp4 --model models/captioner --out match.csv --labels labels/
"""
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

    label = _add_command(commands, "label", "label videos with a trained model", LABEL + live_command.TEXT, LABEL_END)
    label.add_argument(
        "inputs",
        nargs="*",
        type=live_command.video_or_address,
        metavar="VIDEO|DIR|ADDRESS",
        help="videos, or folders of them; or .npy features; or the address of a stream",
    )
    _add_model(label)
    live_command.add_arguments(label)
    label.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the labels go")
    label.add_argument(
        "--formats", default="csv", metavar="LIST", help="csv,jsonl,parquet,vtt,srt or some (default: csv)"
    )
    label.add_argument("--overlay", action="store_true", help="also draw the labels on the video")
    label.add_argument(
        "--on-error",
        choices=("skip", "stop", "partial"),
        default="skip",
        help="of a damaged video: skip, leave it out; partial, label the frames that can be decoded; stop, end there"
        " (default: skip)",
    )
    label.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="how many videos at once (default: as many as CPU cores, at most 4; with a GPU 8)",
    )
    label.add_argument("--again", action="store_true", help="label also the videos that are finished")
    label.add_argument(
        "--track", action="store_true", help="also log this call and its decode report as a run in MLflow"
    )
    label.add_argument(
        "--precision",
        choices=("full", "reduced"),
        default="full",
        help="reduced: the encoder computes in bfloat16, faster where the CPU or GPU has it (default: full, float32)",
    )
    label.add_argument(
        "--still",
        type=float,
        metavar="LEVEL",
        help="for a camera that stands still: do not encode a frame anew while no part of it differs from the last"
        " encoded one by more than so many grey levels of 255 (default: encode all)",
    )
    label.set_defaults(run=_label)

    review = _add_command(
        commands, "review", "list what is most worth annotating", review_command.TEXT, review_command.END
    )
    _add_model(review)
    review_command.add_arguments(review)
    review.set_defaults(run=_review)

    _add_caption(commands)

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


def _add_caption(commands: "Commands") -> None:
    caption = _add_command(commands, "caption", "describe images and videos in words", CAPTION, CAPTION_END)
    caption.add_argument(
        "inputs", nargs="+", type=Path, metavar="IMAGE|VIDEO|DIR", help="images, videos, or folders of them"
    )
    _add_model(caption)
    caption.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help="where the captions go: .csv or .jsonl"
    )
    caption.add_argument(
        "--captions", type=int, default=1, metavar="N", help="how many of each image (default: 1), at most --beam"
    )
    caption.add_argument(
        "--beam",
        type=int,
        metavar="N",
        help="how many captions the search follows at once (default: as the model says)",
    )
    caption.add_argument("--prefix", default="", metavar="WORDS", help="what every caption begins with")
    caption.add_argument(
        "--labels",
        type=Path,
        metavar="DIR",
        help="videos: a caption for each segment that `framescribe label` wrote there",
    )
    caption.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="videos without --labels: a caption for each so many seconds (default: 5)",
    )
    caption.set_defaults(run=_caption)


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
    _check_label_options(options)

    from tqdm import tqdm

    from pipeline.label_files import Progress, Wanted, check_wanted, find_inputs, label_files, track_call
    from pipeline.predict import load_model

    wanted = Wanted(tuple(options.formats.split(",")), options.overlay, options.on_error, options.again)
    model = load_model(options.model, device=options.device, precision=options.precision, still=options.still)
    check_wanted(wanted, model)
    paths = find_inputs(options.inputs, model)
    _make_writable(options.out)
    with tqdm(unit="frame", desc="labelling", disable=None, total=0, smoothing=0) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.num_frames
            bar.set_postfix_str(f"video {progress.num_videos_done} of {progress.num_videos}", refresh=False)
            bar.update(progress.num_frames_done - bar.n)

        outcome = label_files(
            paths,
            model,
            options.out,
            wanted=wanted,
            num_at_once=options.jobs or min(os.cpu_count() or 1, MOST_JOBS[model.device.type]),
            decoder_processes=model.device.type == "cuda",
            refuse=_refuse,
            tell=show,
        )
    print(_describe_outcome(outcome, len(paths), options.out))
    if options.track:
        print(f"tracked as MLflow run {track_call(model, paths, outcome, options.out)}")
    return EXIT_SOME_FAILED if outcome.num_failed or outcome.num_partial else 0


def _check_label_options(options: argparse.Namespace) -> None:
    """Raise InputError with every problem that shows without the model."""
    from pipeline.errors import InputError
    from pipeline.labels.exports import FORMATS

    names = options.formats.split(",")
    problems = [
        f"--formats: got {name!r}, expected some of {','.join(FORMATS)}" for name in names if name not in FORMATS
    ]
    if len(set(names)) < len(names):
        problems.append(f"--formats: got {options.formats}, which names one twice")
    if options.still is not None and not 0 <= options.still <= 255:
        problems.append(f"--still: got {options.still}, expected 0 to 255 grey levels")
    if options.jobs is not None and options.jobs < 1:
        problems.append(f"--jobs: got {options.jobs}, expected at least 1")
    if problems:
        raise InputError("\n".join(problems))


def _describe_outcome(outcome: "Outcome", num_videos: int, out: Path) -> str:
    parts = [f"labelled {outcome.num_labelled} of {num_videos} into {out}"]
    if outcome.num_partial:
        parts.append(f"{outcome.num_partial} of them in part")
    if outcome.num_finished_before:
        parts.append(f"{outcome.num_finished_before} were finished before")
    return ", ".join(parts)


def _review(options: argparse.Namespace) -> int:
    num_failed = review_command.run(options, make_writable=_make_writable, refuse=_refuse)
    return EXIT_SOME_FAILED if num_failed else 0


def _caption(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from pipeline.caption import EVERY_SECONDS, caption_files, find_pictures, load_caption_model, plan_search
    from pipeline.labels.caption_files import write_captions

    _check_caption_options(options)
    model = load_caption_model(options.model, device=options.device)
    search = plan_search(model, beam_size=options.beam, num_captions=options.captions, prefix=options.prefix)
    images, videos = find_pictures(options.inputs)
    out = options.labels or options.out.parent
    for folder in (options.out.parent, out):
        _make_writable(folder)
    num_files, refused = len(images) + len(videos), []
    with tqdm(total=num_files, unit="file", desc="describing", disable=None) as bar:

        def refuse(message: str) -> None:
            refused.append(message)
            _refuse(message)
            bar.update()

        def rows() -> "Iterator[CaptionRow]":
            for of_file in caption_files(
                images,
                videos,
                model,
                search,
                labels=options.labels,
                every_seconds=EVERY_SECONDS if options.every is None else options.every,
                out=out,
                refuse=refuse,
                tell=bar.set_postfix_str,
            ):
                yield from of_file
                bar.update()

        write_captions(options.out, rows())
    num_described = num_files - len(refused)
    print(f"described {num_described} of {num_files}" + f" into {options.out}" * bool(num_described))
    return EXIT_SOME_FAILED if refused else 0


def _check_caption_options(options: argparse.Namespace) -> None:
    """Raise InputError with every problem that shows without the model."""
    from pipeline.errors import InputError
    from pipeline.labels.caption_files import CAPTION_SUFFIXES

    problems = []
    if options.out.suffix.lower() not in CAPTION_SUFFIXES:
        problems.append(
            f"--out: got {options.out}, expected a name that ends in {' or '.join(sorted(CAPTION_SUFFIXES))}"
        )
    elif options.out.is_dir():
        problems.append(f"--out: {options.out} is a folder, expected a file")
    if options.captions < 1:
        problems.append(f"--captions: got {options.captions}, expected at least 1")
    if options.beam is not None and options.beam < max(1, options.captions):
        problems.append(
            f"--beam: got {options.beam}, expected at least {max(1, options.captions)}, one for each caption"
        )
    if options.every is not None and not SHORTEST_SPAN_SECONDS <= options.every < math.inf:
        problems.append(f"--every: got {options.every}, expected at least {SHORTEST_SPAN_SECONDS} seconds")
    if options.every is not None and options.labels is not None:
        problems.append("--every and --labels both say which spans are described: leave out one of them")
    if options.labels is not None and not options.labels.is_dir():
        problems.append(f"--labels: {options.labels} is no folder: write it with `framescribe label`")
    if problems:
        raise InputError("\n".join(problems))


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
