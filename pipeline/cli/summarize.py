"""`framescribe summarize`: time budgets, bouts and transitions of labels; it imports nothing heavy before it runs."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.console import EXIT_SOME_FAILED, Commands, add_command, make_writable, report_note

if TYPE_CHECKING:
    import numpy as np

    from pipeline.metrics.budgets import Summaries

PICTURE = "summary.png"
SOFTWARE = "framescribe summarize"  # in the picture: it says whose result it is
MAX_BARS = 40  # videos; more of them are shown as one
MAX_NAMES = 5  # in a message
TEXT = """
Summarize labels as behaviour researchers publish them, for each video and each group: how the labelled time is divided
among the classes, how many bouts of a class there are, how long they are, when the first one begins, and which class
follows which. Write, into --out:
  budget.csv         a row for each class of each group and of each video: share of the labelled time, number of bouts,
                     bouts per minute; in seconds and in frames: labelled time, total, mean and median bout, latency
  transitions.csv    group,stem,from,to,count,probability: how often a class follows another
  summary.png        the time budgets, and the transitions of all videos
Rows with an empty stem are those of groups. docs/users/summarize.md has the definitions.

Times come from what `framescribe label` wrote, or with --videos from the videos themselves. Labels without times give
numbers of frames only.
"""
END = """
exit code: 0, all label files were summarized; 1, some could not be read, and are named; 2, the call was refused

examples:
  framescribe summarize labels/ --out summary/
  framescribe summarize mice/labels --videos mice/videos --groups mice/groups.csv --out summary/
"""


def add(commands: Commands) -> None:
    """Add the command to the parser of `framescribe`."""
    summarize = add_command(commands, "summarize", "time budgets, bouts and transitions of labels", TEXT, END)
    summarize.add_argument(
        "labels", type=Path, metavar="LABELS", help="label files: what `framescribe label` wrote, or DATASET/labels"
    )
    summarize.add_argument("--out", type=Path, metavar="DIR", help="where the files go (default: only print a table)")
    summarize.add_argument(
        "--groups", type=Path, metavar="FILE", help="a table stem,group of all label files (default: one group)"
    )
    summarize.add_argument(
        "--videos", type=Path, metavar="DIR", help="the videos, whose times are used instead of those of the labels"
    )
    summarize.add_argument(
        "--independent",
        action="store_true",
        help="any classes may overlap, also where the list of classes does not say so",
    )
    summarize.add_argument(
        "--follow-links", action="store_true", help="also read label files that are links out of their folder"
    )
    summarize.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Summarize the labels, print a table, write the files, and return the exit code.

    Raises:
        InputError: The call is refused.
    """
    from pipeline.metrics.budget_tables import format_summaries
    from pipeline.metrics.budgets import summarize_folder

    if options.out is not None:
        _check_replaceable(options.out)
    summaries = summarize_folder(
        options.labels,
        groups=options.groups,
        edges=_times_of_videos(options.videos) if options.videos else None,
        independent=options.independent,
        follow_links=options.follow_links,
    )
    for failure in summaries.failures:
        print(f"not summarized: {failure}", file=sys.stderr)
    _note_what_is_unknown(summaries)
    print(format_summaries(summaries))
    if options.out is not None:
        make_writable(options.out)
        _write(options.out, summaries)
    return EXIT_SOME_FAILED if summaries.failures else 0


def _check_replaceable(folder: Path) -> None:
    """Check that no file is replaced that this command did not write.

    Raises:
        InputError: There is one.
    """
    from pipeline.errors import InputError
    from pipeline.files import check_is_no_folder
    from pipeline.metrics.budget_tables import HEADERS

    starts = {name: ",".join(header).encode() + b"\n" for name, header in HEADERS.items()}
    problems = []
    for path in (folder / name for name in (*HEADERS, PICTURE)):
        check_is_no_folder(path)
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(1024)
            if not (start.startswith(starts[path.name]) if path.name in starts else SOFTWARE.encode() in start):
                problems.append(f"{path}: is not a result of `{SOFTWARE}`: move it away, or write elsewhere")
    if problems:
        raise InputError("\n".join(problems))


def _times_of_videos(folder: Path) -> "Callable[[str], np.ndarray | None]":
    """Return the function that gives the times of the frames of a video in a folder, see `budgets.Edges`.

    Raises:
        InputError: The folder has no video, or two of one stem.
    """
    import numpy as np

    from pipeline.errors import InputError
    from pipeline.files import canonical, find_files
    from pipeline.video.survey import index_video
    from pipeline.video.types import VIDEO_SUFFIXES

    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: expected one that holds the videos")
    videos: dict[str, Path] = {}
    for path in find_files([folder], VIDEO_SUFFIXES, kind="video", on_note=report_note):
        if (other := videos.setdefault(canonical(path.stem), path)) != path:
            raise InputError(f"{folder}: {other.name} and {path.name} have one stem: which one do the labels mean?")

    def edges(stem: str) -> "np.ndarray | None":
        if stem not in videos:
            return None
        index = index_video(videos[stem])
        return np.append(index.pts_seconds, index.pts_seconds[-1] + 1 / float(index.properties.frame_rate))

    return edges


def _note_what_is_unknown(summaries: "Summaries") -> None:
    """Print to stderr which videos have no times, and of which nothing says how long they are."""
    from pipeline.text.wording import counted, listed

    if stems := summaries.without_times:
        label_files = f"{counted(len(stems), 'label file')} {'has' if len(stems) == 1 else 'have'}"
        report_note(
            f"{label_files} no times ({listed(stems, MAX_NAMES)}): seconds are left empty for them and their groups,"
            " and shares are of frames; --videos gives the times"
        )
    if stems := summaries.without_length:
        report_note(
            f"the length of {counted(len(stems), 'video')} is not known ({listed(stems, MAX_NAMES)}): frames after the"
            " last segment do not count; --videos gives it, or a label file with a row per frame"
        )


def _write(folder: Path, summaries: "Summaries") -> None:
    from pipeline.drawing.time_budget import plot_time_budget
    from pipeline.files import replacing
    from pipeline.metrics.budget_tables import write_tables

    write_tables(folder, summaries)
    shares = {
        name: [bouts.share or 0.0 for bouts in summary.bouts] for name, summary in summaries.bars(MAX_BARS).items()
    }
    figure = plot_time_budget(shares, summaries.of_all().transitions, summaries.label_space)
    with replacing(folder / PICTURE) as temporary:
        figure.savefig(temporary, metadata={"Software": SOFTWARE})
