"""What a server of MLflow has not got: it is kept on disk, in order, and sent when the server answers again.

A training must not end, nor wait for minutes, because its tracker is out of reach. It is kept in the repository, in
`mlflow_unsent/<run>`, and not in the model's folder: DVC hashes that, and deletes the copies in which it runs queued
experiments.
"""

import json
import shutil
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from mlflow.exceptions import RestException
from tqdm import tqdm

from pipeline.files import replacing
from pipeline.tracking.connection import (
    ANSWER_SECONDS,
    address,
    alone,
    has_run,
    is_answer,
    is_server,
    patience,
    reason_of,
    said,
    store_folder,
)
from pipeline.tracking.writes import PATIENT, WRITES

FOLDER = "mlflow_unsent"
PAUSE = 10  # attempts that take a second are so many seconds apart: waiting takes a tenth of the time at most


class Kept(NamedTuple):
    """A write that was kept."""

    address: str
    write: str
    arguments: dict[str, Any]


class Unsent:
    """What the server has not got of one run.

    Args:
        run_id: The run.
        folder: The folder that it is kept in; there is none where nothing is kept.

    Attributes:
        obstacle: Why the last attempt failed.
    """

    def __init__(self, run_id: str, folder: Path) -> None:
        self.run_id = run_id
        self.folder = folder
        self.obstacle = ""
        self._next_attempt = 0.0
        self._refused: set[str] = set()  # the names of the writes of which some were refused

    def kept(self) -> list[Path]:
        """Return the files of the writes that are kept, the first write first."""
        return sorted(self.folder.glob("*.json"))

    def deliver(self, write: str, arguments: dict[str, Any]) -> None:
        """Do a write now or, where the server does not answer, keep it.

        Args:
            write: Its name in `WRITES`.
            arguments: Its arguments after the run.
        """
        if not is_server():
            WRITES[write](self.run_id, **arguments)
        elif self.kept() and (time.monotonic() < self._next_attempt or not self.send()):
            self._keep(write, arguments)
        elif not self._is_taken(write, arguments):
            _say(f"warning: MLflow at {address()} does not answer ({self.obstacle}): the work goes on, and what MLflow"
                 f" should get is kept in {self.folder}")  # fmt: skip
            self._keep(write, arguments)

    def send(self) -> bool:
        """Send what is kept, in order; return whether all of it was sent."""
        with alone():
            files = self.kept()
            for file in files:
                _, write, arguments = read_kept(file)
                if not self._is_taken(write, arguments):
                    return False
                file.unlink()
                shutil.rmtree(file.with_suffix(""), ignore_errors=True)
            if files:
                shutil.rmtree(self.folder, ignore_errors=True)
                _say(f"note: MLflow at {address()} answers again, and has got what run {self.run_id} had kept for it")
        return True

    def _is_taken(self, write: str, arguments: dict[str, Any]) -> bool:
        """Do a write; return whether that is settled: what the server refuses is left out, and the work goes on."""
        try:
            return self._attempt(write, arguments)
        except RestException as refusal:
            if write not in self._refused:
                _say(f"warning: MLflow at {address()} refuses something of run {self.run_id}, which is left out:"
                     f" {write} ({said(refusal)}): was the run deleted, or the database replaced?")  # fmt: skip
            self._refused.add(write)
            return True

    def _attempt(self, write: str, arguments: dict[str, Any]) -> bool:
        """Do a write; return whether it was done, or must be repeated later."""
        start = time.monotonic()
        try:
            with patience(None if write in PATIENT else ANSWER_SECONDS):
                WRITES[write](self.run_id, **arguments)
        except Exception as error:  # whatever the libraries of the stores of artifacts raise
            if is_answer(error):
                raise
            now = time.monotonic()
            self._next_attempt = now + PAUSE * (now - start)
            self.obstacle = reason_of(error)
            return False
        return True

    def _keep(self, write: str, arguments: dict[str, Any]) -> None:
        """Keep a write, with a copy of its file or folder."""
        with alone():
            self.folder.mkdir(parents=True, exist_ok=True)
            last = max((int(file.stem) for file in self.kept()), default=-1)
            file = self.folder / f"{last + 1:08}.json"
            if "path" in arguments:
                source, copy = Path(arguments["path"]), file.with_suffix("") / Path(arguments["path"]).name
                shutil.rmtree(copy.parent, ignore_errors=True)  # of a process that was killed before it was done
                copy.parent.mkdir()
                (shutil.copytree if source.is_dir() else shutil.copy)(source, copy)
                arguments = arguments | {"path": copy.name}
            with replacing(file) as temporary:
                temporary.write_text(json.dumps(Kept(address(), write, arguments)._asdict()), encoding="utf-8")


def read_kept(file: Path) -> Kept:
    """Read a write that was kept; its path is that of the copy."""
    kept = Kept(**json.loads(file.read_text(encoding="utf-8")))
    if "path" in kept.arguments:
        kept.arguments["path"] = str(file.with_suffix("") / kept.arguments["path"])
    return kept


@cache
def _unsent(run_id: str, folder: Path) -> Unsent:
    return Unsent(run_id, folder)


def unsent_of(run_id: str) -> Unsent:
    """Return what the server has not got of a run; in one process always the same object."""
    return _unsent(run_id, store_folder() / FOLDER / run_id)


def deliver(run_id: str, write: str, **arguments: Any) -> None:
    """Do a write of a run now or, where the server does not answer, later. See `Unsent.deliver`."""
    unsent_of(run_id).deliver(write, arguments)


def send_all() -> list[str]:
    """Send what is kept of all runs; return a sentence for each run of which something is still kept.

    Raises:
        InputError: The server does not answer, or refuses this user.
    """
    sentences = []
    for folder in sorted((store_folder() / FOLDER).glob("*/")):
        unsent = unsent_of(folder.name)
        if not has_run(unsent.run_id):
            kept_for = {read_kept(file).address for file in unsent.kept()}
            sentences.append(
                f"{folder}: MLflow at {address()} has no run {unsent.run_id}: it was kept for {', '.join(kept_for)}"
            )
        elif not unsent.send():
            sentences.append(f"{folder}: MLflow at {address()} does not take it ({unsent.obstacle})")
    return sentences


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)
