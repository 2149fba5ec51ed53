"""Files of other programs where labels are expected: they are placed on frames, and handed on as label files."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.annotations.foreign.registry import recognise
from pipeline.annotations.formats import foreign_file
from pipeline.annotations.formats.registry import format_of, video_table_of
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.read import class_names_in
from pipeline.errors import InputError
from pipeline.interchange.dataset import write_labels
from pipeline.interchange.imported import Imported, ImportOptions
from pipeline.interchange.importing import import_files
from pipeline.interchange.recognition import ForeignFile
from pipeline.interchange.videos import VideoFolder


def is_foreign(place: Path) -> bool:
    """Return whether a path is a file of another program; label files and folders of them are not.

    Raises:
        AnnotationError: The file cannot be read.
    """
    if not place.is_file() or video_table_of(place) is not None:
        return False
    layout = format_of(place)
    if layout is not None and layout not in foreign_file.FORMATS:
        try:
            class_names_in(place)
        except AnnotationError:
            return recognise(place) is not None
        return False
    return recognise(place) is not None


@contextmanager
def label_files_of(
    place: Path,
    videos: Sequence[Path],
    *,
    options: ImportOptions | None = None,
    on_import: Callable[[Imported], None] = lambda imported: None,
) -> Iterator[Path]:
    """Yield a folder of label files: the place itself, or, for a file of another program, what it says.

    Args:
        place: A folder of label files, a label file, or a file of another program.
        videos: Where the videos are that such a file names; they say which frames are shown when.
        options: What becomes of subjects and the like.
        on_import: Is called with what was imported.

    Raises:
        InputError: There are no videos for a file of another program, or it cannot be used.
    """
    if not is_foreign(place):
        yield place
        return
    layout = recognise(place)
    assert layout is not None, place
    if not videos:
        raise InputError(f"{place}: is a file of another program ({layout.title}): name its videos with --videos DIR")
    imported = import_files([ForeignFile(place, layout)], VideoFolder(*videos), options or ImportOptions())
    on_import(imported)
    with tempfile.TemporaryDirectory(prefix="framescribe.") as folder:
        write_labels(Path(folder), imported)
        yield Path(folder) / "labels"
