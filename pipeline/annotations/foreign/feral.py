"""FERAL: one JSON file with the label of each frame of all videos.

    {"class_names": {"0": "other", "1": "eating"}, "is_multilabel": false,
     "labels": {"mouse_1.mp4": [0, 0, 1]}, "splits": {"train": ["mouse_1.mp4"], "val": [], "test": [], "inference": []}}

Where several classes may be in a frame, it has a list of 0 and 1 instead of a number. -1 is a frame without a label.
FERAL trains on videos of the splits "train" and "val"; those of "inference" may have no labels.

Shapes: T frames, K classes.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations.foreign.base import ForeignFormat, LabelledVideo
from pipeline.annotations.foreign.dense import BACKGROUND_NAMES, check_twice, frame_recording, losses_of_runs
from pipeline.annotations.foreign.document import Document, Loss, Recording
from pipeline.annotations.foreign.sources import read_json, refuse
from pipeline.annotations.foreign.values import shown
from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT
from pipeline.annotations.problems import shorten
from pipeline.errors import InputError
from pipeline.files import replacing
from pipeline.text.wording import counted, listed

SPLITS, INFERENCE = ("train", "val", "test"), "inference"
UNLABELLED = -1
MAX_CLASSES = 10_000
MAX_NAMES = 5  # in a note
NOT_A_CLASS = "frames have no number of a class, and count as unlabelled"
NOT_SETS = "frames have no list of 0 and 1 for the classes, and count as unlabelled"


def _looks_like(path: Path, text: str) -> bool:
    start = text.lstrip()
    keys = [f'"{key}"' in text for key in ("is_multilabel", "class_names", "splits")]
    return path.suffix.lower() == ".json" and start.startswith("{") and '"labels"' in text and any(keys[:2])


def _read(path: Path) -> Document:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("labels"), dict):
        refuse(path, "has no object 'labels' with the labels of each video: it is no file of FERAL")
    labels = content["labels"]
    document = Document(path, [])
    is_multilabel = _is_multilabel(path, content)
    classes = _class_names(content, document) or _numbered(labels, is_multilabel, document)
    splits = _splits(content, document)
    for name, values in labels.items():
        if not isinstance(values, list):
            document.losses.append(Loss("videos have no list of labels", repr(name), shown(values)))
        elif values or splits.get(name) != INFERENCE:
            split = splits.get(name) if splits.get(name) in SPLITS else None
            read = _overlapping if is_multilabel else _exclusive
            document.recordings.append(read(name, values, classes, split, document))
    if not document.recordings:
        refuse(path, "has no labels of a video in 'labels'")
    document.classes, document.may_overlap = classes, is_multilabel
    if not is_multilabel and classes[0].casefold() in BACKGROUND_NAMES:
        document.background = classes[0]
    return document


def _is_multilabel(path: Path, content: dict[str, Any]) -> bool:
    stated = content.get("is_multilabel")
    firsts = [values[0] for values in content["labels"].values() if isinstance(values, list) and values]
    if isinstance(stated, bool):
        return stated
    if stated is not None:
        refuse(path, f"has {shown(stated)} as 'is_multilabel', expected true or false")
    return any(isinstance(first, list) for first in firsts)


def _class_names(content: dict[str, Any], document: Document) -> tuple[str, ...]:
    """Return the names in the order of their numbers; () where the file has none."""
    path, stated = document.path, content.get("class_names")
    if stated is None or stated == {}:
        return ()
    if isinstance(stated, list):
        stated = {str(number): name for number, name in enumerate(stated)}
    if not isinstance(stated, dict) or not all(isinstance(name, str) for name in stated.values()):
        refuse(path, 'has something else as \'class_names\' than an object like {"0": "other", "1": "eating"}')
    expected = {str(number) for number in range(len(stated))}
    if stated.keys() != expected:
        wrong = listed(sorted(map(shown, stated.keys() - expected)), MAX_NAMES)
        refuse(path, f"has the numbers {wrong} in 'class_names', expected 0 to {len(stated) - 1} without gaps")
    names = tuple(stated[str(number)].strip() for number in range(len(stated)))
    check_twice(path, None, names)
    return names


def _numbered(labels: dict[str, Any], is_multilabel: bool, document: Document) -> tuple[str, ...]:
    """Name classes by their numbers, where the file has no names."""
    values = [value for of_video in labels.values() if isinstance(of_video, list) for value in of_video]
    if is_multilabel:
        num_classes = max((len(value) for value in values if isinstance(value, list)), default=0)
    else:
        num_classes = 1 + max((value for value in values if type(value) is int), default=-1)
    if not 0 < num_classes <= MAX_CLASSES:
        got = "none" if num_classes <= 0 else counted(num_classes, "class", "classes")
        refuse(document.path, f"has no 'class_names', and its labels are of {got}: expected the names of the classes")
    document.notes.append("The file has no 'class_names', so the classes have their numbers as names.")
    return tuple(map(str, range(num_classes)))


def _splits(content: dict[str, Any], document: Document) -> dict[str, str]:
    """Return the split of each video."""
    stated = content.get("splits", {})
    if not isinstance(stated, dict):
        document.losses.append(Loss("splits are not an object and are left out", "'splits'", shown(stated)))
        return {}
    found: dict[str, str] = {}
    without_labels = []
    for split, names in stated.items():
        for name in names if isinstance(names, list) else [names]:
            if not isinstance(name, str) or split not in (*SPLITS, INFERENCE):
                kind = "entries of splits are of no video or no known split, and are left out"
                document.losses.append(Loss(kind, f"split {shown(split)}", shown(name)))
            elif found.setdefault(name, split) != split:
                kind = "videos are in two splits, and stay in the first one"
                document.losses.append(Loss(kind, f"split {split!r}", shown(name)))
            elif not content["labels"].get(name):
                without_labels.append(name)
    if without_labels:
        shown_names = listed([*map(shown, without_labels)], MAX_NAMES)
        count = counted(len(without_labels), "video")
        document.notes.append(f"{count} of the splits {_have(without_labels)} no labels: {shown_names}.")
    return found


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _exclusive(
    name: str, values: list[Any], classes: Sequence[str], split: str | None, document: Document
) -> Recording:
    known = {number: number for number in range(len(classes))} | {UNLABELLED: IGNORE_INDEX}
    wrong = len(classes)  # stands for what is no number of a class
    codes = (known.get(value, wrong) if type(value) is int else wrong for value in values)
    labels = np.fromiter(codes, dtype=np.int64, count=len(values))
    place = _place(name)
    document.losses += losses_of_runs(NOT_A_CLASS, labels == wrong, place, lambda frame: shown(values[frame]))
    labels[labels == wrong] = IGNORE_INDEX
    return frame_recording(name, labels, classes, place=place, split=split)


def _overlapping(
    name: str, values: list[Any], classes: Sequence[str], split: str | None, document: Document
) -> Recording:
    known = {0: ABSENT, 1: PRESENT, UNLABELLED: IGNORE_INDEX}
    labels = np.full((len(values), len(classes)), IGNORE_INDEX, dtype=np.int8)
    is_wrong = np.zeros(len(values), dtype=bool)
    for frame, value in enumerate(values):
        if value == UNLABELLED and type(value) is int:
            continue
        is_set = isinstance(value, list) and len(value) == len(classes)
        if is_set and all(type(cell) is int and cell in known for cell in value):
            labels[frame] = [known[cell] for cell in value]
        else:
            is_wrong[frame] = True
    place = _place(name)
    document.losses += losses_of_runs(NOT_SETS, is_wrong, place, lambda frame: shown(values[frame]))
    return frame_recording(name, labels, classes, place=place, split=split)


def _place(name: str) -> Callable[[int], str]:
    return lambda frame: f"video {shorten(name)!r}, frame {frame}"


def _write(path: Path, videos: Sequence[LabelledVideo]) -> list[Loss]:
    names = [video.video.name for video in videos]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        cause = "a file of FERAL names videos without their folders: rename one"
        raise InputError(f"{path}: got two videos called {twice[0]!r}: {cause}")
    label_space = videos[0].label_space
    in_part = [name for name, video in zip(names, videos, strict=True) if (video.labels == IGNORE_INDEX).any()]
    content = {
        "class_names": {str(number): name for number, name in enumerate(label_space.classes)},
        "is_multilabel": not label_space.is_exclusive,
        "labels": {video.video.name: np.maximum(video.labels, UNLABELLED).tolist() for video in videos},
        "splits": {
            "train": [name for name in names if name not in in_part], "val": [], "test": [], INFERENCE: in_part
        },
    }  # fmt: skip
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    kind = "videos with unlabelled frames are in the split 'inference', as FERAL cannot train on them"
    return [Loss(kind, repr(name)) for name in in_part]


FORMAT = ForeignFormat(
    name="feral",
    title="FERAL labels",
    suffixes=(".json",),
    keeps="classes, the label of each frame, overlapping classes, unlabelled frames (-1), splits",
    loses="read: nothing; written: probabilities; all videos are in train, those with unlabelled frames in inference",
    looks_like=_looks_like,
    read=_read,
    write=_write,
    is_per_video=False,
)
