"""All file formats of other programs. A new one needs a module beside this one and a line here."""

from pathlib import Path

from pipeline.annotations.foreign import (
    activitynet,
    boris,
    boris_tables,
    class_table,
    cvat,
    elan,
    feral,
    frame_table,
    frame_text,
    label_studio,
    observer,
    praat,
    solomon,
    via3,
)
from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.problems import read_head

FOREIGN_FORMATS: tuple[ForeignFormat, ...] = (
    boris.FORMAT,
    boris_tables.FORMAT,
    observer.FORMAT,
    solomon.FORMAT,
    elan.FORMAT,
    label_studio.FORMAT,
    praat.FORMAT,
    via3.FORMAT,
    activitynet.FORMAT,
    cvat.FORMAT,
    feral.FORMAT,
    class_table.FORMAT,
    frame_text.FORMAT,
    frame_table.FORMAT,
)
HEAD_BYTES = 1 << 16  # of a file, by which its format is recognised


def foreign_format(name: str) -> ForeignFormat | None:
    """Return the format with a name; None where there is none."""
    return next((found for found in FOREIGN_FORMATS if found.name == name), None)


def recognise(path: Path) -> ForeignFormat | None:
    """Return the format that a file looks like, by its name and its beginning; None where it looks like none.

    Raises:
        AnnotationError: The file cannot be read.
    """
    head = read_head(path, HEAD_BYTES)
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = head.decode(encoding, errors="replace")
    return next((found for found in FOREIGN_FORMATS if found.looks_like(path, text)), None)
