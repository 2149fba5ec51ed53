"""CVAT: https://www.cvat.ai, its XML 1.1 for videos and, of videos, for images.

https://docs.cvat.ai/docs/dataset_management/formats/xml_format describes it. What becomes an event:

- each stretch of a track in which its shape is visible, from the shape's frame to that of the first one with
  outside="1". Frames between shapes are filled, as CVAT interpolates them.
- frames with a tag, one after the other. CVAT exports the tags of a video only in its format for images.

Frames are those of the video, from 0, also where a task begins later or has every n-th frame only: such a frame stands
for the n - 1 after it too. Attributes are modifiers: an event ends where one of them changes.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.document import Document, Event, Loss, Media, Recording, Span, Unit
from pipeline.annotations.foreign.sources import read_xml, refuse
from pipeline.annotations.foreign.values import number, one_line, shown, whole_number

SHAPES = frozenset({"box", "polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton"})
STEP = re.compile(r"\s*step\s*=\s*(\d{1,9})\s*", re.ASCII)
VIDEO_FRAME = re.compile(r"frame_\d+", re.ASCII)  # how CVAT calls the frames of a video
VERSION = re.compile(r"<version>\s*1\.\d+\s*</version>")
Key = tuple[str, tuple[str, ...]]  # a label and its modifiers


@dataclass
class _Task:
    """A video of the file, with which of its frames people looked at."""

    recording: Recording
    stop: int | None  # after the last frame; None where the file does not say
    step: int
    tagged: dict[Key, set[int]] = field(default_factory=dict)  # the frames of each label that belongs to frames

    def add(self, key: Key, start: int, stop: int, place: str) -> None:
        """Add an event, cut off where the task ends."""
        stop = stop if self.stop is None else min(stop, self.stop)
        if start < stop:
            self.recording.events.append(Event(start, stop, key[0], modifiers=key[1], place=place))


def read(path: Path) -> Document:
    """Read annotations of videos that CVAT exported as XML.

    Raises:
        AnnotationError: The file cannot be read, is not of CVAT, or has labels of images that are not of a video.
    """
    root = read_xml(path)
    meta = root.find("meta")
    if root.tag != "annotations" or meta is None:
        refuse(path, "has no element 'annotations' with 'meta', expected an export of CVAT: is it another file?")
    images = root.findall("image")
    if images and not any(VIDEO_FRAME.match(image.get("name", "")) for image in images):
        refuse(path, "has labels of images, expected those of a video: export the task of a video")
    document = Document(path, [], _classes(meta))
    tasks = _tasks(meta, path, document.notes)
    for index, track in enumerate(root.iterfind("track")):
        _add_track(track, f"track {track.get('id', index)}", tasks, document.losses)
    for tag in root.iterfind("tag"):
        _add_tag(tag, tag, tasks, document.losses)
    for image in images:
        for child in image:
            if child.tag == "tag" or child.tag in SHAPES:
                _add_tag(child, image, tasks, document.losses)
    for task in tasks.values():
        for key, frames in task.tagged.items():
            for start, stop in _runs(frames, task.step):
                task.add(key, start, stop, f"frame {start}")
        document.recordings.append(task.recording)
    return document


def _classes(meta: Element) -> list[str]:
    """Return the labels that the file declares, without those of the parts of skeletons."""
    labels = (found for found in meta.iter("label") if not found.findtext("parent"))
    names = (one_line(found.findtext("name")) for found in labels)
    return list(dict.fromkeys(name for name in names if name))


def _tasks(meta: Element, path: Path, notes: list[str]) -> dict[str, _Task]:
    """Return the tasks by their identifiers; one with the name of the file where the file describes none."""
    found = [*meta.iter("task")] or [*meta.iter("job")] or [Element("task")]
    tasks: dict[str, _Task] = {}
    for task in found:
        identity = one_line(task.findtext("id"))
        source = one_line(task.findtext("source")) or (one_line(meta.findtext("source")) if len(found) == 1 else "")
        name = source or one_line(task.findtext("name")) or path.stem
        if not source:
            notes.append(f"task {shown(identity)} names no video: it is looked for by the name {shown(name)}")
        step = STEP.fullmatch(task.findtext("frame_filter") or "")
        first = whole_number(task.findtext("start_frame") or "0")
        last = whole_number(task.findtext("stop_frame"))
        known = first is not None and last is not None and 0 <= first <= last
        recording = Recording(one_line(task.findtext("name")) or path.stem, (Media(name),), Unit.FRAMES, 1.0)
        if first is not None and last is not None and known:
            recording.scored = [Span(first, last + 1)]
        stop = last + 1 if last is not None and known else None
        tasks[identity] = _Task(recording, stop, max(1, int(step[1])) if step else 1)
    return tasks


def _task_of(element: Element, tasks: dict[str, _Task]) -> _Task | None:
    """Return the task of a track or of an image, which only the files of projects state."""
    stated = element.get("task_id")
    return tasks.get(stated) if stated is not None else next(iter(tasks.values())) if len(tasks) == 1 else None


def _label(element: Element, task: _Task | None, noun: str, place: str, losses: list[Loss]) -> str:
    """Return a label; "" where there is none, or no task to which it belongs."""
    label = one_line(element.get("label"))
    if not label:
        losses.append(Loss(f"{noun} have no label and are left out", place))
    elif task is None:
        losses.append(Loss(f"{noun} belong to no task of the file and are left out", place, label))
        return ""
    return label


def _add_track(track: Element, place: str, tasks: dict[str, _Task], losses: list[Loss]) -> None:
    """Add the stretches in which a track is visible."""
    task = _task_of(track, tasks)
    label = _label(track, task, "tracks", place, losses)
    if task is None or not label:
        return
    shapes: dict[int, Element] = {}
    for shape in track:
        frame = _frame(shape.get("frame"))
        if shape.tag in SHAPES and frame is None:
            losses.append(Loss("shapes of tracks have no frame and are left out", place, shown(shape.get("frame"))))
        elif shape.tag in SHAPES and frame is not None:
            shapes[frame] = shape
    for run in _stretches(label, shapes, task.step):
        task.add(*run, place)


def _stretches(label: str, shapes: dict[int, Element], step: int) -> Iterator[tuple[Key, int, int]]:
    """Yield the stretches in which a track is visible with the same attributes, with their starts and stops."""
    frames = sorted(shapes)
    run: tuple[Key, int, int] | None = None
    for index, frame in enumerate(frames):
        if not _is_visible(shapes[frame]):
            continue
        key = label, _modifiers(shapes[frame])
        stop = frames[index + 1] if index + 1 < len(frames) else frame + step
        if run is not None and run[0] == key and run[2] == frame:
            run = key, run[1], stop
            continue
        if run is not None:
            yield run
        run = key, frame, stop
    if run is not None:
        yield run


def _frame(value: object) -> int | None:
    frame = whole_number(value)
    return frame if frame is not None and frame >= 0 else None


def _is_visible(shape: Element) -> bool:
    """Return whether a shape is there. Of a skeleton, its parts say so."""
    if shape.tag == "skeleton" and shape.get("outside") is None:
        return any(part.get("outside") == "0" for part in shape if part.tag in SHAPES)
    return shape.get("outside", "0") == "0"


def _modifiers(element: Element) -> tuple[str, ...]:
    """Return what the attributes say: a text; the name of what is true; a number with its name."""
    found = []
    for attribute in element.iterfind("attribute"):
        name, value = one_line(attribute.get("name")), one_line(attribute.text)
        if value.casefold() == "true":
            found.append(name)
        elif value.casefold() not in ("", "false", "__undefined__"):
            found.append(value if number(value) is None else f"{name} {value}".strip())
    return tuple(text for text in found if text)


def _add_tag(element: Element, place: Element, tasks: dict[str, _Task], losses: list[Loss]) -> None:
    """Add the label of a frame, which the tag or its image names."""
    frame = _frame(place.get("frame", place.get("id")))
    where = f"frame {shown(place.get('frame', place.get('id')))}"
    task = _task_of(place, tasks)
    label = _label(element, task, "tags", where, losses)
    if task is None or not label:
        return
    if frame is None:
        losses.append(Loss("tags have no frame and are left out", where, label))
    else:
        task.tagged.setdefault((label, _modifiers(element)), set()).add(frame)


def _runs(frames: Iterable[int], step: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the stop of each run of frames that follow one another."""
    ordered = sorted(frames)
    start = ordered[0]
    for frame, following in zip(ordered, [*ordered[1:], None], strict=True):
        if following is None or following > frame + step:
            yield start, frame + step
            start = following or 0


def _looks_like(path: Path, text: str) -> bool:
    return re.search(r"<annotations\s*>", text[:1000]) is not None and VERSION.search(text[:2000]) is not None


FORMAT = ForeignFormat(
    name="cvat",
    title="CVAT XML of a video",
    suffixes=(".xml",),
    keeps="tracks as the frames in which they are visible, tags of frames, attributes, which frames were looked at",
    loses="the places of shapes, which of several tracks it is",
    looks_like=_looks_like,
    read=read,
    is_per_video=False,
)
