"""Pictures made ahead: while a page is open and asks for nothing, those around the frame that it showed last.

A random frame of a large video with few key frames costs a tenth of a second or more, in which the decoder goes through
all frames since the key frame. Going through them once, in order, costs a fraction of this for each. The pictures are
the same bytes that the page would get otherwise.
"""

import hashlib
import os
import shutil
import sys
import time
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
SECONDS_BETWEEN_LOOKS = 0.05
NICENESS = 10  # so that a training, or a browser that plays a video, goes first


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

    def distance(self, other: "_Chunk") -> float:
        """Return how many chunks it is away; infinitely many in another video, or at another width."""
        return abs(self.number - other.number) if self.first == other.first else float("inf")


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
        self._focus: tuple[Shown, int] | None = None  # and the number of frames of its video
        self._done_for: tuple[Shown, int] | None = None  # the one for which all is made
        self._refused: set[_Chunk] = set()  # those with a frame that cannot be decoded
        self._not_worth: set[_Chunk] = set()  # the first ones of videos whose pictures come too quickly, or too slowly
        self._seconds_waited = 0.0
        self._is_closed = False
        self._thread: Thread | None = None

    def find(self, shown: Shown) -> bytes | None:
        """Return a picture; None where it is not there yet."""
        chunk = shown.chunk
        with self._changed:
            ends = self._ends.get(chunk)
        place = shown.frame % CHUNK_FRAMES
        if ends is None or place >= len(ends):
            return None
        begin, end = ([0, *ends])[place : place + 2]
        with suppress(OSError), open(self._path(chunk), "rb") as file:
            file.seek(begin)
            content = file.read(end - begin)
            return content if len(content) == end - begin else None
        return None

    def look(self, shown: Shown, num_frames: int) -> None:
        """Note the frame that a page shows now.

        Args:
            shown: The frame.
            num_frames: The number of frames of its video.
        """
        with self._changed:
            if self._is_closed:
                return
            self._focus = (shown, num_frames)
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
        if sys.platform == "linux":  # elsewhere it would be the priority of the whole process
            os.setpriority(os.PRIO_PROCESS, get_native_id(), NICENESS)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._focus is not self._done_for)
                focus = self._focus
            if self._is_closed or focus is None:
                return
            try:
                due = self._next_due(*focus)
                if due is not None and self._make_chunk(focus, due):
                    continue
            except OSError:  # the disk is full, or the folder is gone
                pass
            self._done_for = focus

    def _next_due(self, shown: Shown, num_frames: int) -> _Chunk | None:
        """Return the nearest chunk that is not there; None where all are, or where nearer ones fill the folder."""
        here = shown.chunk
        chunks = [here._replace(number=number) for number in range(-(-num_frames // CHUNK_FRAMES))]
        with self._changed:
            sizes = [0]  # of those that are nearer
            if here.first in self._not_worth:
                return None
            for chunk in sorted(chunks, key=here.distance):
                if chunk in self._refused:
                    continue
                if chunk not in self._ends:
                    return chunk if sum(sizes) + max(sizes) <= self._room() else None
                sizes.append(self._ends[chunk][-1])
        return None

    def _room(self) -> int:
        """Return how many bytes the folder may have: at most a quarter of what is free without it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        own = sum(ends[-1] for ends in self._ends.values())
        return min(self._max_bytes, (shutil.disk_usage(self._folder).free + own) // 4)

    def _make_chunk(self, focus: tuple[Shown, int], chunk: _Chunk) -> bool:
        """Make the pictures of a chunk, unless another video is shown now. Returns False where there is no room."""
        begin, self._seconds_waited = time.monotonic(), 0.0
        try:
            with replacing(self._path(chunk)) as temporary, temporary.open("wb") as file:
                sizes = [file.write(picture) for picture in self._make_pictures(focus, chunk)]
        except _LeftError:
            return True
        except (InputError, RefusedError):  # the page is told when it asks for that frame
            if self._goes_on(focus[0].video):
                self._refused.add(chunk)
            return True
        with self._changed:
            self._ends[chunk] = list(accumulate(sizes))
        seconds = (time.monotonic() - begin - self._seconds_waited) / len(sizes)
        if not MIN_SECONDS <= seconds <= MAX_SECONDS:
            self._not_worth.add(chunk.first)
        return self._make_room(focus[0].chunk, chunk)

    def _make_pictures(self, focus: tuple[Shown, int], chunk: _Chunk) -> Iterator[bytes]:
        """Yield the pictures of a chunk.

        Raises:
            _LeftError: Another video is shown now, or another file has its name.
        """
        shown, num_frames = focus
        start = chunk.number * CHUNK_FRAMES
        for frame in range(start, min(start + CHUNK_FRAMES, num_frames)):
            if not self._goes_on(shown.video):
                raise _LeftError
            yield self._make(shown._replace(frame=frame), lambda: self._goes_on(shown.video))
        if shown.chunk.distance(chunk) == float("inf"):
            raise _LeftError

    def _goes_on(self, video: Video) -> bool:
        """Wait until nothing is asked for. Returns False where the video is no longer shown, or the studio ends."""
        while True:
            with self._changed:
                if self._is_closed or self._focus is None or self._focus[0].video != video:
                    return False
            if self._may_work():
                return True
            time.sleep(SECONDS_BETWEEN_LOOKS)
            self._seconds_waited += SECONDS_BETWEEN_LOOKS

    def _make_room(self, here: _Chunk, latest: _Chunk) -> bool:
        """Remove the chunks that are furthest away, the oldest first. Returns whether the latest one stays."""
        with self._changed:
            room, num_bytes = self._room(), sum(ends[-1] for ends in self._ends.values())
            for chunk in sorted(self._ends, key=here.distance, reverse=True):
                if num_bytes <= room:
                    break
                num_bytes -= self._ends.pop(chunk)[-1]
                self._path(chunk).unlink(missing_ok=True)
            return latest in self._ends

    def _path(self, chunk: _Chunk) -> Path:
        return self._folder / hashlib.sha256(repr(chunk).encode()).hexdigest()[:32]
