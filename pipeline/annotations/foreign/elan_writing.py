"""Writing the annotation format EAF 3.0 of ELAN.

The order of the elements and their attributes are those of the schema, https://www.mpi.nl/tools/elan/EAFv3.0.xsd.
"""

import os
import re
from collections.abc import Iterable, Sequence
from itertools import count
from mimetypes import MimeTypes
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from pipeline.annotations.foreign.base import LabelledVideo, written_at
from pipeline.annotations.foreign.document import Loss
from pipeline.annotations.foreign.unkept import changed_names, close_frames
from pipeline.files import replacing

SCHEMA_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
LINGUISTIC_TYPE = "default-lt"  # the name of ELAN's own default
NOT_IN_XML = re.compile("[\0-\x1f\ud800-\udfff\ufffe\uffff]")
ANY_VIDEO = "video/*"  # as ELAN calls a type that it does not know


class _Span(NamedTuple):
    """An annotation of a class, in milliseconds on the clock of the annotations."""

    start: int
    stop: int
    class_index: int


def write(path: Path, videos: Sequence[LabelledVideo]) -> list[Loss]:
    """Write the labels of one video as an ELAN file, with a tier for each class.

    Times are the presentation times of the frames, rounded to milliseconds. ELAN has none below 0: where a video has
    such, all are counted from its first frame, and TIME_ORIGIN says so.

    Args:
        path: The file.
        videos: The labels of one video.

    Returns:
        What is lost: probabilities, and what is shorter than a millisecond; see also `unkept`.
    """
    (video,) = videos
    spans, losses = _spans(video)
    origin = min([0, *(span.start for span in spans)])
    spans = [_Span(start - origin, stop - origin, index) for start, stop, index in spans]
    root = _document(video, spans, origin)
    ElementTree.indent(root, "    ")
    with replacing(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="UTF-8", xml_declaration=True)
    return losses + close_frames(videos, 0.001) + changed_names(videos)


def _spans(video: LabelledVideo) -> tuple[list[_Span], list[Loss]]:
    losses: list[Loss] = []
    if video.probabilities is not None:
        losses.append(Loss("videos lose their probabilities, as ELAN has no place for them", video.video.name))
    classes = video.label_space.classes
    unwritable = {index for index, name in enumerate(classes) if not is_writable(name)}
    kind = "classes have a name that XML cannot hold and are left out"
    losses += [Loss(kind, video.video.name, repr(classes[index])) for index in sorted(unwritable)]
    spans = []
    for segment, (start, stop) in video.timed_segments():
        span = _Span(round(start * 1000), round(stop * 1000), segment.class_index)
        if segment.class_index in unwritable:
            continue
        if span.start < span.stop:
            spans.append(span)
        else:
            place = f"{video.video.name}, frame {segment.start}"
            losses.append(Loss("segments are shorter than 1 ms and are left out", place, classes[segment.class_index]))
    return spans, losses


def is_writable(name: str) -> bool:
    """Return whether a tier can have the name of a class: XML has no room for a few characters."""
    return bool(name.strip()) and not NOT_IN_XML.search(name)


def _document(video: LabelledVideo, spans: Sequence[_Span], origin: int) -> Element:
    date = written_at(video.video).astimezone().isoformat(timespec="seconds")
    root = Element("ANNOTATION_DOCUMENT", AUTHOR="Framescribe", DATE=date, FORMAT="3.0", VERSION="3.0")
    root.set(f"{{{SCHEMA_INSTANCE}}}noNamespaceSchemaLocation", SCHEMA)
    header = SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    header.append(_media_descriptor(video.video, origin))
    SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId").text = str(len(spans))
    order = SubElement(root, "TIME_ORDER")
    slots_of_class: dict[int, list[tuple[str, str]]] = {}
    for span, slots in zip(spans, _time_slots(order, spans), strict=True):
        slots_of_class.setdefault(span.class_index, []).append(slots)
    numbers = count(1)
    for index, name in enumerate(video.label_space.classes):
        if is_writable(name):
            tier = SubElement(root, "TIER", LINGUISTIC_TYPE_REF=LINGUISTIC_TYPE, TIER_ID=name)
            _annotate(tier, name, slots_of_class.get(index, ()), numbers)
    SubElement(
        root,
        "LINGUISTIC_TYPE",
        GRAPHIC_REFERENCES="false",
        LINGUISTIC_TYPE_ID=LINGUISTIC_TYPE,
        TIME_ALIGNABLE="true",
    )
    return root


def _media_descriptor(video: Path, origin: int) -> Element:
    """Describe the video: where it is, and, for another machine, that it may lie beside the file."""
    absolute = Path(os.path.abspath(video))
    mime_type, _ = MimeTypes().guess_type(video.name)  # not those of this machine
    descriptor = Element(
        "MEDIA_DESCRIPTOR",
        MEDIA_URL=absolute.as_uri(),
        MIME_TYPE=mime_type or ANY_VIDEO,
        RELATIVE_MEDIA_URL=quote(os.fsencode(f"./{video.name}")),
    )
    if origin:
        descriptor.set("TIME_ORIGIN", str(origin))
    return descriptor


def _time_slots(order: Element, spans: Sequence[_Span]) -> list[tuple[str, str]]:
    """Add two slots for each annotation to the time order, by their times, and return their identifiers."""
    ends = [(span.stop, 0, index) for index, span in enumerate(spans)]
    ends += [(span.start, 1, index) for index, span in enumerate(spans)]
    names: dict[tuple[int, int], str] = {}
    for number, (milliseconds, is_start, index) in enumerate(sorted(ends), start=1):
        names[index, is_start] = f"ts{number}"
        SubElement(order, "TIME_SLOT", TIME_SLOT_ID=f"ts{number}", TIME_VALUE=str(milliseconds))
    return [(names[index, 1], names[index, 0]) for index in range(len(spans))]


def _annotate(tier: Element, name: str, slots: Iterable[tuple[str, str]], numbers: "count[int]") -> None:
    for first, second in slots:
        annotation = SubElement(
            SubElement(tier, "ANNOTATION"),
            "ALIGNABLE_ANNOTATION",
            ANNOTATION_ID=f"a{next(numbers)}",
            TIME_SLOT_REF1=first,
            TIME_SLOT_REF2=second,
        )
        SubElement(annotation, "ANNOTATION_VALUE").text = name
