"""How the frames of predicted labels are written: the columns, and what each frame has in them.

Exclusive classes have one column for the class and one for its probability. Where classes overlap, one column has the
names of all classes of a frame, and each class has its probability. `frame_layout` chooses one of both once.

Shapes: T frames, K classes.
"""

from typing import Protocol

import numpy as np

from pipeline.annotations.label_space import SEPARATOR, LabelSpace
from pipeline.annotations.layouts import (
    OVERLAPPING_FRAMES_START,
    OVERLAPPING_PROBABILITY_DECIMALS,
    PREDICTED_FRAMES_HEADER,
    PROBABILITY_DECIMALS,
    names_of_frame,
)


class FrameLayout(Protocol):
    """The columns of predicted frames, and their content.

    Attributes:
        header: The columns of a `<stem>.frames.csv`.
        fields: The fields of a frame in JSON and Parquet, after its number and its time.
        shapes: The shapes of labels and probabilities, and of the times, for messages.
        num_axes: The number of axes of labels and of probabilities.
        may_overlap: Whether segments may overlap.
    """

    header: tuple[str, ...]
    fields: tuple[str, str]
    shapes: str
    num_axes: int
    may_overlap: bool

    def values(self, label: int | np.ndarray, probability: float | np.ndarray) -> tuple[object, object]:
        """Return the rounded values of the `fields` of a frame; None for an unlabelled one."""

    def cells(self, label: int | np.ndarray, probability: float | np.ndarray) -> tuple[str, ...]:
        """Return the cells of a frame, after its number and its time; empty ones for an unlabelled one."""

    def check(self, labels: np.ndarray) -> None:
        """Raise ValueError where labels of the label space cannot be written."""


class ExclusiveFrames:
    """The layout of exclusive classes. A label is the index of a class, and a probability that of this class.

    Args:
        label_space: The classes.
    """

    header: tuple[str, ...] = PREDICTED_FRAMES_HEADER
    fields = ("label", "probability")
    shapes = "[T] for each"
    num_axes = 1
    may_overlap = False

    def __init__(self, label_space: LabelSpace) -> None:
        self._label_space = label_space

    def values(self, label: int | np.ndarray, probability: float | np.ndarray) -> tuple[str | None, float | None]:
        """Return the name of the class, and its probability."""
        name = self._label_space.name(int(label))
        return name, None if name is None else round(float(probability), PROBABILITY_DECIMALS)

    def cells(self, label: int | np.ndarray, probability: float | np.ndarray) -> tuple[str, ...]:
        """Return the name of the class, and its probability."""
        name = self._label_space.name(int(label))
        return name or "", f"{probability:.{PROBABILITY_DECIMALS}f}" if name else ""

    def check(self, labels: np.ndarray) -> None:
        """Accept all valid labels."""


class OverlappingFrames:
    """The layout of classes that overlap. Labels are int8 [K] of each frame, and probabilities [K].

    Args:
        label_space: The classes.
    """

    fields = ("labels", "probabilities")
    shapes = "[T, K], [T, K] and [T]"
    num_axes = 2
    may_overlap = True

    def __init__(self, label_space: LabelSpace) -> None:
        self._label_space = label_space
        self.header: tuple[str, ...] = (*OVERLAPPING_FRAMES_START, *label_space.classes)

    def values(
        self, label: int | np.ndarray, probability: float | np.ndarray
    ) -> tuple[list[str] | None, dict[str, float] | None]:
        """Return the names of the classes of the frame, and the probability of each class by its name."""
        names = names_of_frame(np.asarray(label), self._label_space)
        if names is None:
            return None, None
        rounded = (round(p, OVERLAPPING_PROBABILITY_DECIMALS) for p in np.asarray(probability).tolist())
        return list(names), dict(zip(self._label_space.classes, rounded, strict=True))

    def cells(self, label: int | np.ndarray, probability: float | np.ndarray) -> tuple[str, ...]:
        """Return the names of the classes of the frame, joined by the SEPARATOR, and the probability of each class."""
        names = names_of_frame(np.asarray(label), self._label_space)
        if names is None:
            return ("",) * (1 + self._label_space.num_classes)
        return SEPARATOR.join(names), *(f"{p:.{OVERLAPPING_PROBABILITY_DECIMALS}f}" for p in np.asarray(probability))

    def check(self, labels: np.ndarray) -> None:
        """Raise ValueError where a frame is labelled for some classes only: a row says it for all of them or none."""
        is_labelled = self._label_space.is_labelled(labels)
        in_part = is_labelled.any(axis=1) & ~is_labelled.all(axis=1)
        if in_part.any():
            raise ValueError(
                f"frame {in_part.argmax()} is labelled for some classes only, expected all of them or none"
            )


def frame_layout(label_space: LabelSpace) -> FrameLayout:
    """Return the layout of predicted frames with these classes.

    >>> frame_layout(LabelSpace.independent(("eats", "rears"))).header
    ('frame', 'time_seconds', 'labels', 'eats', 'rears')
    >>> frame_layout(LabelSpace(("eats", "rears"))).cells(1, 0.75)
    ('rears', '0.7500')
    """
    return ExclusiveFrames(label_space) if label_space.is_exclusive else OverlappingFrames(label_space)


def check_predicted(
    labels: np.ndarray, probabilities: np.ndarray, pts_seconds: np.ndarray, label_space: LabelSpace
) -> None:
    """Check predicted labels before they are written.

    Args:
        labels: int64 [T], or int8 [T, K] where classes overlap.
        probabilities: float, of the same shape.
        pts_seconds: float64 [T].
        label_space: The classes.

    Raises:
        ValueError: The arrays differ in shape, or a label is not valid in `label_space`; or classes overlap, and a
            frame is labelled for some of them only.
    """
    layout = frame_layout(label_space)
    num_axes, shape = layout.num_axes, labels.shape
    if shape != probabilities.shape or shape[:1] != pts_seconds.shape or labels.ndim != num_axes:
        shapes = f"{shape}, {probabilities.shape} and {pts_seconds.shape}"
        raise ValueError(f"got labels, probabilities and pts_seconds of shapes {shapes}, expected {layout.shapes}")
    label_space.check(labels)
    layout.check(labels)
