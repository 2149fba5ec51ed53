"""Training in the background, as the shell would: `dvc exp run` in a process of its own, and its progress."""

import csv
import json
import os
import re
import shlex
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any, Literal

import yaml

from pipeline.errors import InputError
from pipeline.files import read_bounded
from pipeline.scores import LABEL_SCORES
from pipeline.studio.models.children import Child
from pipeline.studio.models.training_plan import STAGES, Plan
from pipeline.studio.models.unfinished import RESUMED, Unfinished
from pipeline.studio.requests import RefusedError

SUPERVISOR = "pipeline.studio.models.supervising"
LABELLER = Path("models/labeller")
HISTORY, CHECKPOINT, PARAMS = LABELLER / "history.csv", LABELLER / "checkpoint.json", Path("params.yaml")
MAX_BYTES = 1 << 24
TITLES = {score.name: score.title for score in LABEL_SCORES}
KEPT_LINES, SHOWN_LINES = 400, 40
SECONDS_TO_END = 20
# Neither reports of its use, nor jobs: seven processes of MLflow, for what is not used here.
FOR_MLFLOW = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
STAGE = re.compile(r"Running stage '(\w+)'")
BAR = re.compile(r"^(.{0,40}?): +\d+%\|")  # a line of a progress bar; the next one of the same name replaces it
Outcome = Literal["done", "same", "failed", "cancelled"]  # same: nothing had changed, so nothing was trained


class Training:
    """The training of a studio: one at a time. All methods may be called from any thread.

    Args:
        project: The folder of the project.
        state: The folder of the studio's state.
        plan: Plans a training as the data set is now.
        on_start: It is called before a training starts.
        on_done: It is called, from a thread of the training, when one has ended well.
    """

    def __init__(
        self,
        project: Path,
        state: Path,
        plan: Callable[[], Plan],
        *,
        on_start: Callable[[], None],
        on_done: Callable[[], None],
    ) -> None:
        self._project, self._plan, self._on_start, self._on_done = project, plan, on_start, on_done
        self._unfinished = Unfinished(state, project / PARAMS)
        self._lock = RLock()
        self._child: Child | None = None
        self._tracker: Child | None = None
        self._address = ""
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._command: tuple[str, ...] = ()
        self._started = self._stage_started = 0.0
        self._stage: str | None = None
        self._is_cancelled = False
        self._outcome: Outcome | None = None
        self._has_trained = False
        self._model_before: bytes | None = None
        self._seen: list[tuple[float, int]] = []  # when the first and the last epoch were seen, and their numbers

    def start(self) -> None:
        """Start a training.

        Raises:
            RefusedError: One runs already, or nothing can be trained.
        """
        plan = self._plan()
        with self._lock:
            if self._child is not None:
                raise RefusedError(409, "a training runs already: wait until it ends, or cancel it")
            if plan.problem is not None:
                raise RefusedError(409, plan.problem)
            self._on_start()
            self._lines.clear()
            self._command, self._stage, self._outcome, self._is_cancelled = plan.command, None, None, False
            command = self._resumed(plan.command)
            self._has_trained, self._model_before = False, self._model()
            self._started = self._stage_started = time.time()
            self._seen = []
            self._child = Child(
                SUPERVISOR,
                command,
                on_event=self._on_event,
                on_end=self._on_end,
                folder=self._project,
                environment=_environment(),
            )

    def _resumed(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command that resumes one that was begun and not finished; itself where there is none."""
        return (command[0], *RESUMED) if self._unfinished.is_of(command) else command

    def cancel(self) -> None:
        """Interrupt the training; it ends soon, and the next one resumes after its last finished epoch."""
        with self._lock:
            if self._child is not None:
                self._is_cancelled = True
                self._child.tell({})

    def close(self) -> None:
        """End the training, and the server of MLflow."""
        with self._lock:
            child, tracker = self._child, self._tracker
        if child is not None:
            print("framescribe: the training is ended; the next one resumes after its last epoch", file=sys.stderr)
            self.cancel()
            child.wait(SECONDS_TO_END)
        if tracker is not None:
            tracker.tell({})
            tracker.wait(SECONDS_TO_END)

    def describe(self) -> dict[str, Any]:
        """Return what `GET /api/training` answers."""
        plan = self._plan()
        command = self._resumed(plan.command)
        return {
            "resumes": command != plan.command,
            "problem": plan.problem,
            "notes": list(plan.notes),
            "command": shlex.join(("dvc", *command[1:])) if command else "",
            "holds_out": plan.holds_out,
            "log": list(self._lines)[-SHOWN_LINES:],
            **self.status(),
        }

    def status(self) -> dict[str, Any]:
        """Return the progress."""
        with self._lock:
            is_running, stage = self._child is not None, self._stage
            trains = stage == "train_labeller"
            epochs = self._epochs() if stage in STAGES and STAGES.index(stage) >= STAGES.index("train_labeller") else []
            settings = self._settings()
            return {
                "running": is_running,
                "cancelling": is_running and self._is_cancelled,
                "outcome": self._outcome,
                "stage": stage,
                "stage_number": STAGES.index(stage) + 1 if stage in STAGES else 0,
                "num_stages": len(STAGES),
                "seconds": time.time() - self._started if is_running else None,
                "epochs": epochs,
                "num_epochs": settings.get("epochs"),
                "monitor": settings.get("monitor"),
                "monitor_title": TITLES.get(str(settings.get("monitor")), "the score"),
                "seconds_left": self._seconds_left(len(epochs), settings.get("epochs")) if trains else None,
                "run_id": self._run_id() if epochs else None,
                "last_line": self._lines[-1] if self._lines else "",
            }

    def _seconds_left(self, num_epochs: int, total: int | None) -> float | None:
        """Return how long the epochs that are left take, by the pace since the first one that was seen."""
        if num_epochs and (not self._seen or self._seen[-1][1] != num_epochs):
            self._seen = [*self._seen[:1], (time.time(), num_epochs)]
        if total is None or len(self._seen) < 2:
            return None
        (begun, first), (now, last) = self._seen
        return (now - begun) / (last - first) * max(0, total - num_epochs)

    def _epochs(self) -> list[dict[str, float]]:
        """Read the scores of the epochs so far; none of a file that an earlier training left."""
        path = self._project / HISTORY
        try:
            if self._stage == "train_labeller" and path.stat().st_mtime < self._stage_started:
                return []
            text = read_bounded(path, max_bytes=MAX_BYTES).decode()
            rows = list(csv.DictReader(text.splitlines()))
            return [{name: float(value) for name, value in row.items() if value} for row in rows]
        except (OSError, ValueError, TypeError):
            return []

    def _settings(self) -> dict[str, Any]:
        try:
            content = yaml.safe_load(read_bounded(self._project / PARAMS, max_bytes=MAX_BYTES))
            return dict(content["training"])
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
            return {}

    def _model(self) -> bytes | None:
        """Return what tells models apart: the description of the latest one; None where there is none."""
        try:
            return read_bounded(self._project / CHECKPOINT, max_bytes=MAX_BYTES)
        except (OSError, InputError):
            return None

    def _run_id(self) -> str | None:
        try:
            content = json.loads(read_bounded(self._project / CHECKPOINT, max_bytes=MAX_BYTES))
            run_id = content["lineage"]["run_id"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return run_id if isinstance(run_id, str) and re.fullmatch("[0-9a-f]{32}", run_id) else None

    def _on_event(self, child: Child, event: dict[str, Any]) -> None:
        with self._lock:
            if child is not self._child:
                return
            if event["event"] == "end":
                code = event["code"]
                ended: Outcome = "done" if self._has_trained or self._model() != self._model_before else "same"
                self._outcome = "cancelled" if self._is_cancelled else ended if code == 0 else "failed"
                if code == 0 and not self._is_cancelled:
                    self._unfinished.forget()
                return
            line = event["text"].rstrip()
            if not line:
                return
            found = STAGE.search(line)
            if found:
                self._unfinished.note(self._command)
                self._stage, self._stage_started, self._seen = found[1], time.time(), []
                self._has_trained |= self._stage == "train_labeller"
            bar = BAR.match(line)
            if bar and self._lines and self._lines[-1].startswith(f"{bar[1]}:"):
                self._lines.pop()
            self._lines.append(line)

    def _on_end(self, child: Child) -> None:
        with self._lock:
            if child is not self._child:
                return
            self._child = None
            self._outcome = self._outcome or ("cancelled" if self._is_cancelled else "failed")
            is_done = self._outcome in ("done", "same")
        if is_done:
            self._on_done()

    # MLflow -----------------------------------------------------------------------------------------------------------

    def open_tracker(self) -> str:
        """Start the pages of MLflow where they do not run, and return the address of the run of the latest training.

        Raises:
            RefusedError: No run is known.
        """
        run_id = self._run_id()
        if run_id is None:
            raise RefusedError(409, "no run is known yet: it begins with the first epoch")
        with self._lock:
            if self._tracker is None:
                port = _free_port()
                store = f"sqlite:///{(self._project / 'mlflow.db').resolve()}"
                options = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--backend-store-uri", store)
                command = (sys.executable, "-m", "mlflow", "ui", *options)
                self._tracker = Child(
                    SUPERVISOR,
                    command,
                    on_event=lambda child, event: None,
                    on_end=self._on_tracker_end,
                    folder=self._project,
                    environment=os.environ | FOR_MLFLOW,
                )
                self._address = f"http://127.0.0.1:{port}"
        return f"{self._address}/#/runs/{run_id}"

    def tracker_answers(self) -> bool:
        """Return whether the pages of MLflow can be opened by now."""
        with self._lock:
            address = self._address if self._tracker is not None else ""
        try:
            with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=0.5):
                return True
        except (OSError, ValueError):
            return False

    def _on_tracker_end(self, child: Child) -> None:
        with self._lock:
            if child is self._tracker:
                self._tracker = None


def _environment() -> dict[str, str]:
    """Return the variables of the command, with this Python first, as the stages run `python`."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
