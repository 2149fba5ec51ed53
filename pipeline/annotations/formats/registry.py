"""All layouts that can be read. A new layout needs a module beside this one and a line here."""

from pathlib import Path

from pipeline.annotations.formats import (
    foreign_file,
    frame_list,
    predicted_frames,
    predicted_segments,
    table,
    video_labels,
)
from pipeline.annotations.formats.base import AnnotationFormat, VideoTable
from pipeline.files import VIDEO_SUFFIXES

# In order of precedence: the first counts where the name of a file matches several, or a video has files of several.
FORMATS: tuple[AnnotationFormat, ...] = (
    predicted_frames.FORMAT,
    predicted_segments.FORMAT,
    predicted_frames.LIVE_FORMAT,
    *table.FORMATS,
    frame_list.FORMAT,
    *foreign_file.FORMATS,
)
MEDIA_SUFFIXES = frozenset({*VIDEO_SUFFIXES, ".npy"})  # of files with labels, whose names may be whole in theirs
VIDEO_TABLES: tuple[VideoTable, ...] = (video_labels.FORMAT,)


def format_of(path: Path) -> AnnotationFormat | None:
    """Return the layout of a label file by its name; None where the name matches no layout."""
    return next((layout for layout in FORMATS if layout.matches(path)), None)


def formats_of_people() -> list[AnnotationFormat]:
    """Return the layouts of the files that people write."""
    return [layout for layout in FORMATS if layout.is_of_people]


def stems_in(path: Path) -> list[str]:
    """Return the stems of the videos that a label file may be of, by its name; the likeliest is the first.

    >>> stems_in(Path("clip.frames.csv")), stems_in(Path("clip.mp4.csv"))
    (['clip', 'clip.frames'], ['clip', 'clip.mp4'])
    """
    stems: list[str] = []
    for layout in FORMATS:
        if layout.matches(path):
            stem = layout.stem(path)
            stems += [Path(stem).stem, stem] if Path(stem).suffix.lower() in MEDIA_SUFFIXES else [stem]
    return stems


def content_format_of(path: Path) -> AnnotationFormat | None:
    """Return the layout of a label file in a data set; None where its name matches none.

    Where its name is that of a file that `framescribe label` writes, the header decides.

    Raises:
        AnnotationError: The file cannot be read, or is in another encoding.
    """
    layout = format_of(path)
    if layout is None or layout.is_of_people or table.predicted_format(path) is not None:
        return layout
    return table.FORMATS[0]


def video_table_of(path: Path) -> VideoTable | None:
    """Return, by its name, the layout of a file that gives each video its class; None where it matches no layout."""
    return next((table for table in VIDEO_TABLES if path.name == table.file_name), None)
