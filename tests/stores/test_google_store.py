"""Google's kind of store, as an emulator of its API on this machine."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from made_models import files_of, write_video
from made_ports import free_port
from made_stores import contents

from pipeline.errors import describe_os_error
from pipeline.labelling.folder import LabellingOutcome, label_videos
from pipeline.labelling.inputs import find_everywhere
from pipeline.labelling.model import load_model
from pipeline.stores import connection
from pipeline.stores.address import Address
from pipeline.stores.objects import list_folder, read_object
from pipeline.stores.writing import put, remove_object

BUCKET = "bucket"


def address(name: str, bucket: str = BUCKET) -> Address:
    return Address("gs", f"{bucket}/{name}")


@contextmanager
def leading_to(port: int) -> Iterator[None]:
    """Let the environment of this process lead to a server on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", f"http://127.0.0.1:{port}")
        connection.connect.cache_clear()
        yield
    connection.connect.cache_clear()


@pytest.fixture
def store() -> Iterator[None]:
    """Serve an empty bucket, by a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen([*command, "--in-memory", "--default-bucket", BUCKET], stderr=subprocess.DEVNULL) as server:
        latest = time.monotonic() + 60
        while not is_listening(port):
            assert server.poll() is None
            assert time.monotonic() < latest
            time.sleep(0.05)
        with leading_to(port):
            yield
        server.terminate()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_labels_of_a_store_and_in_a_store_are_those_of_files(store, spread_model, tmp_path):
    model = load_model(str(spread_model), device="cpu")
    for number in range(3):
        path = write_video(tmp_path / "videos" / f"clip{number}.mp4", num_frames=6 + 2 * number)
        put(address(f"recordings/{path.name}"), path.read_bytes())

    def label(place: Path | Address, out: Path | Address) -> LabellingOutcome:
        return label_videos(find_everywhere([place], model), model, out, on_failure=pytest.fail)

    (tmp_path / "labels").mkdir()
    label(tmp_path / "videos", tmp_path / "labels")
    expected = {name: content for name, content in files_of(tmp_path / "labels").items() if name.endswith(".csv")}
    assert len(expected) == 7
    assert label(address("recordings/"), address("labels/")) == LabellingOutcome(3, 0, 0, 0)
    found = contents(address("labels/"))
    assert {name: content for name, content in found.items() if name.endswith(".csv")} == expected
    assert label(address("recordings/"), address("labels/")) == LabellingOutcome(0, 0, 3, 0)
    remove_object(address("labels/clip1.frames.csv"))
    assert label(address("recordings/"), address("labels/")) == LabellingOutcome(1, 0, 2, 0)


def test_what_is_missing_is_named(store):
    assert list_folder(address("nothing/")) == {}
    for request in (read_object, remove_object):
        with pytest.raises(FileNotFoundError):
            request(address("nothing.csv"))
    with pytest.raises(OSError, match="there is no such bucket"):
        put(address("a.csv", bucket="elsewhere"), b"x")


@contextmanager
def refusing(status: int) -> Iterator[int]:
    """Serve an API that refuses everything. Yields the port."""

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps({"error": {"code": status, "message": "refused by this test"}}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_DELETE = do_GET

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "the store does not know your credentials"),
        (403, "access is denied: are there credentials, and do they permit it?"),
        (503, "the store is not available now"),
    ],
)
def test_refusals_are_told_in_words(status, reason, monkeypatch):
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.5)
    with refusing(status) as port, leading_to(port):
        for request in (list_folder, read_object, remove_object, lambda place: put(place, b"x")):
            with pytest.raises(OSError, match=BUCKET) as refused:
                request(address("a.csv"))
            assert describe_os_error(refused.value) == f"cannot read or write gs://{BUCKET}/a.csv ({reason})"


def test_missing_credentials_are_told_in_words():
    # What pyarrow says after it has asked the machine for credentials until its time was over.
    message = (
        "google::cloud::Status(UNAVAILABLE: Retry policy exhausted, with a last message of Could not create a OAuth2"
        " access token to authenticate the request."
    )
    error = connection.describe(OSError(message), address("a.csv"))
    assert "the store expects credentials, and there are none" in describe_os_error(error)
