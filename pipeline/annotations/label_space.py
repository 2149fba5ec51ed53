"""The meaning of labels: which classes there are, which of them exclude each other, and which frames have no label.

All questions about a label go to the LabelSpace: whether a frame is labelled, the names of its classes, which class is
the background, how many classes a model distinguishes, whether labels are valid.

A label space is one of two kinds, and labels have one of two forms:

- **Exclusive**: every labelled frame has exactly one class. Labels are int64 [T], the index of the class;
  IGNORE_INDEX is a frame without a label.
- **Overlapping**: the classes are in groups. Classes of one group exclude each other, classes of different groups are
  independent, and a frame may have none. Labels are int8 [T, K]: PRESENT, ABSENT, or IGNORE_INDEX where nobody has said
  whether the frame has the class.

Shapes: T frames, K classes.
"""

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from pipeline.annotations.problems import did_you_mean, shorten
from pipeline.errors import InputError
from pipeline.files import canonical

if TYPE_CHECKING:
    import torch

IGNORE_INDEX = -100  # the label of an unlabelled frame: torch's cross-entropy ignores it
PRESENT, ABSENT = 1, 0  # the other labels of a class, where classes overlap
SEPARATOR = ";"  # joins the names of the classes of one frame, where classes overlap
# Where classes overlap, these columns of .frames.csv stand before those of the classes, which have their names.
RESERVED_NAMES = ("frame", "time_seconds", "labels")
Labels = TypeVar("Labels", np.ndarray, "torch.Tensor")


class Clash(NamedTuple):
    """Frames that have several classes of one group, although these exclude each other.

    Attributes:
        num_frames: The number of these frames.
        first: The first of them.
        members: The indices of the classes of the group that it has.
    """

    num_frames: int
    first: int
    members: tuple[int, ...]


def find_control_character(name: str) -> str | None:
    r"""Describe what is wrong with the name of a class that is not one line of plain text; None where nothing is.

    >>> find_control_character("wild\tboar")
    "has the control character '\\t': a name is one line of plain text"
    """
    found = [character for character in name if unicodedata.category(character) in ("Cc", "Zl", "Zp")]
    return f"has the control character {found[0]!r}: a name is one line of plain text" if found else None


def find_column_clash(name: str) -> str | None:
    """Describe why a class that may overlap others cannot have this name, as a column has it; None where it can.

    >>> find_column_clash("labels")
    'has the name of another column of .frames.csv, where each class has one: rename it'
    """
    if not name:
        return "has no name, but a column of .frames.csv needs one: name it"
    if name in RESERVED_NAMES:
        return "has the name of another column of .frames.csv, where each class has one: rename it"
    return None


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set or a model.

    Attributes:
        classes: The names in the order of their indices, from 0.
        background: The class that is left out of the scores "without background"; None where there is none.
        groups: The name of the group of each class, where classes overlap; None where they are exclusive.

    Raises:
        InputError: A class is listed twice, or `background` is not one of them, or a name is not one line; or classes
            overlap, and a name contains the SEPARATOR, is empty or is one of the RESERVED_NAMES.
        ValueError: There is not one group for each class.

    Example:
        >>> space = LabelSpace(("rest", "walk"), background="rest")
        >>> space.num_classes, space.index("walk"), space.background_index
        (2, 1, 0)
        >>> space.names(np.array([1, 0, -100]))
        ['walk', 'rest', None]

        >>> space = LabelSpace(("eats", "sleeps", "rears"), groups=("state", "state", "posture"))
        >>> space.group_members
        ((0, 1), (2,))
        >>> space.class_names(np.array([[1, 0, 1], [0, 0, 0]], dtype=np.int8))
        [('eats', 'rears'), ()]
    """

    classes: tuple[str, ...]
    background: str | None = None
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.groups is not None and len(self.groups) != len(self.classes):
            raise ValueError(f"got {len(self.groups)} groups, expected one for each of {len(self.classes)} classes")
        if len(self._indices) < len(self.classes):
            twice = next(name for index, name in enumerate(self.classes) if self._indices[canonical(name)] != index)
            raise InputError(f"a class is listed twice: {shorten(twice)!r}")
        if self.background is not None and self.index(self.background) is None:
            guess = did_you_mean(self.background, self.classes)
            raise InputError(f"the background class {shorten(self.background)!r} is not a class{guess}")
        for name in self.classes:
            fault = find_control_character(name) or (None if self.is_exclusive else find_column_clash(name))
            if fault:
                raise InputError(f"class {shorten(name)!r} {fault}")
        joined = [name for name in self.classes if SEPARATOR in name]
        if self.groups is not None and joined:
            raise InputError(
                f"classes that overlap are joined by {SEPARATOR!r}: got {joined[0]!r}, expected a name without it"
            )

    @classmethod
    def independent(cls, classes: tuple[str, ...], background: str | None = None) -> "LabelSpace":
        """Return the space in which each class is a group of its own, so that any of them may overlap.

        Args:
            classes: See `LabelSpace`.
            background: See `LabelSpace`.
        """
        return cls(classes, background, groups=classes)

    @property
    def is_exclusive(self) -> bool:
        """Whether every labelled frame has exactly one class; otherwise it has any number of them."""
        return self.groups is None

    @cached_property
    def group_members(self) -> tuple[tuple[int, ...], ...]:
        """The indices of the classes of each group, in the order in which the groups first occur.

        Exclusive classes are one group.
        """
        groups = self.groups or ("",) * self.num_classes
        return tuple(
            tuple(index for index, other in enumerate(groups) if other == group) for group in dict.fromkeys(groups)
        )

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {canonical(name): index for index, name in enumerate(self.classes)}

    @property
    def num_classes(self) -> int:
        """K, the number of classes and of the outputs of a model that predicts them."""
        return len(self.classes)

    @property
    def background_index(self) -> int | None:
        """The index of the background class; None where there is none."""
        return None if self.background is None else self.index(self.background)

    def index(self, name: str) -> int | None:
        """Return the index of the class `name`, in any Unicode form; None where there is no such class."""
        return self._indices.get(canonical(name))

    def name(self, index: int) -> str | None:
        """Return the name of the class with this index; None for IGNORE_INDEX, the label of an unlabelled frame."""
        return None if index == IGNORE_INDEX else self.classes[index]

    def names(self, labels: np.ndarray) -> list[str | None]:
        """Return the name of each of exclusive labels int64 [T]; None for an unlabelled frame."""
        return [self.name(index) for index in labels.tolist()]

    def class_names(self, labels: np.ndarray) -> list[tuple[str, ...]]:
        """Return the names of the classes that each frame has, of labels of either form."""
        if self.is_exclusive:
            return [() if name is None else (name,) for name in self.names(labels)]
        return [tuple(self.classes[index] for index in np.flatnonzero(row == PRESENT)) for row in labels]

    def is_labelled(self, labels: Labels) -> Labels:
        """Return which labels are given.

        Args:
            labels: Labels of either form and of any shape; a NumPy array or a tensor.

        Returns:
            bool, of the same shape: False at IGNORE_INDEX. Where classes overlap, it says so for each class.
        """
        return labels != IGNORE_INDEX

    def labelled_frames(self, labels: np.ndarray) -> np.ndarray:
        """Return bool [T]: which frames are labelled; where classes overlap, for one class at least."""
        is_labelled = self.is_labelled(labels)
        return is_labelled if self.is_exclusive else np.any(is_labelled, axis=1)

    def unlabelled(self, num_frames: int) -> np.ndarray:
        """Return labels of `num_frames` unlabelled frames: int64 [T], or int8 [T, K] where classes overlap."""
        if self.is_exclusive:
            return np.full(num_frames, IGNORE_INDEX, dtype=np.int64)
        return np.full((num_frames, self.num_classes), IGNORE_INDEX, dtype=np.int8)

    def check(self, labels: np.ndarray) -> None:
        """Check labels of a video.

        Args:
            labels: int64 [T], or int8 [T, K] where classes overlap.

        Raises:
            ValueError: A label is neither the index of a class nor IGNORE_INDEX; where classes overlap: the shape is
                another, a label is not PRESENT, ABSENT or IGNORE_INDEX, or a frame has two classes of one group.
        """
        if not self.is_exclusive:
            self._check_overlapping(labels)
            return
        given = labels[self.is_labelled(labels)]
        if len(given) and not 0 <= given.min() <= given.max() < self.num_classes:
            raise ValueError(
                f"got labels from {given.min()} to {given.max()}, expected indices of {self.num_classes} classes"
            )

    def _check_overlapping(self, labels: np.ndarray) -> None:
        if labels.ndim != 2 or labels.shape[1] != self.num_classes:
            raise ValueError(f"got labels of shape {labels.shape}, expected [frames, {self.num_classes} classes]")
        # Not by np.isin, which takes twelve times the memory of the labels.
        if not ((labels == PRESENT) | (labels == ABSENT) | (labels == IGNORE_INDEX)).all():
            raise ValueError(f"got other labels than present {PRESENT}, absent {ABSENT} and unlabelled {IGNORE_INDEX}")
        for clash in self.find_clashes(labels):
            names = ", ".join(self.classes[index] for index in clash.members)
            raise ValueError(f"frame {clash.first} has several classes of one group: {names}")

    def find_clashes(self, labels: np.ndarray) -> list[Clash]:
        """Find the frames that have several classes of one group.

        Args:
            labels: int8 [T, K], of classes that overlap.

        Returns:
            A clash for each group with such frames, in the order of `group_members`.
        """
        clashes = []
        for members in self.group_members:
            is_present = labels[:, members] == PRESENT
            (frames,) = np.nonzero(is_present.sum(axis=1) > 1)
            if len(frames):
                found = tuple(members[i] for i in np.flatnonzero(is_present[frames[0]]))
                clashes.append(Clash(len(frames), int(frames[0]), found))
        return clashes

    def describe_change(self, data: "LabelSpace", *, name: str = "the data") -> str | None:
        """Describe how the classes of the caller's data differ from these, on which a model was trained.

        The background changes no label and is not compared.

        Args:
            data: The label space of the caller's data.
            name: What the data are called.

        Returns:
            One sentence without its subject, the model; None where the classes are the same, in the same order.

        Example:
            >>> LabelSpace(("rest", "walk")).describe_change(LabelSpace(("rest",)))
            'was trained on another class list (2 classes, the data has 1): the data lacks walk'
        """
        if [*map(canonical, self.classes)] == [*map(canonical, data.classes)]:
            if (self.is_exclusive, self.group_members) == (data.is_exclusive, data.group_members):
                return None
            return f"was trained on classes of which {self._describe_groups()}; in {name}, {data._describe_groups()}"
        missing = [each for each in self.classes if data.index(each) is None]
        new = [each for each in data.classes if self.index(each) is None]
        parts = [
            f"{name} {verb} {', '.join(map(shorten, names))}"
            for verb, names in (("lacks", missing), ("adds", new))
            if names
        ]
        change = "; ".join(parts) or "the order differs"
        return (
            f"was trained on another class list ({self.num_classes} classes, {name} has {data.num_classes}): {change}"
        )

    def _describe_groups(self) -> str:
        """Say in the words of a subordinate clause which classes exclude each other."""
        if self.is_exclusive:
            return "each frame has exactly one"
        several = [", ".join(self.classes[i] for i in members) for members in self.group_members if len(members) > 1]
        return "any may overlap" + "".join(f", but not {names}" for names in several)
