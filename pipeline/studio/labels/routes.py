"""The routes of labels, marks and classes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute

from pipeline.errors import describe_reason
from pipeline.studio.labels.document import Document
from pipeline.studio.labels.edits import Bounds, is_integer, parse_edit
from pipeline.studio.labels.files import OnDisk
from pipeline.studio.labels.history import Step
from pipeline.studio.labels.state import ADOPTED
from pipeline.studio.labels.store import LabelStore
from pipeline.studio.places import Video
from pipeline.studio.requests import Body, RefusedError, get, post


def describe(document: Document) -> dict[str, Any]:
    """Return what `GET /api/videos/{id}/labels` answers."""
    tracks = document.history.tracks
    return {
        **_describe_state(document),
        "num_frames": tracks.num_frames,
        "tracks": tracks.to_json(),
        "marks": _describe_marks(document),
        "problems": list(document.problems),
        "notices": list(document.notices),
        "source": document.disk.source,
        "is_adopted": bool(document.history.done) and document.history.done[-1].name == ADOPTED,
        "is_of_model": document.disk.is_of_model,
    }


def _describe_state(document: Document) -> dict[str, Any]:
    done, undone = document.history.done, document.history.undone
    return {
        "version": document.version,
        "can_undo": bool(done),
        "can_redo": bool(undone),
        "undo_name": done[-1].name if done else "",
        "redo_name": undone[-1].name if undone else "",
        "saved": not document.is_unsaved,
        "conflict": None if document.conflict is None else _describe_conflict(document.conflict),
    }


def _describe_conflict(disk: OnDisk) -> dict[str, Any]:
    return {
        "source": disk.source,
        "tracks": disk.tracks.to_json(),
        "marks": [mark._asdict() for mark in disk.marks],
        "changed": disk.changed,
        "problems": list(disk.problems),
    }


def _describe_marks(document: Document) -> list[dict[str, Any]]:
    return [mark._asdict() for mark in document.history.sorted_marks()]


def routes(store: LabelStore, find: Callable[[str], Video]) -> list[BaseRoute]:
    """Return the routes.

    Args:
        store: The labels.
        find: Returns the video of an id; it raises RefusedError where there is none.
    """

    def video_of(request: Request) -> Video:
        return find(request.path_params["id"])

    def show(request: Request) -> dict[str, Any]:
        with store.opened(video_of(request)) as document:
            document.poll()
            return describe(document)

    def edit(request: Request, body: Body) -> dict[str, Any]:
        store.check_can_change()
        with store.opened(video_of(request)) as document:
            _check_version(document, body)
            document.check_can_change()
            parsed = parse_edit(body, _bounds(document))
            document.change("edit", parsed.to_json())
            answer = _describe_state(document)
            return answer | {"marks": _describe_marks(document)} if parsed.set_marks or parsed.remove_marks else answer

    def step(kind: str) -> Callable[[Request, Body], dict[str, Any]]:
        def answer(request: Request, body: Body) -> dict[str, Any]:
            store.check_can_change()
            with store.opened(video_of(request)) as document:
                _check_version(document, body)
                return _with_focus(document, document.change(kind, {}))

        return answer

    def resolve(request: Request, body: Body) -> dict[str, Any]:
        store.check_can_change()
        choice = body.get("choice")
        if choice not in ("mine", "theirs"):
            raise RefusedError(422, 'choice: expected "mine" or "theirs"')
        with store.opened(video_of(request)) as document:
            return _with_focus(document, document.resolve(keep_mine=choice == "mine"))

    def add_class(request: Request, body: Body) -> dict[str, Any]:
        with _named("the list of classes"):
            store.add_class(body.get("name"), body.get("group"), body.get("overlapping"))
        return store.describe()

    def set_keys(request: Request, body: Body) -> dict[str, Any]:
        store.check_can_change()
        with _named("the keys"):
            store.classes.set_keys(body.get("keys"))
        return store.describe()

    return [
        get("/api/videos/{id}/labels", show),
        post("/api/videos/{id}/edits", edit),
        post("/api/videos/{id}/undo", step("undo")),
        post("/api/videos/{id}/redo", step("redo")),
        post("/api/videos/{id}/conflict", resolve),
        post("/api/classes", add_class),
        post("/api/keys", set_keys),
    ]


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Refuse a request where a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise RefusedError(507, f"{what} cannot be written: {describe_reason(error)}") from error


def _with_focus(document: Document, step: Step | None) -> dict[str, Any]:
    return describe(document) | {"focus": step.focus() if step is not None else None}


def _check_version(document: Document, body: Body) -> None:
    """Check that a request is about the labels as they are.

    Raises:
        RefusedError: It is about another version; the answer has the present one.
    """
    version = body.get("version")
    if not is_integer(version):
        raise RefusedError(422, "version: expected the number of the version that the page shows")
    if version != document.version:
        message = (
            "the labels have changed meanwhile, in another page or in their file: the page shows them now; try again"
        )
        raise RefusedError(409, message, labels=describe(document))


def _bounds(document: Document) -> Bounds:
    history, space = document.history, document.label_space
    num_values = space.num_classes if space.is_exclusive else 2
    return Bounds(len(history.tracks.tracks), history.tracks.num_frames, num_values, history.marks, history.new_id)
