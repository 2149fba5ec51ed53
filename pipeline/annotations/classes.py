"""The class list of a data set: `classes.txt`, one name a line; the line number, from 0, is the class index."""

from pathlib import Path

from pipeline.annotations.problems import AnnotationError, Problem, read_lines


def read_classes(path: Path) -> tuple[str, ...]:
    """Read the class names in order; spaces around a name do not count.

    Raises AnnotationError with every problem of the file: no line at all, an empty line, a name given twice.
    """
    path = Path(path)
    names = [line.strip() for line in read_lines(path)]
    if not names:
        raise AnnotationError([Problem(path, None, "is empty: expected one class name a line")])
    problems = []
    first_lines: dict[str, int] = {}
    for line, name in enumerate(names, start=1):
        if not name:
            message = "is an empty line: a line number is a class index, so no line may be left out; delete the line"
            problems.append(Problem(path, line, message))
        elif name in first_lines:
            problems.append(Problem(path, line, f"class {name!r} is already on line {first_lines[name]}"))
        else:
            first_lines[name] = line
    if problems:
        raise AnnotationError(problems)
    return tuple(names)
