"""The classes of a data set in the studio: their list, their groups, their colours and their keys."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import Any

from pipeline.annotations.classes import (
    CLASSES,
    CLASSES_WITH_GROUPS,
    CLASSES_WITH_GROUPS_HEADER,
    find_class_list,
    read_class_list,
)
from pipeline.annotations.formats import registry
from pipeline.annotations.found_classes import label_space_of_files
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import VIDEO_LABELS
from pipeline.errors import InputError
from pipeline.files import is_dangling, is_hidden, leads_out, replacing
from pipeline.metrics.label_files import find_label_space
from pipeline.studio.labels.backups import Backups
from pipeline.studio.labels.edits import text_fault
from pipeline.studio.labels.saving import write_synced
from pipeline.studio.places import Places
from pipeline.studio.requests import RefusedError

KEYS = "keys.json"  # in the folder of the studio
# Keys of the page's own commands, as `KeyboardEvent.key` has them.
RESERVED = (
    *(" ", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "[", "]", ",", ".", "+", "-", "="),
    *("z", "y", "x", "u", "n", "m", "?", "s", "g", "q", "w", "e", "f", "b", "i", "o"),
)
FREE = tuple(key for key in "abcdefghijklmnopqrstuvwxyz1234567890" if key not in RESERVED)
MAX_CLASSES = 1000
MAX_CLASS_NAME = 100  # characters


class ClassBook:
    """The classes and their keys. All methods may be called from any thread.

    Args:
        places: The folders.
        backups: Where copies of the class list go.
    """

    def __init__(self, places: Places, backups: Backups) -> None:
        self._places, self._backups = places, backups
        self._lock = RLock()
        self._label_space: LabelSpace | None = None

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the class list, or those that the labels name.

        Raises:
            InputError: They cannot be read.
        """
        with self._lock:
            if self._label_space is None:
                self._label_space = self._read()
            return self._label_space

    def _read(self) -> LabelSpace:
        places = self._places
        files = sorted(places.labels.iterdir()) if places.labels.is_dir() else []
        files = [path for path in files if path.is_file() and not is_hidden(path) and registry.format_of(path)]
        if not places.is_dataset:
            return find_label_space([places.root], files, follow_links=places.follow_links)
        path = find_class_list(places.root)
        if path.exists() or is_dangling(path):
            if not places.follow_links and leads_out(path, places.root):
                raise InputError(
                    f"{path.name}: is a link out of the data set, and is not read: --follow-links reads it"
                )
            return read_class_list(path).label_space()
        files += [table for table in [places.root / VIDEO_LABELS] if table.is_file()]
        return label_space_of_files([path for path in files if places.follow_links or not leads_out(path, places.root)])

    @property
    def path(self) -> Path:
        """The class list, which may be missing."""
        return find_class_list(self._places.root)

    def write_found(self) -> None:
        """Write the list of the classes that the labels name where there is none.

        Otherwise a class would be gone with its last segment.

        Raises:
            OSError: It cannot be written.
        """
        with self._lock:
            if self.label_space.classes and not self.path.exists():
                self._write(self.label_space)

    def _write(self, space: LabelSpace) -> None:
        name, content = class_file_of(space)
        path = self._places.root / name
        self._backups.keep(path)
        write_synced(path, content, self._backups)

    def with_class(self, name: object, group: object, overlapping: object) -> LabelSpace:
        """Return the classes with one more.

        Args:
            name: Its name.
            group: Its group, where classes overlap; None for one of its own.
            overlapping: Whether classes overlap, for the first class of a data set.

        Raises:
            RefusedError: There cannot be such a class.
        """
        old = self.label_space
        faults = [f"the name {fault}" for fault in [_name_fault(name)] if fault]
        if group is not None and (fault := _name_fault(group)):
            faults.append(f"the group {fault}")
        if faults or not isinstance(name, str):
            raise RefusedError(422, "; ".join(faults))
        if len(old.classes) >= MAX_CLASSES:
            raise RefusedError(422, f"there are {MAX_CLASSES} classes already")
        if old.index(name) is not None:
            raise RefusedError(422, f"there is a class {name!r} already")
        overlaps = not old.is_exclusive if old.classes else bool(overlapping) or group is not None
        if not overlaps and group is not None:
            message = f"the classes exclude each other ({CLASSES}), so that none has a group: leave the group out"
            raise RefusedError(422, message)
        classes = (*old.classes, name)
        if not overlaps:
            return LabelSpace(classes)
        groups = (*(old.groups or ()), str(group) if group is not None else name)
        if len(set(groups)) == 1 < len(groups):
            remedy = "add one of another group first"
            message = f"all classes would be in the group {groups[0]!r}, and would exclude each other: {remedy}"
            raise RefusedError(422, message)
        try:
            return LabelSpace(classes, groups=groups)
        except InputError as error:
            raise RefusedError(422, str(error)) from None

    def put(self, space: LabelSpace) -> None:
        """Write a longer list of classes.

        Raises:
            RefusedError: Somebody else has changed the list.
            OSError: It cannot be written.
        """
        with self._lock:
            if (found := self._read()) != self.label_space and found.classes:
                raise RefusedError(409, "somebody else has changed the list of classes: start the studio again")
            path = self.path
            if path.exists() and path.suffix == ".txt" and not space.is_exclusive:
                raise RefusedError(422, f"{CLASSES} is there, whose classes exclude each other: delete it first")
            self._write(space)
            self._label_space = space

    # The page ---------------------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return what the page shows of the classes."""
        from pipeline.drawing.colors import class_colors

        space = self.label_space
        groups, keys = space.groups or (None,) * space.num_classes, self.keys()
        return {
            "exclusive": space.is_exclusive,
            "background": space.background,
            "classes": [
                {"name": name, "group": group, "color": f"#{bytes(color).hex()}", "key": keys.get(name, "")}
                for name, group, color in zip(space.classes, groups, class_colors(space).tolist(), strict=True)
            ],
        }

    def keys(self) -> dict[str, str]:
        """Return the key of each class that has one: that which was chosen, or the first one that is free."""
        chosen = self._chosen_keys()
        found = {name: chosen[name] for name in self.label_space.classes if name in chosen}
        taken = set(found.values())
        for name in self.label_space.classes:
            if name in found:
                continue
            letters = [letter for letter in name.lower() if letter in FREE]
            key = next((key for key in (*letters, *"1234567890", *FREE) if key not in taken), None)
            if key is not None:
                found[name] = key
                taken.add(key)
        return found

    def _chosen_keys(self) -> dict[str, str]:
        try:
            content = json.loads((self._places.state / KEYS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        pairs = content.items() if isinstance(content, dict) else ()
        return {name: key for name, key in pairs if isinstance(key, str) and _key_fault(key) is None}

    def set_keys(self, keys: object) -> None:
        """Choose the keys of classes; the other classes keep those that they have.

        Raises:
            RefusedError: A class is not known, a key cannot be chosen, or two classes have the same one.
            OSError: They cannot be written.
        """
        if not isinstance(keys, dict):
            raise RefusedError(422, "keys: expected an object of class names and keys")
        problems = [f"there is no class {name!r}" for name in keys if self.label_space.index(name) is None]
        problems += [f"{name!r}: {fault}" for name, key in keys.items() if (fault := _key_fault(key))]
        if problems:
            raise RefusedError(422, "; ".join(problems[:10]))
        with self._lock:
            wanted = self._chosen_keys() | keys
            known = {name: key for name, key in wanted.items() if name in self.label_space.classes}
            twice = sorted({key for key in known.values() if list(known.values()).count(key) > 1 and key}, key=str)
            problems += [f"the key {key!r} is that of several classes" for key in twice]
            if problems:
                raise RefusedError(422, "; ".join(problems[:10]))
            with replacing(self._places.state / KEYS) as temporary:
                temporary.write_text(json.dumps(wanted, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def class_file_of(space: LabelSpace) -> tuple[str, bytes]:
    """Return the name of the class list of a data set, and its content."""
    if space.groups is None:
        return CLASSES, "".join(f"{name}\n" for name in space.classes).encode()
    rows = zip(space.classes, space.groups, strict=True)
    return CLASSES_WITH_GROUPS, _table([CLASSES_WITH_GROUPS_HEADER, *rows]).encode()


def _name_fault(name: object) -> str | None:
    """Describe why a class, or a group, cannot have a name; None where it can."""
    if fault := text_fault(name, MAX_CLASS_NAME):
        return fault
    assert isinstance(name, str)
    if not name.strip() or name != name.strip():
        return "is empty, or begins or ends with a space"
    try:
        LabelSpace((name,))
    except InputError as error:
        return str(error).removeprefix(f"class {name!r} ")
    return None


def _key_fault(key: object) -> str | None:
    if not isinstance(key, str) or len(key) != 1 or not key.isprintable():
        return "a key is one character"
    return f"{key!r} is a key of the page itself" if key in RESERVED else None


def _table(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
