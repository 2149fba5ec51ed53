"""Files of other programs where labels are expected: they are placed on frames, and handed on as label files."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline.annotations.foreign.base import ForeignFormat
from pipeline.annotations.foreign.registry import recognise
from pipeline.annotations.formats import foreign_file
from pipeline.annotations.formats.registry import format_of, video_table_of
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.read import class_names_in
from pipeline.errors import InputError
from pipeline.files import canonical
from pipeline.interchange.dataset import write_labels
from pipeline.interchange.deciding import fill_background
from pipeline.interchange.imported import Imported, ImportOptions, ScoredFrames
from pipeline.interchange.importing import import_files
from pipeline.interchange.recognition import ForeignFile
from pipeline.interchange.videos import VideoFolder
from pipeline.metrics.label_files import find_label_files, find_label_space

# Our own label files look like these too.
ALSO_OURS = frozenset({"one-hot", "ms-tcn", "frame-table"})
NO_CLASS = "none"  # the class of frames in no event, where annotators are compared


def find_foreign_format(place: Path, *, prefer_ours: bool = False) -> ForeignFormat | None:
    """Return the format of a file of another program; None for label files, and for folders of them.

    Args:
        place: The file or the folder.
        prefer_ours: Whether a file that may be either is a label file.

    Raises:
        AnnotationError: The file cannot be read.
    """
    if not place.is_file() or video_table_of(place) is not None:
        return None
    found = recognise(place)
    if found is None or found.read is None or (found.name in ALSO_OURS and prefer_ours and _is_ours(place)):
        return None
    return found


def _is_ours(place: Path) -> bool:
    """Return whether a file can be read as a label file."""
    layout = format_of(place)
    if layout is None or layout in foreign_file.FORMATS:
        return False
    try:
        class_names_in(place)
    except AnnotationError:
        return False
    return True


def import_file(place: Path, layout: ForeignFormat, videos: Sequence[Path], *, independent: bool = False) -> Imported:
    """Place the events of one file of another program on the frames of videos.

    Args:
        place: The file.
        layout: Its format.
        videos: Where the videos are.
        independent: Whether any classes may overlap, also where none of the events do.

    Raises:
        InputError: There are no videos, or the file cannot be used.
    """
    if not videos:
        raise InputError(f"{place}: is a file of another program ({layout.title}): name its videos with --videos DIR")
    return import_files([ForeignFile(place, layout)], VideoFolder(*videos), ImportOptions(independent=independent))


@contextmanager
def label_files_of(
    places: Sequence[Path],
    videos: Sequence[Path],
    *,
    beside: Sequence[Path] = (),
    compares_annotators: bool = False,
    on_import: Callable[[Imported], None] = lambda imported: None,
) -> Iterator[list[Path]]:
    """Yield places of label files: the places themselves, or, for files of other programs, what these say.

    All files of other programs get one list of classes: theirs, and those of the other places.

    Args:
        places: Folders of label files, label files, or files of other programs.
        videos: Where the videos are that such files name; they say which frames are shown when.
        beside: Other folders of label files, with which they will be compared.
        compares_annotators: Whether the places are the labels of two annotators: then frames in no event have a class
            of their own, NO_CLASS, and two label files stay label files.
        on_import: Is called with what was imported.

    Raises:
        InputError: There are no videos for a file of another program, or it cannot be used.
    """
    formats = {place: find_foreign_format(place, prefer_ours=compares_annotators) for place in places}
    imports: dict[Path, Imported] = {}
    for place, layout in formats.items():
        if layout is not None:
            imports[place] = import_file(place, layout, videos)
            on_import(imports[place])
    if not imports:
        yield list(places)
        return
    others = [place for place in [*places, *beside] if place not in imports]
    space = _common_space(imports.values(), others)
    if compares_annotators and space.is_exclusive and NO_CLASS not in space.classes:
        space = _fill(imports.values(), space)
    with ExitStack() as stack:
        yield [
            _write(stack, imports[place], space, is_file=any(other.is_file() for other in others))
            if place in imports
            else place
            for place in places
        ]


def _common_space(imports: Iterable[Imported], others: Sequence[Path]) -> LabelSpace:
    """Return the classes of imported labels and of other places together; any may overlap where some do."""
    imports = list(imports)
    spaces = [imported.label_space for imported in imports]
    names: dict[str, str] = {}
    for imported in imports:
        backgrounds = {video.background for video in imported.videos.values()}
        for name in [*imported.label_space.classes, *imported.declared]:
            if name not in backgrounds or name in imported.label_space.classes:
                names.setdefault(canonical(name), name)
    for place in others:
        files = find_label_files(place) if place.is_dir() else {place.stem: place}
        spaces.append(find_label_space([place if place.is_dir() else place.parent], files.values()))
        for name in spaces[-1].classes:
            names.setdefault(canonical(name), name)
    classes = tuple(names.values())
    return LabelSpace(classes) if all(space.is_exclusive for space in spaces) else LabelSpace.independent(classes)


def _fill(imports: Iterable[Imported], space: LabelSpace) -> LabelSpace:
    """Give frames in no event the class NO_CLASS; return the classes with it where there are such frames."""
    filled = [fill_background(imported, NO_CLASS) for imported in imports]
    return LabelSpace((*space.classes, NO_CLASS)) if any(filled) else space


def _write(stack: ExitStack, imported: Imported, space: LabelSpace, *, is_file: bool) -> Path:
    """Write imported labels into a temporary folder, and return it; or the file of the only video."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framescribe.")))
    if not space.is_exclusive:  # then the label files do not say how long the videos are
        for video in imported.videos.values():
            if video.scored is None:
                video.scored = [ScoredFrames(0, video.num_frames, None)]
    write_labels(folder, replace(imported, label_space=space))
    if is_file and len(imported.videos) == 1:
        (stem,) = imported.videos
        return folder / "labels" / f"{stem}.csv"
    return folder / "labels"
