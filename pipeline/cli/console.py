"""The parts that all commands share: exit codes, arguments, and messages on the terminal."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pipeline.errors import InputError
from pipeline.stores.address import Address, as_place

if TYPE_CHECKING:
    from pipeline.interchange.imported import Imported

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

READERS = ("auto", "pyav", "decord", "opencv", "nvdec")  # `video.types.Backend`, which would import numpy
MAX_NOTES = 20  # lines about what was imported
EXIT_SOME_FAILED, EXIT_REFUSED, EXIT_SIGNAL = 1, 2, 128  # the number of a signal is added to the last, as in shells


def add_model_arguments(command: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add --model and --device.

    Args:
        command: The parser of the command.
        several: Whether --model may be given several times; its value is a list then.
    """
    more = "; given several times, the models label together: their probabilities are averaged" if several else ""
    command.add_argument(
        "--model",
        required=True,
        action="append" if several else "store",
        metavar="DIR|URI",
        help=f"checkpoint folder, or MLflow URI (models:/NAME/VERSION, runs:/ID/NAME){more}",
    )
    command.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto, the default: CUDA where there is one"
    )


def add_reader_argument(command: argparse.ArgumentParser, auto: str) -> None:
    """Add --reader.

    Args:
        command: The parser of the command.
        auto: The readers that the choice "auto" uses, and why, as a part of a sentence.
    """
    command.add_argument(
        "--reader",
        choices=READERS,
        default="auto",
        help=f"what decodes videos (default: auto). auto takes {auto}; decord takes short mp4, mov, mkv and webm files;"
        " decord and opencv refuse videos that they would read differently from pyav; nvdec (new, not yet tried on a"
        " GPU) decodes 8-bit H.264 and HEVC on an NVIDIA GPU, and leaves the rest to pyav; only pyav notices damaged"
        " pictures",
    )


def add_command(commands: Commands, name: str, summary: str, text: str, end: str) -> argparse.ArgumentParser:
    """Add a command to the parser of `framescribe`.

    Args:
        commands: The commands of the parser.
        name: The name of the command.
        summary: Its line in the help of `framescribe`.
        text: The beginning of the command's help.
        end: The end of the command's help.

    Returns:
        The parser of the command.
    """
    return commands.add_parser(
        name, help=summary, description=text, epilog=end, formatter_class=argparse.RawDescriptionHelpFormatter
    )


class _Renamed(argparse.Action):
    """An option under an earlier name: it sets the value of the new name, and prints the new name to stderr."""

    def __init__(self, option_strings: Sequence[str], dest: str, *, now: str, **options: Any) -> None:
        self._now = now
        super().__init__(option_strings, dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **options)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        print(f"framescribe: {option} is now called {self._now}; the earlier name still works", file=sys.stderr)
        setattr(namespace, self.dest, True if self.nargs == 0 else values)


def add_renamed_option(command: argparse.ArgumentParser, old: str, *, now: str, **options: Any) -> None:
    """Keep the earlier name of an option, hidden from the help.

    Args:
        command: The parser that has the option under its new name.
        old: The earlier name, such as "--still".
        now: The new name, such as "--static-threshold".
        **options: How its value is parsed, see `add_argument`.
    """
    command.add_argument(old, action=_Renamed, now=now, dest=now.lstrip("-").replace("-", "_"), **options)


def parse_place(text: str) -> Path | Address:
    """Parse an argument that is a path, or an address in a store.

    Raises:
        argparse.ArgumentTypeError: The address is not valid. The message of argparse itself would repeat it, with the
            credentials that may be in it.
    """
    try:
        return as_place(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def make_writable(folder: Path) -> None:
    """Create a folder if it is missing, and check that files can be written into it.

    Raises:
        InputError: A file is in its place, or the permission is missing.
    """
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise InputError(f"{folder}: cannot be written: {path} is a file, expected a folder")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be written: you have no permission")


def report_failure(message: str) -> None:
    """Print to stderr what failed, above a progress bar if there is one."""
    _print_above_bar(message)


def report_note(message: str) -> None:
    """Print to stderr what the user should know, although nothing failed, above a progress bar if there is one."""
    _print_above_bar(message)


def _print_above_bar(message: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"framescribe: {message}", file=sys.stderr)


def print_losses(imported: "Imported") -> None:
    """Print the notes, and how often each kind of loss occurs, to stderr."""
    notes = list(dict.fromkeys(imported.notes))
    for note in notes[:MAX_NOTES]:
        print(f"note: {note}", file=sys.stderr)
    if len(notes) > MAX_NOTES:
        print(f"note: {len(notes) - MAX_NOTES} more notes", file=sys.stderr)
    for line in imported.losses.describe():
        print(line, file=sys.stderr)
