"""A tracking server of MLflow, as a process of its own that can be killed and started again."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from made_ports import free_port

from pipeline.studio.models.training import FOR_MLFLOW

START_SECONDS = 180  # a busy machine takes long to import MLflow


class Server:
    """A process that listens on a port, and answers at `health` when it is ready.

    Args:
        arguments: The arguments of Python that start it; the port is appended.
        health: The path that is asked.
        log: The file that gets what it prints.
        environment: What it finds in its environment besides that of the tests.
    """

    def __init__(
        self, arguments: list[str], health: str, log: Path, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self._arguments, self._health, self._log = arguments, health, log
        self._environment = environment or {}
        self._port = free_port()
        self._process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        """The address of the server, also while it is dead."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("a") as log:
            command = [sys.executable, *self._arguments, "--port", str(self._port)]
            programs = (
                f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow starts uvicorn by its name
            )
            environment = os.environ | FOR_MLFLOW | {"PATH": programs} | self._environment
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        for _ in range(START_SECONDS * 5):
            assert self._process.poll() is None, self._log.read_text()
            try:
                with urllib.request.urlopen(f"{self.address}{self._health}", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise AssertionError(self._log.read_text())

    def kill(self) -> None:
        """Kill it with all its workers, as a power cut would."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it has ended by itself, which `start` says
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def serving_tracker(
    folder: Path, artifacts: str, *, store: Path, admin_password: str | None = None
) -> Iterator[Server]:
    """Serve an empty store of MLflow.

    Args:
        folder: The folder of its database, which is SQLite.
        artifacts: The folder or the address to which the server writes artifacts.
        store: An empty store of MLflow, of which it takes a copy: to make one takes many seconds.
        admin_password: The password of its user "admin", whom alone it answers; None for a server that answers all.
    """
    folder.mkdir()
    shutil.copy(store, folder / "mlflow.db")
    options = ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", artifacts]
    environment = {}
    if admin_password:
        users = folder / "users.ini"
        users.write_text(
            f"[mlflow]\ndatabase_uri = sqlite:///{folder / 'users.db'}\ndefault_permission = READ\n"
            f"admin_username = admin\nadmin_password = {admin_password}\n"
            "auth_cache_ttl_seconds = 60\n"  # otherwise each request takes most of a second
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        options += ["--app-name", "basic-auth"]
        environment = {"MLFLOW_AUTH_CONFIG_PATH": str(users), "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test"}
    log = folder / "log.txt"
    server = Server(["-m", "mlflow", "server", "--workers", "1", *options], "/health", log, environment=environment)
    server.start()
    try:
        yield server
    finally:
        server.kill()
