"""Serving the studio: the socket, the claim on the data set, the browser, and the end."""

import os
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette

from pipeline.errors import InputError
from pipeline.labelling.location import MLFLOW_SCHEMES
from pipeline.studio.app import make_app
from pipeline.studio.claim import claim
from pipeline.studio.places import find_places
from pipeline.studio.security import Guard, is_loopback

SECONDS_TO_END = 3  # for requests that are still answered
TOKEN_VARIABLE = "FRAMESCRIBE_STUDIO_TOKEN"


@dataclass(frozen=True)
class StudioOptions:
    """The arguments of `framescribe studio`.

    Attributes:
        place: A data set, or a folder of label files.
        videos: The videos of the label files; None for a data set.
        model: The location of a trained labeller; None for models/labeller where it knows classes of the data.
        host: The address to listen on.
        port: The port; 0 for any.
        opens_browser: Whether to open the page in a browser.
        follow_links: See `Places`.
    """

    place: Path
    videos: Path | None = None
    model: str | None = None
    host: str = "127.0.0.1"
    port: int = 8765
    opens_browser: bool = True
    follow_links: bool = False


def serve(options: StudioOptions) -> int:
    """Serve the studio until it is interrupted.

    Returns:
        The exit code.

    Raises:
        InputError: A folder is missing, that of a model too; there are no videos, or the address cannot be had.
    """
    with suppress(KeyboardInterrupt), ExitStack() as stack:  # this is how a studio ends
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framescribe.")))
        places = find_places(options.place, options.videos, state=scratch, follow_links=options.follow_links)
        places = claim(places, scratch, stack)
        _check_model(options.model)
        listening = stack.enter_context(listen(options.host, options.port))
        port = listening.getsockname()[1]
        access = None if is_loopback(options.host) else os.environ.get(TOKEN_VARIABLE) or token_urlsafe()
        guard = Guard(options.host, port, access_token=access)
        app = make_app(places, guard, model=options.model, stack=stack)
        server = _make_server(app)
        # While modules are imported, a KeyboardInterrupt may be raised where Python ignores it, and Ctrl-C be lost.
        stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, server.handle_exit))
        address = _address(options.host, port, access)
        print(f"framescribe studio: {address} (Ctrl-C ends it)", flush=True)
        if places.read_only:
            print(f"framescribe: nothing can be changed: {places.read_only}", file=sys.stderr, flush=True)
        if options.opens_browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server.run(sockets=[listening])
    print("framescribe studio: ended; all changes that the page confirmed are on disk")
    return 0


def _make_server(app: Starlette) -> uvicorn.Server:
    """Make the server of the application, which prints nothing of its own."""
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SECONDS_TO_END,
        ws="none",
    )
    config.load()  # imports, for which the first page would otherwise wait
    return uvicorn.Server(config)


def _check_model(location: str | None) -> None:
    """Refuse a model that is a folder which is missing. What else may be wrong is said when the model is loaded.

    Raises:
        InputError: There is no such folder.
    """
    if location is None or location.startswith(MLFLOW_SCHEMES) or Path(location).is_dir():
        return
    kind = "is a file, expected the folder" if Path(location).exists() else "no such folder, expected that"
    raise InputError(f"--model {location}: {kind} of a trained labeller, such as models/labeller")


def listen(host: str, port: int) -> socket.socket:
    """Open the socket.

    Raises:
        InputError: The address or the port cannot be had.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port: got {port}, expected a number from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio turns off Nagle's algorithm only where the protocol is named: it costs each small answer 40 ms.
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"--host {host}: is not an address of this machine ({error.strerror})") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()  # a browser that comes before the application is ready waits
    except OSError as error:
        listening.close()
        raise InputError(
            f"--host {host}, --port {port}: cannot be had ({error.strerror}): is another studio running? --port 0"
            " takes a free port"
        ) from error
    return listening


def _address(host: str, port: int, access: str | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={quote(access)}" if access else "")
