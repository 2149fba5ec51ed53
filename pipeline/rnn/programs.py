"""What the programs of examples/ share that train on sequences: their command line, their files, and how they end."""

import argparse
import csv
import hashlib
import io
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.rnn.sequences import CELLS, Model, train_each

STOPPED = 130  # the exit code of a program that Ctrl-C has ended


def arguments(
    description: str | None, *, num_epochs: int, out: str, corpus: str, corpora: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Make the parser of a program that compares cells on sequences: --data, --corpus, --cells, --epochs and --out.

    Args:
        description: What the program does: its docstring.
        num_epochs: The epochs of each training, unless told otherwise.
        out: The folder that is written into, unless told otherwise.
        corpus: What is read of the folder of the data, unless told otherwise.
        corpora: All that can be read of it; none for any file.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of the data; without it they are made")
    about = f"what is read there; {corpus} by default"
    parser.add_argument("--corpus", choices=corpora or None, help=about)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS), help="the cells that are compared")
    parser.add_argument(
        "--epochs", type=_positive, default=num_epochs, help=f"of each training; {num_epochs} by default"
    )
    parser.add_argument("--out", type=Path, default=Path(out), help=f"the folder of the results; {out} by default")
    parser.set_defaults(default_corpus=corpus)
    return parser


def read_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line with a parser of `arguments`.

    Returns:
        What was asked for; `path` is that of the corpus, None where the data are made.

    Raises:
        ValueError: --data is not a folder, or it is missing although --corpus names something in it.
    """
    options = parser.parse_args()
    if options.data is None and options.corpus is not None:
        raise ValueError(f"--corpus {options.corpus}: needs --data, the folder that has it")
    if options.data is not None and not options.data.is_dir():
        raise ValueError(f"--data {options.data}: expected a folder; is the path complete?")
    options.corpus = options.corpus or options.default_corpus
    options.path = options.data and options.data / options.corpus
    return options


def read_text(path: Path, encoding: str = "utf-8-sig") -> str:
    """Read a file of text.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not text in this encoding.
    """
    try:
        return path.read_text(encoding)
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
        raise ValueError(f"{path}: got {found}, expected UTF-8: was it saved in another encoding?") from None


def read_table(path: Path, columns: Sequence[str]) -> list[list[str]]:
    """Read some columns of a .csv file, as text.

    Raises:
        OSError: It cannot be read.
        ValueError: A column is missing, a row has more or fewer cells than there are columns, or one of these cells is
            empty.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(read_text(path), newline="")) if line]  # without blank ones
    except csv.Error as error:  # such as a cell of more than 128 KB
        raise ValueError(f"{path}: got no table ({error}), expected the columns {', '.join(columns)}") from None
    if not lines:
        raise ValueError(f"{path}: got an empty file, expected a table with the columns {', '.join(columns)}")
    header, *rows = lines
    if missing := [name for name in columns if name not in header]:
        raise ValueError(f"{path}: got the columns {', '.join(header)}, expected also {', '.join(missing)}")
    if wrong := [n for n, row in enumerate(rows, start=1) if len(row) != len(header)]:
        found = f"cells in row {wrong[0]}: got {len(rows[wrong[0] - 1])}, expected {len(header)}"
        raise ValueError(f"{path}: {found}: is a comma not in quotation marks?")
    places = [(name, header.index(name)) for name in columns]
    if empty := [(n, name) for n, row in enumerate(rows, start=1) for name, place in places if not row[place]]:
        raise ValueError(f"{path}: row {empty[0][0]} has an empty {empty[0][1]}, expected text")
    return [[row[place] for _, place in places] for row in rows]


def digest(*paths: Path) -> str:
    """Return 16 hexadecimal digits that change when the content of one of these files does."""
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()[:16]


def compare(
    options: argparse.Namespace,
    make: Callable[[str], Model],
    losses: Callable[[Model], Iterable[Tensor]],
    score: Callable[[Model], float],
    *,
    paths: Sequence[Path | None],
    learning_rate: float,
    measure: str,
    **settings: Any,
) -> dict[str, Model]:
    """Train the same network with each of the cells, as the command line asks for it, see `train_each`.

    Args:
        options: What `read_options` returns.
        make: As in `train_each`.
        losses: As in `train_each`.
        score: As in `train_each`.
        paths: The files that the data are read from: a checkpoint of others is refused. None counts for nothing.
        learning_rate: As in `train`.
        measure: As in `train`.
        settings: What else the training depends on.

    Returns:
        The models by cell, that of the best score first.
    """
    return train_each(
        options.cells,
        make,
        losses,
        score,
        out=options.out,
        num_epochs=options.epochs,
        learning_rate=learning_rate,
        measure=measure,
        settings={"data": digest(*filter(None, paths)), **settings},
    )


def run(main: Callable[[], None]) -> None:
    """Run a program, and end it with a sentence instead of a traceback where its input is wrong, or it is stopped."""
    name = Path(sys.argv[0]).name
    try:
        main()
    except OSError as error:
        sys.exit(f"{name}: {error.filename}: {error.strerror}" if error.filename else f"{name}: {error}")
    except ValueError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(f"{name}: stopped; the same call goes on after the last epoch that was finished", file=sys.stderr)
        sys.exit(STOPPED)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a whole number, 1 or more")
    return int(text)
