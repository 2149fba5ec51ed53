"""The routes of the results, the time budgets and the export."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute

from pipeline.studio.models.prediction_routes import video_ids
from pipeline.studio.places import Video
from pipeline.studio.requests import Body, RefusedError, get, post, query_number, text_field
from pipeline.studio.results.cells import Cell
from pipeline.studio.results.exports import Exports, disposition
from pipeline.studio.results.scores import Results
from pipeline.studio.results.sources import GIVEN
from pipeline.studio.results.time_budgets import TimeBudgets


def routes(results: Results, budgets: TimeBudgets, exports: Exports, find: Callable[[str], Video]) -> list[BaseRoute]:
    """Return the routes.

    Args:
        results: The scores.
        budgets: The time budgets.
        exports: The exports.
        find: Returns the video of an id; it raises RefusedError where there is none.
    """

    def show(request: Request) -> dict[str, Any]:
        return results.describe(request.query_params.get("source") or None)

    def stretches(request: Request) -> dict[str, Any]:
        query = request.query_params
        kind = query.get("kind")
        cell = Cell(query_number(request, "true", -1), kind or query_number(request, "predicted", -1))
        source = query.get("source")
        if not source:
            raise RefusedError(400, "source: expected the id of a model")
        return results.stretches(source, cell, query.get("group") or None)

    def budget(request: Request) -> dict[str, Any]:
        return budgets.describe(request.query_params.get("source") or GIVEN)

    def formats(request: Request) -> dict[str, Any]:
        return {"formats": exports.formats()}

    def export(request: Request, body: Body) -> dict[str, Any]:
        ids = video_ids(body, find)
        videos = None if ids is None else [find(video_id) for video_id in ids]
        return exports.make(text_field(body, "format"), text_field(body, "source"), videos)

    def download(request: Request) -> Response:
        made = exports.find(request.path_params["key"])
        headers = {"content-disposition": disposition(made.name), "x-content-type-options": "nosniff"}
        return FileResponse(made.path, media_type="application/octet-stream", headers=headers)

    return [
        get("/api/results", show),
        get("/api/results/frames", stretches),
        get("/api/budget", budget),
        get("/api/export/formats", formats),
        post("/api/export", export),
        get("/api/export/{key}", download),
    ]
