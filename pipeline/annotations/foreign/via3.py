"""VIA 3, the VGG Image Annotator for video: https://www.robots.ox.ac.uk/~vgg/software/via, CSV exports and projects.

What becomes an event: each temporal segment. Its attributes are values that were typed, or options that were chosen,
and that the file names in its head. The first attribute that has a value is the label, in the order in which the file
declares them, and the others are modifiers. Several options of one attribute, as checkboxes give, are several events.
A temporal coordinate of one time is a point event, unless it is a region of a still frame.
"""

import csv
import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.document import Document, Event, Loss, Media, Recording
from pipeline.annotations.foreign.sources import MAX_BYTES, read_json, refuse
from pipeline.annotations.foreign.values import media_name, number, one_line, resolution_of, shown, timed_event
from pipeline.annotations.foreign.via3_writing import write
from pipeline.annotations.problems import did_you_mean, read_text

COMMENT = re.compile(r"#\s*(?P<name>ATTRIBUTES?|CSV_HEADER)\s*=\s*(?P<value>.*?)[,;\s]*$")
CHECKBOX = 2  # the type of an attribute of which several options may be chosen
TEMPORAL, SPATIAL, FILES, METADATA = "temporal_coordinates", "spatial_coordinates", "file_list", "metadata"
ENDS = ("temporal_segment_start", "temporal_segment_end")  # instead of TEMPORAL, in its export of segments alone
JSON = json.JSONDecoder(parse_constant=lambda name: None)  # NaN and infinities are no numbers here
READ = frozenset({FILES, TEMPORAL, SPATIAL, METADATA, *ENDS})
DAMAGED = "rows are damaged and are left out"


class _Attribute(NamedTuple):
    """What people choose or type for a segment."""

    name: str
    options: dict[str, str]
    is_checkbox: bool


class _Segment(NamedTuple):
    """A row of a CSV, or an entry of a project."""

    files: list[Any]
    times: Any
    region: Any
    values: Any
    place: str


def read(path: Path) -> Document:
    """Read a CSV export or a project of VIA 3.

    Raises:
        AnnotationError: The file cannot be read, or is neither.
    """
    losses: list[Loss] = []
    text = read_text(path, max_bytes=MAX_BYTES)
    if text.lstrip().startswith("{"):
        attributes, files, segments = _read_project(path)
    else:
        attributes, segments = _read_csv(path, text, losses)
        files = []
    recordings = {name: Recording(name, (Media(name),)) for name in files}
    labelling: set[str] = set()  # the attributes whose values are labels
    for segment in segments:
        recording = _recording(segment, recordings, losses)
        if recording is not None:
            recording.events += _events(segment, attributes, labelling, losses)
    for recording in recordings.values():
        times = (time for e in recording.events for time in (e.start, e.stop) if time is not None)
        recording.resolution = resolution_of(times)
    classes = (name for key, found in attributes.items() if key in labelling for name in found.options.values())
    return Document(path, list(recordings.values()), list(dict.fromkeys(classes)), losses=losses)


def _read_csv(path: Path, text: str, losses: list[Loss]) -> tuple[dict[str, _Attribute], list[_Segment]]:
    columns: list[str] = []
    attributes: dict[str, _Attribute] = {}
    lines = text.splitlines(keepends=True)
    num_comments = next(
        (i for i, line in enumerate(lines) if line.strip() and not line.startswith(("#", '"#'))), len(lines)
    )
    for index, line in enumerate(lines[:num_comments], start=1):
        # A spreadsheet puts such a line in quotes, with commas after it.
        found = COMMENT.match(_first_cell(path, index, line) if line.startswith('"') else line)
        if found and found["name"] == "CSV_HEADER":
            columns = [name.strip() for name in found["value"].split(",")]
        elif found:
            attributes = _attributes(_json(found["value"]))
            if not attributes:
                losses.append(Loss("lists of attributes are damaged: options have numbers for names", f"line {index}"))
    _check_columns(path, columns)
    rows = csv.reader(StringIO("".join(lines[num_comments:])))
    return attributes, list(_rows(rows, columns, num_comments, path, losses))


def _first_cell(path: Path, number: int, line: str) -> str:
    try:
        return next(csv.reader([line]), [""])[0]
    except csv.Error as error:
        refuse(path, f"is not CSV: {error}", number)


def _check_columns(path: Path, columns: list[str]) -> None:
    """Check that the table has the columns that are read.

    Raises:
        AnnotationError: It lacks one.
    """
    if not columns:
        refuse(path, "has no line '# CSV_HEADER = metadata_id,...', expected a CSV that VIA 3 exported")
    times = [] if set(ENDS) <= set(columns) else [TEMPORAL]
    missing = [name for name in (FILES, *times, METADATA) if name not in columns]
    if missing:
        hint = did_you_mean(missing[0], columns)
        refuse(path, f"has no column {missing[0]!r} in CSV_HEADER{hint} (export all annotations as 'VIA3 CSV')")


def _rows(rows: Any, columns: list[str], num_before: int, path: Path, losses: list[Loss]) -> Iterator[_Segment]:
    try:
        for row in rows:
            place = f"line {num_before + rows.line_num}"
            cells = dict(zip(columns, row, strict=False))
            parsed = {name: _json(text) for name, text in cells.items() if name in READ}
            if not any(cell.strip() for cell in row):
                continue
            files = parsed.get(FILES)
            times = parsed.get(TEMPORAL) if TEMPORAL in columns else [parsed.get(name) for name in ENDS]
            listed = files if isinstance(files, list) else []
            yield _Segment(listed, times, parsed.get(SPATIAL), parsed.get(METADATA), place)
    except csv.Error as error:
        losses.append(Loss(DAMAGED, f"line {num_before + rows.line_num} and after it", str(error)))


def _json(text: str) -> Any:
    """Return the JSON of a cell; None where it has none."""
    try:
        return JSON.decode(text)
    except (ValueError, RecursionError):
        return None


def _read_project(path: Path) -> tuple[dict[str, _Attribute], list[str], list[_Segment]]:
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), dict) for key in ("file", "metadata")):
        refuse(path, "has no 'file' and 'metadata', expected a project of VIA 3: is it one of VIA 2, or another file?")
    named = {key: _file_name(value) for key, value in content["file"].items()}
    views = content["view"] if isinstance(content.get("view"), dict) else {}
    in_view: dict[str, list[Any]] = {}
    for key, view in views.items():
        listed = view.get("fid_list") if isinstance(view, dict) else None
        in_view[key] = [named.get(str(found)) for found in listed] if isinstance(listed, list) else []
    segments = []
    for key, value in content["metadata"].items():
        found = value if isinstance(value, dict) else {}
        files = in_view.get(str(found.get("vid")), [])
        segments.append(_Segment(files, found.get("z"), found.get("xy"), found.get("av"), f"metadata {shown(key)}"))
    first = [files[0] for files in in_view.values() if files and isinstance(files[0], str)]
    return _attributes(content.get("attribute")), [_name(name) for name in first if _name(name)], segments


def _file_name(file: Any) -> str | None:
    if not isinstance(file, dict):
        return None
    return one_line(file.get("fname")) or one_line(file.get("src")) or None


def _attributes(content: Any) -> dict[str, _Attribute]:
    """Return the attributes by their identifiers. Old exports have only their names."""
    found: dict[str, _Attribute] = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        declared = value if isinstance(value, dict) else {"aname": value}
        options = declared.get("options")
        options = options if isinstance(options, dict) else {}
        names = {str(option): one_line(name) or str(option) for option, name in options.items()}
        found[key] = _Attribute(one_line(declared.get("aname")), names, declared.get("type") == CHECKBOX)
    return found


def _name(file: Any) -> str:
    return media_name(one_line(file))


def _recording(segment: _Segment, recordings: dict[str, Recording], losses: list[Loss]) -> Recording | None:
    """Return the recording to which a segment belongs; None where it is no segment of time."""
    names = [_name(file) for file in segment.files if _name(file)]
    if not names or not isinstance(segment.times, list) or not isinstance(segment.values, dict):
        losses.append(Loss(DAMAGED, segment.place))
        return None
    recording = recordings.setdefault(names[0], Recording(names[0], (Media(names[0]),)))
    losses += [Loss("further files of a view are left out", segment.place, name) for name in names[1:]]
    if not segment.times:
        losses.append(Loss("annotations of whole files or of images have no time and are left out", segment.place))
    elif segment.region:
        losses.append(Loss("regions of still frames are left out", segment.place))
    else:
        return recording
    return None


def _events(
    segment: _Segment, attributes: dict[str, _Attribute], labelling: set[str], losses: list[Loss]
) -> Iterator[Event]:
    """Yield an event for each of the labels of a segment, and add the attribute that has them to `labelling`."""
    order = {key: index for index, key in enumerate(attributes)}
    keys = sorted(segment.values, key=lambda key: order.get(key, len(order)))
    chosen = {key: labels for key in keys if (labels := _chosen(segment.values[key], attributes.get(key)))}
    if not chosen:
        losses.append(Loss("segments have no value of an attribute and are left out", segment.place))
        return
    (key, labels), *others = chosen.items()
    labelling.add(key)
    modifiers = tuple(", ".join(texts) for _, texts in others)
    for label in labels:
        if len(segment.times) == 1 and number(segment.times[0]) is not None:
            yield Event(number(segment.times[0]) or 0.0, None, label, modifiers=modifiers, place=segment.place)
            continue
        start, stop = segment.times if len(segment.times) == 2 else (None, None)
        event = timed_event(start, stop, label, segment.place, losses, noun="segments", modifiers=modifiers)
        if event is not None:
            yield event


def _chosen(value: Any, attribute: _Attribute | None) -> list[str]:
    """Return what a value of an attribute stands for: the names of its options, or the text itself."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else one_line(value)
    if attribute is None or not attribute.options:
        return [text] if text else []
    keys = text.split(",") if attribute.is_checkbox else [text]
    return [attribute.options.get(key.strip(), key.strip()) for key in keys if key.strip()]


def _looks_like(path: Path, text: str) -> bool:
    is_project = text.lstrip().startswith("{") and '"vid_list"' in text and '"rev_timestamp"' in text
    return is_project or re.search(r"^#\s*CSV_HEADER\s*=\s*metadata_id\b", text, re.MULTILINE) is not None


FORMAT = ForeignFormat(
    name="via",
    title="VIA 3 (VGG Image Annotator) CSV or project",
    suffixes=(".csv", ".json"),
    keeps="temporal segments, their attributes, single times",
    loses="regions of images, annotations of whole files; written files have no probabilities",
    looks_like=_looks_like,
    read=read,
    write=write,
    is_per_video=False,
)
