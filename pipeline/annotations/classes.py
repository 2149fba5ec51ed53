"""The class list of a data set: which classes there are, and which of them exclude each other.

    classes.txt   one name per line; the classes exclude each other. The line number, from 0, is the class index
    classes.csv   class,group; the classes of one group exclude each other, and those of different groups may overlap.
                  The number of the row, from 0, is the class index

A data set has one of the two.
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.annotations.formats.parsing import describe_list_fault, raise_problems
from pipeline.annotations.formats.rows import parse_rows
from pipeline.annotations.label_space import SEPARATOR, LabelSpace, find_column_clash, find_control_character
from pipeline.annotations.problems import AnnotationError, Problem, read_lines
from pipeline.files import canonical, is_dangling

CLASSES, CLASSES_WITH_GROUPS = "classes.txt", "classes.csv"
CLASSES_WITH_GROUPS_HEADER = ("class", "group")


@dataclass(frozen=True)
class ClassList:
    """The content of a class list.

    Attributes:
        path: The file.
        names: The classes in the order of their indices.
        lines: The number of the line of each class, from 1.
        groups: The group of each class; None for a classes.txt, which has none.
    """

    path: Path
    names: tuple[str, ...]
    lines: tuple[int, ...]
    groups: tuple[str, ...] | None = None

    def label_space(self, *, independent: bool = False, background: str | None = None) -> LabelSpace:
        """Return the label space of these classes.

        Several classes that are all in one group are exclusive, as those of a classes.txt.

        Args:
            independent: Whether each class is a group of its own, whatever the file says.
            background: See `LabelSpace`.

        Raises:
            AnnotationError: A class that may overlap another one has a name with the SEPARATOR in it, or that of
                another column of .frames.csv.
            InputError: The background is not a class.
        """
        groups = self.names if independent else self.groups
        if groups is not None and len(set(groups)) == 1 < len(groups):
            groups = None
        if groups is not None:
            joined = f"has a {SEPARATOR!r}, which joins the names of classes that overlap: rename it"
            faults = [joined if SEPARATOR in name else find_column_clash(name) for name in self.names]
            found = zip(self.names, self.lines, faults, strict=True)
            raise_problems(
                [Problem(self.path, line, f"class {name!r} {fault}") for name, line, fault in found if fault]
            )
        return LabelSpace(self.names, background, groups)


def find_class_list(folder: Path) -> Path:
    """Return the class list in a folder: the classes.csv if there is one, otherwise a classes.txt that may be missing.

    Raises:
        AnnotationError: There are both.
    """
    plain, grouped = Path(folder) / CLASSES, Path(folder) / CLASSES_WITH_GROUPS
    found = [path for path in (grouped, plain) if path.exists() or is_dangling(path)]
    if len(found) == 2:
        cause = f"keep {CLASSES} if a frame has one class, and {CLASSES_WITH_GROUPS} if classes may overlap"
        raise AnnotationError([Problem(grouped, None, f"and {CLASSES} both list the classes: {cause}")])
    return found[0] if found else plain


def read_class_list(path: Path) -> ClassList:
    """Read a classes.txt or a classes.csv, by its name.

    Raises:
        AnnotationError: Every problem of the file: it cannot be read or has no class, a name or a group is empty, a
            name has a control character or is given twice, the header of the classes.csv is wrong.
    """
    path = Path(path)
    return _read_groups(path) if path.suffix == ".csv" else _read_names(path)


def _read_names(path: Path) -> ClassList:
    names = [line.strip() for line in read_lines(path)]
    if not names:
        raise AnnotationError([Problem(path, None, "is empty: expected one class name a line")])
    problems = []
    first_lines: dict[str, int] = {}
    for line, name in enumerate(names, start=1):
        if not name:
            message = "is an empty line: a line number is a class index, so no line may be left out; delete the line"
            problems.append(Problem(path, line, message))
        elif "\t" in name and (numbered := describe_list_fault([name])):
            problems.append(Problem(path, line, numbered))
        elif fault := find_control_character(name):
            problems.append(Problem(path, line, f"class {name!r} {fault}"))
        elif (other := first_lines.setdefault(canonical(name), line)) != line:
            problems.append(Problem(path, line, f"class {name!r} is already on line {other}"))
    raise_problems(problems)
    return ClassList(path, tuple(names), tuple(range(1, len(names) + 1)))


def _read_groups(path: Path) -> ClassList:
    problems: list[Problem] = []
    rows = parse_rows(path, CLASSES_WITH_GROUPS_HEADER, problems)
    if not rows and not problems:
        problems.append(Problem(path, None, "has no class: expected a row for each below the header"))
    first: dict[str, tuple[int, str]] = {}  # the line and the group of each class
    for line, (name, group) in rows:
        if not name:
            problems.append(Problem(path, line, f"names no class: expected one of the group {group!r}"))
        elif fault := find_control_character(name):
            problems.append(Problem(path, line, f"class {name!r} {fault}"))
        elif not group:
            message = f"class {name!r} has no group: one that may overlap all others needs a group of its own"
            problems.append(Problem(path, line, message))
        other, other_group = first.setdefault(canonical(name), (line, group))
        if name and other != line:
            message = f"class {name!r} is already on line {other}"
            if group and other_group and canonical(group) != canonical(other_group):
                message += f", in the group {other_group!r}: a class is in one group"
            problems.append(Problem(path, line, message))
    raise_problems(problems)
    lines, cells = zip(*rows, strict=True)
    names, groups = zip(*cells, strict=True)
    return ClassList(path, names, lines, tuple(map(canonical, groups)))
