"""Who may ask the studio for what: only its own page, in a browser on an address that it serves.

Other pages that are open in the same browser can send requests to this machine too. They are told apart by `Host` (a
name that an attacker's DNS points here: DNS rebinding), by `Origin` and `Sec-Fetch-Site`, and, for whatever changes
something, by a token that only the studio's page knows.
"""

import hmac
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from secrets import token_urlsafe
from urllib.parse import parse_qs, quote, unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.studio.requests import MAX_BODY

TOKEN_HEADER = "x-studio-token"
COOKIE = "framescribe_studio"
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
MAX_PATH = 500  # characters: ids and numbers are short
HTTP_PORT = 80  # where none is named
READING = frozenset({"GET", "HEAD"})
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}


def is_loopback(host: str) -> bool:
    """Return whether an address is of this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("example.org")
    (True, True, False, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Guard:
    """The rules of one studio.

    Attributes:
        host: The address that it binds to.
        port: The port.
        token: What its page sends with each request that changes something.
        access_token: What a browser must know to read anything, where the address is not of this machine alone; None
            where it is.
    """

    host: str
    port: int
    token: str = field(default_factory=token_urlsafe, repr=False)
    access_token: str | None = field(default=None, repr=False)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return why a request is not carried out, with the status code; None where it is."""
        headers = Headers(scope=scope)
        if not self._is_own_host(headers.get("host", "")):
            return 421, "this address is not one of the studio's: open the address that `framescribe studio` printed"
        if len(scope["path"]) > MAX_PATH:
            return 414, f"the address has more than {MAX_PATH} characters"
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{headers['host']}":
            return 403, "another page asked: only the studio's own page may"
        site, opens_page = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode") == "navigate"
        if site not in ("same-origin", "none") and not (opens_page and scope["path"] == "/"):
            return 403, "another page asked: only the studio's own page may"
        if self.access_token is not None and not self._knows_access(scope, headers):
            return 401, "the token is missing: open the whole address that `framescribe studio` printed"
        if scope["method"] not in READING:
            return self._refusal_of_change(headers)
        return None

    def _refusal_of_change(self, headers: Headers) -> tuple[int, str] | None:
        if not _same(headers.get(TOKEN_HEADER, ""), self.token):
            return 403, "the token of this page is not the studio's: was the studio restarted? Reload the page"
        if headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return 415, "expected a request of the type application/json"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return 413, f"the request has more than {MAX_BODY} bytes"
        return None

    def _is_own_host(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname, parts.port or HTTP_PORT
        except ValueError:
            return False
        if name is None or port != self.port or parts.netloc != host or "@" in host:
            return False
        if name == self.host or name in LOOPBACK_NAMES:
            return True
        return not is_loopback(self.host) and _is_address(name)

    def _knows_access(self, scope: Scope, headers: Headers) -> bool:
        assert self.access_token is not None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        return any(_same(token, self.access_token) for token in [*given, *([unquote(cookie.value)] if cookie else [])])


class GuardMiddleware:
    """Applies a Guard to every request, and the headers that keep a page from doing harm to every answer."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                if self._guard.access_token is not None and scope["path"] == "/" and message["status"] == 200:
                    headers.append(
                        "set-cookie",
                        f"{COOKIE}={quote(self._guard.access_token, safe='')}; Path=/; HttpOnly; SameSite=Strict",
                    )
            await send(message)

        refusal = self._guard.refusal(scope)
        answer: ASGIApp | Response = self._app
        if refusal is not None:
            answer = PlainTextResponse(f"framescribe studio: {refusal[1]}\n", refusal[0])
        await answer(scope, receive, send_with_headers)


def _is_address(name: str) -> bool:
    """Return whether a name is an IP address, which no DNS answer can lead elsewhere."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
