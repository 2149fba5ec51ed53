"""The studio as a web application: its parts, and the routes of each."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from pipeline.studio.activity import Activity, ActivityMiddleware
from pipeline.studio.clocks import Clocks
from pipeline.studio.labels.routes import routes as label_routes
from pipeline.studio.labels.store import LabelStore
from pipeline.studio.listing import Listing
from pipeline.studio.listing import routes as listing_routes
from pipeline.studio.models.changes import compare
from pipeline.studio.models.prediction_routes import routes as prediction_routes
from pipeline.studio.models.prediction_work import PredictionWork
from pipeline.studio.models.predictions import Predictions, find_default_model
from pipeline.studio.models.queue import Queue
from pipeline.studio.models.queue import routes as queue_routes
from pipeline.studio.models.training import LABELLER, Training
from pipeline.studio.models.training_plan import Plan, make_plan
from pipeline.studio.models.training_routes import routes as training_routes
from pipeline.studio.pixels.ahead import Ahead, Shown
from pipeline.studio.pixels.frames import Frames, to_jpeg
from pipeline.studio.pixels.frames import routes as frame_routes
from pipeline.studio.pixels.media import routes as media_routes
from pipeline.studio.pixels.proxy import Proxies
from pipeline.studio.pixels.proxy import routes as proxy_routes
from pipeline.studio.places import Places, Video
from pipeline.studio.presence import Presence
from pipeline.studio.requests import get
from pipeline.studio.results.exports import Exports
from pipeline.studio.results.routes import routes as result_routes
from pipeline.studio.results.scores import Results
from pipeline.studio.results.sources import Sources
from pipeline.studio.results.time_budgets import TimeBudgets
from pipeline.studio.security import Guard, GuardMiddleware

STATIC = {path.name: path.read_bytes() for path in sorted(Path(__file__).with_name("static").iterdir())}
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
# The browser gets all modules at once, and not one level of imports after the other.
MODULES = "\n".join(f'<link rel="modulepreload" href="/static/{name}">' for name in STATIC if name.endswith(".js"))
PAGE = STATIC["index.html"].decode().replace("__MODULES__", MODULES)


@dataclass(frozen=True)
class _Parts:
    """The parts of a studio."""

    videos: dict[str, Video]
    clocks: Clocks
    labels: LabelStore
    listing: Listing
    predictions: Predictions
    prediction_work: PredictionWork
    queue: Queue
    training: Training
    results: Results
    budgets: TimeBudgets
    exports: Exports
    frames: Frames
    ahead: Ahead
    proxies: Proxies


def make_app(places: Places, guard: Guard, *, model: str | None, stack: ExitStack) -> Starlette:
    """Make the application.

    Args:
        places: The folders.
        guard: Who may ask for what.
        model: The location of a trained labeller; None for models/labeller where it knows classes of the data.
        stack: What is to be ended when the studio ends is added to it.

    Raises:
        InputError: There are no videos, or the classes cannot be read.
    """
    activity = Activity()
    parts = _make_parts(places, model, activity, stack)
    routes = [
        *_page_routes(places, guard, parts),
        *_routes_of_parts(parts),
    ]
    parts.listing.start()
    stack.callback(parts.listing.stop)
    middleware = [Middleware(ActivityMiddleware, activity=activity), Middleware(GuardMiddleware, guard=guard)]
    return Starlette(routes=routes, middleware=middleware)


def _make_parts(places: Places, model: str | None, activity: Activity, stack: ExitStack) -> _Parts:
    """Make the parts; the stack ends them, the latest one first."""
    videos = places.find_videos()
    clocks = Clocks(places.state / "clocks")
    labels = LabelStore(places, clocks, videos)
    stack.callback(labels.close)
    listing = Listing(videos, clocks, labels, activity.is_quiet)
    labels.on_change = listing.refresh
    predictions = Predictions(places, labels, model or find_default_model(LABELLER, labels.label_space))
    work = PredictionWork(predictions, clocks, videos)
    stack.callback(work.cancel)
    sources = Sources(labels, predictions)
    exports = Exports(sources, clocks, videos, places)
    stack.callback(exports.close)
    training = _make_training(places, listing, labels, work)
    stack.callback(training.close)
    frames, forward = Frames(clocks), Frames(clocks, max_open=1)
    stack.callback(frames.close)
    stack.callback(forward.close)
    ahead = _make_ahead(places, clocks, activity, stack)
    return _Parts(
        videos=videos,
        clocks=clocks,
        labels=labels,
        listing=listing,
        predictions=predictions,
        prediction_work=work,
        queue=Queue(places.state, predictions, labels, clocks, videos),
        training=training,
        results=Results(sources, clocks, videos),
        budgets=TimeBudgets(sources, clocks, videos),
        exports=exports,
        frames=frames,
        ahead=ahead,
        proxies=Proxies(places.state / "proxies", clocks, forward),
    )


def _make_ahead(places: Places, clocks: Clocks, activity: Activity, stack: ExitStack) -> Ahead:
    """Make what makes pictures ahead, with a decoder of its own."""
    frames = Frames(clocks, max_open=1)
    stack.callback(frames.close)

    def make(shown: Shown, is_wanted: Callable[[], bool]) -> bytes:
        return to_jpeg(frames.pixels(shown.video, shown.frame, width=shown.width, is_wanted=is_wanted))

    ahead = Ahead(places.state / "pictures", make, activity.is_lull)
    stack.callback(ahead.close)
    return ahead


def _make_training(places: Places, listing: Listing, labels: LabelStore, work: PredictionWork) -> Training:
    """Make the training of the data set in the project of the current folder, whose model then labels the videos."""
    project = Path.cwd()

    def plan() -> Plan:
        return make_plan(project, places, listing.rows(), labels.label_space)

    def use_new_model() -> None:
        work.use_model(str(project / LABELLER))
        work.start([row.id for row in listing.rows() if row.labelled > 0])

    return Training(project, places.state, plan, on_start=work.cancel, on_done=use_new_model)


def _page_routes(places: Places, guard: Guard, parts: _Parts) -> list[BaseRoute]:
    """Return the routes of the page itself, and of what all of its parts show."""
    presence = Presence()

    def show_page(request: Request) -> Response:
        return HTMLResponse(PAGE.replace("__TOKEN__", guard.token))

    def describe(request: Request) -> dict[str, object]:
        return {
            "name": places.root.resolve().name.encode(errors="replace").decode(),
            "read_only": places.read_only,
            "is_dataset": places.is_dataset,
            "has_model": parts.predictions.model is not None,
            **parts.labels.describe(),
        }

    def status(request: Request) -> dict[str, object]:
        video = request.query_params.get("video", "")
        return {
            "list_version": parts.listing.version,
            "other_pages": presence.note(request.query_params.get("page", ""), video),
            **parts.labels.status(video),
            "predicting": parts.prediction_work.status(),
            "training": parts.training.status(),
        }

    return [
        get("/", show_page),
        Route("/static/{name}", _send_static),
        get("/api/studio", describe),
        get("/api/status", status),
    ]


async def _send_static(request: Request) -> Response:
    """Send a file of the page from memory: there are dozens, and a thread for each would make the page wait."""
    name: str = request.path_params["name"]
    media_type = MEDIA_TYPES.get(Path(name).suffix)
    if name not in STATIC or media_type is None:
        return Response(status_code=404)
    return Response(STATIC[name], media_type=media_type)


def _routes_of_parts(parts: _Parts) -> list[BaseRoute]:
    labels, find = parts.labels, parts.listing.find

    def compare_models() -> dict[str, object]:
        return compare(parts.predictions, labels, parts.videos.values())

    return [
        *listing_routes(parts.listing, parts.clocks, parts.proxies.describe),
        *frame_routes(parts.frames, parts.ahead, find),
        *proxy_routes(parts.proxies, find),
        *media_routes(find),
        *label_routes(labels, find),
        *prediction_routes(parts.predictions, parts.prediction_work, find),
        *result_routes(parts.results, parts.budgets, parts.exports, find),
        *training_routes(parts.training, compare_models),
        *queue_routes(parts.queue, labels.check_can_change),
    ]
