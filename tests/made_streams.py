"""Streams and files that this machine serves, and a limit to how long a test waits for one."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread, Timer

import imageio_ffmpeg
import numpy as np
import psutil

from pipeline.video.open import open_scaled
from pipeline.video.preprocess import Preprocess
from pipeline.video.sources.base import LiveFrame

MAX_SECONDS = 30.0  # for waits that take about one second
PREPROCESS = Preprocess(size=(24, 32))
# What `make_video` makes: its arguments.
STREAMABLE = {"options": {"tune": "zerolatency", "g": "5"}}
FRAGMENTED = {"container_options": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "9"}}
VARIABLE = {"ticks": [0, 40, 50, 90, 91, 200, 1000, 1001, 1500], "options": {"bf": "2", "g": "4"}}


@contextmanager
def serving(video: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Let ffmpeg send a video at its frame rate over HTTP to the first client, and kill it at the end."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "quiet", "-nostdin", "-re", "-i", str(video)]
    command += ["-c", "copy", "-f", "mpegts", "-listen", "1", f"http://127.0.0.1:{port}/live"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + MAX_SECONDS
        while not any(c.status == psutil.CONN_LISTEN for c in psutil.Process(process.pid).net_connections()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()


class FileServer(ThreadingHTTPServer):
    """A finished file over HTTP. Use it in a `with` statement.

    cut            the share of the file after which the connection breaks, only once with `cut_once`
    sends_parts    whether it supports Range, like web servers and unlike `python -m http.server`
    states_length  whether it states the number of bytes
    """

    daemon_threads = True

    def __init__(
        self,
        path: Path,
        *,
        cut: float = 1.0,
        cut_once: bool = False,
        sends_parts: bool = False,
        states_length: bool = True,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _FileHandler)
        self.content = path.read_bytes()
        self.cut, self.cut_once = round(cut * len(self.content)), cut_once
        self.sends_parts, self.states_length = sends_parts, states_length
        self.num_requests = 0
        self.name = f"http://127.0.0.1:{self.server_port}/{path.name}"
        self.address = self.name.replace("//", "//me:secret@")

    def __enter__(self) -> "FileServer":
        Thread(target=self.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


class _FileHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_GET(self) -> None:
        server, size = self.server, len(self.server.content)
        server.num_requests += 1
        part = re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) if server.sends_parts else None
        start = int(part[1]) if part else 0
        self.send_response(206 if part else 200)
        if part:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if server.states_length:
            self.send_header("Content-Length", str(size - start))
        self.send_header("Connection", "close")
        self.end_headers()
        stop = size if server.cut_once and server.num_requests > 1 else server.cut
        with suppress(OSError):  # the client may have closed the connection
            self.wfile.write(server.content[start:stop])

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def stop_in_time(seconds: float = MAX_SECONDS) -> Iterator[Event]:
    """An event that ends a wait. It is set after a time limit."""
    stop = Event()
    timer = Timer(seconds, stop.set)
    timer.start()
    try:
        yield stop
    finally:
        timer.cancel()
        stop.set()


def read_scaled(path: Path, preprocess: Preprocess = PREPROCESS) -> tuple[np.ndarray, np.ndarray]:
    with open_scaled(path, preprocess) as video:
        batches = list(video.read())
    return np.concatenate([batch.pixels for batch in batches]), np.concatenate([batch.pts_seconds for batch in batches])


def pixels_of(frames: list[LiveFrame]) -> np.ndarray:
    return np.stack([frame.pixels for frame in frames])
