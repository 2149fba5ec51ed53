"""Scores of a model's labels against the given ones, and the stretches of frames behind them.

The scores are those of `framescribe evaluate`. What they need of a video is counted once, and again when its labels
change; the labels themselves are not kept.

T frames, K classes.
"""

import heapq
from collections.abc import Mapping
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.segments import segments_from_frames
from pipeline.errors import InputError
from pipeline.metrics import exclusive, overlapping
from pipeline.metrics.overlapping_counts import Video as OverlappingVideo
from pipeline.metrics.overlapping_counts import VideoCounts as OverlappingCounts
from pipeline.studio.clocks import Clocks
from pipeline.studio.places import Video
from pipeline.studio.requests import RefusedError
from pipeline.studio.results.cells import FALSE_ALARM, MISSED, Both, Cell, Counts
from pipeline.studio.results.sources import GIVEN, Kept, Sources, shown_videos
from pipeline.studio.results.training_splits import Splits, find_splits

MAX_KEPT = 4096  # videos of a model whose counts are in memory: 100 classes take 100 kB
MAX_STRETCHES = 500  # of an answer


class Counted(NamedTuple):
    """What is known of a video.

    Attributes:
        counts: What the scores need of it; None where it has no frame with both labels.
        num_left_out: The number of labelled frames that the model has no label for.
        has_model: Whether the model has labelled it.
        problem: Why it cannot be scored; None where it can.
    """

    counts: Counts | None = None
    num_left_out: int = 0
    has_model: bool = True
    problem: str | None = None


class Results:
    """The results. All methods may be called from any thread.

    Args:
        sources: The labels.
        clocks: When the frames of the videos are shown.
        videos: The videos by their ids.
    """

    def __init__(self, sources: Sources, clocks: Clocks, videos: Mapping[str, Video]) -> None:
        self._sources, self._clocks = sources, clocks
        self._videos = {video.id: video for video in shown_videos(videos)}
        self._kept = Kept[Counted](MAX_KEPT)
        self._counting = Lock()  # a second request waits for what the first one counts

    def describe(self, source: str | None) -> dict[str, Any]:
        """Return what `GET /api/results` answers.

        Args:
            source: The key of the model; None for the newest one.

        Raises:
            InputError: The classes cannot be read.
            RefusedError: There is no such model.
        """
        models, space = self._sources.describe_models(), self._sources.labels.label_space
        answer = {
            "given": {"id": GIVEN, "name": self._sources.name_of(GIVEN)},
            "sources": models,
            "source": source or (models[0]["id"] if models else None),
            "exclusive": space.is_exclusive,
            "background": space.background,
            "class_names": list(space.classes),
            "num_videos": len(self._videos),
            "groups": [],
            "left_out": [],
        }
        if answer["source"] is None:
            return answer
        source = str(answer["source"])
        splits = self._splits(source)
        counted = self._count_all(source)
        groups = [
            self._describe_group(split, name, text, self._of_split(counted, splits, split), space)
            for split, name, text in splits.groups()
        ]
        return answer | {
            "note": splits.note,
            "unknown_classes": self._sources.unknown_classes(source),
            "groups": [group for group in groups if group is not None],
            "num_predicted": sum(each.has_model for each in counted.values()),
            "left_out": [
                {"id": key, "stem": self._videos[key].stem, "reason": each.problem}
                for key, each in counted.items()
                if each.problem is not None
            ],
        }

    def _splits(self, source: str) -> Splits:
        model = self._sources.predictions.find_model(source)
        return find_splits(self._sources.labels.places, model.about)

    def _of_split(self, counted: Mapping[str, Counted], splits: Splits, split: str | None) -> dict[str, Counted]:
        found = (key for key in counted if splits.of_stems is None or splits.split_of(self._videos[key]) == split)
        return {key: counted[key] for key in found if counted[key].counts is not None}

    def _count_all(self, source: str) -> dict[str, Counted]:
        with self._counting:
            return {video.id: self._count(video, source) for video in self._videos.values()}

    def _count(self, video: Video, source: str) -> Counted:
        def fingerprint() -> tuple[object, object]:
            return self._sources.fingerprint(video, GIVEN), self._sources.fingerprint(video, source)

        try:
            return self._kept.get((video.id, source), fingerprint, lambda: self._find_counts(video, source))
        except InputError as error:
            return Counted(problem=video.shorten(str(error)))
        except RefusedError as error:
            return Counted(problem=error.message)

    def _find_counts(self, video: Video, source: str) -> tuple[object, Counted]:
        fingerprints, both = self._read(video, source)
        if both is None:
            return fingerprints, Counted(has_model=False)
        space = self._sources.labels.label_space
        if not space.is_labelled(both.true).any():
            return fingerprints, Counted(num_left_out=both.num_left_out)
        counts: Counts
        if space.is_exclusive:
            counts = exclusive.VideoCounts.of(both.true, both.predicted, space)
        else:
            counts = OverlappingCounts.of(OverlappingVideo.of(both.true, both.predicted, None, space), space)
        return fingerprints, Counted(counts, both.num_left_out)

    def _read(self, video: Video, source: str) -> tuple[object, Both | None]:
        """Read the labels of both sides; None where the model has not labelled the video as it is now.

        Raises:
            InputError: They cannot be read, or do not fit each other.
        """
        of_model, predicted_tracks = self._sources.read(video, source)
        if predicted_tracks is None:
            return (self._sources.fingerprint(video, GIVEN), of_model), None
        of_given, true_tracks = self._sources.read(video, GIVEN)
        assert true_tracks is not None
        true, predicted = true_tracks.to_labels(), predicted_tracks.to_labels()
        if len(true) != len(predicted):
            raise InputError(
                f"got {len(predicted)} labels of the model for {len(true)} frames: label the video with it again"
            )
        space = self._sources.labels.label_space
        is_missing = space.is_labelled(true) & ~space.is_labelled(predicted)
        num_left_out = int(is_missing.reshape(len(true), -1).any(axis=1).sum())
        return (of_given, of_model), Both(
            np.where(is_missing, space.unlabelled(len(true)), true), predicted, num_left_out
        )

    def _describe_group(
        self, split: str | None, name: str, explanation: str, videos: Mapping[str, Counted], space: LabelSpace
    ) -> dict[str, Any] | None:
        """Return the scores of a group of videos that can be scored; None of none."""
        if not videos:
            return None
        report = report_of({key: each.counts for key, each in videos.items() if each.counts is not None}, space)
        return {
            "id": split or "other",
            "name": name,
            "explanation": explanation,
            "num_videos": report["num_videos"],
            "num_frames": report["num_frames"],
            "num_left_out": sum(each.num_left_out for each in videos.values()),
            "scores": {key: report[key] for key in ("frames", "segments", "without_background")},
            "classes": [{"name": each, **scores} for each, scores in report["classes"].items()],
            "never_predicted": report["never_predicted"],
            "videos": [
                {"id": key, "stem": self._videos[key].stem, "num_frames": each["num_frames"]}
                | {"accuracy": each["frames"]["accuracy"], "macro_f1": each["frames"]["macro_f1"]}
                | {"edit": each["segments"]["edit"], "f1_at_50": each["segments"]["f1"]["50"]}
                for key, each in report["videos"].items()
            ],
            "confusion": report.get("confusion"),
            "misses": None if space.is_exclusive else _misses(videos, space),
        }

    def stretches(self, source: str, cell: Cell, group: str | None) -> dict[str, Any]:
        """Return what `GET /api/results/frames` answers: the longest stretches behind a cell, by their length.

        Args:
            source: The key of the model.
            cell: Which frames.
            group: The id of the group; None for all videos.

        Raises:
            InputError: The classes cannot be read.
            RefusedError: There is no such model, class or group.
        """
        cell.check(self._sources.labels.label_space)
        splits = self._splits(source)
        longest: list[tuple[int, str, int]] = []  # the length, the id, the first frame
        total = num_frames = 0
        for key, each in self._count_all(source).items():
            video = self._videos[key]
            in_group = group is None or splits.of_stems is None or (splits.split_of(video) or "other") == group
            if not in_group or each.counts is None or not cell.count(each.counts):
                continue
            _, both = self._read(video, source)
            if both is None:
                continue
            runs = [run for run in segments_from_frames(cell.mask(both).astype(np.int64)) if run.class_index]
            total, num_frames = total + len(runs), num_frames + sum(run.stop - run.start for run in runs)
            found = ((run.stop - run.start, key, run.start) for run in runs)
            longest = heapq.nlargest(MAX_STRETCHES, [*longest, *found], key=lambda one: one[0])
        return {"stretches": self._timed(longest), "total": total, "num_frames": num_frames}

    def _timed(self, stretches: list[tuple[int, str, int]]) -> list[dict[str, Any]]:
        times_of = {key: self._clocks.clock(self._videos[key]).times for key in {key for _, key, _ in stretches}}
        found = []
        for length, key, start in stretches:
            times, stop = times_of[key], start + length
            end = times.pts_seconds[stop] if stop < times.num_frames else times.end_seconds
            found.append(
                {"video": key, "stem": self._videos[key].stem, "start": start, "stop": stop}
                | {"start_seconds": float(times.pts_seconds[start]), "stop_seconds": float(end)}
            )
        return found


def report_of(counts: Mapping[str, Counts], space: LabelSpace) -> dict[str, Any]:
    """Return the report of `metrics.report` of videos that are counted."""
    if space.is_exclusive:
        return exclusive.report(
            {key: each for key, each in counts.items() if isinstance(each, exclusive.VideoCounts)}, space
        )
    return overlapping.report({key: each for key, each in counts.items() if isinstance(each, OverlappingCounts)}, space)


def _misses(videos: Mapping[str, Counted], space: LabelSpace) -> list[dict[str, Any]]:
    """Count for each class the frames that the model missed, and in which it was wrong to see it."""
    return [
        {
            "name": name,
            **{
                kind: sum(Cell(index, kind).count(each.counts) for each in videos.values() if each.counts is not None)
                for kind in (MISSED, FALSE_ALARM)
            },
        }
        for index, name in enumerate(space.classes)
    ]
