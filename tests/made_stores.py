"""A local S3 server with a bucket, which counts its requests and fails as tests ask it to."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from pipeline.stores import connection
from pipeline.stores.address import Address
from pipeline.stores.connection import connect
from pipeline.stores.objects import list_folder, read_object
from pipeline.stores.writing import put

BUCKET = "bucket"
SECRET = "secret-of-this-test"
REFUSAL = "<Error><Code>{code}</Code><Message>refused by this test</Message></Error>"


class Request(NamedTuple):
    """A request to the server."""

    method: str
    path: str
    query: str


class Answer(NamedTuple):
    """A refusal, such as Answer("403 Forbidden", "AccessDenied"); the connection is cut where `status` is empty."""

    status: str
    code: str = ""


class _Silent(WSGIRequestHandler):
    def log(self, *arguments: Any, **options: Any) -> None:
        """Print nothing."""


@dataclass
class Store:
    """The server. `refuse` is asked for each request, and may return an answer in place of the server's own."""

    requests: list[Request] = field(default_factory=list)
    refuse: Callable[[Request], Answer | None] = lambda request: None

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        request = Request(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"])
        self.requests.append(request)
        if (answer := self.refuse(request)) is None:
            return self._application(environ, start)
        if not answer.status:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        content = REFUSAL.format(code=answer.code).encode()
        start(answer.status, [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))])
        return [] if request.method == "HEAD" else [content]

    _application = DomainDispatcherApplication(create_backend_app)

    def put(self, name: str, content: bytes | Path) -> Address:
        """Put an object, and return its address."""
        address = Address("s3", f"{BUCKET}/{name}")
        put(address, content if isinstance(content, bytes) else content.read_bytes())
        return address

    def count(self, method: str, part: str = "") -> int:
        """Count the requests of a method whose path has this part."""
        return sum(request.method == method and part in request.path for request in self.requests)


def address(name: str) -> Address:
    """Return the address of an object in the bucket."""
    return Address("s3", f"{BUCKET}/{name}")


def contents(folder: Address) -> dict[str, bytes]:
    """Return the objects of a folder by their names."""
    return {name: read_object(folder / name) for name in list_folder(folder)}


@contextmanager
def serving_store() -> Iterator[Store]:
    """Serve an empty bucket, to which the environment of this process leads."""
    store = Store()
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "name-of-this-test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_REGION", "us-east-1")
        connect.cache_clear()
        connect("s3", BUCKET)  # with this environment
        from pyarrow.fs import S3FileSystem

        S3FileSystem(endpoint_override=f"http://127.0.0.1:{server.server_port}", allow_bucket_creation=True).create_dir(
            BUCKET
        )
        try:
            yield store
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            connect.cache_clear()


@contextmanager
def trying_once() -> Iterator[None]:
    """Let this process send each request once, instead of again and again while it fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "MAX_TRIES", 1)
        connect.cache_clear()
        yield
    connect.cache_clear()  # last: a request that is still on its way must not leave such a connection to other tests
