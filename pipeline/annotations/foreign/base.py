"""The interface of a file format of another program.

Shapes: T frames, K classes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.annotations.foreign.document import Document, Loss
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import timed_segments
from pipeline.annotations.segments import Segment
from pipeline.annotations.times import FrameTimes


class LabelledVideo(NamedTuple):
    """The labels of one video, to be written for another program.

    Attributes:
        video: The video file.
        labels: Of `label_space`: int64 [T], or int8 [T, K] where classes overlap.
        label_space: The classes.
        times: When the frames are shown.
        frame_rate: The average number of frames per second.
        probabilities: float32 [T] or [T, K], see `annotations.write.write_frames`; None where they are not known.
    """

    video: Path
    labels: np.ndarray
    label_space: LabelSpace
    times: FrameTimes
    frame_rate: float
    probabilities: np.ndarray | None = None

    def timed_segments(self) -> Iterator[tuple[Segment, tuple[float, float]]]:
        """Yield each segment with its start and its stop in seconds, see `layouts.timed_segments`."""
        return timed_segments(self.labels, self.times.pts_seconds, self.times.frame_seconds)


Read = Callable[[Path], Document]
Write = Callable[[Path, Sequence[LabelledVideo]], list[Loss]]


@dataclass(frozen=True)
class ForeignFormat:
    """A file format of another program.

    Attributes:
        name: How the command line calls it, such as "boris".
        title: What it is, such as "BORIS project".
        suffixes: The ends of its file names, such as (".boris",), in any case; the first is that of what is written.
        keeps: What is kept when such a file is imported, in the words of a list.
        loses: What is not.
        looks_like: Whether the content of a file looks like this format, by its name and the beginning of its text; it
            raises nothing.
        read: Reads a file; raises AnnotationError with every problem that makes it unusable. A row that cannot be used
            beside good ones is a Loss. None where files of this format are not read.
        write: Writes labels into a file, whole or not at all (`files.replacing`), and returns what is lost. None where
            files of this format are not written.
        is_per_video: Whether each video has a file of its own; otherwise one file has all videos.
        names_video: Whether a file names its videos; otherwise it is named after its only video.
        side_files: The names of files that lie beside those with labels, and have none.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    keeps: str
    loses: str
    looks_like: Callable[[Path, str], bool]
    read: Read | None = None
    write: Write | None = None
    is_per_video: bool = True
    names_video: bool = True
    side_files: tuple[str, ...] = ()


def written_at(video: Path) -> datetime:
    """Return when a video was last written, 1970 where it is not there: the date that files of other programs state.

    The date of today would make each call write another file.
    """
    try:
        return datetime.fromtimestamp(int(video.stat().st_mtime))
    except OSError:
        return datetime(1970, 1, 1)
