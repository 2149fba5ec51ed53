"""The command line: `framescribe label | review | studio | caption | import | check | evaluate | summarize | ...`.

Each command has its own module, which parses its arguments and makes one call. Nothing heavy is imported before a
command runs, so that --help answers immediately.
"""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from pipeline.cli import (
    caption,
    check,
    compare,
    evaluate,
    export_labels,
    import_labels,
    label,
    log,
    review,
    studio,
    summarize,
)
from pipeline.cli.console import EXIT_REFUSED, EXIT_SIGNAL


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command and its arguments; None for those of the process.

    Returns:
        The exit code: 0; 1 where a video could not be labelled; 2 where the call itself was refused; 128 plus the
        number of the signal that ended the command.
    """
    from pipeline.errors import InputError, describe_os_error

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be valid text
    options = _parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return options.run(options)
    except InputError as error:
        print(f"framescribe: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except BrokenPipeError:  # `framescribe check DATASET | head`: the reader has ended
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
    """End as Ctrl-C does, so that half-written files are removed."""
    raise KeyboardInterrupt(number)


class _ShowVersion(argparse.Action):
    """Print the version; it is looked up only when it is needed, as that takes as long as all of --help."""

    def __call__(self, parser: argparse.ArgumentParser, *arguments: object) -> NoReturn:
        from framescribe import __version__

        print(f"framescribe {__version__}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="framescribe",
        description="Label every frame of a video, list what is worth annotating, describe images and videos in words,"
        " score the labels, and summarize them.",
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    label.add(commands)
    review.add(commands)
    studio.add(commands)
    caption.add(commands)
    import_labels.add(commands)
    check.add(commands)
    evaluate.add(commands)
    summarize.add(commands)
    compare.add(commands)
    export_labels.add(commands)
    log.add(commands)
    return parser
