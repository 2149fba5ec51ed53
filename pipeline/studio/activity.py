"""Whether pages ask for anything right now, so that work in the background gives way to them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from starlette.types import ASGIApp, Receive, Scope, Send

SECONDS_QUIET = 0.15  # an open page asks for the status once a second
SECONDS_TO_LEAVE = 5.0


class Activity:
    """Which requests are being answered, and when the last one was. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._last = time.monotonic()  # the browser is about to ask for the page
        self._num_open = 0
        self._lock = Lock()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request while it is answered."""
        with self._lock:
            self._num_open += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_open -= 1
            self._last = time.monotonic()

    def is_quiet(self) -> bool:
        """Return whether there is no request, and was none lately."""
        return self._num_open == 0 and time.monotonic() - self._last > SECONDS_QUIET

    def is_lull(self) -> bool:
        """Return whether a page is open that asks for nothing right now."""
        return self.is_quiet() and time.monotonic() - self._last < SECONDS_TO_LEAVE


class ActivityMiddleware:
    """Counts each request."""

    def __init__(self, app: ASGIApp, activity: Activity) -> None:
        self._app, self._activity = app, activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":  # the life of the application is no request
            return await self._app(scope, receive, send)
        with self._activity.request():
            await self._app(scope, receive, send)
