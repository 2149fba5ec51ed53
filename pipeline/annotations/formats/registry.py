"""All layouts that are read. A new one is a file beside this one and a line here."""

from pathlib import Path

from pipeline.annotations.formats import (
    frame_list,
    predicted_frames,
    predicted_segments,
    segment_table,
    video_labels,
)
from pipeline.annotations.formats.base import AnnotationFormat, VideoTable

# In order of precedence: where the name of a file matches several, or a video has files of several, the first counts.
FORMATS: tuple[AnnotationFormat, ...] = (
    predicted_frames.FORMAT,
    predicted_segments.FORMAT,
    segment_table.FORMAT,
    frame_list.FORMAT,
)
VIDEO_TABLES: tuple[VideoTable, ...] = (video_labels.FORMAT,)


def format_of(path: Path) -> AnnotationFormat | None:
    """The layout of a label file by its name, None where it has that of none."""
    return next((layout for layout in FORMATS if layout.matches(path)), None)


def data_set_formats() -> list[AnnotationFormat]:
    """The layouts that may lie in labels/ of a data set."""
    return [layout for layout in FORMATS if layout.is_of_data_set]


def data_set_format_of(path: Path) -> AnnotationFormat | None:
    """The layout of a file in labels/ of a data set by its name, None where it has that of none."""
    return next((layout for layout in data_set_formats() if layout.matches(path)), None)


def video_table_of(path: Path) -> VideoTable | None:
    """The layout of a file that gives each video one class by its name, None where it has that of none."""
    return next((table for table in VIDEO_TABLES if path.name == table.file_name), None)
