"""Whether pages ask for anything right now, so that work in the background gives way to them."""

import time
from threading import Lock

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS_QUIET = 0.15  # an open page asks for the status once a second
SECONDS_TO_LEAVE = 5.0


class Activity:
    """Which requests wait for their answers, and when the last one came. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._last = time.monotonic()  # the browser is about to ask for the page
        self._num_waiting = 0
        self._lock = Lock()

    def begin(self) -> None:
        """Note a request."""
        with self._lock:
            self._num_waiting += 1

    def end(self) -> None:
        """Note that a request is being answered, or has failed."""
        with self._lock:
            self._num_waiting -= 1
        self._last = time.monotonic()

    def is_quiet(self) -> bool:
        """Return whether no request waits, and none came lately."""
        return self._num_waiting == 0 and time.monotonic() - self._last > SECONDS_QUIET

    def is_lull(self) -> bool:
        """Return whether a page is open that asks for nothing right now."""
        return self.is_quiet() and time.monotonic() - self._last < SECONDS_TO_LEAVE


class ActivityMiddleware:
    """Notes each request until its answer begins: a browser takes that of a paused video whenever it likes."""

    def __init__(self, app: ASGIApp, activity: Activity) -> None:
        self._app, self._activity = app, activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":  # the life of the application is no request
            return await self._app(scope, receive, send)
        waits = True

        def end() -> None:
            nonlocal waits
            if waits:
                waits = False
                self._activity.end()

        async def send_on(message: Message) -> None:
            end()
            await send(message)

        self._activity.begin()
        try:
            await self._app(scope, receive, send_on)
        finally:
            end()
