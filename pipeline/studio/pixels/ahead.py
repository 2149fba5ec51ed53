"""Pictures made ahead: while a page is open and asks for nothing, those around the frame that it showed last.

A random frame of a large video with few key frames costs a tenth of a second or more, in which the decoder goes through
all frames since the key frame. Going through them once, in order, costs a fraction of this for each. The pictures are
the same bytes that the page would get otherwise.
"""

import hashlib
import math
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from threading import Condition, Thread, get_native_id
from typing import NamedTuple

from pipeline.errors import InputError
from pipeline.files import replacing, version_of
from pipeline.studio.places import Video
from pipeline.studio.requests import RefusedError

CHUNK_FRAMES = 100  # in a file; also how much is made before the next place is chosen
MAX_BYTES = 2**30
# The seconds that a picture takes, in order, where this is worth it: any frame of a quicker video comes soon anyway,
# and a slower one has to be decoded from its start for each chunk.
MIN_SECONDS, MAX_SECONDS = 0.004, 0.25
MAX_REFUSALS = 2  # chunks with a frame that cannot be decoded, after which a video is left alone
SECONDS_BETWEEN_LOOKS = 0.05
NICENESS = 10  # so that a training, or a browser that plays a video, goes first
OVERTAKEN = 409  # the status of a frame that is no longer wanted


class Shown(NamedTuple):
    """A frame as a page shows it.

    Attributes:
        video: The video.
        frame: Its position, from 0.
        width: The most pixels that its picture is wide.
    """

    video: Video
    frame: int
    width: int

    @property
    def chunk(self) -> "_Chunk":
        """The chunk that holds it."""
        return _Chunk(self.video.id, version_of(self.video.path), self.width, self.frame // CHUNK_FRAMES)


class _Chunk(NamedTuple):
    """The name of a chunk: the pictures of CHUNK_FRAMES frames, of one width."""

    video_id: str
    version: tuple[int, int] | None
    width: int
    number: int

    @property
    def first(self) -> "_Chunk":
        """The first chunk of the video."""
        return self._replace(number=0)


class _Focus(NamedTuple):
    """Where a page is.

    Attributes:
        shown: The frame that it shows.
        here: The chunk of this frame, in the file as it was then.
        num_frames: The number of frames of the video.
    """

    shown: Shown
    here: _Chunk
    num_frames: int

    def chunks(self) -> Iterator[_Chunk]:
        """Yield all chunks of the video, the nearest first, of two that are equally near the earlier one."""
        number, num_chunks = self.here.number, -(-self.num_frames // CHUNK_FRAMES)
        yield self.here
        for distance in range(1, num_chunks):
            for other in (number - distance, number + distance):
                if 0 <= other < num_chunks:
                    yield self.here._replace(number=other)

    def rank(self, chunk: _Chunk) -> tuple[float, int]:
        """Return what orders chunks as `chunks` does, those of other videos and widths last."""
        is_here = chunk.first == self.here.first
        return abs(chunk.number - self.here.number) if is_here else math.inf, chunk.number

    @property
    def is_up_to_date(self) -> bool:
        """Whether the file is still the one that was shown."""
        return self.shown.chunk == self.here


class _LeftError(Exception):
    """The pictures that are being made are no longer wanted."""


class Ahead:
    """The pictures that are made ahead. All methods may be called from any thread.

    Args:
        folder: Where they are kept while the studio runs; what an earlier one left there is removed.
        make: Returns a picture as the page gets it. What it is given says, while it decodes, whether it may go on.
        may_work: Whether a page is open and asks for nothing right now.
        max_bytes: The most bytes in the folder.
    """

    def __init__(
        self,
        folder: Path,
        make: Callable[[Shown, Callable[[], bool]], bytes],
        may_work: Callable[[], bool],
        *,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._folder, self._make, self._may_work, self._max_bytes = folder, make, may_work, max_bytes
        self._ends: dict[_Chunk, list[int]] = {}  # where each picture of a chunk ends, in bytes
        self._changed = Condition()
        self._focus: _Focus | None = None
        self._done_for: _Focus | None = None  # the one for which nothing more is made
        self._refused: set[_Chunk] = set()  # those with a frame that cannot be decoded
        self._left_alone: set[_Chunk] = set()  # the first chunks of videos of which no more are made
        self._largest: Counter[_Chunk] = Counter()  # bytes of the largest chunk of a video, by its first one
        self._seconds_waited = 0.0
        self._is_closed = False
        self._thread: Thread | None = None

    def find(self, shown: Shown) -> bytes | None:
        """Return a picture; None where it is not there yet."""
        chunk, place = shown.chunk, shown.frame % CHUNK_FRAMES
        with self._changed:
            ends = self._ends.get(chunk, [])
        if place >= len(ends):
            return None
        begin, end = ([0, *ends])[place : place + 2]
        with suppress(OSError), open(self._path(chunk), "rb") as file:
            file.seek(begin)
            content = file.read(end - begin)
            if len(content) == end - begin:
                return content
        with self._changed:  # somebody has removed the file, or cut it
            self._ends.pop(chunk, None)
        return None

    def look(self, shown: Shown, num_frames: int) -> None:
        """Note the frame that a page shows now.

        Args:
            shown: The frame.
            num_frames: The number of frames of its video.
        """
        focus = _Focus(shown, shown.chunk, num_frames)
        with self._changed:
            if self._is_closed:
                return
            self._focus = focus
            self._changed.notify_all()
            if self._thread is None:
                self._thread = Thread(target=self._work, name="pictures ahead", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the work, and remove the pictures."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _work(self) -> None:
        _give_way()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._focus is not self._done_for)
                focus = self._focus
            if self._is_closed or focus is None:
                return
            try:
                due = self._next_due(focus)
                if due is not None and self._make_chunk(focus, due):
                    continue
            except Exception:
                pass  # a full disk, or whatever a decoder raises: a request for that frame gets the reason
            self._done_for = focus

    def _next_due(self, focus: _Focus) -> _Chunk | None:
        """Return the nearest chunk that is not there; None where all are, or where nearer ones fill the folder."""
        first = focus.here.first
        if first in self._left_alone or focus.here.version is None:
            return None
        num_bytes = 0  # of those that are nearer
        for chunk in focus.chunks():
            if chunk in self._refused:
                continue
            with self._changed:
                ends = self._ends.get(chunk)
            if ends is None:
                return chunk if num_bytes + self._largest[first] <= self._room() else None
            num_bytes += ends[-1]
        return None

    def _room(self) -> int:
        """Return how many bytes the folder may have: at most a quarter of what is free without it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._changed:
            own = sum(ends[-1] for ends in self._ends.values())
        return min(self._max_bytes, (shutil.disk_usage(self._folder).free + own) // 4)

    def _make_chunk(self, focus: _Focus, chunk: _Chunk) -> bool:
        """Make the pictures of a chunk, unless another video is shown now. Returns whether more can be made."""
        begin, self._seconds_waited = time.monotonic(), 0.0
        try:
            with replacing(self._path(chunk)) as temporary, temporary.open("wb") as file:
                sizes = [file.write(picture) for picture in self._make_pictures(focus, chunk)]
                if not focus.is_up_to_date:
                    raise _LeftError
        except _LeftError:
            return focus.is_up_to_date
        except (InputError, RefusedError) as error:
            if isinstance(error, RefusedError) and error.status == OVERTAKEN:
                return True
            if focus.is_up_to_date:
                self._refuse(chunk)
            return focus.is_up_to_date
        seconds = (time.monotonic() - begin - self._seconds_waited) / len(sizes)
        with self._changed:
            self._ends[chunk] = list(accumulate(sizes))
        self._largest[chunk.first] = max(self._largest[chunk.first], sum(sizes))
        if seconds < MIN_SECONDS:
            self._left_alone.add(chunk.first)
        # A short chunk says little: most of its time is that of opening the video, and of the way to it.
        is_slow = seconds > MAX_SECONDS and len(sizes) == CHUNK_FRAMES
        return self._make_room(focus, chunk) and not is_slow

    def _refuse(self, chunk: _Chunk) -> None:
        """Leave out a chunk with a frame that cannot be decoded, and the whole video after MAX_REFUSALS of them."""
        self._refused.add(chunk)
        if sum(refused.first == chunk.first for refused in self._refused) >= MAX_REFUSALS:
            self._left_alone.add(chunk.first)  # each further one might be decoded from the start of the video

    def _make_pictures(self, focus: _Focus, chunk: _Chunk) -> Iterator[bytes]:
        """Yield the pictures of a chunk.

        Raises:
            _LeftError: Another video is shown now.
        """
        shown, start = focus.shown, chunk.number * CHUNK_FRAMES
        for frame in range(start, min(start + CHUNK_FRAMES, focus.num_frames)):
            if not self._goes_on(shown.video):
                raise _LeftError
            yield self._make(shown._replace(frame=frame), lambda: self._goes_on(shown.video))

    def _goes_on(self, video: Video) -> bool:
        """Wait until nothing is asked for. Returns False where the video is no longer shown, or the studio ends."""
        begin = time.monotonic()
        try:
            while True:
                with self._changed:
                    if self._is_closed or self._focus is None or self._focus.shown.video != video:
                        return False
                if self._may_work():
                    return True
                time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            self._seconds_waited += time.monotonic() - begin

    def _make_room(self, focus: _Focus, latest: _Chunk) -> bool:
        """Remove the chunks that are furthest away. Returns whether the latest one stays."""
        room = self._room()
        with self._changed:
            num_bytes = sum(ends[-1] for ends in self._ends.values())
            for chunk in sorted(self._ends, key=focus.rank, reverse=True):
                if num_bytes <= room:
                    break
                num_bytes -= self._ends.pop(chunk)[-1]
                self._path(chunk).unlink(missing_ok=True)
            return latest in self._ends

    def _path(self, chunk: _Chunk) -> Path:
        return self._folder / hashlib.sha256(repr(chunk).encode()).hexdigest()[:32]


def _give_way() -> None:
    """Give this thread, and those that it starts, a low priority. Elsewhere it would be that of the whole process."""
    if sys.platform == "linux":
        thread = get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
