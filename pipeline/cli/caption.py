"""`framescribe caption`: its arguments, and one call; as all of `cli`, it imports nothing heavy before it runs."""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.console import (
    EXIT_SOME_FAILED,
    Commands,
    add_command,
    add_model_arguments,
    add_reader_argument,
    make_writable,
    report_failure,
    report_note,
)
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.captioning.files import CaptionRow

SHORTEST_SPAN_SECONDS = 0.1
TEXT = """
Describe in words images, and videos span by span. Write into the file --out, a .csv or .jsonl:
  path,start_seconds,stop_seconds,label,caption,probability
                         one row per caption (.jsonl: one JSON object per line), the best first; images, then videos;
                         an image has no start, stop and label
and, for each video, into --labels, or without it into the folder of --out:
  <stem>.captions.vtt    the captions as subtitles, for browsers
  <stem>.captions.srt    the same for other players and for editors
  <stem>.summary.txt     the whole video in a few sentences
A probability is that of the whole sentence: compare it between captions of one image, not between images.
A file that cannot be described is named with the cause, and the others are described. Of a GIF, the first frame is.
"""
END = """
exit code: 0, all were described; 1, some were not; 2, the call was refused

examples: framescribe caption photos/ --model models/captioner --out captions.csv
          framescribe caption photos/ --model models/captioner --out captions.jsonl --captions 3 --prefix "two dogs"
          framescribe caption match.mp4 --model models/captioner --out match.csv --labels labels/
"""


def add(commands: Commands) -> None:
    """Add the command to the parser of `framescribe`."""
    caption = add_command(commands, "caption", "describe images and videos in words", TEXT, END)
    add_model_arguments(caption)
    _add_arguments(caption)
    caption.set_defaults(run=run)


def _add_arguments(caption: argparse.ArgumentParser) -> None:
    """Add all arguments except those of the model to the command `caption`."""
    caption.add_argument(
        "inputs", nargs="+", type=Path, metavar="IMAGE|VIDEO|DIR", help="images, videos, or folders of them"
    )
    caption.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help="where the captions go: .csv or .jsonl"
    )
    caption.add_argument(
        "--captions",
        type=int,
        default=1,
        metavar="N",
        help="how many captions of each image (default: 1), at most --beam; without --beam, the search keeps at least"
        " N captions",
    )
    caption.add_argument(
        "--beam",
        type=int,
        metavar="N",
        help="how many captions the beam search keeps at each word (default: as set in training)",
    )
    caption.add_argument("--prefix", default="", metavar="WORDS", help="what every caption begins with")
    caption.add_argument(
        "--labels",
        type=Path,
        metavar="DIR",
        help="videos: one caption for each segment that `framescribe label` wrote there",
    )
    caption.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="videos without --labels: one caption for every SECONDS (default: 5)",
    )
    add_reader_argument(caption, "decord, the fastest with whole frames, and pyav for what decord refuses")


def run(options: argparse.Namespace) -> int:
    """Describe the files, and return the exit code: 1 where some could not be described.

    Raises:
        InputError: The call is refused.
    """
    from tqdm import tqdm

    from pipeline.captioning.describe import (
        EVERY_SECONDS,
        caption_files,
        find_pictures,
        load_caption_model,
        plan_search,
    )
    from pipeline.captioning.files import write_captions

    _check(options)
    model = load_caption_model(options.model, device=options.device)
    search = plan_search(model, beam_size=options.beam, num_captions=options.captions, prefix=options.prefix)
    if options.beam is None and search.beam_size > (trained := model.spec.captioner.decoding.beam_size):
        report_note(
            f"--captions {options.captions}: the search keeps so many captions, instead of {trained} as set in"
            " training; the best one may differ"
        )
    images, videos = find_pictures(options.inputs, on_note=report_note)
    out = options.labels or options.out.parent
    for folder in (options.out.parent, out):
        make_writable(folder)
    num_files, refused = len(images) + len(videos), []
    with tqdm(total=num_files, unit="file", desc="describing", disable=None) as bar:

        def refuse_one(message: str) -> None:
            refused.append(message)
            report_failure(message)
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
                reader=options.reader,
                on_failure=refuse_one,
                on_progress=bar.set_postfix_str,
            ):
                yield from of_file
                bar.update()

        write_captions(options.out, rows())
    num_described = num_files - len(refused)
    print(f"described {num_described} of {num_files}" + (f" into {options.out}" if num_described else ""))
    return EXIT_SOME_FAILED if refused else 0


def _check(options: argparse.Namespace) -> None:
    """Raise an InputError with every problem that can be found without the model."""
    from pipeline.captioning.files import CAPTION_SUFFIXES

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
        problems.append(f"--labels: {options.labels} is not a folder: write it with `framescribe label`")
    if problems:
        raise InputError("\n".join(problems))
