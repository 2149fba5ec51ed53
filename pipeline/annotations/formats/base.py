"""What a layout of label files is to those that read one. T frames."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.annotations.label_space import LabelSpace

ClassNames = Callable[[Path], set[str]]
VideoClasses = dict[str, tuple[int, int]]  # of each stem, the index of its class and the line that says so


class ReadLabels(Protocol):
    """Read a file as labels int64 [T]; `num_frames` is the T of the video, None takes it from the file.

    Raises AnnotationError with every problem of the file.
    """

    def __call__(self, path: Path, label_space: LabelSpace, *, num_frames: int | None) -> np.ndarray: ...


@dataclass(frozen=True)
class AnnotationFormat:
    """A layout in which each video has a file of its own, named after the stem of the video.

    Attributes:
        suffix: What comes after the stem.
        read: See `ReadLabels`.
        class_names: The names that a file uses, "" among them where a frame has none; raises as `read` does.
        is_of_data_set: Whether people write it, so that it may lie in labels/ of a data set.
        has_length: Whether a file says how many frames the video has; otherwise frames at the end may be missing.
    """

    suffix: str
    read: ReadLabels
    class_names: ClassNames
    is_of_data_set: bool = True
    has_length: bool = True

    def matches(self, path: Path) -> bool:
        """Whether a file is named as files of this layout are."""
        return path.name.endswith(self.suffix) and path.name != self.suffix

    def stem(self, path: Path) -> str:
        """The stem of the video whose labels a file holds."""
        return path.name.removesuffix(self.suffix)


@dataclass(frozen=True)
class VideoTable:
    """A layout in which one file, of one name, gives each video of a data set one class.

    Attributes:
        file_name: The name of the file.
        read: See `VideoClasses`; raises AnnotationError with every problem of the file.
        class_names: The names that a file uses; raises as `read` does.
    """

    file_name: str
    read: Callable[[Path, LabelSpace], VideoClasses]
    class_names: ClassNames
