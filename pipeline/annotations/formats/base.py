"""The interface of a layout of label files.

Shapes: T frames, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import Problem
from pipeline.annotations.times import FrameTimes

ClassNames = Callable[[Path], set[str]]
HasLength = Callable[[Path, LabelSpace], bool]
# For each stem, `canonical`: the index of its class, or int8 [K] where classes overlap; the number of its first line
VideoClasses = dict[str, tuple[int | np.ndarray, int]]


def always(path: Path, label_space: LabelSpace) -> bool:
    """Return True: the `has_length` of a layout whose files all give the number of frames."""
    return True


def never(path: Path, label_space: LabelSpace) -> bool:
    """Return False: the `has_length` of a layout none of whose files gives the number of frames."""
    return False


@dataclass(frozen=True)
class VideoFrames:
    """What is known of the frames of the video that a label file is of.

    Attributes:
        num_frames: T, the number of frames; None takes it from the file.
        times: When the frames are shown; None where it is not known, and labels in seconds cannot be read.
    """

    num_frames: int | None = None
    times: FrameTimes | None = None


class ReadLabels(Protocol):
    """A function that reads a file as labels int64 [T], or int8 [T, K] where classes overlap.

    The function raises AnnotationError with every problem of the file. What it reads in a way that a user may not
    expect, such as a column that it passes over, is appended to `notes`.
    """

    def __call__(self, path: Path, label_space: LabelSpace, *, video: VideoFrames, notes: list[Problem]) -> np.ndarray:
        """Read a file."""
        ...


@dataclass(frozen=True)
class AnnotationFormat:
    """A layout in which each video has its own file, named after the stem of the video.

    Attributes:
        suffix: The end of the file name, after the stem.
        read: See `ReadLabels`.
        class_names: Reads the class names that a file uses, with "" among them where a frame has none; it raises as
            `read` does.
        is_of_people: Whether people write files of this layout; otherwise `framescribe label` does.
        has_length: Returns whether a file gives the number of frames of the video; otherwise frames at the end may be
            missing.
    """

    suffix: str
    read: ReadLabels
    class_names: ClassNames
    is_of_people: bool = True
    has_length: HasLength = always

    def matches(self, path: Path) -> bool:
        """Return whether the name of a file is that of a file of this layout."""
        return path.name.endswith(self.suffix) and path.name != self.suffix

    def stem(self, path: Path) -> str:
        """Return the stem of the video whose labels a file contains."""
        return path.name.removesuffix(self.suffix)


@dataclass(frozen=True)
class VideoTable:
    """A layout in which a single file with a fixed name gives each video of a data set its class or classes.

    Attributes:
        file_name: The name of the file.
        read: Reads a file; it raises AnnotationError with every problem of the file.
        class_names: Reads the class names that a file uses; it raises as `read` does.
    """

    file_name: str
    read: Callable[[Path, LabelSpace], VideoClasses]
    class_names: ClassNames
