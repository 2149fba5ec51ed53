"""The queue of the studio: the stretches that are most worth a look, as `framescribe review` ranks them.

T frames, K classes.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Protocol

import numpy as np
from starlette.requests import Request
from starlette.routing import BaseRoute

from pipeline.annotations.label_space import LabelSpace
from pipeline.errors import InputError
from pipeline.files import read_bounded
from pipeline.labelling.doubts import find_doubts
from pipeline.labelling.stretches import Stretch, find_stretches, frame_gains
from pipeline.studio.clocks import Clocks
from pipeline.studio.models.prediction_files import KnownModel, Stored, why_useless
from pipeline.studio.models.predictions import Predictions
from pipeline.studio.places import Video
from pipeline.studio.requests import Body, RefusedError, get, post, text_field

QUEUE = "queue.jsonl"  # in the folder of the studio's state: one line for each verdict
MAX_QUEUE_BYTES = 1 << 28
TOP, MIN_PER_VIDEO = 200, 2  # stretches, as for `framescribe review`
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 5.0
CHUNK = 1 << 16  # frames whose gains are computed at once, as those of all classes of a long video take much memory
DEFAULT_SECONDS = 20.0  # for a stretch, before the pace of this session is known
LONGEST_PACE = 300.0  # seconds between two verdicts; after more somebody was elsewhere
MIN_PACED = 3  # verdicts from which the pace is known
Verdict = Literal["accepted", "corrected", "kept", "skipped"]  # kept: the given labels are right
VERDICTS: tuple[Verdict, ...] = ("accepted", "corrected", "kept", "skipped")
OPEN = "open"  # takes a verdict back


class GivenLabels(Protocol):
    """What the queue needs of the labels."""

    @property
    def label_space(self) -> LabelSpace:
        """The classes."""
        ...

    def labels(self, video: Video) -> np.ndarray:
        """Return the given labels of a video, int64 [T] or int8 [T, K]."""
        ...


@dataclass(frozen=True)
class Item:
    """A stretch of the queue. The fields are those of the answer to `GET /api/queue`.

    Attributes:
        key: What requests call it.
        video: The id of the video.
        stem: The stem of the video.
        start: The first frame.
        stop: The frame after the last one.
        score: See `Stretch`.
        why: uncertain, where nobody gave a label; disagrees, where the model contradicts one.
        doubts: The labels that are doubted: label, given and class_index as in `Doubt`, frames with them, and the mean
            probability of the label in these frames, where classes overlap that of the class.
        verdict: What became of it; None so far.
    """

    key: str
    video: str
    stem: str
    start: int
    stop: int
    score: float
    why: Literal["uncertain", "disagrees"]
    doubts: list[dict[str, Any]]
    verdict: Verdict | None = None


class Queue:
    """The queue. All methods may be called from any thread. It changes only when it is asked for anew.

    Args:
        state: The folder of the studio's state.
        predictions: What the models say.
        labels: The given labels.
        clocks: When the frames of the videos are shown.
        videos: The videos by their ids.
    """

    def __init__(
        self, state: Path, predictions: Predictions, labels: GivenLabels, clocks: Clocks, videos: Mapping[str, Video]
    ) -> None:
        self._path = state / QUEUE
        self._predictions, self._labels, self._clocks, self._videos = predictions, labels, clocks, videos
        self._lock = Lock()
        self._model = ""
        self._items: dict[str, Item] = {}
        self._verdicts = read_verdicts(self._path)
        self._paces: list[float] = []
        self._last = 0.0

    def describe(self, model: str, *, anew: bool) -> dict[str, Any]:
        """Return what `GET /api/queue` answers.

        Args:
            model: The key of the model; "" for the newest one.
            anew: Whether to look for stretches again, also where there is a queue of this model.

        Raises:
            RefusedError: There is no such model.
            InputError: The classes cannot be read.
        """
        models = self._predictions.models()
        chosen = self._predictions.find_model(model) if model else (models[0] if models else None)
        with self._lock:
            if chosen is None:
                self._items, self._model = {}, ""
            elif anew or chosen.key != self._model or not self._items:
                self._items, self._model = {item.key: item for item in self._find(chosen)}, chosen.key
                self._last = 0.0
            items = list(self._items.values())
            done = sum(item.verdict is not None for item in items)
            return {
                "model": self._model,
                "problem": None if items or chosen is None else self._why_empty(chosen),
                "items": [asdict(item) for item in items],
                "done": done,
                "total": len(items),
                "minutes_left": (len(items) - done) * self._pace() / 60,
            }

    def judge(self, key: str, verdict: str) -> None:
        """Keep what became of a stretch, on disk when this returns; OPEN takes a verdict back.

        Raises:
            RefusedError: There is no such stretch, or no such verdict.
            OSError: It cannot be written.
        """
        with self._lock:
            item = self._items.get(key)
            if item is None or verdict not in (*VERDICTS, OPEN):
                raise RefusedError(404, "there is no such stretch or verdict: was the queue made anew?")
            line = {
                "video": item.video,
                "start": item.start,
                "stop": item.stop,
                "verdict": verdict,
                "model": self._model,
            }
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self._verdicts = _latest([*self._verdicts, line])
            self._items[key] = Item(**asdict(item) | {"verdict": None if verdict == OPEN else verdict})
            if verdict == OPEN:
                return
            now = time.monotonic()
            if self._last and now - self._last <= LONGEST_PACE:
                self._paces.append(now - self._last)
            self._last = now

    def _pace(self) -> float:
        return float(np.mean(self._paces)) if len(self._paces) >= MIN_PACED else DEFAULT_SECONDS

    def _why_empty(self, model: KnownModel) -> str | None:
        """Return why a model has no stretches, as a sentence; None where it has labelled videos and is sure of them."""
        if any(self._predictions.find_file(video, model.key) for video in self._videos.values()):
            return why_useless(model.label_space, self._labels.label_space)
        return "The model has labelled no video yet."

    def _find(self, model: KnownModel) -> list[Item]:
        """Find the stretches of all videos that the model has labelled, one video in memory at a time."""
        space = self._labels.label_space
        if why_useless(model.label_space, space):
            return []
        per_video = max(MIN_PER_VIDEO, math.ceil(2 * TOP / max(1, len(self._videos))))
        found: list[Item] = []
        for video in self._videos.values():
            try:
                stored = self._predictions.read(video, model)
                given = None if stored is None else self._labels.labels(video)
                frame_seconds = None if stored is None else self._clocks.clock(video).times.frame_seconds
            except InputError:
                continue  # the list of videos says why
            if stored is None or given is None or frame_seconds is None or len(given) != len(stored.labels):
                continue
            judged = [line for line in self._verdicts if line["video"] == video.id and _counts(line, model)]
            found += items_of(video, stored, given, space, frame_seconds=frame_seconds, judged=judged, most=per_video)
        return sorted(found, key=lambda item: -item.score)[:TOP]


def _latest(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last verdict on each stretch, without those that were taken back."""
    found = {(line["video"], line["start"], line["stop"]): line for line in lines}
    return [line for line in found.values() if line["verdict"] != OPEN]


def _counts(line: Mapping[str, Any], model: KnownModel) -> bool:
    """Return whether a stretch with a verdict is not listed again: one that was skipped is, by another model."""
    return line["verdict"] != "skipped" or line["model"] == model.key


def items_of(
    video: Video,
    stored: Stored,
    given: np.ndarray,
    space: LabelSpace,
    *,
    frame_seconds: float,
    judged: list[dict[str, Any]],
    most: int,
) -> list[Item]:
    """Find the stretches of a video that are most worth a look.

    Args:
        video: The video.
        stored: What the model says of it, in the classes of the data set.
        given: The given labels, int64 [T] or int8 [T, K].
        space: The classes.
        frame_seconds: How long a frame is shown.
        judged: The stretches that are not listed again, by their start and stop.
        most: The maximum number of stretches.
    """
    num_frames = len(given)
    parts = [slice(start, min(num_frames, start + CHUNK)) for start in range(0, num_frames, CHUNK)]
    gains = np.concatenate([_of_frames(_gains(stored, given, space, part)) for part in parts])
    for line in judged:
        gains[line["start"] : line["stop"]] = 0
    shortest, longest = (max(1, round(seconds / frame_seconds)) for seconds in (SHORTEST_SECONDS, LONGEST_SECONDS))
    stretches = find_stretches(gains, shortest_frames=shortest, longest_frames=longest, most=most)
    return [_item(video, stretch, stored, given, space) for stretch in stretches]


def _gains(stored: Stored, given: np.ndarray, space: LabelSpace, part: slice) -> np.ndarray:
    """Compute the gains of some frames: [n], or [n, K] where classes overlap."""
    assert stored.probabilities is not None
    labels = stored.labels[part]
    has_label = space.is_labelled(labels)  # other frames were not decoded, or are of a class of the model alone
    gains = frame_gains(stored.probabilities[part], np.where(has_label, labels, 0), given[part], space)
    return np.where(has_label & np.isfinite(gains), gains, 0)


def _of_frames(gains: np.ndarray) -> np.ndarray:
    return gains if gains.ndim == 1 else gains.max(axis=1)


def _item(video: Video, stretch: Stretch, stored: Stored, given: np.ndarray, space: LabelSpace) -> Item:
    inside = slice(stretch.start, stretch.stop)
    labels, given_labels, gains = stored.labels[inside], given[inside], _gains(stored, given, space, inside)
    assert stored.probabilities is not None
    doubts = []
    for doubt in find_doubts(gains, labels, given_labels, space):
        frames = doubt.frames(labels, given_labels)
        column = doubt.label if doubt.class_index is None else doubt.class_index
        probability = float(np.nan_to_num(stored.probabilities[inside][frames, column]).mean())
        doubts.append({**doubt._asdict(), "frames": int(frames.sum()), "probability": probability})
    return Item(
        key=f"{video.id}-{stretch.start}-{stretch.stop}",
        video=video.id,
        stem=video.stem,
        start=stretch.start,
        stop=stretch.stop,
        score=stretch.score,
        why="uncertain" if doubts[0]["given"] is None else "disagrees",
        doubts=doubts,
    )


def read_verdicts(path: Path) -> list[dict[str, Any]]:
    """Read the verdicts of earlier sessions; a line that is not whole, as after a kill, is passed over."""
    try:
        lines = read_bounded(path, max_bytes=MAX_QUEUE_BYTES).decode(errors="replace").splitlines()
    except (OSError, InputError):
        return []
    found = []
    for line in lines:
        try:
            verdict = json.loads(line)
            if verdict["verdict"] in (*VERDICTS, OPEN) and 0 <= int(verdict["start"]) < int(verdict["stop"]):
                found.append({name: verdict[name] for name in ("video", "start", "stop", "verdict", "model")})
        except (ValueError, TypeError, KeyError):
            continue
    return _latest(found)


def routes(queue: Queue, check_can_change: Callable[[], None]) -> list[BaseRoute]:
    """Return the routes.

    Args:
        queue: The queue.
        check_can_change: Raises RefusedError where nothing can be changed.
    """

    def show(request: Request) -> dict[str, Any]:
        return queue.describe(request.query_params.get("model", ""), anew="anew" in request.query_params)

    def judge(request: Request, body: Body) -> dict[str, Any]:
        check_can_change()
        queue.judge(text_field(body, "key"), text_field(body, "verdict"))
        return queue.describe("", anew=False)

    return [get("/api/queue", show), post("/api/queue", judge)]
