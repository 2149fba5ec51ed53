"""Child processes that report by lines of JSON."""

import json
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

KEPT_LINES = 20  # of what a child says of its failure
SECONDS_TO_END = 5


class Child:
    """A child process, `python -m MODULE ARGUMENTS...`, which ends when its input does.

    Args:
        module: The module that it runs.
        arguments: Its arguments.
        on_event: It is called, from a thread of its own, with each line of the output of the child.
        on_end: It is called, after the last event, when the child has ended.
        folder: Its current folder; None for that of the studio.
        environment: Its variables; None for those of the studio.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        on_event: Callable[["Child", dict[str, Any]], None],
        on_end: Callable[["Child"], None],
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            cwd=folder,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the studio, which ends its children itself
        )
        self._errors: deque[str] = deque(maxlen=KEPT_LINES)
        reading_errors = Thread(target=self._read_errors, daemon=True)
        reading_errors.start()
        self._reader = Thread(target=self._read, args=(on_event, on_end, reading_errors), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last line that the child wrote to its stderr; empty where there is none."""
        return next((line.strip() for line in reversed(self._errors) if line.strip()), "")

    def tell(self, content: dict[str, Any]) -> None:
        """Write a line to the child; one that has ended is not told."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass

    def wait(self, seconds: float) -> None:
        """Wait until the child has ended, and kill it where that takes longer."""
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        """End the child now, and wait until it has ended."""
        self._process.terminate()
        self.wait(SECONDS_TO_END)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self._errors.extend(self._process.stderr)

    def _read(
        self,
        on_event: Callable[["Child", dict[str, Any]], None],
        on_end: Callable[["Child"], None],
        reading_errors: Thread,
    ) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                event = json.loads(line)
            except ValueError:  # it was killed within a line
                continue
            on_event(self, event)
        self._process.wait()
        reading_errors.join()
        on_end(self)
