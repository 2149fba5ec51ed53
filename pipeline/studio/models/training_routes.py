"""The routes of training."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute

from pipeline.studio.models.training import Training
from pipeline.studio.requests import Body, get, post


def routes(training: Training, compare: Callable[[], dict[str, Any]]) -> list[BaseRoute]:
    """Return the routes.

    Args:
        training: The training.
        compare: Says what the new model says otherwise than the one before it.
    """

    def show(request: Request) -> dict[str, Any]:
        return training.describe()

    def start(request: Request, body: Body) -> dict[str, Any]:
        training.start()
        return training.describe()

    def cancel(request: Request, body: Body) -> dict[str, Any]:
        training.cancel()
        return training.describe()

    def open_tracker(request: Request, body: Body) -> dict[str, Any]:
        return {"address": training.open_tracker(), "answers": training.tracker_answers()}

    def changes(request: Request) -> dict[str, Any]:
        return compare()

    return [
        get("/api/training", show),
        get("/api/training/changes", changes),
        post("/api/training", start),
        post("/api/training/cancel", cancel),
        post("/api/training/mlflow", open_tracker),
    ]
