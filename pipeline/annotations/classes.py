"""The class list of a data set: `classes.txt`, one name per line. The line number, from 0, is the class index."""

from pathlib import Path

from pipeline.annotations.problems import AnnotationError, Problem, read_lines
from pipeline.files import canonical


def read_classes(path: Path) -> tuple[str, ...]:
    """Read the class names of a `classes.txt`.

    Returns:
        The names in the order of their indices, without the spaces around them.

    Raises:
        AnnotationError: Every problem of the file: it cannot be read, it has no line, a line is empty, a name is given
            twice.
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
        elif (other := first_lines.setdefault(canonical(name), line)) != line:
            problems.append(Problem(path, line, f"class {name!r} is already on line {other}"))
    if problems:
        raise AnnotationError(problems)
    return tuple(names)
