"""Whether pages ask for anything right now, so that work in the background gives way to them."""

import time

from starlette.types import ASGIApp, Receive, Scope, Send

SECONDS_QUIET = 0.15  # an open page asks for the status once a second


class Activity:
    """When the last request came. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._last = time.monotonic()  # the browser is about to ask for the page

    def note(self) -> None:
        """Record a request."""
        self._last = time.monotonic()

    def is_quiet(self) -> bool:
        """Return whether no request came lately."""
        return time.monotonic() - self._last > SECONDS_QUIET


class ActivityMiddleware:
    """Records each request, when it comes and when it has been answered."""

    def __init__(self, app: ASGIApp, activity: Activity) -> None:
        self._app, self._activity = app, activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        self._activity.note()
        await self._app(scope, receive, send)
        self._activity.note()
