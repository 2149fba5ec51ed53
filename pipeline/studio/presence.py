"""Which pages of the studio are open, so that the second one on a video is warned."""

import time
from dataclasses import dataclass
from threading import Lock

SECONDS_ALIVE = 6.0  # after the last sign of a page, which gives one each second
MAX_PAGES = 1000


@dataclass(frozen=True)
class _Page:
    video_id: str
    seen: float


class Presence:
    """The open pages. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._pages: dict[str, _Page] = {}
        self._lock = Lock()

    def note(self, page: str, video_id: str) -> int:
        """Record that a page shows a video; return how many other pages show it too."""
        now = time.monotonic()
        with self._lock:
            self._pages = {key: value for key, value in self._pages.items() if now - value.seen < SECONDS_ALIVE}
            if page and len(self._pages) < MAX_PAGES:
                self._pages[page] = _Page(video_id, now)
            return sum(key != page and bool(video_id) and it.video_id == video_id for key, it in self._pages.items())
