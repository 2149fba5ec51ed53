"""What all requests to the studio share: JSON bodies of a bounded size, ids in place of paths, and errors in words."""

import json
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.errors import InputError, describe_reason

MAX_BODY = 8 * 2**20  # bytes of a request
Body = dict[str, Any]
Answer = Response | dict[str, Any]


class RefusedError(Exception):
    """A request that is not carried out.

    Args:
        status: The status code of HTTP.
        message: One sentence for the user.
        **content: What else the answer has.
    """

    def __init__(self, status: int, message: str, **content: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.content = status, message, content

    def response(self) -> Response:
        """Return the answer."""
        return JSONResponse({"error": self.message, **self.content}, self.status)


def get(path: str, answer: Callable[[Request], Answer]) -> Route:
    """Make a route that only reads.

    Args:
        path: The path, see Starlette.
        answer: It runs in a thread of its own. A dictionary becomes JSON; an InputError is an answer in words.
    """

    async def endpoint(request: Request) -> Response:
        return await _answered(answer, request)

    return Route(path, endpoint, methods=["GET"])


def post(path: str, answer: Callable[[Request, Body], Answer]) -> Route:
    """Make a route that changes something, as `get`.

    Args:
        path: The path.
        answer: It gets the request and its body, which is a JSON object.
    """

    async def endpoint(request: Request) -> Response:
        try:
            body = await _read_body(request)
        except RefusedError as refused:
            return refused.response()
        return await _answered(answer, request, body)

    return Route(path, endpoint, methods=["POST"])


async def _answered(answer: Callable[..., Answer], *arguments: object) -> Response:
    try:
        result = await run_in_threadpool(answer, *arguments)
    except RefusedError as refused:
        return refused.response()
    except InputError as error:
        return RefusedError(422, str(error)).response()
    except OSError as error:
        return RefusedError(503, f"the disk did not do what was asked: {describe_reason(error)}").response()
    return result if isinstance(result, Response) else JSONResponse(result)


async def _read_body(request: Request) -> Body:
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MAX_BODY:
            raise RefusedError(413, f"the request has more than {MAX_BODY} bytes")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise RefusedError(400, "the request is not JSON") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "the request is not a JSON object")
    return body


def text_field(body: Body, name: str, *, max_length: int = 1000) -> str:
    """Return a text of a body.

    Raises:
        RefusedError: It is missing, is not text, or is too long.
    """
    value = body.get(name)
    if not isinstance(value, str) or len(value) > max_length:
        raise RefusedError(400, f"{name}: expected a text of at most {max_length} characters")
    return value


def number_field(body: Body, name: str) -> int:
    """Return an integer of a body.

    Raises:
        RefusedError: It is missing or is not an integer.
    """
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RefusedError(400, f"{name}: expected an integer")
    return value


def query_number(request: Request, name: str, default: int) -> int:
    """Return an integer of the query of a request.

    Raises:
        RefusedError: It is not an integer.
    """
    try:
        return int(request.query_params.get(name, default))
    except ValueError:
        raise RefusedError(400, f"{name}: expected an integer") from None
