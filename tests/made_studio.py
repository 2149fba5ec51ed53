"""A studio as a user starts it, in a process of its own, and pages of it in a real browser."""

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page

REPOSITORY = Path(__file__).parents[1]
SECONDS_TO_START = 120
STARTED = "window.studio !== undefined && window.studio.info !== null"  # the page's script runs
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)


@dataclass(frozen=True)
class Answer:
    """An answer of the studio."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> str:
        return str(self.json["error"])


@dataclass
class Studio:
    """A running studio.

    Attributes:
        process: The process of the server.
        address: The address of the page, as the command printed it, such as http://127.0.0.1:41235/.
        errors: The lines that the command wrote to stderr so far.
    """

    process: "subprocess.Popen[str]"
    address: str
    errors: list[str] = field(default_factory=list)
    _token: str | None = None

    @property
    def port(self) -> int:
        port = urlsplit(self.address).port
        assert port is not None
        return port

    @property
    def token(self) -> str:
        """What the page sends with each change, read from the page."""
        if self._token is None:
            found = re.search(rb'name="studio-token" content="([^"]+)"', self.get("/").content)
            assert found is not None
            self._token = found[1].decode()
        return self._token

    def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send any request, on a connection of its own; the headers are sent as they are."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, page: str = "test") -> Answer:
        """Send a change as the page does, with its token."""
        content = json.dumps({"page": page, **(body or {})}).encode()
        headers = {"content-type": "application/json", "x-studio-token": self.token}
        return self.request("POST", path, headers=headers, body=content)

    def ids(self) -> dict[str, str]:
        """The ids of the videos, by stem."""
        return {row["stem"]: row["id"] for row in self.get("/api/videos").json["videos"]}

    def kill(self) -> None:
        """End the server at once, as `kill -9` does."""
        self.process.kill()
        self.process.wait(timeout=120)

    def end(self) -> int:
        """End the server as a system that shuts down does, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=120)


def is_alive(pid: int) -> bool:
    """Whether a process runs, and has not only left its number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def serving(place: Path, *options: str | Path, environment: Mapping[str, str] | None = None) -> Iterator[Studio]:
    """Run `framescribe studio` on a data set, on any free port, until the `with` block ends.

    Args:
        place: The data set, or the folder of label files.
        *options: Further arguments of the command.
        environment: Variables that are set for the command.
    """
    command = [sys.executable, "-m", "pipeline.cli", "studio", str(place), "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        [*command, *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **(environment or {})},
    )
    errors: list[str] = []
    lines: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    assert process.stderr is not None
    threads = [
        threading.Thread(target=_pass_lines, args=(process.stdout, lines.put)),
        threading.Thread(target=_pass_lines, args=(process.stderr, errors.append)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield Studio(process, _address(lines, errors), errors)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for thread in threads:
            thread.join()
        process.stdout.close()
        process.stderr.close()


def _pass_lines(stream: Any, take: Callable[[str], object]) -> None:
    for line in stream:
        take(line)
    take("")  # the end


def _address(lines: "queue.Queue[str]", errors: list[str]) -> str:
    try:
        line = lines.get(timeout=SECONDS_TO_START)
    except queue.Empty:
        line = ""
    found = re.search(r"http://\S+", line)
    assert found is not None, f"the studio did not start: {line}{''.join(errors)}"
    return found[0]


@contextmanager
def launching() -> Iterator[Browser]:
    """Run a headless Chromium until the `with` block ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def chromium() -> str | None:
    """The path of Chromium; None where it is missing."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def opened(
    browser: Browser,
    address: str,
    *,
    width: int = 1400,
    height: int = 900,
    dark: bool = False,
    allowed: str | None = None,
) -> Iterator[Page]:
    """Open the studio's page in a fresh profile, and wait until its script runs.

    Errors on the page's console, refused content (Content-Security-Policy) included, fail the test at the end.

    Args:
        browser: The browser.
        address: The address of the page.
        width: Of the window, in pixels.
        height: Of the window, in pixels.
        dark: Whether the user prefers dark pages.
        allowed: A pattern of error messages that are expected; None for none.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", accept_downloads=True
    )
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    try:
        page.goto(address)
        until(page, STARTED)
        yield page
        unexpected = [text for text in problems if allowed is None or not re.search(allowed, text)]
        assert not unexpected, unexpected
    finally:
        context.close()


def reload(page: Page) -> None:
    """Load the page again, and wait until its script runs: until then a click does nothing."""
    page.reload()
    until(page, STARTED)


def until(page: Page, expression: str, *, seconds: float = 120) -> None:
    """Wait until an expression of JavaScript is true.

    `Page.wait_for_function` evaluates text inside the page, which the studio's Content-Security-Policy refuses.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(f"() => Boolean({expression})"):
        assert time.monotonic() < end, f"not true within {seconds} s: {expression}"
        page.wait_for_timeout(20)


def copy_project(folder: Path, store: Path) -> dict[str, str]:
    """Copy this project into a repository of its own, and return the variables with which its commands run."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).exists() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    shutil.copy(store, folder / "mlflow.db")
    who = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    variables = {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder.with_name("cache")), **who}
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "start"]):
        subprocess.run(["git", *command], cwd=folder, env={**os.environ, **variables}, check=True)
    return variables
