"""Labelling the videos of a studio in the background, by a child process, one video after the other."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

from pipeline.studio.clocks import Clocks
from pipeline.studio.models.children import Child
from pipeline.studio.models.predictions import Predictions
from pipeline.studio.places import Video
from pipeline.studio.requests import RefusedError

CHILD = "pipeline.studio.models.predicting"


@dataclass
class Work:
    """What the child is doing.

    Attributes:
        waiting: The ids of the videos that are still to be labelled, in order.
        total: The number of videos that were asked for since the child began.
        done: How many of them are labelled, or could not be.
        video: The id of the one under way; None between two, and while the model is loaded.
        frames: How many of its frames are labelled.
        is_loaded: Whether the model is loaded.
        is_ending: Whether the child knows that there are no more videos.
    """

    waiting: list[str] = field(default_factory=list)
    total: int = 0
    done: int = 0
    video: str | None = None
    frames: int = 0
    is_loaded: bool = False
    is_ending: bool = False


class PredictionWork:
    """Labels videos. All methods may be called from any thread.

    Args:
        predictions: The labels of models, among them the model that labels.
        clocks: When the frames of the videos are shown.
        videos: The videos by their ids.

    Attributes:
        version: It grows with each video that is labelled.
    """

    def __init__(self, predictions: Predictions, clocks: Clocks, videos: Mapping[str, Video]) -> None:
        self.version = 0
        self._predictions, self._clocks, self._videos = predictions, clocks, videos
        self._lock = RLock()
        self._child: Child | None = None
        self._work = Work()
        self._failures: dict[str, str] = {}  # by the ids of videos
        self._problem: str | None = None  # why nothing can be labelled
        self._counted: tuple[object, int] = None, 0

    def start(self, videos: Iterable[str] | None) -> None:
        """Label videos, unless that is done already; those that are named go before those that wait.

        Args:
            videos: Their ids; None for all.

        Raises:
            RefusedError: There is no model.
        """
        if self._predictions.model is None:
            raise RefusedError(409, "there is no model: train one, or start the studio with --model")
        asked = [self._videos[video_id] for video_id in (self._videos if videos is None else videos)]
        asked = [video for video in asked if not video.refusal and not self._predictions.is_done(video)]
        with self._lock:
            self._problem = None
            for video in asked:
                self._failures.pop(video.id, None)
            self._queue([video.id for video in asked], goes_first=videos is not None)
            if self._work.waiting and self._child is None:
                self._begin()

    def _queue(self, asked: list[str], *, goes_first: bool) -> None:
        work = self._work
        new = [video_id for video_id in asked if video_id != work.video and video_id not in work.waiting]
        work.total += len(new)
        first = [video_id for video_id in asked if video_id != work.video] if goes_first else []
        work.waiting = [*first, *(video_id for video_id in (*work.waiting, *new) if video_id not in first)]

    def _begin(self) -> None:
        model = self._predictions.model
        assert model is not None
        self._work = Work(waiting=self._work.waiting, total=len(self._work.waiting))
        arguments = (model, str(self._predictions.folder))
        self._child = Child(CHILD, arguments, on_event=self._on_event, on_end=self._on_end)

    def cancel(self) -> None:
        """End the labelling; videos that are whole stay labelled."""
        with self._lock:
            child, self._child = self._child, None
            self._work = Work()
        if child is not None:
            child.end()

    def use_model(self, location: str) -> None:
        """Label with another model, or with one that was trained again, from now on."""
        self.cancel()
        with self._lock:
            self._failures.clear()
            self._problem = None
        self._predictions.model = location

    def status(self) -> dict[str, Any]:
        """Return what the page shows of the work."""
        with self._lock:
            work, is_running = self._work, self._child is not None
            video = self._videos[work.video] if work.video else None
            facts = self._clocks.facts(video) if video else None
            failures = [
                {"id": video_id, "stem": self._videos[video_id].stem, "message": message}
                for video_id, message in self._failures.items()
            ]
            return {
                "has_model": self._predictions.model is not None,
                "unlabelled": self._count_unlabelled(),
                "running": is_running,
                "loading": is_running and not work.is_loaded,
                "video": work.video,
                "stem": video.stem if video else None,
                "frames": work.frames,
                "num_frames": facts.num_frames if facts else None,
                "done": work.done,
                "total": work.total,
                "failures": failures,
                "problem": self._problem,
                "version": self.version,
            }

    def _count_unlabelled(self) -> int:
        """Return the number of videos that the model has not labelled; it is counted again when one was labelled."""
        key = (self.version, self._predictions.model, self._predictions.stamp())
        if self._counted[0] != key:
            videos = [video for video in self._videos.values() if not video.refusal]
            num_done = self._predictions.count_done(videos)
            self._counted = key, len(videos) - num_done
        return self._counted[1]

    def _on_event(self, child: Child, event: dict[str, Any]) -> None:
        with self._lock:
            if child is not self._child:
                return
            work, kind = self._work, event["event"]
            if kind == "no_model":
                self._problem, work.waiting, work.is_ending = event["message"], [], True
                return
            if kind == "frames":
                work.frames = event["frames"]
                return
            if kind == "failed":
                self._failures[event["id"]] = event["message"]
            if kind in ("done", "failed"):
                work.done += 1
                self.version += 1
            work.is_loaded = True
            self._give_next(child)

    def _give_next(self, child: Child) -> None:
        work = self._work
        work.video, work.frames = (work.waiting.pop(0) if work.waiting else None), 0
        if work.video is None:
            work.is_ending = True
            child.tell({})
        else:
            child.tell({"id": work.video, "path": str(self._videos[work.video].path.resolve())})

    def _on_end(self, child: Child) -> None:
        with self._lock:
            if child is not self._child:
                return
            self._child = None
            if self._work.is_ending:
                if self._work.waiting:  # asked for while it ended
                    self._begin()
                return
            words = f" ({child.last_words})" if child.last_words else ""
            self._problem = f"the process that labels has ended{words}: was there not enough memory?"
            self._work = Work()
