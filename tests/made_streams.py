"""Streams that ffmpeg serves on this machine, and a limit to how long a test waits for one."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Timer

import imageio_ffmpeg
import psutil

MOST_SECONDS = 30.0  # for what takes about one


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(video: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """ffmpeg, sending a video at its own pace over HTTP to the first who asks; killed at the end, if not before."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "quiet", "-nostdin", "-re", "-i", str(video)]
    command += ["-c", "copy", "-f", "mpegts", "-listen", "1", f"http://127.0.0.1:{port}/live"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + MOST_SECONDS
        while not any(c.status == psutil.CONN_LISTEN for c in psutil.Process(process.pid).net_connections()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def stop_in_time(seconds: float = MOST_SECONDS) -> Iterator[Event]:
    """An event for who is to stop, set after a while at the latest."""
    stop = Event()
    timer = Timer(seconds, stop.set)
    timer.start()
    try:
        yield stop
    finally:
        timer.cancel()
        stop.set()
