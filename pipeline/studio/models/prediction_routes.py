"""The routes of the labels of models."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from pipeline.studio.models.prediction_work import PredictionWork
from pipeline.studio.models.predictions import Predictions
from pipeline.studio.places import Video
from pipeline.studio.requests import Body, RefusedError, get, post


def routes(predictions: Predictions, work: PredictionWork, find: Callable[[str], Video]) -> list[BaseRoute]:
    """Return the routes.

    Args:
        predictions: The labels of models.
        work: What labels videos with the model.
        find: Returns the video of an id; it raises RefusedError where there is none.
    """

    def show(request: Request) -> dict[str, Any]:
        return predictions.describe(find(request.path_params["id"]))

    def tile(request: Request) -> Response:
        parameters = request.path_params
        content = predictions.tile(find(parameters["id"]), parameters["model"], parameters["level"], parameters["tile"])
        return Response(content, media_type="application/octet-stream")

    def start(request: Request, body: Body) -> dict[str, Any]:
        work.start(video_ids(body, find))
        return work.status()

    def cancel(request: Request, body: Body) -> dict[str, Any]:
        work.cancel()
        return work.status()

    return [
        get("/api/videos/{id}/predictions", show),
        get("/api/videos/{id}/predictions/{model}/tiles/{level:int}/{tile:int}", tile),
        post("/api/predict", start),
        post("/api/predict/cancel", cancel),
    ]


def video_ids(body: Body, find: Callable[[str], Video]) -> list[str] | None:
    """Return the ids of the videos of a request; None for all.

    Raises:
        RefusedError: They are not ids of videos.
    """
    asked = body.get("videos")
    if asked is None:
        return None
    if not isinstance(asked, list) or not all(isinstance(video_id, str) for video_id in asked):
        raise RefusedError(400, "videos: expected a list of ids, or null for all")
    return [find(video_id).id for video_id in dict.fromkeys(asked)]
