"""The files of the videos, for the browser's own player, which asks for them in parts."""

import re
from collections.abc import Callable
from mimetypes import guess_type

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from pipeline.files import describe_absence
from pipeline.studio.places import Video
from pipeline.studio.requests import RefusedError

TYPES = {
    ".mkv": "video/x-matroska",
    ".ts": "video/mp2t",
    ".mts": "video/mp2t",
    ".m2ts": "video/mp2t",
    ".m4v": "video/mp4",
}
# One part of a file. All other forms are ignored, as HTTP allows (RFC 9110, 14.2), and the whole file is sent: several
# parts in one answer, which no player asks for, and what is no range at all.
_RANGE = re.compile(r"bytes=(\d{1,30}-\d{0,30}|-\d{1,30})", re.ASCII)


class _Media(FileResponse):
    """A file or one part of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        headers = [(name, value) for name, value in scope["headers"] if name != b"range" or _is_range(value)]
        await super().__call__({**scope, "headers": headers}, receive, send)


def _is_range(value: bytes) -> bool:
    text = value.decode("latin-1").strip()
    if not _RANGE.fullmatch(text):
        return False
    start, stop = text.removeprefix("bytes=").split("-")
    return not (start and stop) or int(start) <= int(stop)


def media_type(video: Video) -> str:
    """Return the media type of a video by the suffix of its file."""
    suffix = video.path.suffix.lower()
    return TYPES.get(suffix) or guess_type(f"video{suffix}")[0] or "application/octet-stream"


def routes(find: Callable[[str], Video]) -> list[BaseRoute]:
    """Return the route of the files.

    Args:
        find: Returns the video of an id, see `Listing.find`.
    """

    def find_file(video_id: str) -> Response:
        try:
            video = find(video_id)
            if video.refusal:
                raise RefusedError(403, f"{video.path.name}: {video.refusal}")
            if absence := describe_absence(video.path):
                raise RefusedError(404, f"{video.path.name}: {absence}")
            status = video.path.stat()
        except RefusedError as refused:
            return refused.response()
        except OSError as error:
            return RefusedError(404, f"the video cannot be read: {error.strerror}").response()
        return _Media(video.path, media_type=media_type(video), stat_result=status)

    async def send_file(request: Request) -> Response:
        return await run_in_threadpool(find_file, request.path_params["id"])

    return [Route("/media/{id}", send_file, methods=["GET"])]
