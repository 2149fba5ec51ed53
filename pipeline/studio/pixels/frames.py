"""Single frames of videos as pictures, exactly as the pipeline decodes them."""

import io
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from pipeline.studio.clocks import Clocks, VideoClock
from pipeline.studio.pixels.ahead import OVERTAKEN, Ahead, Shown
from pipeline.studio.places import Video
from pipeline.studio.requests import RefusedError, get, query_number

if TYPE_CHECKING:
    from pipeline.video.scaling import Scaler
    from pipeline.video.seeking import SeekingReader
    from pipeline.video.types import VideoIndex

MAX_OPEN = 3  # decoders, each with some 70 MB of frames at 1080p
MAX_PAGES = 100  # whose latest requests are known
JPEG_QUALITY = 92
MAX_PIXELS = 1 << 26  # of a frame: 8K has half of that
MAX_JPEG = 65_500  # pixels of a side, with libjpeg
MIN_WIDTH = 16


@dataclass
class _Session:
    """An open decoder. The lock is held while it is used."""

    clock: VideoClock
    reader: "SeekingReader"
    lock: Lock = field(default_factory=Lock)
    scalers: "dict[tuple[int, int], Scaler]" = field(default_factory=dict)
    is_closed: bool = False

    def close(self) -> None:
        with self.lock:
            self.is_closed = True
            self.reader.close()

    def pixels(self, frame: int, width: int, is_wanted: Callable[[], bool]) -> np.ndarray:
        """Return uint8 [h, w, 3] RGB, at most `width` wide; the lock is held."""
        from pipeline.video.region import Region
        from pipeline.video.scaling import Scaler

        picture = self.reader.picture(frame, is_wanted=is_wanted)
        facts = self.clock.facts
        size = (facts.height, facts.width)
        if width < facts.width:
            size = (max(1, round(facts.height * width / facts.width)), width)
        if size not in self.scalers:
            self.scalers = {size: Scaler(Region(size=size))}
        return self.scalers[size](picture)


class Frames:
    """The frames of the videos of a studio. All methods may be called from any thread.

    Args:
        clocks: When the frames are shown.
        max_open: The number of decoders that stay open.
    """

    def __init__(self, clocks: Clocks, *, max_open: int = MAX_OPEN) -> None:
        self._clocks, self._max_open = clocks, max_open
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._lock = Lock()
        self._latest: OrderedDict[str, int] = OrderedDict()  # the latest request of each page

    def clock(self, video: Video) -> VideoClock:
        """Return when the frames of a video are shown.

        Raises:
            RefusedError: The frames are too large to be shown.
            InputError: The video cannot be read.
        """
        clock = self._clocks.clock(video)
        if clock.facts.width * clock.facts.height > MAX_PIXELS:
            size = f"{clock.facts.width} x {clock.facts.height}"
            raise RefusedError(422, f"frames of {size} pixels are not shown: one of them fills the memory")
        return clock

    def pixels(
        self,
        video: Video,
        frame: int,
        *,
        width: int,
        page: str = "",
        number: int = 0,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> np.ndarray:
        """Return a frame: uint8 [h, w, 3] RGB.

        Args:
            video: The video.
            frame: Its position, from 0.
            width: The most pixels that it is wide; it is not scaled up.
            page: The page that asks; "" for one that waits for every frame it asks for.
            number: The number of the request, ascending for each page.
            is_wanted: It is called after each frame that is decoded on the way.

        Raises:
            RefusedError: There is no such frame, or it is no longer wanted: the page has asked for another one since.
            InputError: The video or the frame cannot be decoded.
        """
        from pipeline.video.seeking import StoppedError

        clock = self.clock(video)
        num_frames = clock.facts.num_frames
        if not 0 <= frame < num_frames:
            raise RefusedError(404, f"there is no frame {frame}: the video has the frames 0 to {num_frames - 1}")
        self.note(page, number)
        while True:
            session = self._session(video, clock)
            with session.lock:
                if session.is_closed:
                    continue
                if not self._is_latest(page, number):
                    raise _overtaken()
                try:
                    return session.pixels(frame, width, lambda: self._is_latest(page, number) and is_wanted())
                except StoppedError:
                    raise _overtaken() from None

    def close(self) -> None:
        """Free the decoders."""
        with self._lock:
            sessions = list(self._sessions.values())
            self._sessions.clear()
        for session in sessions:
            session.close()

    def note(self, page: str, number: int) -> None:
        """Note a request of a page: earlier ones of it are dropped. See `pixels`."""
        if not page:
            return
        with self._lock:
            self._latest[page] = max(number, self._latest.get(page, number))
            self._latest.move_to_end(page)
            while len(self._latest) > MAX_PAGES:
                self._latest.popitem(last=False)

    def _is_latest(self, page: str, number: int) -> bool:
        return not page or self._latest.get(page, number) <= number

    def _session(self, video: Video, clock: VideoClock) -> _Session:
        from pipeline.video.seeking import SeekingReader

        ended: list[_Session] = []
        with self._lock:
            session = self._sessions.get(video.id)
            if session is None or session.clock is not clock:  # the file has changed
                ended += [session] if session else []
                session = self._sessions[video.id] = _Session(clock, SeekingReader(_index(video, clock)))
            self._sessions.move_to_end(video.id)
            while len(self._sessions) > self._max_open:
                ended.append(self._sessions.popitem(last=False)[1])
        for each in ended:
            each.close()
        return session


def _overtaken() -> RefusedError:
    return RefusedError(OVERTAKEN, "the page has asked for another frame since")


def _index(video: Video, clock: VideoClock) -> "VideoIndex":
    """Make the index from what is kept of it; only a video that was surveyed is surveyed once more."""
    from pipeline.video.survey import index_video
    from pipeline.video.types import Picture, VideoIndex, VideoProperties

    facts = clock.facts
    if facts.is_surveyed:
        return index_video(video.path)
    properties = VideoProperties(
        path=video.path,
        num_frames=facts.num_frames,
        frame_rate=Fraction(facts.frame_rate),
        width=facts.width,
        height=facts.height,
        declared_frames=None,
        variable_frame_rate=facts.variable_frame_rate,
        rotation_degrees=facts.rotation_degrees,
    )
    picture = Picture("", False, 0)  # which only readers other than PyAV look at
    return VideoIndex(properties, clock.times.pts_seconds, facts.container, picture)


def to_jpeg(pixels: np.ndarray) -> bytes:
    """Return uint8 [h, w, 3] RGB as a JPEG file.

    Raises:
        RefusedError: The format has no pictures of such a size.
    """
    from PIL import Image

    if max(pixels.shape) > MAX_JPEG:
        raise RefusedError(422, f"a frame of {pixels.shape[1]} x {pixels.shape[0]} pixels cannot be sent as JPEG")
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=JPEG_QUALITY)
    return content.getvalue()


def routes(frames: Frames, ahead: Ahead, find: Callable[[str], Video]) -> list[BaseRoute]:
    """Return the route of the frames.

    Args:
        frames: The frames.
        ahead: The pictures of frames that are made ahead.
        find: Returns the video of an id, see `Listing.find`.
    """

    def show(request: Request) -> Response:
        video, width = find(request.path_params["id"]), query_number(request, "width", 2**16)
        if width < MIN_WIDTH:
            raise RefusedError(400, f"width: got {width}, expected at least {MIN_WIDTH}")
        facts = frames.clock(video).facts
        shown = Shown(video, request.path_params["frame"], min(width, facts.width))
        page, number = request.query_params.get("page", "")[:100], query_number(request, "seq", 0)
        content = ahead.find(shown)
        if content is not None:
            frames.note(page, number)
        else:
            content = to_jpeg(frames.pixels(video, shown.frame, width=shown.width, page=page, number=number))
        if not facts.is_surveyed:  # or the whole video would be decoded once more, to open it
            ahead.look(shown, facts.num_frames)
        return Response(content, media_type="image/jpeg")

    return [get("/api/videos/{id}/frames/{frame:int}", show)]
