"""`framescribe studio`: its arguments, and one call; as all of `cli`, it imports nothing heavy before it runs."""

import argparse
from pathlib import Path

from pipeline.cli.console import Commands, add_command

TEXT = """
Open a page in the browser to watch the videos of a data set, to correct and give labels, to see what is most worth a
look, and to train again. Each change is on disk within a second, and the first version of each label file is kept in
DATASET/.studio/backups. Ctrl-C ends the studio.

With --videos, LABELS is a folder of label files, such as `framescribe label` writes: they are shown, and not changed.
"""
END = """
examples: framescribe studio data/mine --model models/labeller
          framescribe studio labels/ --videos recordings/
"""


def add(commands: Commands) -> None:
    """Add the command to the parser of `framescribe`."""
    studio = add_command(commands, "studio", "watch, label and train in the browser", TEXT, END)
    studio.add_argument("place", type=Path, metavar="DATASET|LABELS", help="a data set, or a folder of label files")
    studio.add_argument("--videos", type=Path, metavar="DIR", help="the videos of the label files")
    studio.add_argument(
        "--model",
        metavar="DIR|URI",
        help="a trained labeller, whose labels are shown (default: models/labeller here, where it has"
        " classes of the data set)",
    )
    studio.add_argument("--port", type=int, default=8765, help="where the page is served (default: 8765; 0: any)")
    studio.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the address to listen on (default: 127.0.0.1, this machine alone); for any other, the printed address of"
        " the page has a token, and nothing is shown without it",
    )
    studio.add_argument("--no-browser", action="store_true", help="do not open a browser")
    studio.add_argument(
        "--follow-links", action="store_true", help="also show videos and labels that are links out of the data set"
    )
    studio.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve the studio until it is interrupted, and return the exit code.

    Raises:
        InputError: The call is refused.
    """
    from pipeline.studio.serve import StudioOptions, serve

    return serve(
        StudioOptions(
            place=options.place,
            videos=options.videos,
            model=options.model,
            host=options.host,
            port=options.port,
            opens_browser=not options.no_browser,
            follow_links=options.follow_links,
        )
    )
