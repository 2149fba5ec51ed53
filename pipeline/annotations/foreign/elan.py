"""ELAN: https://archive.mpi.nl/tla/elan, its annotation format EAF.

The file is read from its parsed root. `pympi-ling` opens a path again, and so would expand the entities that
`sources.read_xml` refuses; it also warns on stderr of other versions than 3.0, and ends in a KeyError where an
attribute is missing. The tests read what is written here with it, and compare what is read.

What becomes an event: each annotation of each tier. Its label is the value of the annotation; where that is empty, the
name of the tier. The subject is the PARTICIPANT of the tier. A REF_ANNOTATION has the times of the annotation that it
refers to, as in pympi-ling; without a value it says nothing, and is left out.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.document import Document, Event, Loss, Media, Recording
from pipeline.annotations.foreign.elan_writing import write
from pipeline.annotations.foreign.sources import read_xml, refuse
from pipeline.annotations.foreign.values import classes_of_tiers, media_name, number, one_line, shown, timed_event

ROOT = "ANNOTATION_DOCUMENT"
MAX_VALUES = 50  # of a tier with behaviours; more are a sign of free text
AUDIO_SUFFIXES = frozenset({".wav", ".mp3", ".m4a", ".aif", ".aiff", ".flac", ".ogg"})
MAX_REFERENCES = 100  # from an annotation to the one that has times; more are a circle


class _Annotation(NamedTuple):
    """An annotation: of two time slots, or of another annotation."""

    tier: Element
    name: str  # of the tier
    identity: str
    value: str
    slots: tuple[str, str] | None
    parent: str

    @property
    def place(self) -> str:
        return f"tier {self.name!r}, annotation {self.identity}"


def read(path: Path) -> Document:
    """Read an ELAN file.

    Raises:
        AnnotationError: The file cannot be read, is not an ELAN file, or counts time in frames.
    """
    root = read_xml(path)
    if root.tag != ROOT:
        refuse(path, f"has the root element {shown(root.tag)}, expected {ROOT}: is it another file?")
    units = _header(root).get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        refuse(path, f"counts time in {units}, expected milliseconds: save it in a newer ELAN")
    losses: list[Loss] = []
    annotations = list(_annotations(root))
    intervals = _Intervals(_slot_times(root), annotations)
    found = (_event(annotation, intervals, losses) for annotation in annotations)
    events = [event for event in found if event is not None]
    media, notes = _media(root, path, losses)
    recording = Recording(path.stem, media, resolution=0.001, events=events)
    notes += _notes_on_tiers(annotations)
    return Document(path, [recording], _classes(root, annotations), losses=losses, notes=notes)


def _header(root: Element) -> Element:
    header = root.find("HEADER")
    return Element("HEADER") if header is None else header


def _annotations(root: Element) -> Iterator[_Annotation]:
    for tier in root.iter("TIER"):
        name = one_line(tier.get("TIER_ID"))
        for outer in tier.iter("ANNOTATION"):
            for inner in outer:
                first, second = inner.get("TIME_SLOT_REF1"), inner.get("TIME_SLOT_REF2")
                yield _Annotation(
                    tier,
                    name,
                    inner.get("ANNOTATION_ID", "without an id"),
                    one_line(inner.findtext("ANNOTATION_VALUE")),
                    (first or "", second or "") if inner.tag == "ALIGNABLE_ANNOTATION" else None,
                    inner.get("ANNOTATION_REF", ""),
                )


def _slot_times(root: Element) -> dict[str, float | None]:
    """Return the milliseconds of each time slot; None for one that is not aligned."""
    times: dict[str, float | None] = {}
    for slot in root.iterfind("TIME_ORDER/TIME_SLOT"):
        value = slot.get("TIME_VALUE")
        if value is None or number(value) is not None:  # other values stand for no time at all
            times[slot.get("TIME_SLOT_ID", "")] = number(value)
    return times


class _Intervals:
    """The start and the stop of each annotation, in milliseconds."""

    def __init__(self, times: dict[str, float | None], annotations: Sequence[_Annotation]) -> None:
        self.times = times
        self.by_identity = {annotation.identity: annotation for annotation in annotations}
        self.of_tier: dict[str, list[tuple[str, str]]] = {}
        for annotation in annotations:
            if annotation.slots:
                self.of_tier.setdefault(annotation.name, []).append(annotation.slots)
        for slots in self.of_tier.values():
            self._align(slots)

    def _align(self, slots: Sequence[tuple[str, str]]) -> None:
        """Set the times of slots that are not aligned.

        As ELAN shows them: annotations that follow one another without a gap divide the time between the aligned slots
        at both ends evenly.
        """
        following = dict(slots)
        seen: set[str] = set()
        for first, second in slots:
            start = self.times.get(first)
            chain = [second]
            while chain[-1] not in seen and self.times.get(chain[-1], 0.0) is None and chain[-1] in following:
                seen.add(chain[-1])
                chain.append(following[chain[-1]])
            stop = self.times.get(chain[-1])
            if start is not None and stop is not None:
                for index, slot in enumerate(chain[:-1], start=1):
                    self.times[slot] = start + (stop - start) * index / len(chain)

    def of(self, annotation: _Annotation) -> tuple[float | None, float | None]:
        """Return the times of an annotation, or of the one that it refers to in the end; None where there are none."""
        for _ in range(MAX_REFERENCES):
            if annotation.slots is not None:
                return self.times.get(annotation.slots[0]), self.times.get(annotation.slots[1])
            parent = self.by_identity.get(annotation.parent)
            if parent is None:
                break
            annotation = parent
        return None, None


def _event(annotation: _Annotation, intervals: _Intervals, losses: list[Loss]) -> Event | None:
    start, stop = intervals.of(annotation)
    if annotation.slots is None and not annotation.value:
        losses.append(Loss("annotations that refer to others have no value and are left out", annotation.place))
        return None
    label = annotation.value or annotation.name
    if not label:
        losses.append(
            Loss("annotations have neither a value nor a tier with a name and are left out", annotation.place)
        )
        return None
    return timed_event(
        None if start is None else start / 1000,
        None if stop is None else stop / 1000,
        label,
        annotation.place,
        losses,
        noun="annotations",
        subject=one_line(annotation.tier.get("PARTICIPANT")),
    )


def _media(root: Element, path: Path, losses: list[Loss]) -> tuple[tuple[Media, ...], list[str]]:
    """Return the video, and what a user should know; the other media of a file show the same time."""
    descriptors = [found for found in root.iterfind("HEADER/MEDIA_DESCRIPTOR") if _address(found)]
    if not descriptors:
        stated = one_line(_header(root).get("MEDIA_FILE"))
        note = "the file names no video: it is looked for by the name of the file"
        return (Media(stated or path.stem),), [] if stated else [note]
    chosen = next((found for found in descriptors if not _is_audio(found)), descriptors[0])
    kind = "media files that show the same time as the first video are left out"
    losses += [Loss(kind, "header", _address(found)) for found in descriptors if found is not chosen]
    origin = number(chosen.get("TIME_ORIGIN", "0"))
    notes = [] if origin is not None else [f"TIME_ORIGIN is {shown(chosen.get('TIME_ORIGIN'))}: taken as 0"]
    # A player of ELAN shows the time of the annotations + TIME_ORIGIN of its media file.
    return (Media(_address(chosen), start=-(origin or 0.0) / 1000 or 0.0),), notes


def _address(descriptor: Element) -> str:
    relative = unquote(one_line(descriptor.get("RELATIVE_MEDIA_URL")))
    return media_name(one_line(descriptor.get("MEDIA_URL"))) or relative


def _is_audio(descriptor: Element) -> bool:
    suffix = PurePosixPath(_address(descriptor)).suffix.lower()
    return descriptor.get("MIME_TYPE", "").startswith("audio") or suffix in AUDIO_SUFFIXES


def _notes_on_tiers(annotations: Sequence[_Annotation]) -> list[str]:
    values: dict[str, set[str]] = {}
    parents: dict[str, str] = {}
    for annotation in annotations:
        values.setdefault(annotation.name, set()).add(annotation.value)
        if annotation.slots is None:
            parents[annotation.name] = one_line(annotation.tier.get("PARENT_REF"))
    notes = [
        f"tier {name!r} has {len(found):,} different values, and each becomes a class: is it free text?"
        for name, found in values.items()
        if len(found) > MAX_VALUES
    ]
    referring = "the annotations of tier {!r} have no times of their own, and get those of tier {!r}"
    return notes + [referring.format(name, parent) for name, parent in parents.items()]


def _classes(root: Element, annotations: Sequence[_Annotation]) -> list[str]:
    """Return the entries of the controlled vocabularies that tiers use, or the names of tiers for one class each."""
    entries = {one_line(found.get("CV_ID")): found for found in root.iterfind("CONTROLLED_VOCABULARY")}
    vocabulary = {
        found.get("LINGUISTIC_TYPE_ID"): one_line(found.get("CONTROLLED_VOCABULARY_REF"))
        for found in root.iterfind("LINGUISTIC_TYPE")
    }
    values: dict[str, set[str]] = {}
    declared: list[str] = []
    for tier in root.iter("TIER"):
        values.setdefault(one_line(tier.get("TIER_ID")), set())
        declared += _entries(entries.get(vocabulary.get(tier.get("LINGUISTIC_TYPE_REF")) or ""))
    for annotation in annotations:
        values[annotation.name].add(annotation.value or annotation.name)
    return list(dict.fromkeys([*declared, *classes_of_tiers(values)]))


def _entries(vocabulary: Element | None) -> Iterator[str]:
    """Yield the entries: of EAF 2.7 and older as text, of newer ones in the first of their languages."""
    for entry in vocabulary if vocabulary is not None else ():
        text = entry.text if entry.tag == "CV_ENTRY" else entry.findtext("CVE_VALUE")
        if entry.tag in ("CV_ENTRY", "CV_ENTRY_ML") and one_line(text):
            yield one_line(text)


def _looks_like(path: Path, text: str) -> bool:
    return f"<{ROOT}" in text


FORMAT = ForeignFormat(
    name="elan",
    title="ELAN annotations",
    suffixes=(".eaf",),
    keeps="annotations of all tiers, participants, controlled vocabularies, media offsets",
    loses="annotators, languages, further media files, links; written files have no probabilities",
    looks_like=_looks_like,
    read=read,
    write=write,
)
