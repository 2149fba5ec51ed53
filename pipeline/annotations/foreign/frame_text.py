"""MS-TCN and the data sets in its layout: `groundTruth/<stem>.txt` with the name of a class on the line of each frame.

`mapping.txt`, beside the file or in the folder above, numbers the classes: "0 background", a line for each class. A
number on the line of a frame is looked up there. An empty line is a frame without a label. Label files of such lines
(`formats.frame_list`) have no such mapping: their classes are those of the data set.

Shapes: T frames, K classes.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.annotations.foreign.base import ForeignFormat, LabelledVideo
from pipeline.annotations.foreign.dense import (
    BACKGROUND_NAMES,
    check_twice,
    frame_recording,
    losses_of_runs,
)
from pipeline.annotations.foreign.document import Document, Loss
from pipeline.annotations.foreign.sources import head_lines, refuse
from pipeline.annotations.foreign.values import shown
from pipeline.annotations.label_space import IGNORE_INDEX
from pipeline.annotations.problems import read_text, split_lines
from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.text.wording import listed

MAPPING, TRUTH = "mapping.txt", "groundTruth"
ENTRY = re.compile(r"([0-9]{1,9})\s+(\S.*)")
NUMBER = re.compile(r"-?[0-9]{1,9}")
MIN_LINES = 10  # by which a file is recognised
MAX_CLASSES = 10_000
MAX_NAMES = 5  # in a note
UNLABELLED = ("", "-1")


def _looks_like(path: Path, text: str) -> bool:
    lines = [line.strip() for line in head_lines(text)]
    names = {line for line in lines if line}
    if path.suffix.lower() != ".txt" or path.name == MAPPING or len(lines) < MIN_LINES or not names:
        return False
    is_list = not any(mark in name for name in names for mark in "\t,;{}<>")
    return is_list and 2 * len(names) <= len(lines) and max(map(len, names)) <= 100


def _read(path: Path) -> Document:
    lines = [line.strip() for line in split_lines(read_text(path))]
    if not any(lines):
        refuse(path, "has no line with the name of a class, expected one for each frame")
    if path.name == MAPPING or all(ENTRY.fullmatch(line) for line in lines if line):
        refuse(path, "has numbers and names on its lines: it lists the classes, and has no labels of a video")
    numbers = _read_mapping(path)
    names = {line: _class_of(line, numbers) for line in dict.fromkeys(lines)}
    used = [name for name in names.values() if name is not None]
    classes = [*dict.fromkeys([*numbers.values(), *(used if numbers else sorted(used))])]
    if len(classes) > MAX_CLASSES:
        refuse(path, f"has {len(classes):,} different lines, expected the name of a class on each")
    index_of = {name: index for index, name in enumerate(classes)}
    labels = np.array([IGNORE_INDEX if (name := names[line]) is None else index_of[name] for line in lines])
    is_lost = np.array([names[line] is None and line not in UNLABELLED for line in lines])

    def place(frame: int) -> str:
        return f"line {frame + 1}"

    kind = f"lines have a number that {MAPPING} does not list, and count as unlabelled"
    losses = losses_of_runs(kind, is_lost, place, lambda frame: lines[frame])
    background = next((name for name in classes if name.casefold() in BACKGROUND_NAMES), None)
    recording = frame_recording(path.stem, labels, classes, place=place)
    return Document(path, [recording], classes, False, background, losses, _notes(classes, numbers))


def _class_of(line: str, numbers: Mapping[int, str]) -> str | None:
    """Return the class on a line: its name, or its number in the mapping; None where there is none."""
    if line in UNLABELLED:
        return None
    if line not in numbers.values() and numbers and NUMBER.fullmatch(line):
        return numbers.get(int(line))
    return line


def _notes(classes: Sequence[str], numbers: Mapping[int, str]) -> list[str]:
    if not numbers and all(NUMBER.fullmatch(name) for name in classes):
        return [f"There is no {MAPPING} beside the file or above it, so the classes have their numbers as names."]
    if numbers and (more := [shown(name) for name in classes if name not in numbers.values()]):
        return [f"Classes that {MAPPING} does not list come last: {listed(more, MAX_NAMES)}."]
    return []


def _read_mapping(path: Path) -> dict[int, str]:
    """Read the mapping.txt of a file: the names of the classes by their numbers, in their order; {} without one."""
    mapping = next((folder / MAPPING for folder in path.parents[:2] if (folder / MAPPING).is_file()), None)
    if mapping is None:
        return {}
    numbers: dict[int, str] = {}
    for line, text in enumerate(split_lines(read_text(mapping)), start=1):
        entry = ENTRY.fullmatch(text.strip())
        if entry and numbers.setdefault(int(entry[1]), entry[2]) != entry[2]:
            refuse(mapping, f"has a second class with the number {entry[1]}", line)
        elif text.strip() and not entry:
            refuse(mapping, f"got {shown(text)}, expected a number and the name of its class, such as '0 walk'", line)
    check_twice(mapping, None, [*numbers.values()])
    return dict(sorted(numbers.items()))


def _write(path: Path, videos: Sequence[LabelledVideo]) -> list[Loss]:
    (video,) = videos
    label_space = video.label_space
    if not label_space.is_exclusive:
        raise InputError(f"{path}: its classes may overlap, but MS-TCN reads one class for each frame")
    names = ["_".join(name.split()) or "_" for name in label_space.classes]
    if len({*names}) < len(names):
        raise InputError(f"{path}: classes differ only in their spaces, which MS-TCN does not read: rename one")
    losses = [
        Loss("names of classes have spaces, which MS-TCN does not read, and are written with _", MAPPING, repr(name))
        for name, written in zip(label_space.classes, names, strict=True)
        if name != written
    ]
    entries = "".join(f"{number} {name}\n" for number, name in enumerate(names))
    is_labelled = label_space.is_labelled(video.labels)
    lines = [names[index] if index != IGNORE_INDEX else "" for index in video.labels.tolist()]
    _write_mapping((path.parents[1] if path.parent.name == TRUTH else path.parent) / MAPPING, entries)
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    kind = "frames without a label are empty lines, which MS-TCN does not read"
    return losses + losses_of_runs(kind, ~is_labelled, lambda frame: f"line {frame + 1}", lambda frame: "")


def _write_mapping(mapping: Path, entries: str) -> None:
    """Write the mapping of all files of a folder.

    Raises:
        InputError: There is one of other classes.
    """
    if mapping.exists():
        if read_text(mapping) != entries:
            raise InputError(f"{mapping}: lists other classes than these labels have: write to another folder")
        return
    with replacing(mapping) as temporary:
        temporary.write_text(entries, encoding="utf-8")


FORMAT = ForeignFormat(
    name="ms-tcn",
    title="a class on a line for each frame (MS-TCN), with mapping.txt",
    suffixes=(".txt",),
    keeps="classes in the order of mapping.txt, the label of each frame, frames without a label (empty lines)",
    loses="read: nothing; written: probabilities, overlapping classes, spaces in names",
    looks_like=_looks_like,
    read=_read,
    write=_write,
    side_files=("mapping.txt",),
    names_video=False,
)
