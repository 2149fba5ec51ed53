"""Label Studio: https://labelstud.io, its JSON and JSON-MIN exports, and the JSON that it imports.

A region of a timeline (TimelineLabels of a video) is a range of frames, counted from 1, with its end in the range. The
browser takes the time that it shows, multiplied by the frame rate that the labelling interface states, as the frame:
where the video has another rate, or one that varies, its frames are others than those of the video.

A region of a sound or of a video (Labels) has a start and an end in seconds.

Of several annotations of a task, the first that was not cancelled counts. Predictions are read only where no task of
the file has such an annotation, as in files that were written to be imported.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.document import Document, Event, Loss, Media, Recording, Unit
from pipeline.annotations.foreign.label_studio_writing import write
from pipeline.annotations.foreign.sources import read_json, refuse
from pipeline.annotations.foreign.values import media_name, number, one_line, resolution_of, shown, timed_event
from pipeline.annotations.problems import shorten

FRAMES, SECONDS = "timelinelabels", "labels"
SIGNS = ('"timelinelabels"', '"from_name"', '"completed_by"', '"annotation_id"')
RATES = ("fps", "framerate", "frame_rate", "frameRate")  # names that people give the rate in the data of a task
UPLOADED = re.compile(r"/data/upload/(?:\d+/)?[0-9a-f]{8}-(?P<name>[^/]+)")
EMBEDDED = re.compile(r"""<(?:video|audio|source)\b[^>]*?\bsrc\s*=\s*["'](?P<name>[^"'>]+)""", re.IGNORECASE)
MEDIA_SUFFIX = re.compile(
    r"\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|ts|wmv|flv|3gp|ogv|mts|m2ts|wav|mp3|m4a|ogg|flac|aac)$", re.IGNORECASE
)
PREDICTED_NOTE = "the labels are predictions of a model: no task has an annotation of a person"
OTHER_ANNOTATIONS = "annotations of tasks that have another one are left out"
NO_REGION = "regions of other kinds than labels of a time are left out"
FRAMES_NOTE = (
    "frames are those of Label Studio, time x the frame rate of its labelling interface: where a video has another rate"
    " or one that varies, they are not the frames of the video"
)


def read(path: Path) -> Document:
    """Read an export of Label Studio: JSON, JSON-MIN, or the file of one task or one annotation.

    Raises:
        AnnotationError: The file cannot be read, or has no task of Label Studio.
    """
    tasks = _tasks(read_json(path))
    if not any(isinstance(task, dict) and _is_task(task) for task in tasks):
        refuse(path, "has no task of Label Studio, expected a list of tasks, each with 'data' and 'annotations'")
    document = Document(path, [])
    predicted = not any(_valid(task) or _is_minimal(task) for task in tasks if isinstance(task, dict))
    seen: set[object] = set()
    for index, task in enumerate(tasks, start=1):
        if not isinstance(task, dict) or not _is_task(task):
            document.losses.append(Loss("tasks are not tasks and are left out", f"task {index}", shown(task)))
            continue
        found = task.get("id")
        place = f"task {shorten(one_line(str(found)))}" if isinstance(found, int | str) else f"task {index}"
        if _is_minimal(task) and isinstance(found, int | str):
            if found in seen:  # JSON-MIN has each annotation of a task by itself
                document.losses.append(Loss(OTHER_ANNOTATIONS, place))
                continue
            seen.add(found)
        _add_task(document, task, place, predicted)
    document.notes += [FRAMES_NOTE] if any(found.unit is Unit.FRAMES for found in document.recordings) else []
    document.notes += [PREDICTED_NOTE] if predicted and any(found.events for found in document.recordings) else []
    return document


def _tasks(content: Any) -> list[Any]:
    if isinstance(content, dict) and isinstance(content.get("task"), dict) and "result" in content:
        return [content["task"] | {"annotations": [content]}]  # one annotation, as a storage gets it
    return content if isinstance(content, list) else [content]


def _is_task(task: dict[str, Any]) -> bool:
    return isinstance(task.get("data"), dict) or _is_minimal(task)


def _is_minimal(task: dict[str, Any]) -> bool:
    return "data" not in task and ("annotation_id" in task or any(_minimal_regions(task)))


def _minimal_regions(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the regions of a task of JSON-MIN: the values of regions, in lists with the names of their tags."""
    for values in task.values():
        for value in values if isinstance(values, list) else ():
            if isinstance(value, dict) and (FRAMES in value or SECONDS in value):
                kind = FRAMES if FRAMES in value else SECONDS
                yield {"type": kind, "value": value, "original_length": value.get("original_length")}


def _add_task(document: Document, task: dict[str, Any], place: str, predicted: bool) -> None:
    """Add the recording of a task, with the regions of the annotation or of the prediction that counts."""
    losses = document.losses
    data = task if _is_minimal(task) else task["data"]
    name = _media(data)
    if name is None:
        losses.append(Loss("tasks have no video and no sound and are left out", place))
        return
    regions = list(_minimal_regions(task)) if _is_minimal(task) else _regions(task, place, predicted, losses)
    in_frames = any(isinstance(region, dict) and region.get("type") == FRAMES for region in regions)
    unit = Unit.FRAMES if in_frames else Unit.SECONDS
    events: list[Event] = []
    for index, region in enumerate(regions, start=1):
        events += _events(region, unit, f"{place}, region {index}", losses)
    lengths = (number(region.get("original_length")) for region in regions if isinstance(region, dict))
    rate = next((rate for key in RATES if (rate := number(data.get(key))) and rate > 0), None)
    media = Media(name, seconds=next((length for length in lengths if length and length > 0), None), frame_rate=rate)
    resolution = 1.0 if in_frames else resolution_of(time for e in events for time in (e.start, e.stop or e.start))
    document.recordings.append(Recording(place, (media,), unit, resolution, events))


def _media(data: dict[str, Any]) -> str | None:
    """Return the name of the video in the data of a task; None where there is neither a video nor a sound.

    The key is the user's choice, so that the values are looked at; `video` comes first.
    """
    values = [data.get("video"), *data.values()]
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    found = ((EMBEDDED.search(text), text.strip()) for text in texts)
    names = [_file_of(embedded["name"] if embedded else text) for embedded, text in found]
    named = [name for name in names if MEDIA_SUFFIX.search(name)]
    if isinstance(data.get("video"), str) and data["video"].strip():
        return names[0]
    return named[0] if named else None


def _file_of(address: str) -> str:
    """Return the file that an address of Label Studio stands for.

    >>> _file_of("/data/local-files/?d=day%201/clip.mp4"), _file_of("/data/upload/3/0a1b2c3d-clip.mp4")
    ('day 1/clip.mp4', 'clip.mp4')
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return media_name(address)
    if parts.path.rstrip("/").endswith("/data/local-files"):
        return (parse_qs(parts.query).get("d") or [parts.path])[0]
    uploaded = UPLOADED.search(unquote(parts.path))
    return uploaded["name"] if uploaded else media_name(address)


def _of(task: dict[str, Any], *keys: str) -> list[dict[str, Any]]:
    """Return the objects in the first of the lists that a task has."""
    values: list[Any] = next((task[key] for key in keys if isinstance(task.get(key), list)), [])
    return [value for value in values if isinstance(value, dict)]


def _is_cancelled(annotation: dict[str, Any]) -> bool:
    return bool(annotation.get("was_cancelled") or annotation.get("skipped"))


def _valid(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the annotations of people that were not cancelled; version 0 calls them completions."""
    return [found for found in _of(task, "annotations", "completions") if not _is_cancelled(found)]


def _regions(task: dict[str, Any], place: str, predicted: bool, losses: list[Loss]) -> list[Any]:
    """Return the regions of the first annotation that was not cancelled, or of the first prediction."""
    annotations, predictions, valid = _of(task, "annotations", "completions"), _of(task, "predictions"), _valid(task)
    cancelled = "annotations were cancelled and are left out"
    losses += [Loss(cancelled, place) for found in annotations if _is_cancelled(found)]
    losses += [
        Loss(OTHER_ANNOTATIONS, place, f"completed by {shown(found.get('completed_by'))}") for found in valid[1:]
    ]
    losses += [Loss("predictions are left out", place) for _ in predictions[1 if predicted else 0 :]]
    chosen = [*valid[:1], *(predictions[:1] if predicted else [])]
    result = chosen[0].get("result") if chosen else []
    return result if isinstance(result, list) else []


def _events(region: Any, unit: Unit, place: str, losses: list[Loss]) -> Iterator[Event]:
    """Yield the events of a region: one for each of its labels and ranges."""
    value = region.get("value") if isinstance(region, dict) else None
    kind = region.get("type") if isinstance(region, dict) else None
    if not isinstance(value, dict) or kind not in (FRAMES, SECONDS) or (kind == SECONDS and "text" in value):
        losses.append(Loss(NO_REGION, place, shown(kind)))
        return
    if kind == SECONDS and unit is Unit.FRAMES:
        losses.append(Loss("regions in seconds of tasks that have others in frames are left out", place))
        return
    names = value.get(kind)
    labels = [one_line(name) for name in names if one_line(name)] if isinstance(names, list) else []
    if not labels:
        losses.append(Loss("regions have no label and are left out", place))
    if "meta" in region:
        losses.append(Loss("remarks on regions are left out", place, shown(region["meta"])))
    ranges = value.get("ranges") if kind == FRAMES else [value]
    for found in ranges if isinstance(ranges, list) else [None]:
        start, stop = (found.get("start"), found.get("end")) if isinstance(found, dict) else (None, None)
        if kind == FRAMES:
            first, last = number(start), number(stop)
            # From 1 with the end in the range, to from 0 without it. A 0 occurs where a program wrote the file.
            start = start if first is None else max(0, round(first) - 1)
            stop = stop if last is None else round(last)
        for label in labels:
            score = number(region.get("score"))
            event = timed_event(start, stop, label, place, losses, noun="regions", score=score)
            if event is not None:
                yield event


def _looks_like(path: Path, text: str) -> bool:
    return text.lstrip()[:1] in ("[", "{") and any(sign in text for sign in SIGNS)


FORMAT = ForeignFormat(
    name="label-studio",
    title="Label Studio JSON",
    suffixes=(".json",),
    keeps="timeline labels by frames, labels of sounds and videos by seconds, lengths, stated frame rates",
    loses="predictions beside annotations, further annotators of a task, regions of images and texts, choices, remarks",
    looks_like=_looks_like,
    read=read,
    write=write,
    is_per_video=False,
)
