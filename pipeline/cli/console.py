"""What the commands share: exit codes, arguments, and messages on the terminal."""

import argparse
import os
import sys
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

EXIT_SOME_FAILED, EXIT_REFUSED, EXIT_SIGNAL = 1, 2, 128  # a signal's number is added to the last, as shells do


def add_model_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model",
        required=True,
        metavar="DIR|URI",
        help="checkpoint folder, or MLflow URI (models:/NAME/VERSION, runs:/ID/NAME)",
    )
    command.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto, the default: CUDA where there is one"
    )


def add_command(commands: Commands, name: str, summary: str, text: str, end: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=summary, description=text, epilog=end, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def make_writable(folder: Path) -> None:
    from pipeline.errors import InputError

    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise InputError(f"{folder}: cannot be written: {path} is a file, expected a folder")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be written: you have no permission")


def report_failure(message: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"framescribe: {message}", file=sys.stderr)
