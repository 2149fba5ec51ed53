"""The JSON of the ActivityNet challenge, http://activity-net.org, that many data sets of actions have taken over.

Two forms: annotations, with `database`, and the results of a model, with `results`:

    {"version": "...", "taxonomy": [...], "database": {"<video>": {"duration": 12.5, "subset": "training",
     "annotations": [{"segment": [1.5, 3.25], "label": "..."}]}}}
    {"version": "...", "results": {"<video>": [{"segment": [1.5, 3.25], "label": "...", "score": 0.9}]}}
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.annotations.foreign.base import ForeignFormat, LabelledVideo
from pipeline.annotations.foreign.document import Document, Event, Loss, Media, Recording
from pipeline.annotations.foreign.sources import read_json, refuse
from pipeline.annotations.foreign.unkept import changed_names, close_frames
from pipeline.annotations.foreign.values import distinct_names, number, one_line, resolution_of, shown, timed_event
from pipeline.annotations.layouts import PROBABILITY_DECIMALS, mean_probability
from pipeline.files import replacing

# "testing" has no annotations in ActivityNet itself, but has some in data sets of the same form.
SPLITS = {
    **dict.fromkeys(("training", "train"), "train"),
    **dict.fromkeys(("validation", "valid", "val"), "val"),
    **dict.fromkeys(("testing", "test"), "test"),
}
VERSION = "VERSION 1.3"  # which programs that read such files expect
DECIMALS = 6  # of a second


def read(path: Path) -> Document:
    """Read annotations or results in the form of ActivityNet.

    Raises:
        AnnotationError: The file cannot be read, or has neither form.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not any(isinstance(content.get(key), dict) for key in ("database", "results")):
        refuse(path, "has no object 'database' or 'results', expected annotations in the form of ActivityNet")
    document = Document(path, [], _classes(content.get("taxonomy")))
    if isinstance(content.get("database"), dict):
        unknown: Counter[str] = Counter()
        for name, video in content["database"].items():
            _add_video(document, name, video, unknown)
        for subset, count in unknown.items():
            document.notes.append(
                f"{count:,} videos are of the subset {shown(subset)}, which is none of {', '.join(SPLITS)}"
            )
        return document
    for name, results in content["results"].items():
        recording = Recording(name, (Media(name),))
        _add_events(document, recording, results)
    return document


def _classes(taxonomy: Any) -> list[str]:
    """Return the leaves of a tree of activities: the nodes that are not the parent of another."""
    nodes = [node for node in taxonomy if isinstance(node, dict)] if isinstance(taxonomy, list) else []
    parents = {one_line(node.get("parentName")) for node in nodes}
    names = (one_line(node.get("nodeName")) for node in nodes)
    return list(dict.fromkeys(name for name in names if name and name not in parents))


def _add_video(document: Document, name: str, video: Any, unknown: Counter[str]) -> None:
    place = f"video {shown(name)}"
    if not isinstance(video, dict):
        document.losses.append(Loss("videos are not objects and are left out", place, shown(video)))
        return
    subset = one_line(video.get("subset"))
    split = SPLITS.get(subset.casefold())
    if subset and split is None:
        unknown[subset] += 1
    seconds, rate = number(video.get("duration")), number(video.get("fps"))
    media = Media(
        name,
        seconds=seconds if seconds and seconds > 0 else None,
        frame_rate=rate if rate and rate > 0 else None,
    )
    _add_events(document, Recording(name, (media,), split=split), video.get("annotations", []))


def _add_events(document: Document, recording: Recording, annotations: Any) -> None:
    """Add the recording of a video with its annotations."""
    document.recordings.append(recording)
    if not isinstance(annotations, list):
        place = f"video {shown(recording.name)}"
        document.losses.append(Loss("lists of annotations are none and are left out", place, shown(annotations)))
        return
    for index, annotation in enumerate(annotations, start=1):
        event = _event(annotation, f"video {shown(recording.name)}, annotation {index}", document.losses)
        if event is not None:
            recording.events.append(event)
    times = (time for event in recording.events for time in (event.start, event.stop) if time is not None)
    recording.resolution = resolution_of(times)


def _event(annotation: Any, place: str, losses: list[Loss]) -> Event | None:
    label = one_line(annotation.get("label")) if isinstance(annotation, dict) else ""
    if not label:
        losses.append(Loss("annotations have no label and are left out", place, shown(annotation)))
        return None
    segment = annotation.get("segment")
    start, stop = segment if isinstance(segment, list) and len(segment) == 2 else (None, None)
    score = number(annotation.get("score"))
    return timed_event(start, stop, label, place, losses, noun="annotations", score=score)


def write(path: Path, videos: Sequence[LabelledVideo]) -> list[Loss]:
    """Write the labels of videos: as results with scores where all their probabilities are known, or as annotations.

    Args:
        path: The file.
        videos: The labels. A video is called by the stem of its name.

    Returns:
        What is lost: classes that do not occur, in results, which do not list them.
    """
    names = distinct_names([video.video for video in videos], stems=True)
    classes = list(dict.fromkeys(name for video in videos for name in video.label_space.classes))
    losses: list[Loss] = []
    if videos and all(video.probabilities is not None for video in videos):
        results = {name: _annotations(video) for name, video in zip(names, videos, strict=True)}
        used = {found["label"] for annotations in results.values() for found in annotations}
        kind = "classes occur nowhere, and results do not list them"
        losses = [Loss(kind, path.name, name) for name in classes if name not in used]
        content: dict[str, Any] = {"version": VERSION, "results": results, "external_data": {}}
    else:
        root = {"nodeId": 0, "nodeName": "Root", "parentId": None, "parentName": None}
        leaves = ({"nodeId": i, "nodeName": n, "parentId": 0, "parentName": "Root"} for i, n in enumerate(classes, 1))
        database = {
            name: {
                "duration": round(video.times.end_seconds, DECIMALS),
                "subset": "",
                "annotations": _annotations(video),
            }
            for name, video in zip(names, videos, strict=True)
        }
        content = {"version": VERSION, "taxonomy": [root, *leaves], "database": database}
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        json.dump(content, file)
    return losses + close_frames(videos, 10.0**-DECIMALS) + changed_names(videos, names)


def _annotations(video: LabelledVideo) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for segment, ends in video.timed_segments():
        annotation: dict[str, Any] = {
            "segment": [round(seconds, DECIMALS) for seconds in ends],
            "label": video.label_space.classes[segment.class_index],
        }
        if video.probabilities is not None:
            annotation["score"] = round(mean_probability(segment, video.probabilities), PROBABILITY_DECIMALS)
        found.append(annotation)
    return found


def _looks_like(path: Path, text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return False
    is_database = '"database"' in text and ('"annotations"' in text or '"subset"' in text)
    return is_database or ('"results"' in text and '"segment"' in text)


FORMAT = ForeignFormat(
    name="activitynet",
    title="ActivityNet JSON, annotations or results",
    suffixes=(".json",),
    keeps="segments, scores, lengths, splits, the leaves of the taxonomy",
    loses="addresses, resolutions, the levels of the taxonomy",
    looks_like=_looks_like,
    read=read,
    write=write,
    is_per_video=False,
)
