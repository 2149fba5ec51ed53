"""Time budgets of the given labels, or of those of a model: the numbers of `framescribe summarize`."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.metrics.bouts import ClassBouts, Lengths, bouts_of_classes, pool_bouts
from pipeline.studio.clocks import Clocks
from pipeline.studio.places import Video
from pipeline.studio.requests import RefusedError
from pipeline.studio.results.sources import Kept, Sources, shown_videos

MAX_KEPT = 2048  # videos of a source whose bouts are in memory: 16 bytes for each bout
Bouts = tuple[ClassBouts, ...]


class TimeBudgets:
    """The time budgets. All methods may be called from any thread.

    Args:
        sources: The labels.
        clocks: When the frames of the videos are shown.
        videos: The videos by their ids.
    """

    def __init__(self, sources: Sources, clocks: Clocks, videos: Mapping[str, Video]) -> None:
        self._sources, self._clocks = sources, clocks
        self._videos = shown_videos(videos)
        self._kept = Kept[Bouts | None](MAX_KEPT)
        self._finding = Lock()

    def describe(self, source: str) -> dict[str, Any]:
        """Return what `GET /api/budget` answers.

        Args:
            source: GIVEN, or the key of a model.

        Raises:
            InputError: The classes cannot be read.
            RefusedError: There is no such model.
        """
        names, name = self._sources.labels.label_space.classes, self._sources.name_of(source)
        found: dict[str, Bouts] = {}
        left_out = []
        with self._finding:
            for video in self._videos:
                try:
                    bouts = self._of_video(video, source)
                except (InputError, RefusedError) as error:
                    reason = error.message if isinstance(error, RefusedError) else str(error)
                    left_out.append({"id": video.id, "stem": video.stem, "reason": video.shorten(reason)})
                    continue
                if bouts is not None:
                    found[video.id] = bouts
        pooled = [pool_bouts(of_class) for of_class in zip(*found.values(), strict=True)]
        return {
            "source": source,
            "name": name,
            "class_names": list(names),
            "num_videos": len(found),
            "classes": _describe(pooled, names),
            "videos": [
                {"id": video.id, "stem": video.stem, "classes": _describe(found[video.id], names)}
                for video in self._videos
                if video.id in found
            ],
            "left_out": left_out,
        }

    def _of_video(self, video: Video, source: str) -> Bouts | None:
        """Return the bouts of each class of a video; None where it has no label."""
        return self._kept.get(
            (video.id, source),
            lambda: self._sources.fingerprint(video, source),
            lambda: self._find(video, source),
        )

    def _find(self, video: Video, source: str) -> tuple[object, Bouts | None]:
        fingerprint, tracks = self._sources.read(video, source)
        if tracks is None or not tracks.num_labelled:
            return fingerprint, None
        times = self._clocks.clock(video).times
        if tracks.num_frames != times.num_frames:
            raise InputError(f"got labels of {tracks.num_frames} frames, the video has {times.num_frames}")
        edges = np.append(times.pts_seconds, times.end_seconds)
        return fingerprint, bouts_of_classes(tracks.to_labels(), tracks.label_space, edges)


def _describe(bouts: Sequence[ClassBouts], names: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for name, of_class in zip(names, bouts, strict=False):  # without a video, there are no bouts
        assert of_class.seconds is not None
        lengths = Lengths.of(of_class.seconds)
        found.append(
            {
                "name": name,
                "seconds": lengths.total,
                "share": of_class.share,
                "bouts": of_class.num_bouts,
                "per_minute": of_class.per_minute,
                "mean_seconds": lengths.mean,
                "median_seconds": lengths.median,
                "latency_seconds": of_class.latency_seconds,
                "labelled_seconds": of_class.labelled_seconds,
                "videos": of_class.num_videos_with,
            }
        )
    return found
