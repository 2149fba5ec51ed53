"""The list of videos: at once by name, and what is known of each as it is found in the background."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from threading import Event, Lock, Thread
from typing import Literal, Protocol

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from pipeline.errors import InputError, describe_os_error
from pipeline.studio.clocks import Clocks
from pipeline.studio.places import Video
from pipeline.studio.requests import RefusedError, get

SECONDS_BETWEEN_LOOKS = 0.02
MAX_SECONDS_TO_GIVE_WAY = 0.5  # for each video, so that the list is read also while pages ask without end
MAX_SECONDS_TO_FIRST_PAGE = 3.0  # to import decoders takes a second, in which no page would be answered
State = Literal["reading", "unlabelled", "partly", "done", "problem"]


@dataclass(frozen=True)
class LabelSummary:
    """What the list shows of the labels of a video.

    Attributes:
        labelled: The share of the frames that are labelled, from 0 to 1; where classes overlap, for all classes.
        num_segments: The number of segments.
        num_marks: The number of point marks and notes.
        has_conflict: Whether the label file was changed by somebody else, and the user has to choose.
        problems: Why the labels cannot be read or written.
    """

    labelled: float = 0.0
    num_segments: int = 0
    num_marks: int = 0
    has_conflict: bool = False
    problems: tuple[str, ...] = ()


class Labels(Protocol):
    """What the list needs of the labels."""

    def summary(self, video: Video) -> LabelSummary:
        """Return what the list shows of a video; it raises InputError where the video cannot be read."""
        ...


@dataclass(frozen=True)
class Row:
    """A video of the list. The fields are those of the answer to `GET /api/videos`."""

    id: str
    stem: str
    file: str
    state: State
    seconds: float | None = None
    num_frames: int | None = None
    width: int | None = None
    height: int | None = None
    labelled: float = 0.0
    num_segments: int = 0
    num_marks: int = 0
    has_conflict: bool = False
    problems: tuple[str, ...] = ()


class Listing:
    """The list of videos of a studio. All methods may be called from any thread.

    Args:
        videos: The videos by their ids.
        clocks: When their frames are shown.
        labels: Their labels.
        is_quiet: Whether no page asks for anything. The list is read on then, and slowly otherwise.
    """

    def __init__(
        self, videos: Mapping[str, Video], clocks: Clocks, labels: Labels, is_quiet: Callable[[], bool] = lambda: True
    ) -> None:
        self._videos, self._clocks, self._labels, self._is_quiet = videos, clocks, labels, is_quiet
        self._rows = {video.id: Row(video.id, video.stem, video.path.name, "reading") for video in videos.values()}
        self._lock = Lock()
        self._was_sent, self._stopped = Event(), Event()
        self.version = 0

    def start(self) -> None:
        """Find in the background what is known of each video."""
        Thread(target=self._read_all, name="listing", daemon=True).start()

    def stop(self) -> None:
        """End the background work soon."""
        self._stopped.set()
        self._was_sent.set()

    def refresh(self, video_id: str) -> None:
        """Look again at a video, whose labels have changed."""
        row = self._read(self._videos[video_id])
        with self._lock:
            if self._rows[video_id] != row:
                self._rows[video_id] = row
                self.version += 1

    def rows(self) -> list[Row]:
        """Return the list, sorted as the videos are."""
        self._was_sent.set()
        with self._lock:
            return list(self._rows.values())

    def find(self, video_id: str) -> Video:
        """Return the video of an id.

        Raises:
            RefusedError: There is none.
        """
        video = self._videos.get(video_id)
        if video is None:
            raise RefusedError(404, "there is no such video: was the studio started again with other videos?")
        return video

    def _read_all(self) -> None:
        self._was_sent.wait(MAX_SECONDS_TO_FIRST_PAGE)
        for video_id in self._videos:
            latest = time.monotonic() + MAX_SECONDS_TO_GIVE_WAY
            while not self._is_quiet() and time.monotonic() < latest:
                self._stopped.wait(SECONDS_BETWEEN_LOOKS)
            if self._stopped.is_set():
                return
            self.refresh(video_id)

    def _read(self, video: Video) -> Row:
        row = Row(video.id, video.stem, video.path.name, "reading")
        try:
            facts = self._clocks.facts(video) or self._clocks.clock(video).facts
            summary = self._labels.summary(video)
        except (InputError, OSError) as error:
            described = describe_os_error(error) if isinstance(error, OSError) else str(error)
            return Row(video.id, video.stem, video.path.name, "problem", problems=(video.shorten(described),))
        state: State = "done" if summary.labelled >= 1 else "partly" if summary.labelled > 0 else "unlabelled"
        if summary.problems or summary.has_conflict:
            state = "problem"
        found = {
            "seconds": facts.duration_seconds,
            "num_frames": facts.num_frames,
            "width": facts.width,
            "height": facts.height,
            **asdict(summary),
            "problems": (*facts.problems, *summary.problems),
        }
        return Row(**asdict(row) | found | {"state": state})


def routes(listing: Listing, clocks: Clocks, playback: Callable[[Video], dict[str, object]]) -> list[BaseRoute]:
    """Return the routes of the list.

    Args:
        listing: The list.
        clocks: When the frames of the videos are shown.
        playback: Describes how the browser plays a video, see `media`.
    """

    def list_videos(request: Request) -> dict[str, object]:
        rows = listing.rows()
        return {
            "videos": [asdict(row) for row in rows],
            "complete": all(row.state != "reading" for row in rows),
            "version": listing.version,
        }

    def open_video(request: Request) -> dict[str, object]:
        video = listing.find(request.path_params["id"])
        facts = clocks.clock(video).facts
        return {"id": video.id, "stem": video.stem, "file": video.path.name, **asdict(facts)} | {
            "playback": playback(video)
        }

    def send_times(request: Request) -> Response:
        times = clocks.clock(listing.find(request.path_params["id"])).times
        edges = np.append(times.pts_seconds, times.end_seconds)
        return Response(edges.astype("<f8").tobytes(), media_type="application/octet-stream")

    return [
        get("/api/videos", list_videos),
        get("/api/videos/{id}", open_video),
        get("/api/videos/{id}/times", send_times),
    ]
