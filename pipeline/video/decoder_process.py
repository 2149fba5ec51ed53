"""Decoding of videos in separate processes, for callers that need more frames than one interpreter can pass on.

A thread that decodes releases the interpreter and waits for it again several times per frame, so that more than a few
such threads decode no faster. A decoder process does not import torch, and starts in a tenth of a second.

The process receives one request at a time, the name of a method of `_Decoder` with its arguments, and answers with what
the method returned or raised. Both are pickles on its stdin and stdout.
"""

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import LifoQueue
from types import TracebackType
from typing import IO, Any, Self, cast

import numpy as np

import pipeline
from pipeline.errors import InputError
from pipeline.files import InputFile
from pipeline.video.open import open_scaled
from pipeline.video.region import Region
from pipeline.video.types import (
    Backend,
    DecodeReport,
    FrameBatch,
    ScaledReader,
    VideoError,
    VideoIndex,
    VideoProperties,
)

PIPE_BYTES = 1 << 20  # instead of 64 KiB, so that a batch comes in few pieces


class DecoderProcesses:
    """Processes, each of which decodes one video at a time; use it in a `with` statement.

    Several threads may open videos in parallel. A thread that finds all processes busy waits until a reader is closed.

    Args:
        num_processes: The number of processes, which are started when they are needed.
    """

    def __init__(self, num_processes: int) -> None:
        self._free: LifoQueue[_Process | None] = LifoQueue()  # None: not yet started
        for _ in range(num_processes):
            self._free.put(None)

    def open_scaled(
        self,
        path: InputFile | str,
        region: Region,
        *,
        surveyed: bool | None = None,
        reader: Backend = "auto",
        index: VideoIndex | None = None,
    ) -> "ProcessReader":
        """Open a video as `pipeline.video.open.open_scaled` does, which documents the arguments."""
        file = Path(path) if isinstance(path, str) else path
        return ProcessReader(file, region, surveyed=surveyed, reader=reader, index=index, free=self._free)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the free processes, which are all of them once all readers are closed."""
        while not self._free.empty():
            if process := self._free.get():
                process.end()


class ProcessReader(ScaledReader):
    """A reader of `open_scaled` in a process, which decodes the next batch while the caller uses the current one.

    Args:
        path: The video.
        region: The region of interest, and its size.
        surveyed: See `open_scaled`.
        reader: See `open_scaled`.
        index: See `open_scaled`.
        free: The processes that are free.

    Raises:
        VideoError: As other readers; also where the process ends, as it does when a decoder crashes. This also holds
            for all methods.
    """

    def __init__(
        self,
        path: InputFile,
        region: Region,
        *,
        surveyed: bool | None,
        reader: Backend,
        index: VideoIndex | None,
        free: "LifoQueue[_Process | None]",
    ) -> None:
        self._path, self._free = path, free
        self._process: _Process | None = free.get()
        try:
            self._process = self._process or _Process()
            # `region` may be of a subclass, such as `Preprocess`, whose other attributes the process does not need
            region = Region(region.size, region.crop, region.crop_unit, region.follow_motion)
            self._index = cast(VideoIndex, self._ask("open", Path.cwd(), path, region, surveyed, reader, index))
        except BaseException:
            self._give_back()
            raise

    @property
    def index(self) -> VideoIndex:
        """See `ScaledReader.index`."""
        return self._index

    @property
    def properties(self) -> VideoProperties:
        """See `VideoReader.properties`."""
        return self._index.properties

    def report(self) -> DecodeReport:
        """See `ScaledReader.report`."""
        return cast(DecodeReport, self._ask("report"))

    def read(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        batch_size: int = 32,
        positions: np.ndarray | None = None,
    ) -> Iterator[FrameBatch]:
        """See `VideoReader.read`."""
        self._ask("start", start, stop, batch_size, positions)
        while (frames := self._ask("next")) is not None:
            yield frames

    def close(self) -> None:
        """Free the decoder, and the process for another video; the reader cannot be used afterwards."""
        if self._process is not None:
            self._give_back()

    def _give_back(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(EOFError):
                process.ask("close")
        self._free.put(process if process is not None and process.is_running else None)

    def _ask(self, name: str, *arguments: Any) -> Any:
        if self._process is None:
            raise ValueError(f"{self._path}: the reader is closed")
        try:
            return self._process.ask(name, *arguments)
        except EOFError:
            how = self._process.end()
            raise VideoError(
                f"{self._path}: the process that decodes it {how}: the file is damaged, or memory is short"
            ) from None


class _Process:
    """The caller's side of a decoder process."""

    def __init__(self) -> None:
        paths = filter(None, [str(Path(pipeline.__file__).parents[1]), os.environ.get("PYTHONPATH")])
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.video.decoder_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # an interrupt from the keyboard must reach only the caller
        )
        if sys.platform == "linux":
            import fcntl

            with suppress(PermissionError):  # the limit of a user may be lower
                fcntl.fcntl(self._answers, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._popen.poll() is None

    @property
    def _requests(self) -> IO[bytes]:
        assert self._popen.stdin
        return self._popen.stdin

    @property
    def _answers(self) -> IO[bytes]:
        assert self._popen.stdout
        return self._popen.stdout

    def ask(self, name: str, *arguments: Any) -> Any:
        """Call a method of `_Decoder` in the process, and return or raise what it returns or raises.

        Raises:
            EOFError: The process has ended.
        """
        if self._answers.closed:
            raise EOFError
        try:
            pickle.dump((name, arguments), self._requests)
            self._requests.flush()
            answer = pickle.load(self._answers)
        except BaseException as error:  # otherwise the rest of this answer would be read as the next one
            self.end()
            if isinstance(error, (BrokenPipeError, pickle.UnpicklingError)):
                raise EOFError from error
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> str:
        """End the process now if it still runs, and return in words how it ended."""
        self._popen.kill()
        code = self._popen.wait()
        self._answers.close()
        with suppress(BrokenPipeError):  # from requests that were not sent
            self._requests.close()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


class _Decoder:
    """The process's side: its methods answer the requests, and `decode_ahead` runs after each answer."""

    def __init__(self) -> None:
        self._path: InputFile | None = None
        self._reader: ScaledReader | None = None
        self._batches: Iterator[FrameBatch] = iter(())
        self._next: FrameBatch | Exception | None = None

    def open(
        self,
        folder: Path,
        path: InputFile,
        region: Region,
        surveyed: bool | None,
        reader: Backend,
        index: VideoIndex | None,
    ) -> VideoIndex:
        """Open a video as `open_scaled` does, with the caller's working directory `folder`, and return its index."""
        os.chdir(folder)  # the caller's may have changed since the last request
        self._path = path
        self._reader = open_scaled(path, region, surveyed=surveyed, reader=reader, index=index)
        return self._reader.index

    @property
    def failure(self) -> OSError | None:
        """Why a part of an object of a store could not be fetched, see `PinnedFile`; None where all of them could.

        The caller's `pinned` cannot know: the object is fetched in this process.
        """
        return getattr(self._path, "failure", None)

    def report(self) -> DecodeReport:
        """See `ScaledReader.report`."""
        assert self._reader
        return self._reader.report()

    def start(self, start: int, stop: int | None, batch_size: int, positions: np.ndarray | None) -> None:
        """Start to read frames, see `VideoReader.read`."""
        assert self._reader
        self._batches = self._reader.read(start, stop, batch_size=batch_size, positions=positions)
        self._next = None

    def next(self) -> FrameBatch | None:
        """Return the next batch, which `decode_ahead` has decoded; None at the end."""
        found, self._next = self._next, None
        if isinstance(found, Exception):
            raise found
        return found

    def decode_ahead(self) -> None:
        """Decode the next batch, or keep the error for the request of that batch."""
        if self._next is None:
            try:
                self._next = next(self._batches, None)
            except Exception as error:
                self._next = error

    def close(self) -> None:
        """Free the decoder."""
        self._path, self._batches, self._next = None, iter(()), None
        if self._reader:
            self._reader.close()


def _serve() -> None:
    """Answer requests until their pipe is closed."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # so that the output of a library does not mix with the answers
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end together with the caller, also in the middle of an answer
    decoder = _Decoder()
    with suppress(EOFError):
        while True:
            name, arguments = pickle.load(requests)
            try:
                answer = getattr(decoder, name)(*arguments)
            except Exception as error:
                if not isinstance(error, InputError):
                    error.add_note(traceback.format_exc())
                answer = error
            pickle.dump(decoder.failure or answer, answers, protocol=5)
            answers.flush()
            del answer  # so that a batch is freed before the next one is decoded
            decoder.decode_ahead()


if __name__ == "__main__":
    _serve()
