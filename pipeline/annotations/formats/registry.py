"""All layouts that can be read. A new layout needs a module beside this one and a line here."""

from pathlib import Path

from pipeline.annotations.formats import (
    frame_list,
    predicted_frames,
    predicted_segments,
    table,
    video_labels,
)
from pipeline.annotations.formats.base import AnnotationFormat, VideoTable

# In order of precedence: the first counts where the name of a file matches several, or a video has files of several.
FORMATS: tuple[AnnotationFormat, ...] = (
    predicted_frames.FORMAT,
    predicted_segments.FORMAT,
    table.FORMAT,
    frame_list.FORMAT,
)
VIDEO_TABLES: tuple[VideoTable, ...] = (video_labels.FORMAT,)


def format_of(path: Path) -> AnnotationFormat | None:
    """Return the layout of a label file by its name; None where the name matches no layout."""
    return next((layout for layout in FORMATS if layout.matches(path)), None)


def data_set_formats() -> list[AnnotationFormat]:
    """Return the layouts of the files that may be in labels/ of a data set."""
    return [layout for layout in FORMATS if layout.is_of_data_set]


def data_set_format_of(path: Path) -> AnnotationFormat | None:
    """Return the layout of a file in labels/ of a data set by its name; None where the name matches no layout."""
    return next((layout for layout in data_set_formats() if layout.matches(path)), None)


def video_table_of(path: Path) -> VideoTable | None:
    """Return, by its name, the layout of a file that gives each video its class; None where it matches no layout."""
    return next((table for table in VIDEO_TABLES if path.name == table.file_name), None)
