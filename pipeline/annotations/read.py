"""Reading label files: those that people write, in labels/ of a data set, and those that `framescribe label` writes.

Frames are numbered from 0, and segments are half-open, [start, stop). `formats` has a module for each layout:

    <stem>.txt           one class name per line, one line per frame; an EMPTY line is an unlabelled frame
    <stem>.csv           a table, as its header says:
      start,stop,class                      frames in no row are unlabelled; rows in any order
      start_seconds,stop_seconds,class      the same by the times at which the frames of the video are shown
      frame,class                           one row per frame
      a column for each class               one row per frame: 1, 0, or empty where nobody looked
    <stem>.tsv, .xlsx    the same
    <stem>.eaf, ...      files of other programs, see `foreign_file`
    labels.csv           stem,class; one class for all frames of a video, instead of a file for each video
    <stem>.frames.csv    frame,time_seconds,label,probability                       one row per frame
    <name>.live.csv      the same, written row by row during the recording; dropped frames have no row
    <stem>.segments.csv  start,stop,start_seconds,stop_seconds,label,probability    every labelled frame is in a row

Tables are read as spreadsheets leave them: columns in any order and with the names that `columns` knows, separated by
commas, semicolons or tabs, in UTF-8 or UTF-16.

Where classes overlap, names in a .txt are joined by the SEPARATOR, rows may overlap, a frame in no row has none of the
classes, and a .frames.csv has a column for each class (`predicted_sets`).

A reader collects all problems of a file and raises them as one AnnotationError.

Shapes: T frames, K classes.
"""

from pathlib import Path
from typing import NoReturn

import numpy as np

from pipeline.annotations.formats import (
    foreign_file,
    predicted_frames,
    predicted_pair,
    predicted_segments,
    predicted_sets,
    predicted_times,
    registry,
    table,
)
from pipeline.annotations.formats.base import AnnotationFormat, VideoFrames
from pipeline.annotations.formats.parsing import raise_problems, unknown_cause
from pipeline.annotations.formats.segment_rows import is_in_seconds, read_with_rows
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.layouts import PREDICTED_SEGMENTS_HEADER, SEGMENTS_HEADER
from pipeline.annotations.problems import AnnotationError, Problem
from pipeline.annotations.segments import Segment
from pipeline.annotations.times import FrameTimes
from pipeline.files import find_named, is_dangling


def find_annotation(folder: Path, stem: str, *, file_name: str | None = None) -> Path | None:
    """Find the label file of a video.

    Args:
        folder: The folder of the label files.
        stem: The stem of the video, in any Unicode form.
        file_name: Its name with its suffix, after which a label file may be named too, such as `clip.mp4.csv`.

    Returns:
        The file, which may be a link to what is not there; None where there is none. A .frames.csv counts as one with
        the .segments.csv of the same labels, which is written together with it.

    Raises:
        AnnotationError: There are several.
    """
    names = [f"{name}{layout.suffix}" for name in (stem, file_name) if name for layout in registry.FORMATS]
    paths = [find_named(Path(folder), name) for name in dict.fromkeys(names)]
    found = [path for path in paths if path is not None and (path.is_file() or is_dangling(path))]
    # Beside the label file lies the file of the program from which it was exported.
    found = [path for path in found if registry.format_of(path) not in foreign_file.FORMATS] or found
    if len(found) > 1 and not (predicted_pair.is_pair(found) and predicted_pair.agree(*found)):
        found.sort(key=lambda path: not is_of_people(path))
        others = " and ".join(path.name for path in found[1:])
        both = "both" if len(found) == 2 else "all"
        raise AnnotationError([Problem(found[0], None, f"and {others} {both} label {stem!r}: keep one of them")])
    return found[0] if found else None


def is_of_people(path: Path) -> bool:
    """Return whether a label file has, by its name, a layout that people write, and not that of `framescribe label`."""
    layout = registry.format_of(path)
    return layout is not None and layout.is_of_people


def read_annotation(
    path: Path,
    label_space: LabelSpace,
    *,
    num_frames: int | None,
    times: FrameTimes | None = None,
    notes: list[Problem] | None = None,
) -> np.ndarray:
    """Read a label file of a data set, such as `<stem>.txt` or `<stem>.csv`.

    Args:
        path: The file. One with the name of a file that `framescribe label` writes may have what its header says.
        label_space: The classes that it may name.
        num_frames: T, the number of frames of the video. None: as many as the file has (of a .csv, the last stop).
        times: When the frames of the video are shown, for labels in seconds; None where it is not known.
        notes: It is appended to this list what is read in a way that may not be expected; None where nobody asks.

    Returns:
        Labels of `label_space`: int64 [T], or int8 [T, K] where classes overlap.

    Raises:
        AnnotationError: Every problem of the file: it is not a label file or cannot be read, the header is wrong,
            numbers are not integers, a segment is negative, empty, beyond the end of the video or overlaps another that
            it may not, times are given and those of the frames are not known, a class is unknown, there are more or
            fewer lines than frames, a frame has classes that exclude each other.
    """
    layout = registry.content_format_of(Path(path))
    return _read(layout, path, label_space, VideoFrames(num_frames, times), notes)


def read_with_segments(path: Path, label_space: LabelSpace, *, times: FrameTimes) -> tuple[np.ndarray, list[Segment]]:
    """Read a label file of any layout, and its segments as its rows have them: two that touch may have one class.

    Args:
        path: The file.
        label_space: The classes.
        times: When the frames of the video are shown.

    Returns:
        Labels as those of `read_annotation`, and the segments; none of a file that is not a table of segments.

    Raises:
        AnnotationError: See `read_annotation`.
    """
    path, video = Path(path), VideoFrames(times.num_frames, times)
    layout = registry.content_format_of(path)
    if layout is predicted_segments.FORMAT:
        return read_with_rows(path, PREDICTED_SEGMENTS_HEADER, label_space, video=video, notes=[])
    if layout in table.FORMATS and table.has_segments(path, label_space):
        return read_with_rows(path, SEGMENTS_HEADER, label_space, video=video, notes=[])
    return _read(layout, path, label_space, video, None), []


def check_without_video(path: Path, label_space: LabelSpace) -> None:
    """Check a label file of a data set as far as that is possible without its video.

    Raises:
        AnnotationError: As in `read_annotation`. Of labels in seconds, only the classes are checked.
    """
    if not needs_times(path):
        read_annotation(path, label_space, num_frames=None)
        return
    unknown = [name for name in sorted(class_names_in(path)) if label_space.index(name) is None]
    raise_problems(
        [Problem(path, None, f"unknown class {name!r}{unknown_cause(name, label_space)}") for name in unknown]
    )


def read_predicted(
    path: Path,
    label_space: LabelSpace,
    *,
    num_frames: int | None = None,
    times: FrameTimes | None = None,
    notes: list[Problem] | None = None,
) -> np.ndarray:
    """Read a label file that `framescribe label` wrote, or one of a data set.

    Args:
        path: The file.
        label_space: The classes that it may name.
        num_frames: T, the number of frames of the video. None: as many as the file has.
        times: See `read_annotation`.
        notes: See `read_annotation`.

    Returns:
        Labels of `label_space`: int64 [T], or int8 [T, K] where classes overlap.

    Raises:
        AnnotationError: As for `read_annotation`, and where the frames of a .frames.csv are not 0, 1, 2, ...
    """
    return _read(registry.format_of(Path(path)), path, label_space, VideoFrames(num_frames, times), notes)


def _read(
    layout: AnnotationFormat | None,
    path: Path,
    label_space: LabelSpace,
    video: VideoFrames,
    notes: list[Problem] | None,
) -> np.ndarray:
    if layout is None:
        _refuse(Path(path))
    return layout.read(Path(path), label_space, video=video, notes=[] if notes is None else notes)


def read_probabilities(path: Path, label_space: LabelSpace) -> np.ndarray | None:
    """Read the probabilities of classes that overlap from a label file that `framescribe label` wrote.

    Args:
        path: The file.
        label_space: The classes.

    Returns:
        float32 [T, K], NaN where a frame was not decoded; None where the file has no probability of each class.

    Raises:
        AnnotationError: Every problem of the file: columns are missing or unknown, a cell is not a probability.
    """
    path = Path(path)
    if label_space.is_exclusive or registry.format_of(path) is not predicted_frames.FORMAT:
        return None
    return predicted_sets.read_probabilities(path, label_space)


def needs_times(path: Path) -> bool:
    """Return whether a label file gives times in seconds, so that only the times of the video give its frames.

    Raises:
        AnnotationError: The file cannot be read, or is in another encoding.
    """
    layout = registry.content_format_of(Path(path))
    return layout in foreign_file.FORMATS or (layout in table.FORMATS and is_in_seconds(Path(path)))


def has_length(path: Path, label_space: LabelSpace) -> bool:
    """Return whether a label file in a data set gives the number of frames of its video.

    Raises:
        AnnotationError: The file cannot be read, or is in another encoding.
    """
    layout = registry.content_format_of(Path(path))
    return layout is not None and layout.has_length(Path(path), label_space)


def read_edges(path: Path, num_frames: int) -> np.ndarray | None:
    """Read when the frames of a video are shown from a label file that `framescribe label` wrote.

    Args:
        path: A file whose labels can be read.
        num_frames: T, the number of its frames.

    Returns:
        float64 [T + 1], in seconds: when each frame starts, and when the last one ends; None where the file does not
        say it.

    Raises:
        AnnotationError: The file cannot be read, a time is not a number, or the times do not ascend.
    """
    layout = registry.content_format_of(Path(path))
    if layout is predicted_frames.FORMAT:
        return predicted_times.edges_of_frames(Path(path), num_frames)
    if layout is predicted_segments.FORMAT:
        return predicted_times.edges_of_segments(Path(path), num_frames)
    return None


def class_names_in(path: Path) -> set[str]:
    """Read the class names that a label file of any layout uses, for labels without a class list.

    Raises:
        AnnotationError: The file is not a label file, or its layout is wrong.
    """
    layout = registry.video_table_of(Path(path)) or registry.content_format_of(Path(path))
    if layout is None:
        _refuse(Path(path))
    return layout.class_names(Path(path)) - {""}


def _refuse(path: Path) -> NoReturn:
    *others, last = [layout.suffix for layout in reversed(registry.formats_of_people())]
    expected = f"{', '.join(others)} or {last}"
    raise AnnotationError([Problem(path, None, f"is not a label file: expected {expected}")])
