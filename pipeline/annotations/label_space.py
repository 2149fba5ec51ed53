"""The meaning of labels: which classes there are, which index stands for which class, and which frames have no label.

All questions about a label go to the LabelSpace: whether a frame is labelled, the name of its class, which class is the
background, how many classes a model distinguishes, whether labels are valid.

Shapes: T frames, K classes.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pipeline.annotations.problems import did_you_mean, shorten
from pipeline.errors import InputError
from pipeline.files import canonical

if TYPE_CHECKING:
    import torch

IGNORE_INDEX = -100  # the label of an unlabelled frame: torch's cross-entropy ignores it
Labels = TypeVar("Labels", np.ndarray, "torch.Tensor")


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set or a model.

    Attributes:
        classes: The names in the order of their indices, from 0.
        background: The class that is left out of the scores "without background"; None where there is none.

    Raises:
        InputError: A class is listed twice, or `background` is not one of them.

    Example:
        >>> space = LabelSpace(("rest", "walk"), background="rest")
        >>> space.num_classes, space.index("walk"), space.background_index
        (2, 1, 0)
        >>> space.names(np.array([1, 0, -100]))
        ['walk', 'rest', None]
    """

    classes: tuple[str, ...]
    background: str | None = None

    def __post_init__(self) -> None:
        if len(self._indices) < len(self.classes):
            twice = next(name for index, name in enumerate(self.classes) if self._indices[canonical(name)] != index)
            raise InputError(f"a class is listed twice: {shorten(twice)!r}")
        if self.background is not None and self.index(self.background) is None:
            guess = did_you_mean(self.background, self.classes)
            raise InputError(f"the background class {shorten(self.background)!r} is not a class{guess}")

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
        """Return the name of the class with this index; None for IGNORE_INDEX, an unlabelled frame."""
        return None if index == IGNORE_INDEX else self.classes[index]

    def names(self, labels: np.ndarray) -> list[str | None]:
        """Return the name of each of labels int64 [T]; None for an unlabelled frame."""
        return [self.name(index) for index in labels.tolist()]

    def is_labelled(self, labels: Labels) -> Labels:
        """Return which frames are labelled.

        Args:
            labels: int64, of any shape; a NumPy array or a tensor.

        Returns:
            bool, of the same shape: False at IGNORE_INDEX.
        """
        return labels != IGNORE_INDEX

    def unlabelled(self, num_frames: int) -> np.ndarray:
        """Return labels int64 [num_frames] of unlabelled frames."""
        return np.full(num_frames, IGNORE_INDEX, dtype=np.int64)

    def check(self, labels: np.ndarray) -> None:
        """Check labels int64 [T].

        Raises:
            ValueError: A label is neither the index of a class nor IGNORE_INDEX.
        """
        given = labels[self.is_labelled(labels)]
        if len(given) and not 0 <= given.min() <= given.max() < self.num_classes:
            raise ValueError(
                f"got labels from {given.min()} to {given.max()}, expected indices of {self.num_classes} classes"
            )

    def describe_change(self, data: "LabelSpace") -> str | None:
        """Describe how the classes of the caller's data differ from these, on which a model was trained.

        The background changes no label and is not compared.

        Args:
            data: The label space of the caller's data.

        Returns:
            One sentence without its subject, the model; None where the classes are the same, in the same order.

        Example:
            >>> LabelSpace(("rest", "walk")).describe_change(LabelSpace(("rest",)))
            'was trained on another class list (2 classes, the data has 1): the data lacks walk'
        """
        if [*map(canonical, self.classes)] == [*map(canonical, data.classes)]:
            return None
        missing = [name for name in self.classes if data.index(name) is None]
        new = [name for name in data.classes if self.index(name) is None]
        parts = [
            f"the data {verb} {', '.join(map(shorten, names))}"
            for verb, names in (("lacks", missing), ("adds", new))
            if names
        ]
        change = "; ".join(parts) or "the order differs"
        return (
            f"was trained on another class list ({self.num_classes} classes, the data has {data.num_classes}): {change}"
        )
