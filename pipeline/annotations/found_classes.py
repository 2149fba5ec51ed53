"""The classes of labels that have no class list: those that the label files name.

A class list is in `classes`.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.annotations.classes import CLASSES
from pipeline.annotations.formats import frame_list, predicted_frames, predicted_sets, registry, table
from pipeline.annotations.label_space import SEPARATOR, LabelSpace
from pipeline.annotations.problems import AnnotationError, Problem, shorten, without_content
from pipeline.annotations.read import class_names_in
from pipeline.files import canonical


def label_space_of_files(
    files: Iterable[Path], *, independent: bool = False, background: str | None = None
) -> LabelSpace:
    """Return the classes that label files use, in alphabetical order, for labels without a class list.

    They are exclusive, unless a file has a column for each class: then any of them may overlap, and a line of a .txt
    may have several.

    Args:
        files: The label files. Those that cannot be read are passed over, as their problems show where they are read.
        independent: Whether any of the classes may overlap in any case.
        background: See `LabelSpace`.

    Raises:
        AnnotationError: Classes are exclusive, and a line of a .txt has several; or some files say that classes
            overlap, and others that they exclude each other.
        InputError: The background is not a class.
    """
    names_in: dict[Path, set[str]] = {}
    has_columns: dict[Path, bool | None] = {}
    for path in files:
        with suppress(AnnotationError):
            names_in[path] = class_names_in(path)
            has_columns[path] = _has_a_column_for_each_class(path)
    if not independent:
        _check_kinds(has_columns)
        independent = any(has_columns.values())
    _check_one_class_a_row(names_in)
    lists = [path for path in names_in if registry.format_of(path) is frame_list.FORMAT]
    if independent:
        names_in |= {path: frame_list.split_sets(names_in[path]) for path in lists}
    elif problems := [problem for path in lists if (problem := frame_list.find_set(path))]:
        raise AnnotationError(
            hidden for problem in problems for hidden in without_content([problem], problem.path.parent)
        )
    names = {canonical(name): name for found in names_in.values() for name in found}
    classes = tuple(sorted(names.values()))
    return LabelSpace.independent(classes, background) if independent else LabelSpace(classes, background)


def _has_a_column_for_each_class(path: Path) -> bool | None:
    """Return whether a file has a column for each class; None where this does not say whether classes overlap."""
    layout = registry.content_format_of(path)
    if layout in table.FORMATS:
        return table.has_a_column_for_each_class(path)
    is_of_frames = layout in (predicted_frames.FORMAT, predicted_frames.LIVE_FORMAT)
    return predicted_sets.has_sets(path) if is_of_frames else None


def _check_kinds(has_columns: Mapping[Path, bool | None]) -> None:
    """Raise AnnotationError where some files say that classes overlap, and others that they exclude each other."""
    overlapping, exclusive = (
        [path for path, found in has_columns.items() if found is wanted] for wanted in (True, False)
    )
    if overlapping and exclusive:
        cause = f"a frame has one class in {exclusive[0]}: write {CLASSES} beside the labels, with a class a line"
        message = f"has a column for each class, so that any may overlap, but {cause}"
        raise AnnotationError(without_content([Problem(overlapping[0], None, message)], overlapping[0].parent))


def _check_one_class_a_row(names_in: Mapping[Path, set[str]]) -> None:
    """Raise AnnotationError where a row of a labels.csv seems to give a video several classes."""
    for path, names in names_in.items():
        if registry.video_table_of(path) and (joined := sorted(name for name in names if SEPARATOR in name)):
            cause = "give a video a row for each of its classes; if it is one class, write a classes.txt with this name"
            problem = Problem(path, None, f"got {shorten(joined[0])!r}, expected one class in a row: {cause}")
            raise AnnotationError(without_content([problem], path.parent))
