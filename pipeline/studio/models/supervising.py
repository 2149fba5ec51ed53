"""A process that runs a command for the studio: `python -m pipeline.studio.models.supervising COMMAND...`.

Each line that the command writes is an event, and so is its end. The command, and all that it has started, is
interrupted when a line arrives or when the input ends: so nothing is left behind by a studio that ends in any way.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

SECONDS_TO_END = 15  # after an interrupt, before the command is killed
MAX_PART = 1 << 16  # bytes that are read at once
NICENESS = 5  # the page that somebody looks at goes first


def main(command: Sequence[str]) -> None:
    """Run a command until it ends."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    threading.Thread(target=_watch_input, args=(process,), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda number, frame: _interrupt(process))
    assert process.stdout is not None
    rest = b""
    while part := os.read(process.stdout.fileno(), MAX_PART):
        *lines, rest = re.split(rb"[\r\n]+", rest + part)  # a progress bar ends its lines with \r
        for line in lines:
            _tell("line", text=line.decode(errors="replace"))
    if rest:
        _tell("line", text=rest.decode(errors="replace"))
    _tell("end", code=process.wait())


def _tell(event: str, **content: Any) -> None:
    with contextlib.suppress(OSError):  # the studio is gone: what it started is ended, and then this
        print(json.dumps({"event": event, **content}), flush=True)


def _watch_input(process: "subprocess.Popen[bytes]") -> None:
    sys.stdin.readline()
    _interrupt(process)


def _interrupt(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt the command as Ctrl-C does, and kill it where it does not end."""
    _signal(process, signal.SIGINT)
    end = time.monotonic() + SECONDS_TO_END
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    _signal(process, signal.SIGKILL)  # also what an ended command has left


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    os.nice(NICENESS)
    main(sys.argv[1:])
